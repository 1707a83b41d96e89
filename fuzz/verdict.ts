/**
 * What must hold of a message that came out OK, told by the roles of its fields alone: a request asks for nothing outside of the
 * tenant, an answer tells nothing about anybody else. Independent of how the walker works.
 */
import type { JudgedField } from '../src-ts/schema/judgement.ts';
import type { Way } from '../test/unit/filter.ts';
import { compare, concat, EMPTY, hex } from '../test/harness/model/bytes.ts';
import {
  clientGroup,
  CONTROLLER,
  isGroupPath,
  LONGEST,
  objectionToOwn,
} from '../test/harness/model/groups.ts';
import { mayQuoteKeys, READER, WITHHELD } from '../test/harness/model/walker.ts';
import { readVarint } from '../test/harness/model/wire.ts';
import { INSIDE, LATEST, NO_TIMESTAMP_LIMIT } from './facts.ts';
import { Flag } from '../src-ts/schema/bits.ts';
import type { Message, Schema } from './schema.ts';
import {
  isHiddenName,
  isReservedName,
  leaseBase,
  leaseLimit,
  namesPrefix,
  ownService,
  readSincePrefix,
  reservedIn,
  SAVED_SAFE_POINT,
  type Space,
} from './spaces.ts';
import { contents, hasItsWire, read, Wire, type Node } from './tree.ts';

const ETCD_KEYS = new Set(['ETCD_KEY', 'ETCD_READ_KEY']);
/** Below it TiDBs say since when they read. */
const READ_SINCE_FOLDER = new TextEncoder().encode('/tidb/server/minstartts/');
const KEYS = new Set(['KEY', 'KEY_OR_NONE', 'KEY_DROP', 'REWRITE_NEW']);
/** Coprocessor request types, and what their plans are. */
const PLANS = new Map([
  [103n, 'tipb.DAGRequest'],
  [104n, 'tipb.AnalyzeReq'],
  [105n, 'tipb.ChecksumRequest'],
]);
const BOUNDS = new Set(['RANGE_START', 'RANGE_END', 'ENC_START', 'ENC_END', 'PLACE_START', 'PLACE_END']);
function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length && compare(bytes.subarray(0, prefix.length), prefix) === 0;
}

/** True when a range begins at its upper bound. */
function isReverse(message: Message, nodes: readonly Node[]): boolean {
  return nodes.some((n) => message.byNumber.get(n.field)?.role === 'REVERSE' && n.value !== 0n);
}

/** The regions in a field, packed or not. */
function actedOn(n: Node): bigint[] {
  if (n.wire !== Wire.BYTES) return [n.value];
  const ids: bigint[] = [];
  for (let at = 0; at < n.bytes.length;) {
    const found = readVarint(n.bytes, at);
    if (found === undefined) break;
    ids.push(found.value);
    at = found.next;
  }
  return ids;
}

export class Verdict {
  private readonly schema: Schema;
  private readonly space: Space;
  /** Every length-delimited value of the input, in hex. */
  private given = new Set<string>();

  constructor(schema: Schema, space: Space) {
    this.schema = schema;
    this.space = space;
  }

  /** What is wrong with this result; undefined when nothing is. */
  of(message: string, way: Way, input: Uint8Array, output: Uint8Array): string | undefined {
    const described = this.schema.message(message);
    if (way === 'response')
      this.given = new Set([...contents(read(input, described, this.schema))].map((bytes) => hex(bytes)));
    return this.fields(message, read(output, described, this.schema), way);
  }

