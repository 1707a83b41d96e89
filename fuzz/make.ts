/** Messages of the schema: mostly what clients and stores send, with every role's good and bad values. */
import type { JudgedField } from '../src-ts/schema/judgement.ts';
import { Kind } from '../src-ts/schema/judgement.ts';
import type { Way } from '../test/unit/filter.ts';
import { concat, EMPTY, hex } from '../test/harness/model/bytes.ts';
import { isNumberList, mixed, PACKED, SINGLE } from '../test/harness/model/forms.ts';
import type { Random } from '../test/harness/model/random.ts';
import { varint } from '../test/harness/model/wire.ts';
import { answer, plan, type Asked } from './coprocessor.ts';
import { INSIDE, LATEST, NO_TIMESTAMP_LIMIT, OUTSIDE } from './facts.ts';
import { anyKey, foreignKey, formOf, ownKey, storedKey } from './keys.ts';
import { mutateBytes } from './mutate.ts';
import type { Schema } from './schema.ts';
import { leaseBase, namesPrefix, type Space } from './spaces.ts';
import { node, pieceNode, Wire, write, type Node } from './tree.ts';

const MAX_DEPTH = 7;
/** A message of more fields than this, all of them messages, is a list of alternatives, as BatchCommands' requests are. */
const ALTERNATIVES = 24;

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Names about those that tenants share. */
const SHARED_NAMES = [
  '/tidb/server/minstartts',
  '/tidb/server/minstartts/',
  '/tidb/server/minstartts/a',
  '/tidb/server/minstartts/other:a',
  '/tidb/server/minstarttt',
  '/tidb/store/gcworker/saved_safe_point',
  '/tidb/brie/import/restore/a',
];

/** Makes messages for one key space. */
export class Maker {
  private readonly schema: Schema;
  private readonly space: Space;
  private readonly random: Random;
  /** In percent: how often a value is what its role allows. */
  private readonly care: number;
  private way: Way = 'request';
  /** What the last plan asks for. */
  private asked: Asked | undefined;

  constructor(schema: Schema, space: Space, random: Random) {
    this.schema = schema;
    this.space = space;
    this.random = random;
    this.care = random.pick([100, 98, 80, 30]);
  }

  make(message: string, way: Way): Node[] {
    this.way = way;
    return this.fields(message, 0);
  }

  private fields(name: string, depth: number): Node[] {
    const { random } = this;
    const { fields } = this.schema.message(name);
    if (fields.length === 0) return [];
    const isList = fields.length > ALTERNATIVES && fields.every(({ kind }) => kind === Kind.MESSAGE);
    const chosen = isList
      ? Array.from({ length: random.chance(80) ? 1 : random.below(4) }, () => this.alternative(fields))
      : fields.filter((field) => this.needed(field) || random.chance(depth < 3 ? 55 : 30));
    const nodes: Node[] = [];
    const taken = new Set<number>();
    for (const field of chosen) {
      if (taken.has(field.number)) continue;
      taken.add(field.number);
      const made = this.occurrences(field, depth);
      // A list's fields may lie anywhere.
      if (field.repeated && random.chance(10))
        for (const one of made) nodes.splice(random.below(nodes.length + 1), 0, one);
      else nodes.push(...made);
    }
    return nodes;
  }

  /** One of a list of commands; coprocessor requests and answers, which hold most, come more often. */
  private alternative(fields: readonly JudgedField[]): JudgedField {
    const holds = (field: JudgedField): boolean =>
      field.message !== undefined &&
      this.schema.message(field.message).fields.some(({ role }) => role === 'DAG' || role === 'SELECT');
    const large = this.random.chance(20) ? fields.filter(holds) : [];
    return this.random.pick(large.length > 0 ? large : fields);
  }

  /** Fields without which there is little to see, but for now and then. */
  private needed(field: JudgedField): boolean {
    const { random, schema } = this;
    const roles = [
      'KEY',
      'RESOURCE_PATH',
      'BATCH_IDS',
      'COP_TYPE',
      'DAG',
      'SELECT',
      'REGION_ID',
      'REGION_VERSION',
    ];
    if (roles.includes(field.role)) return random.chance(this.care);
    const inner = field.message === undefined ? undefined : schema.message(field.message);
    return inner?.fields.some(({ role }) => role.startsWith('REGION_')) === true && random.chance(50);
  }

  private occurrences(field: JudgedField, depth: number): Node[] {
    const { random } = this;
    if (field.message !== undefined && depth >= MAX_DEPTH) return [];
    const count = field.repeated ? this.count(depth) : 1;
    if (isNumberList(field)) {
      const numbers = Array.from({ length: count }, (_, i) => this.packed(field, i));
      return random
        .pick([PACKED, SINGLE, mixed(random)])(numbers)
        .map((piece) => pieceNode(field, piece));
    }
    return Array.from({ length: count }, (_, i) => this.one(field, depth, i));
  }

