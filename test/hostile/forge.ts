/**
 * Forged requests, made of the surface matrix: for every field that has a role, or that is an id, one request for each value that the role
 * must not let through. Everything else in the request is what a well-behaved client of the attacker would send.
 */
import type { DescMessage } from '@bufbuild/protobuf';
import { read, node, Wire, write, type Node } from '../../fuzz/tree.ts';
import { messageOf, type Schema } from '../../fuzz/schema.ts';
import { Kind, type JudgedField, type JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { concat, EMPTY } from '../harness/model/bytes.ts';
import type { KeySpace } from '../harness/model/key-spaces.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';
import { message as describe } from '../harness/support/messages.ts';
import { TABLE, TABLE_END } from './keys.ts';
import { DAG_REQUEST, scanOf } from '../e2e/support/dag.ts';

/** Whose things are asked for. Names here are known to the attacker: what is secret is reached through them. */
export interface Victim {
  readonly name: string;
  readonly number: number;
  readonly space: KeySpace;
  /** A row of it, as the store has it. */
  readonly key: Uint8Array;
  readonly regionId: bigint;
  /** Bytes of the kvrpcpb.Context of that region, as the store has it. */
  readonly context: Uint8Array;
  /** When its lock began. */
  readonly startTs: bigint;
  /** Of a lease, as etcd has it. */
  readonly lease: bigint;
  /** What its key in etcd, its group, its rules and its service are called, as the tenant itself names them. */
  readonly known: string;
}

export interface Attacker {
  readonly space: KeySpace;
  /** A row of its own, as it names it. */
  readonly key: Uint8Array;
  /** Bytes of the kvrpcpb.Context of the region with this row. */
  readonly context: Uint8Array;
  readonly clusterId: bigint;
  readonly victims: readonly Victim[];
  readonly now: () => bigint;
}

export interface Forgery {
  /** The field's place in the request, such as `context.region_id`; empty for the request as a whole. */
  readonly field: string;
  readonly role: string;
  /** What stands in it. */
  readonly value: string;
  /** TiKV or PD would stop on it, for all tenants: nobody but the filter may answer it. */
  readonly isFatal: boolean;
  readonly bytes: Uint8Array;
}

type Value = readonly [name: string, value: Uint8Array | bigint];

const MAX_U64 = (1n << 64n) - 1n;
const MAX_DEPTH = 4;
/** In place of a field's name: all of them are forged at once. */
export const EVERY = 'every field';
const CONTEXT = 'kvrpcpb.Context';
const twice = (one: Node): Node[] => [one, one];
const double = (value: number): Uint8Array => {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setFloat64(0, value, true);
  return new Uint8Array(bytes.buffer);
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const isKeyRole = (role: string): boolean => /^(KEY|RANGE|REWRITE)/.test(role);
const isPlaceRole = (role: string): boolean => /^(ENC|PLACE)_/.test(role);
/** Numbers that pass at any value and name things all the same. */
const isId = ({ name, role, kind }: JudgedField): boolean =>
  role === 'ANY_VALUE' && kind === Kind.VARINT && /(^|_)ids?$/.test(name);

/** Keys of somebody else, of the store as a whole, and what is no key at all. */
function keyValues({ space, key, victims }: Attacker): [name: string, key: Uint8Array][] {
  const own = space.encodeKey(key);
  return [
    ...victims.flatMap(({ name, key: foreign, space: theirs }): [string, Uint8Array][] => [
      [`${name}'s key`, foreign],
      [`${name}'s first key`, theirs.first],
      [`behind ${name}`, theirs.behind],
    ]),
    ['own key as the store has it', own instanceof Uint8Array ? own : EMPTY],
    ['no key', EMPTY],
    ['the first byte', Uint8Array.of(0)],
    ['m, the system of tenant 0', text('mDDLJobList')],
    ['t, all tables', text('t')],
    ['a keyspace', Uint8Array.of(0x78, 0, 0, 8, 0x74)],
    ['behind everything', new Uint8Array(20).fill(0xff)],
    ['an encoded key', memcomparable(key)],
    ['a long key', new Uint8Array(9000).fill(0x74)],
  ];
}

/** The same in PD's form, right and wrong. */
export function placeValues(attacker: Attacker): [name: string, place: Uint8Array][] {
  const raw = keyValues(attacker);
  return [
    ...raw.map(([name, key]): [string, Uint8Array] => [`${name}, encoded`, memcomparable(key)]),
    ...attacker.victims.map(({ name, key }): [string, Uint8Array] => [`${name}'s key, not encoded`, key]),
    ['a broken form', concat(memcomparable(attacker.key).subarray(0, 8), [0x01])],
    ['no key', EMPTY],
  ];
}

const named = (victims: readonly Victim[], form: (victim: Victim) => string): Value[] =>
  victims.map((victim) => [`${victim.name}'s`, text(form(victim))]);
const texts = (...values: string[]): Value[] => values.map((value) => [JSON.stringify(value), text(value)]);

/** What stands in a field of this role to get at somebody else's things. */
function valuesOf(field: JudgedField, attacker: Attacker): Value[] {
  const { role } = field;
  const { victims } = attacker;
  const numbers = (...values: bigint[]): Value[] => values.map((value) => [String(value), value]);
  if (isKeyRole(role)) return keyValues(attacker);
  if (isPlaceRole(role)) return placeValues(attacker);
  if (role === 'REGION_ID' || role === 'REGION_ACT' || isId(field))
    return [
      ...victims.map(({ name, regionId }): Value => [`${name}'s region`, regionId]),
      ...victims.map(({ name, number }): Value => [`${name}'s number`, BigInt(number)]),
      ...numbers(0n, 1n, MAX_U64),
    ];
  switch (role) {
    case 'ETCD_KEY':
    case 'ETCD_READ_KEY':
    case 'ETCD_END':
      return [
        ...named(victims, ({ name, known }) => `/tidb-mesh/${name}:${known}`),
        ...named(victims, ({ name }) => `/tidb-mesh/${name}:`),
        ...named(victims, ({ name }) => `/tidb/server/minstartts/${name}:${name}`),
        ...texts(
          '/pd',
          '/pd/',
          '/tidb-mesh/',
          '/tidb-mesh0',
          '/system',
          '\0',
          '',
          '\xff',
          '../../pd',
          '/zzz',
        ),
      ];
    case 'LEASE_ID':
    case 'LEASE_GRANT_ID':
      return [
        ...victims.map(({ name, lease }): Value => [`${name}'s lease`, lease]),
        ...victims.map(({ name, lease }): Value => [
          `${name}'s lease as it names it`,
          lease & ((1n << 48n) - 1n),
        ]),
        ...numbers(0n, 1n, 1n << 48n, 1n << 63n, MAX_U64),
      ];
    case 'GROUP':
    case 'GROUP_LABEL':
    case 'OWN_GROUP':
      return [
        ...named(victims, ({ number, known }) => `${number}:${known}`),
        ...named(victims, ({ known }) => known),
        ...texts('default', '', 'a/b', '..', '0:x', 'x'.repeat(40)),
      ];
    case 'SCATTER_GROUP':
      return [
        ...named(victims, ({ number }) => `${number}:${TABLE}`),
        ...texts(String(TABLE), 'x'.repeat(2000)),
      ];
    case 'CLIENT_ID':
      return [
        ...victims.map(({ name, number }): Value => [
          `a client of ${name}`,
          (1n << 63n) | (BigInt(number) << 11n) | 1n,
        ]),
        ...numbers(0n, 1n, 2048n, MAX_U64),
      ];
    case 'RESOURCE_PATH':
    case 'RESOURCE_KEY':
    case 'RESOURCE_END':
      return [
        ...named(victims, ({ number, known }) => `resource_group/settings/${number}:${known}`),
        ...texts(
          '',
          '\0',
          '/',
          'resource_group/',
          'resource_group/settings/',
          'resource_group/settings/../..',
          'resource_group0',
          'gc/safe_point',
          '/pd',
        ),
      ];
    case 'CONFIG_PATH':
    case 'SEGMENT':
      return [
        ...named(victims, ({ name, known }) => `/tidb-mesh/${name}:${known}`),
        ...named(victims, ({ number, known }) => `${number}:${known}`),
        ...texts('', '/', '..', '../..', 'a/b', '.', '/pd', '/global/config/../../pd'),
      ];
    case 'SERVICE_ID':
      return [
        ...named(victims, ({ name, known }) => `tidb-mesh:${name}:${known}`),
        ...named(victims, ({ known }) => known),
        ...texts('', 'gc_worker', 'a/b', '..', 'x'.repeat(200), '\xff'),
      ];
    case 'API_VERSION':
      return numbers(1n, 2n, 3n, MAX_U64);
    case 'KEYSPACE_ID':
      return numbers(0n, 7n, 8n, 0xffffffn, MAX_U64);
    case 'REGION_VERSION':
    case 'REGION_CONF_VERSION':
      return numbers(0n, 1n, MAX_U64);
    case 'CLUSTER_ID':
      // Another storage layer's, and none: some servers take that for any.
      return [['the next cluster', attacker.clusterId + 1n], ...numbers(0n, 1n, MAX_U64)];
    case 'STORE_ID':
      return numbers(0n, 1n, 4_000_000n, MAX_U64);
    case 'TIMESTAMP':
    case 'TIMESTAMP_OR_MAX':
    case 'READ_TIMESTAMP_OR_MAX':
    case 'TXN_START':
    case 'FOR_UPDATE':
    case 'SERVICE_SAFE_POINT':
    case 'SAFE_POINT_IN':
      return [
        ...victims.map(({ name, startTs }): Value => [`the start of ${name}'s transaction`, startTs]),
        ['ten years ahead', attacker.now() + (BigInt(10 * 365 * 86_400_000) << 18n)],
        ...numbers(0n, 1n, (1n << 63n) - 1n, MAX_U64),
      ];
    case 'TABLE_ID':
    case 'TSO_COUNT':
    case 'SERVICE_TTL':
    case 'LEASE_TTL':
    case 'COP_TYPE':
      return [
        ...victims.map(({ name, number }): Value => [
          `a table of ${name}`,
          (BigInt(number) << 48n) | BigInt(TABLE),
        ]),
        ...numbers(0n, 104n, 105n, 1n << 31n, MAX_U64),
      ];
    case 'REVERSE':
      return numbers(1n, 1n << 32n);
    case 'EXECUTOR':
      return numbers(20n, (1n << 32n) | 20n);
    case 'COLUMN_FAMILY':
      return texts('write', 'lock', 'raft', 'default ', '');
    case 'BATCH_IDS':
      return numbers(0n, MAX_U64);
    case 'DAG':
      return [
        ...victims.map(({ name, number }): Value => [
          `a scan of a table of ${name}`,
          scanOf(number * 2 ** 48 + TABLE, 1),
        ]),
        ['no plan', text('no plan')],
        ['no bytes', EMPTY],
      ];
    case 'ETCD_VALUE':
      // A key here would come back in later answers as the attacker's own value.
      return texts('..', '');
    case 'ONE_OF':
      return numbers(...Array.from({ length: 16 }, (_, i) => BigInt(i)), (1n << 32n) | 3n, MAX_U64);
    case 'AT_MOST':
    case 'CAPPED':
      return numbers(0n, 1n, field.limit!, field.limit! + 1n, 1n << 31n, 1n << 63n, MAX_U64);
    case 'AMOUNT':
      return [NaN, Infinity, -Infinity, -1, 1e300].map((value) => [String(value), double(value)]);
    case 'ANY_VALUE':
      return numbers(MAX_U64, 1n << 63n, 1n << 31n, 1n, 0n);
    case 'ROLE_UNSPECIFIED':
      return [];
    default:
      return field.kind === Kind.BYTES
        ? [
            ...victims.map(({ name, key }): Value => [`${name}'s key`, key]),
            ...named(victims, ({ name, known }) => `tidb-mesh:${name}:${known}`),
            ...texts('..', ''),
          ]
        : [];
  }
}

type Variant = Omit<Forgery, 'bytes'> & { readonly nodes: Node[] };

/** What `coprocessor.Request.data` holds, by its `tp`, beside the scan of a good request. */
const PLANS: readonly [tp: bigint, message: string][] = [
  [104n, 'tipb.AnalyzeReq'],
  [105n, 'tipb.ChecksumRequest'],
];
const isFatalRange = (ending: string): boolean => /^(ORDERED|BOUNDED)_RANGE$/.test(ending);

/** True for a number on which TiKV or PD stops. A server may read no more than 32 bits of it. */
function isFatalNumber({ role, allowed, limit }: JudgedField, value: Uint8Array | bigint): boolean {
  if (typeof value !== 'bigint') return false;
  if (role === 'ONE_OF') return ![value, BigInt.asUintN(32, value)].some((n) => allowed.includes(Number(n)));
  return role === 'AT_MOST' && value === limit! + 1n;
}

/** Columns of which an ANALYZE lists one and reads another: fields of tipb.AnalyzeColumnsReq, which proto/ does not describe. */
function columnsOutside(): [value: string, columns: Uint8Array][] {
  const column = bytes(4, concat(scalar(1, 1n), scalar(2, 8n)));
  const group = (offset: bigint): Uint8Array => bytes(10, bytes(1, varint(offset)));
  return [
    ['the column behind the last', concat(column, group(1n))],
    ['column -1', concat(column, group(MAX_U64))],
    ['a column of none', group(0n)],
  ];
}

export class Forger {
  constructor(
    private readonly schema: Schema,
    private readonly attacker: Attacker,
  ) {}

  /** Every forged form of a method's request. */
  requests(method: JudgedMethod): Forgery[] {
    const name = messageOf(method, 'request');
    return this.command(name);
  }

  /** A method's request as the attacker's own client would send it: all forged ones take a hundred times as long to make. */
  goodRequest(method: JudgedMethod): Uint8Array {
    const name = messageOf(method, 'request');
    return name === '' ? EMPTY : this.good(name);
  }

  /** Every forged form of a command in a batch; of one that the filter does not read it has no name. */
  command(name: string): Forgery[] {
    return name === '' ? this.unread() : this.message(name);
  }

  /** Every forged form of a message. */
  private message(name: string): Forgery[] {
    const written = ({ nodes, ...rest }: Variant): Forgery => ({ ...rest, bytes: write(nodes) });
    return [
      { field: '', role: '', value: 'nothing forged', isFatal: false, bytes: this.good(name) },
      ...this.variants(name, 0).map(written),
      ...this.attacker.victims.map((victim) =>
        written({
          field: EVERY,
          role: EVERY,
          value: `${victim.name}'s`,
          isFatal: false,
          nodes: this.all(name, victim, 0),
        }),
      ),
      ...this.malformed(name),
    ];
  }

  /** A request as the attacker's own client would send it. */
  good(name: string): Uint8Array {
    return write(this.fields(name, 0));
  }

  /** For messages that the filter never reads: the neighbour's things in every field that they may have. */
  private unread(): Forgery[] {
    const { victims, clusterId } = this.attacker;
    const header = node(1, Wire.BYTES, { bytes: concat(Uint8Array.of(8), varint(clusterId)) });
    return [
      { field: '', role: '', value: 'an empty message', isFatal: false, bytes: EMPTY },
      ...victims.flatMap(({ name, key, regionId, known, number }): Forgery[] => {
        const values: [string, Uint8Array | bigint][] = [
          [`${name}'s key everywhere`, key],
          [`${name}'s key everywhere, encoded`, memcomparable(key)],
          [`${name}'s region everywhere`, regionId],
          [`${name}'s names everywhere`, text(`${number}:${known}`)],
        ];
        return values.map(([value, is]) => ({
          field: '',
          role: '',
          value,
          isFatal: false,
          bytes: write([header, ...[2, 3, 4, 5, 6, 7].map((number) => this.valueNode(number, is))]),
        }));
      }),
      { field: '', role: '', value: 'no message', isFatal: false, bytes: text('no message at all') },
    ];
  }

  private valueNode(number: number, value: Uint8Array | bigint): Node {
    return typeof value === 'bigint'
      ? node(number, Wire.VARINT, { value: BigInt.asUintN(64, value) })
      : node(number, Wire.BYTES, { bytes: value });
  }

  private forgedNode(field: JudgedField, value: Uint8Array | bigint): Node {
    if (field.kind === Kind.FIXED64 || field.kind === Kind.FIXED32) {
      const wire = field.kind === Kind.FIXED64 ? Wire.FIXED64 : Wire.FIXED32;
      return node(field.number, wire, {
        bytes:
          value instanceof Uint8Array && value.length === 8
            ? value
            : new Uint8Array(field.kind === Kind.FIXED64 ? 8 : 4).fill(7),
      });
    }
    return this.valueNode(field.number, value);
  }

  /** The request with one field forged, one after the other, or some that matter together. */
  private variants(name: string, depth: number): Variant[] {
    const { fields } = this.schema.message(name);
    const one = fields.flatMap((field): Variant[] => {
      const within = (put: Node): Node[] => this.around(name, field, put, depth);
      if (field.message !== undefined) {
        if (depth >= MAX_DEPTH || field.message === name) return [];
        return this.variants(field.message, depth + 1).map((inner) => ({
          ...inner,
          field: `${field.name}${inner.field === '' ? '' : '.'}${inner.field}`,
          nodes: within(node(field.number, Wire.BYTES, { message: field.message!, children: inner.nodes })),
        }));
      }
      const { role } = field;
      return valuesOf(field, this.attacker).map(([value, is]) => ({
        field: field.name,
        role: isId(field) ? 'an id' : role,
        value,
        isFatal: isFatalNumber(field, is),
        nodes: within(this.forgedNode(field, is)),
      }));
    });
    return [...one, ...this.together(name, depth)];
  }

  /** Fields that are good alone: bounds the wrong way round, a list that is missing, a plan of another type. */
  private together(name: string, depth: number): Variant[] {
    const { fields, ending } = this.schema.message(name);
    const good = this.fields(name, depth);
    const without = (...gone: (JudgedField | undefined)[]): Node[] =>
      good.filter((n) => !gone.some((field) => field?.number === n.field));
    const withRole = (role: RegExp): JudgedField | undefined => fields.find((field) => role.test(field.role));
    const sorted = (...nodes: Node[]): Node[] => nodes.sort((a, b) => a.field - b.field);
    const [start, end] = [withRole(/^(RANGE|ENC|PLACE)_START$/), withRole(/^(RANGE|ENC|PLACE)_END$/)];
    const swapped = (of: JudgedField, from: JudgedField): Node =>
      this.valueNode(of.number, this.goodValue(from)!);
    const lists = fields.filter(({ requires }) => requires);
    const [type, plan] = [withRole(/^COP_TYPE$/), withRole(/^DAG$/)];
    return [
      ...(start && end
        ? [
            {
              field: `${start.name} and ${end.name}`,
              role: start.role,
              value: 'a start behind its end',
              isFatal: isFatalRange(ending),
              nodes: sorted(...without(start, end), swapped(start, end), swapped(end, start)),
            },
          ]
        : []),
      ...lists.map((list) => ({
        field: list.name,
        role: 'a list',
        value: 'none',
        isFatal: true,
        nodes: without(list),
      })),
      ...(ending === 'ANALYZED_COLUMNS' ? this.analyzes(name, depth) : []),
      ...(type && plan
        ? PLANS.flatMap(([tp, message]) =>
            this.variants(message, depth + 1).map((inner) => ({
              ...inner,
              field: `${plan.name} as ${message}.${inner.field}`,
              nodes: sorted(
                ...without(type, plan),
                this.valueNode(type.number, tp),
                node(plan.number, Wire.BYTES, { message, children: inner.nodes }),
              ),
            })),
          )
        : []),
    ];
  }

  /** An ANALYZE that reads columns which it does not list. */
  private analyzes(name: string, depth: number): Variant[] {
    const columns = this.schema.message(name).fields.find(({ name: field }) => field === 'col_req')!;
    return columnsOutside().map(([value, is]) => ({
      field: columns.name,
      role: 'columns',
      value,
      isFatal: true,
      nodes: this.around(name, columns, this.valueNode(columns.number, is), depth),
    }));
  }

  /** A good message with this field in it in place of its own, or of its alternatives. */
  private around(name: string, field: JudgedField, put: Node, depth: number): Node[] {
    const rivals = this.alternatives(name, field);
    const others = this.fields(name, depth).filter((n) => n.field !== field.number && !rivals.has(n.field));
    return [...others, put].sort((a, b) => a.field - b.field);
  }

  private desc(name: string): DescMessage {
    return describe(this.schema.message(name).name);
  }

  private alternatives(name: string, field: JudgedField): Set<number> {
    const described = this.desc(name).field;
    const own = Object.values(described).find(({ number }) => number === field.number);
    const oneof = own?.oneof;
    return new Set(oneof?.fields.map(({ number }) => number) ?? []);
  }

  /** Good fields of a message; of alternatives the first one. */
  private fields(name: string, depth: number): Node[] {
    if (name === CONTEXT) return read(this.attacker.context, this.schema.messages.get(name), this.schema);
    const nodes: Node[] = [];
    const taken = new Set<number>();
    for (const field of this.schema.message(name).fields) {
      if (['DROP', 'EMPTIED', 'REFUSED'].includes(field.role)) continue;
      const rivals = this.alternatives(name, field);
      if ([...rivals].some((number) => taken.has(number))) continue;
      const made = this.goodField(field, name, depth);
      if (made === undefined) continue;
      taken.add(field.number);
      nodes.push(made);
    }
    return nodes;
  }

  private goodField(field: JudgedField, within: string, depth: number): Node | undefined {
    const { number, kind, message, name } = field;
    if (message !== undefined) {
      if (depth >= MAX_DEPTH || message === within) return undefined;
      return node(number, Wire.BYTES, { message, children: this.fields(message, depth + 1) });
    }
    const value = this.goodValue(field);
    if (value !== undefined) return this.valueNode(number, value);
    if (kind === Kind.VARINT && name === 'cluster_id') return this.valueNode(number, this.attacker.clusterId);
    if (kind === Kind.VARINT && /^(limit|max_key_count|count|ttl|lock_ttl|txn_size)$/i.test(name))
      return this.valueNode(number, 100n);
    return undefined;
  }

  private goodValue(field: JudgedField): Uint8Array | bigint | undefined {
    const { key, now } = this.attacker;
    const { role } = field;
    if (/^(RANGE|ENC|PLACE)_START$/.test(role)) return isPlaceRole(role) ? memcomparable(key) : key;
    if (role === 'RANGE_END' || /^(ENC|PLACE)_END$/.test(role))
      return isPlaceRole(role) ? memcomparable(TABLE_END) : TABLE_END;
    if (role === 'KEY_OR_NONE') return undefined;
    if (isKeyRole(role)) return key;
    if (role === 'ENC_KEY') return memcomparable(key);
    switch (role) {
      case 'ETCD_KEY':
      case 'ETCD_READ_KEY':
        return text('/own');
      case 'TIMESTAMP':
        // A commit lies behind its start.
        return /^(commit_version|status)$/.test(field.name) ? now() + 1n : now();
      case 'TIMESTAMP_OR_MAX':
      case 'READ_TIMESTAMP_OR_MAX':
      case 'TXN_START':
        return now();
      case 'RESOURCE_PATH':
        return text('resource_group/settings/own');
      case 'GROUP':
      case 'GROUP_LABEL':
      case 'OWN_GROUP':
        return text('own');
      case 'SCATTER_GROUP':
      case 'SERVICE_ID':
        return text('own');
      case 'SERVICE_TTL':
      case 'LEASE_TTL':
        return 30n;
      case 'SERVICE_SAFE_POINT':
        return now();
      case 'TSO_COUNT':
        return 1n;
      case 'COP_TYPE':
        return DAG_REQUEST;
      case 'ONE_OF':
        return BigInt(field.allowed[0]!);
      case 'DAG':
        return scanOf(TABLE, 1);
      default:
        return undefined;
    }
  }

  /** Every field with a role holds this neighbour's value at once. */
  private all(name: string, victim: Victim, depth: number): Node[] {
    // Its region with the epoch that the store will take.
    if (name === CONTEXT) return read(victim.context, this.schema.messages.get(name), this.schema);
    const only: Attacker = { ...this.attacker, victims: [victim] };
    const nodes: Node[] = [];
    const taken = new Set<number>();
    for (const field of this.schema.message(name).fields) {
      const rivals = this.alternatives(name, field);
      if ([...rivals].some((number) => taken.has(number))) continue;
      let made: Node | undefined;
      if (field.message !== undefined && depth < MAX_DEPTH && field.message !== name)
        made = node(field.number, Wire.BYTES, {
          message: field.message,
          children: this.all(field.message, victim, depth + 1),
        });
      else if (field.message === undefined) {
        // Roles with other values keep their good ones: what a store reads first must not be what it turns away.
        const value =
          /^(READ_TIMESTAMP|TIMESTAMP|TXN_START|FOR_UPDATE|API|KEYSPACE|COLUMN_FAMILY|COP_TYPE|EXECUTOR|REGION_VERSION|REGION_CONF|CLUSTER|STORE|BATCH_IDS|ONE_OF|AT_MOST|CAPPED|AMOUNT)/.test(
            field.role,
          ) ||
          (field.role === 'ANY_VALUE' && !isId(field))
            ? undefined
            : valuesOf(field, only)[field.role.endsWith('_END') ? 2 : 0]?.[1];
        made = value === undefined ? this.goodField(field, name, depth) : this.forgedNode(field, value);
      }
      if (made === undefined) continue;
      taken.add(field.number);
      nodes.push(made);
    }
    return nodes;
  }

  /** Two readings, unknown fields, a wrong wire type, a message that is cut short. */
  private malformed(name: string): Forgery[] {
    const good = this.fields(name, 0);
    const [victim] = this.attacker.victims;
    const foreign = victim!.key;
    const keys = this.schema
      .message(name)
      .fields.filter(({ role, kind }) => kind === Kind.BYTES && role !== 'ROLE_UNSPECIFIED');
    const forms: [string, Node[]][] = [
      ['an unknown field', [...good, node(9000, Wire.BYTES, { bytes: foreign })]],
      ['an unknown number', [...good, node(9000, Wire.VARINT, { value: MAX_U64 })]],
      ['a group', [...good, node(9000, Wire.START), node(9000, Wire.END)]],
      ...keys.flatMap(({ number, name: field }): [string, Node[]][] => [
        // Twice even where the good message has none: once alone, a value would be stored, and come back in later answers.
        [`${field} twice`, [...good, ...twice(node(number, Wire.BYTES, { bytes: foreign }))]],
        [`${field} with a long tag`, [...good, node(number, Wire.BYTES, { bytes: foreign, tagPadding: 3 })]],
        [`${field} as a number`, [...good, node(number, Wire.VARINT, { value: 7n })]],
        [
          `${field} that lies about its length`,
          [...good, node(number, Wire.BYTES, { bytes: foreign, lie: 5 })],
        ],
      ]),
    ];
    return forms.map(([value, nodes]) => ({
      field: '',
      role: 'malformed',
      value,
      isFatal: false,
      bytes: write(nodes),
    }));
  }
}