  private fields(name: string, nodes: readonly Node[], way: Way): string | undefined {
    const message = this.schema.message(name);
    if (this.space.isTenant0 && message.flags & Flag.OWNERS) return undefined;
    const seen = new Set<number>();
    for (const n of nodes) {
      if (n.raw !== undefined) return `${name}: what came out is not protobuf: ${hex(n.raw)}`;
      if (n.wire === Wire.START || n.wire === Wire.END) return `${name}: a group came out`;
      const field = message.byNumber.get(n.field);
      if (field === undefined) {
        if (!(message.flags & Flag.LENIENT)) return `${name}: the unknown field ${n.field} came out`;
        continue;
      }
      const wrong =
        this.shape(field, n) ?? (seen.has(n.field) && !field.repeated ? 'came out twice' : undefined);
      seen.add(n.field);
      const problem = wrong ?? (way === 'request' ? this.sent(field, n) : this.told(field, n));
      if (problem !== undefined) return `${name}.${field.name} (${field.role}) ${problem}`;
      if (n.children !== undefined && field.message !== undefined) {
        const inner = this.fields(field.message, n.children, way);
        if (inner !== undefined) return inner;
      }
    }
    if (way === 'response') return undefined;
    return (
      this.absent(name, seen, isReverse(message, nodes)) ??
      this.names(name, nodes) ??
      this.plans(name, nodes) ??
      this.region(name, nodes)
    );
  }

  /** What a coprocessor request asks for, which lies in bytes. */
  private plans(name: string, nodes: readonly Node[]): string | undefined {
    const message = this.schema.message(name);
    const withRole = (role: string): Node | undefined =>
      nodes.find((n) => message.byNumber.get(n.field)?.role === role);
    const plan = withRole('DAG');
    const type = PLANS.get(withRole('COP_TYPE')?.value ?? 0n);
    if (plan === undefined || type === undefined) return undefined;
    return this.fields(type, read(plan.bytes, this.schema.message(type), this.schema), 'request');
  }

  /** A request that acts on a whole region names one that is the tenant's, or a version that no region has. */
  private region(name: string, nodes: readonly Node[]): string | undefined {
    const { flags, byNumber } = this.schema.message(name);
    if (!(flags & Flag.ACTS_WITHOUT_KEYS)) return undefined;
    if (nodes.some((n) => byNumber.get(n.field)?.role === 'KEY')) return undefined;
    const named = new Map<string, bigint>();
    const collect = (list: readonly Node[], message: string): void => {
      for (const n of list) {
        const field = this.schema.messages.get(message)?.byNumber.get(n.field);
        if (field !== undefined) named.set(field.role, n.value);
        if (n.children !== undefined) collect(n.children, n.message);
      }
    };
    collect(nodes, name);
    const [region, version] = [named.get('REGION_ID'), named.get('REGION_VERSION')];
    if (version === 0n || (region === INSIDE.region && version === INSIDE.version)) return undefined;
    return `${name} acts on the region ${region} at the version ${version}`;
  }

  /** Tenant 0 sees all of etcd but what is reserved. */
  private names(name: string, nodes: readonly Node[]): string | undefined {
    if (!this.space.isTenant0) return undefined;
    const { fields } = this.schema.message(name);
    const value = (role: string): Uint8Array | undefined => {
      const number = fields.find((f) => f.role === role)?.number;
      return nodes.find((n) => n.field === number)?.bytes;
    };
    const end = value('ETCD_END');
    if (end === undefined || end.length === 0) return undefined;
    const changed = value('ETCD_KEY');
    const reserved = reservedIn(changed ?? value('ETCD_READ_KEY') ?? EMPTY, end, changed !== undefined);
    return reserved === undefined ? undefined : `${name}: a range of names that holds ${reserved}`;
  }

  private shape(field: JudgedField, n: Node): string | undefined {
    return hasItsWire(field, n) ? undefined : `has the wire type ${n.wire}`;
  }