  private count(depth: number): number {
    const { random } = this;
    if (depth < 2 && random.chance(2)) return 20 + random.below(150);
    return random.below(depth < 3 ? 4 : 2);
  }

  private packed(field: JudgedField, i: number): Uint8Array {
    if (field.kind === Kind.VARINT) return varint(this.number(field, i));
    return this.random.bytes(field.kind === Kind.FIXED64 ? 8 : 4);
  }

  private one(field: JudgedField, depth: number, i: number): Node {
    const { number } = field;
    switch (field.kind) {
      case Kind.VARINT:
        return node(number, Wire.VARINT, { value: this.number(field, i) });
      case Kind.FIXED64:
        return node(number, Wire.FIXED64, { bytes: this.random.bytes(8) });
      case Kind.FIXED32:
        return node(number, Wire.FIXED32, { bytes: this.random.bytes(4) });
      case Kind.MESSAGE:
        if (field.message === undefined)
          return node(number, Wire.BYTES, { bytes: this.random.bytes(this.random.below(9)) });
        return node(number, Wire.BYTES, {
          message: field.message,
          children: this.fields(field.message, depth + 1),
        });
      default:
        return node(number, Wire.BYTES, { bytes: this.bytes(field) });
    }
  }

  /** What a varint of this role holds; the i-th of its list. */
  number(field: JudgedField, i = 0): bigint {
    const { random } = this;
    const careful = random.chance(this.care);
    switch (field.role) {
      case 'BATCH_IDS':
        return careful ? BigInt(i + 1) : random.bigint(64);
      case 'COP_TYPE':
        return BigInt(random.pick([103, 103, 103, 103, 103, 103, 104, 105]));
      case 'REVERSE':
        return BigInt(random.below(2));
      case 'LEASE_ID':
      case 'LEASE_GRANT_ID': {
        const id = random.pick([0n, 1n, (1n << 48n) - 1n, random.bigint(48)]);
        if (!careful) return random.pick([1n << 48n, (1n << 63n) | (3n << 48n) | 5n, random.bigint(64)]);
        return this.way === 'request' || random.chance(20) ? id : leaseBase(this.space) | id;
      }
      case 'TIMESTAMP':
      case 'TIMESTAMP_OR_MAX':
      case 'READ_TIMESTAMP_OR_MAX':
        return this.timestamp(careful);
      case 'TXN_START':
        return random.chance(95) ? this.timestamp(careful) || 1n : 0n;
      case 'FOR_UPDATE':
        return random.chance(50) ? this.timestamp(careful) : 0n;
      case 'REGION_ID':
      case 'REGION_ACT':
        return careful ? INSIDE.region : random.pick([0n, OUTSIDE.region, 77n, random.bigint(64)]);
      case 'REGION_VERSION':
        return careful ? INSIDE.version : random.pick([0n, 2n, random.bigint(64)]);
      case 'TABLE_ID':
        return careful
          ? BigInt(random.below(1000))
          : random.pick([(1n << 48n) - 1n, 1n << 48n, random.bigint(64)]);
      case 'API_VERSION':
        return BigInt(random.below(3));
      case 'EXECUTOR':
        return careful ? BigInt(random.below(20)) : random.pick([20n, (1n << 32n) | 20n]);
      case 'ONE_OF':
        return careful ? BigInt(random.pick(field.allowed)) : random.pick([0n, 3n, 7n, (1n << 32n) | 3n]);
      case 'AT_MOST':
      case 'CAPPED':
        return careful
          ? random.bigint(64) % (field.limit! + 1n)
          : random.pick([field.limit! + 1n, random.bigint(64)]);
      default:
        if (field.type === 'bool') return BigInt(random.below(2));
        return random.pick([0n, 1n, 2n, BigInt(random.below(300)), random.bigint(32), random.bigint(64)]);
    }
  }

  /** PD's: milliseconds << 18. */
  private timestamp(careful: boolean): bigint {
    const { random } = this;
    if (careful) return random.pick([0n, 1n, LATEST - random.bigint(40), LATEST]);
    return random.pick([NO_TIMESTAMP_LIMIT, (1n << 63n) - 1n, 1n << 63n, LATEST + 1n, random.bigint(64)]);
  }

  /** What a bytes or string field of this role holds. */
  bytes(field: JudgedField): Uint8Array {
    const { random, space } = this;
    const request = this.way === 'request';
    const careful = random.chance(this.care);
    const key = (): Uint8Array => {
      if (request)
        return careful ? ownKey(random) : random.chance(30) ? storedKey(space, random) : anyKey(random);
      return storedKey(space, random);
    };
    const bound = (): Uint8Array => (random.chance(25) ? EMPTY : request && careful ? anyKey(random) : key());
    switch (field.role) {
      case 'KEY':
      case 'KEY_DROP':
      case 'REWRITE_NEW':
        return key();
      case 'KEY_OR_NONE':
        return random.chance(20) ? EMPTY : key();
      case 'ENC_KEY':
        return this.form(key());
      case 'RANGE_START':
      case 'RANGE_END':
        return bound();
      case 'ENC_START':
      case 'ENC_END':
      case 'PLACE_START':
      case 'PLACE_END': {
        const raw = bound();
        return raw.length === 0 && random.chance(90) ? raw : this.form(raw);
      }
      case 'TEXT':
        return this.text();
      case 'COLUMN_FAMILY':
        return text(random.pick(careful ? ['', 'default'] : ['write', 'lock', 'raft', 'default ']));
      case 'ETCD_KEY':
      case 'ETCD_READ_KEY':
        if (random.chance(10)) return text(random.pick(SHARED_NAMES));
        if (request) return random.bytes(random.below(20));
        return careful
          ? concat(namesPrefix(space), random.bytes(random.below(9)))
          : text('/tidb-mesh/other:FOREIGN!');
      case 'ETCD_END':
        if (random.chance(10)) return text(random.pick(SHARED_NAMES));
        return random.pick([EMPTY, Uint8Array.of(0), Uint8Array.of(0, 0), random.bytes(1 + random.below(9))]);
      case 'RESOURCE_PATH':
        return text(
          careful
            ? `resource_group/${random.pick(['settings', 'settings', 'controller', 'settings/1'])}`
            : random.pick(['', 'gc/x', 'resource_group', 'resource_group/', 'resource_group/settings/']),
        );
      case 'RESOURCE_END':
        return careful
          ? text(random.pick(['', 'resource_group/settingt', 'resource_group/controlles']))
          : random.pick([Uint8Array.of(0), text('resource_group/settings/2'), text('resource_group/x')]);
      case 'RESOURCE_KEY':
        return text(
          `resource_group/${random.pick(['controller', 'states/a', 'settings/default', 'settings/1:a', 'settings/31:FOREIGN!'])}`,
        );
      case 'RESOURCE_VALUE':
        return careful ? EMPTY : random.bytes(random.below(20));
      case 'GROUP':
      case 'GROUP_LABEL':
      case 'OWN_GROUP':
        return text(random.pick(['', 'default', 'app', '1:app', '31:FOREIGN!', 'a/b', 'x'.repeat(40)]));
      case 'SCATTER_GROUP':
        return text(random.pick(['', '104', '1:104', '31:FOREIGN!']));
      case 'CONFIG_PATH':
        return text(careful ? random.pick(['', '/global/config/', 'resource_group/controller']) : '/pd/1');
      case 'SEGMENT':
        return text(
          careful ? random.pick(['', 'default', 'a.b', '...']) : random.pick(['.', '..', 'a/b', '/']),
        );
      case 'SERVICE_ID':
        return text(careful ? 'gc_worker' : random.pick(['', 'br-1', 'a/b', 'x'.repeat(129)]));
      case 'DAG':
        return this.plan();
      case 'SELECT':
        return this.answer();
      default:
        return random.bytes(random.chance(5) ? 300 : random.below(12));
    }
  }

  private plan(): Uint8Array {
    const { random } = this;
    if (random.chance(75)) {
      this.asked = plan(random);
      return this.asked.bytes;
    }
    return write(this.fields(random.pick(['tipb.DAGRequest', 'tipb.AnalyzeReq', 'tipb.ChecksumRequest']), 1));
  }

  private answer(): Uint8Array {
    const { random, space } = this;
    const bytes = answer(space, random.chance(90) ? this.asked : undefined, random);
    return random.chance(90) ? bytes : mutateBytes(bytes, random);
  }

  private form(key: Uint8Array): Uint8Array {
    return formOf(this.space, key, this.way === 'request' ? 'client' : 'store', this.random);
  }

  private text(): Uint8Array {
    const { random, space } = this;
    const key = foreignKey(space, random);
    return random.pick([
      EMPTY,
      text('region 5 is missing'),
      text('start ts 453128812934103041 of pid 1'),
      text(`key ${hex(key)} is locked`),
      text(`key ${hex(key).toUpperCase()} is locked`),
      text(`key "${[...key].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')}"`),
      concat(text('key '), key),
      text('748000000000000'),
      text('Ключ'),
    ]);
  }
}