  /** Fields without which a request would mean more than the tenant's own part. */
  private absent(name: string, seen: ReadonlySet<number>, reverse: boolean): string | undefined {
    const { fields } = this.schema.message(name);
    const hasNames = fields.some((f) => f.role === 'ETCD_END');
    const path = fields.find((f) => f.role === 'RESOURCE_PATH');
    if (this.space.apiVersion !== 0) {
      if (this.schema.message(name).flags & Flag.HAS_CONTEXT && !seen.has(1)) return `${name} has no context`;
      const said = fields.find((f) => ['API_VERSION', 'KEYSPACE_ID'].includes(f.role) && !seen.has(f.number));
      if (said !== undefined) return `${name}.${said.name} (${said.role}) is absent`;
    }
    for (const field of fields) {
      if (seen.has(field.number) || field.repeated) continue;
      // Nothing lies before tenant 0.
      if (this.space.isTenant0 && field.role.endsWith(reverse ? '_END' : '_START') && BOUNDS.has(field.role))
        continue;
      if (field.role === 'ONE_OF' && !field.allowed.includes(0) && !this.isLenient(name))
        return `${name}.${field.name} is absent`;
      const needed = field.role === 'KEY' || BOUNDS.has(field.role) || field === path;
      if (needed || (hasNames && !this.space.isTenant0 && ETCD_KEYS.has(field.role)))
        return `${name}.${field.name} (${field.role}) is absent`;
    }
    return undefined;
  }

  private isLenient(name: string): boolean {
    return (this.schema.message(name).flags & Flag.LENIENT) !== 0;
  }

  private insideOrEnd(key: Uint8Array): boolean {
    return this.space.contains(key) || compare(key, this.space.behind) === 0;
  }

  /** A field of a request on its way to the store. */
  private sent(field: JudgedField, n: Node): string | undefined {
    const { role } = field;
    const shown = hex(n.bytes);
    if (KEYS.has(role)) {
      if (role === 'KEY_OR_NONE' && n.bytes.length === 0) return undefined;
      return n.bytes.length > 0 && this.space.contains(n.bytes) ? undefined : `asks for ${shown}, outside`;
    }
    if (role === 'RANGE_START' || role === 'RANGE_END')
      return this.insideOrEnd(n.bytes) ? undefined : `reaches ${shown}, outside`;
    if (role === 'ENC_KEY' || role === 'ENC_START' || role === 'ENC_END') {
      if (n.bytes.length === 0 && this.space.isTenant0 && role !== 'ENC_END') return undefined;
      const key = this.space.fromForm(n.bytes, 'store');
      if (key === undefined) return `sends ${shown}, which is no encoded key`;
      const good = role === 'ENC_KEY' ? this.space.contains(key) : this.insideOrEnd(key);
      return good ? undefined : `reaches ${shown}, outside`;
    }
    if (role === 'PLACE_START' || role === 'PLACE_END') {
      const good =
        this.space.holdsPlace(n.bytes) ||
        (n.bytes.length === 0 && this.space.isTenant0 && role === 'PLACE_START');
      return good ? undefined : `asks for regions at ${shown}, outside`;
    }
    switch (role) {
      case 'DROP':
      case 'EMPTIED':
      case 'REFUSED':
        return 'came out';
      case 'ETCD_KEY':
      case 'ETCD_READ_KEY': {
        // A range that tenant 0 reads may begin anywhere among what says since when all tenants read.
        const since = this.space.isTenant0 && startsWith(n.bytes, READ_SINCE_FOLDER);
        const shared = role === 'ETCD_READ_KEY' && (since || hex(n.bytes) === hex(SAVED_SAFE_POINT));
        const own = [namesPrefix(this.space), readSincePrefix(this.space)].some((at) =>
          startsWith(n.bytes, at),
        );
        return shared || (own && !isReservedName(this.space, n.bytes))
          ? undefined
          : `asks for ${shown}, outside`;
      }
      case 'ETCD_END': {
        if (this.space.isTenant0) return undefined;
        const good = [namesPrefix(this.space), readSincePrefix(this.space)].some((prefix) => {
          const behind = concat(prefix.subarray(0, -1), [(prefix.at(-1) ?? 0) + 1]);
          return startsWith(n.bytes, prefix) || compare(n.bytes, behind) === 0;
        });
        return good || n.bytes.length === 0 ? undefined : `reaches ${shown}, outside`;
      }
      case 'CLIENT_ID': {
        const base = (1n << 63n) | (BigInt(this.space.choice.number) << 11n);
        return n.value >> 11n === base >> 11n ? undefined : `is the client ${n.value}, another's`;
      }
      case 'SCATTER_GROUP': {
        const { number } = this.space.choice;
        const stored = Buffer.from(n.bytes).toString('latin1');
        const isOwn = number === 0 ? !/^[0-9]+:/.test(stored) : stored.startsWith(`${number}:`);
        return stored === '' || isOwn ? undefined : `is the group ${stored}, another's`;
      }
      case 'LEASE_ID':
      case 'LEASE_GRANT_ID':
        if (n.value === 0n && role === 'LEASE_ID') return undefined;
        return n.value >= leaseBase(this.space) && n.value - leaseBase(this.space) < leaseLimit(this.space)
          ? undefined
          : `is the lease ${n.value}, another's`;
      case 'SERVICE_ID':
        return shown === hex(new TextEncoder().encode(READER)) || startsWith(n.bytes, ownService(this.space))
          ? undefined
          : `is ${shown}`;
      case 'API_VERSION':
        return n.value === BigInt(this.space.apiVersion) ? undefined : `is ${n.value}`;
      case 'KEYSPACE_ID':
        return n.value === BigInt(this.space.keyspaceId) ? undefined : `is ${n.value}`;
      case 'TIMESTAMP_OR_MAX':
      case 'READ_TIMESTAMP_OR_MAX':
      case 'TIMESTAMP':
      case 'TXN_START':
      case 'FOR_UPDATE':
        if (n.value === NO_TIMESTAMP_LIMIT && role.endsWith('_OR_MAX')) return undefined;
        return n.value <= LATEST ? undefined : `is ${n.value}, in the future`;
      case 'ONE_OF':
        return field.allowed.some((value) => BigInt(value) === n.value) ? undefined : `is ${n.value}`;
      case 'AT_MOST':
      case 'CAPPED':
        return n.value <= field.limit! ? undefined : `is ${n.value}, above ${field.limit}`;
      case 'AMOUNT': {
        const amount = Buffer.from(n.bytes).readDoubleLE();
        return Math.abs(amount) <= 2 ** 53 ? undefined : `is ${amount}`;
      }
      case 'COLUMN_FAMILY': {
        const name = Buffer.from(n.bytes).toString('latin1');
        return ['', 'default'].includes(name) ? undefined : `is ${name}`;
      }
      case 'EXECUTOR':
        return BigInt.asUintN(32, n.value) === 20n && this.space.apiVersion === 2
          ? 'looks rows up'
          : undefined;
      case 'TABLE_ID':
        if (this.space.tableIdTag === undefined) return undefined;
        return n.value >> 48n === this.space.tableIdTag >> 48n ? undefined : `is ${n.value}`;
      case 'REGION_ACT':
        return actedOn(n).every((id) => id === 0n || id === INSIDE.region)
          ? undefined
          : `acts on ${actedOn(n)}`;
      case 'SAFE_POINT_IN':
        return n.value === 0n ? undefined : `is ${n.value}`;
      case 'GROUP':
      case 'GROUP_LABEL':
      case 'OWN_GROUP': {
        const owner = this.space.choice;
        // Fuzzed names need not be UTF-8.
        const stored = Buffer.from(n.bytes).toString('latin1');
        const name = clientGroup(owner, stored);
        if (name === undefined) return `names the group ${stored}, another's`;
        if (role !== 'OWN_GROUP' && stored.length > LONGEST) return `has ${stored.length} bytes`;
        return role === 'OWN_GROUP' && objectionToOwn(owner, name, 'latin1') !== undefined
          ? `is ${name}`
          : undefined;
      }
      case 'TSO_COUNT':
        return n.value <= 16384n ? undefined : `is ${n.value}`;
      case 'LABEL':
        return n.bytes.length <= 128 ? undefined : `has ${n.bytes.length} bytes`;
      case 'RESOURCE_END':
      case 'RESOURCE_PATH': {
        const path = Buffer.from(n.bytes).toString('latin1');
        const isKnown =
          role === 'RESOURCE_END'
            ? ['', 'resource_group/settingt', 'resource_group/controlles'].includes(path)
            : path === 'resource_group/settings' || path === CONTROLLER || isGroupPath(path);
        return isKnown ? undefined : `is ${path}`;
      }
      case 'SEGMENT': {
        const text = Buffer.from(n.bytes).toString('latin1');
        return text.includes('/') || text === '.' || text === '..' ? `is ${text}` : undefined;
      }
      default:
        return undefined;
    }
  }

  /** True when the store said this key, in the tenant's part of its keys. */
  private wasGiven(key: Uint8Array, isEncoded: boolean): boolean {
    const has = (stored: Uint8Array): boolean =>
      this.given.has(hex(isEncoded ? this.space.toForm(stored, 'store') : stored));
    const stored = this.space.encode(key, 'key');
    // Behind the prefix a key may lie that no client can write; it is the tenant's own all the same.
    return (stored instanceof Uint8Array && has(stored)) || has(concat(this.space.start, key));
  }

  /** A field of an answer on its way to the tenant. */
  private told(field: JudgedField, n: Node): string | undefined {
    const { role } = field;
    const shown = hex(n.bytes);
    if (KEYS.has(role) || BOUNDS.has(role) || role === 'ENC_KEY') {
      if (n.bytes.length === 0) return undefined;
      const isEncoded = role.startsWith('ENC_');
      const key = isEncoded ? this.space.fromForm(n.bytes, 'client') : n.bytes;
      if (key === undefined)
        return BOUNDS.has(role) && this.space.ownsBroken(n.bytes) && this.given.has(shown)
          ? undefined
          : `shows ${shown}, which is no encoded key`;
      if (this.wasGiven(key, isEncoded)) return undefined;
      return BOUNDS.has(role) && this.isClamped(key)
        ? undefined
        : `shows ${shown}, which is not the tenant's`;
    }
    switch (role) {
      case 'DROP':
      case 'EMPTIED':
        return 'came out';
      case 'TEXT': {
        const text = Buffer.from(n.bytes).toString('latin1');
        return text === WITHHELD || !mayQuoteKeys(text) ? undefined : `says ${shown}`;
      }
      case 'ETCD_KEY':
        return this.wasNamed(n.bytes) && !isHiddenName(this.space, n.bytes) ? undefined : `shows ${shown}`;
      case 'LEASE_ID':
      case 'LEASE_GRANT_ID':
        return n.value < leaseLimit(this.space) ? undefined : `shows the lease ${n.value}`;
      default:
        return undefined;
    }
  }

  /** True when etcd said a name of the tenant's that the client knows by this one. */
  private wasNamed(name: Uint8Array): boolean {
    const has = (stored: Uint8Array): boolean => this.given.has(hex(stored));
    if (hex(name) === hex(SAVED_SAFE_POINT) && has(name)) return true;
    const rest = name.subarray(READ_SINCE_FOLDER.length);
    if (startsWith(name, READ_SINCE_FOLDER) && has(concat(readSincePrefix(this.space), rest))) return true;
    return has(concat(namesPrefix(this.space), name));
  }

  /** A bound inside the tenant's part that no logical key has becomes the next one that has. */
  private isClamped(key: Uint8Array): boolean {
    const next = this.space.decode(concat(this.space.start, [0xff]), 'lower');
    return next instanceof Uint8Array && compare(next, key) === 0;
  }
}
