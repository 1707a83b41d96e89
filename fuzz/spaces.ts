/** The key spaces that inputs are run in. How one is chosen in the filter is known here only. */
import type { Filter, SpaceChoice } from '../test/unit/filter.ts';
import { compare, concat, EMPTY, unhex } from '../test/harness/model/bytes.ts';
import * as model from '../test/harness/model/key-spaces.ts';
import type { Random } from '../test/harness/model/random.ts';
import {
  fromMemcomparable,
  memcomparable,
  type Bound,
  type Result,
} from '../test/harness/model/table-codec.ts';

/** A tenant's key space as the reference model sees it. */
export class Space {
  readonly name: string;
  readonly tenant: string;
  readonly choice: SpaceChoice;
  readonly reference: model.KeySpace;

  constructor(choice: SpaceChoice) {
    this.choice = choice;
    this.reference = model.spaceOf(choice);
    this.name = this.reference.name;
    this.tenant = `tenant-${choice.number}`;
  }

  /** TXN, RAW, COPROCESSOR: the flags of requests that it serves. */
  get capabilities(): number {
    return model.capabilities(this.reference);
  }

  /** What the Context of its requests says. */
  get apiVersion(): number {
    return this.choice.keyspace ? 2 : 0;
  }

  get keyspaceId(): number {
    return this.choice.keyspace?.id ?? 0;
  }

  /** Added to table ids on their way to the store; undefined where they stay as they are. */
  get tableIdTag(): bigint | undefined {
    const { number, keyspace, prefix } = this.choice;
    return number === 0 || keyspace || prefix ? undefined : BigInt(number) << 48n;
  }

  choose(filter: Filter): void {
    filter.selectSpace(this.choice, this.tenant);
  }

  get isTenant0(): boolean {
    return this.choice.number === 0;
  }

  /** What stands in front of keys that the codec does not change in place. */
  get start(): Uint8Array {
    return this.encode(EMPTY, 'lower') as Uint8Array;
  }

  /** Its first key, and the first one behind it: raw keys of the store. */
  get first(): Uint8Array {
    return this.reference.first;
  }

  get behind(): Uint8Array {
    return this.reference.behind;
  }

  /** A client's raw key or bound to the store's, and back. */
  encode(key: Uint8Array, bound: Bound): Result {
    return this.reference[({ key: 'encodeKey', lower: 'encodeLower', upper: 'encodeUpper' } as const)[bound]](
      key,
    );
  }

  decode(key: Uint8Array, bound: Bound): Result {
    return this.reference[({ key: 'decodeKey', lower: 'decodeStart', upper: 'decodeEnd' } as const)[bound]](
      key,
    );
  }

  /** The same in PD's form. */
  encodeEncoded(key: Uint8Array, bound: Bound): Result {
    return model.encodeEncoded(this.reference, key, bound);
  }

  /** Undefined when it has a place that the model does not know. */
  encodePlace(key: Uint8Array, bound: 'lower' | 'upper'): Result | undefined {
    return model.encodePlace(this.reference, key, bound);
  }

  decodeEncoded(key: Uint8Array, bound: Bound): Result {
    return model.decodeEncoded(this.reference, key, bound);
  }

  /** A raw key in PD's form at the client's or the store's side. */
  toForm(key: Uint8Array, side: 'client' | 'store'): Uint8Array {
    return this.encodes(side) ? memcomparable(key) : key;
  }

  /** Undefined when the bytes are no key in that form. */
  fromForm(bytes: Uint8Array, side: 'client' | 'store'): Uint8Array | undefined {
    return this.encodes(side) ? fromMemcomparable(bytes) : bytes;
  }

  private encodes(side: 'client' | 'store'): boolean {
    return side === 'client' ? this.reference.clientEncodes : this.reference.storeEncodes;
  }

  /** True for a boundary in PD's form that is no encoded key but lies in tenant 0's part: it sees such as they are. */
  ownsBroken(boundary: Uint8Array): boolean {
    return this.isTenant0 && compare(boundary, memcomparable(this.behind)) < 0;
  }

  /** True for bytes, an encoded key or not, between the space's bounds as PD has them: where a look-up of regions may ask. */
  holdsPlace(bytes: Uint8Array): boolean {
    const isBelow = this.isTenant0
      ? bytes.length === 0
      : compare(bytes, this.toForm(this.first, 'store')) < 0;
    return !isBelow && compare(bytes, this.toForm(this.behind, 'store')) <= 0;
  }

  contains(key: Uint8Array): boolean {
    return compare(key, this.first) >= 0 && compare(key, this.behind) < 0;
  }

  /** A key of a neighbour that holds this logical key. */
  neighbour(key: Uint8Array): Uint8Array {
    return concat(this.behind, key);
  }
}

/** Boundaries of the tag's two bytes, of keyspace ids, of prefixes: short, long, ending in FF. */
const CHOICES: readonly SpaceChoice[] = [
  ...[1, 2, 255, 256, 32766, 0].map((number) => ({ number })),
  { number: 8, ownDefaultGroup: true },
  ...[0, 7, 0xffff, 0xffffff].map((id) => ({ number: 3, keyspace: { id, mode: 'txn' as const } })),
  { number: 4, keyspace: { id: 7, mode: 'raw' } },
  { number: 5, prefix: { bytes: new TextEncoder().encode('app1:'), mode: 'txn' } },
  { number: 5, prefix: { bytes: new TextEncoder().encode('app1:'), mode: 'raw' } },
  { number: 6, prefix: { bytes: unhex('7400ff'), mode: 'txn' } },
  { number: 6, prefix: { bytes: unhex('00'), mode: 'raw' } },
  { number: 7, prefix: { bytes: new Uint8Array(128).fill(0x70), mode: 'txn' } },
  { number: 7, prefix: { bytes: unhex('6d0102030405060708'), mode: 'raw' } },
];

export const SPACES: readonly Space[] = CHOICES.map((choice) => new Space(choice));

const WITH_TRANSACTIONS = SPACES.filter((space) => space.capabilities & model.TXN);
const BY_NAME = new Map(SPACES.map((space) => [space.name, space]));

/** One of them; seldom one that serves no transactions, which most messages need. */
export function pickSpace(random: Random): Space {
  return random.pick(random.chance(85) ? WITH_TRANSACTIONS : SPACES);
}

export function spaceNamed(name: string): Space {
  const found = BY_NAME.get(name);
  if (found === undefined) throw new Error(`no key space is called ${name}`);
  return found;
}

/** What the tenant's keys in etcd begin with. */
export function namesPrefix(space: Space): Uint8Array {
  return space.isTenant0 ? EMPTY : new TextEncoder().encode(`/tidb-mesh/${space.tenant}:`);
}

/** The key that all tenants read. */
export const SAVED_SAFE_POINT = new TextEncoder().encode('/tidb/store/gcworker/saved_safe_point');

/** What the tenant's keys that say since when its TiDBs read begin with. */
export function readSincePrefix(space: Space): Uint8Array {
  return new TextEncoder().encode(`/tidb/server/minstartts/${space.isTenant0 ? '' : `${space.tenant}:`}`);
}

/** What the names of the tenant's service safe points begin with. */
export function ownService(space: Space): Uint8Array {
  return new TextEncoder().encode(`tidb-mesh:${space.tenant}:`);
}

/** Keys of etcd that even tenant 0 does not ask for. */
export function isReservedName(space: Space, name: Uint8Array): boolean {
  const shown = Buffer.from(name).toString('latin1');
  return space.isTenant0 && /^\/(tidb-mesh\/|pd(\/|$)|tidb\/server\/minstartts\/[^]*:)/.test(shown);
}

/** Keys of etcd that even tenant 0 does not see. Since when all tenants read it does: GC may be its. */
export function isHiddenName(space: Space, name: Uint8Array): boolean {
  const shown = Buffer.from(name).toString('latin1');
  return space.isTenant0 && /^\/(tidb-mesh\/|pd(\/|$))/.test(shown);
}

/** A reserved key in [key, end), where an end of `\0` is open; undefined when there is none. More of them are, for whoever changes the range. */
export function reservedIn(key: Uint8Array, end: Uint8Array, changes: boolean): string | undefined {
  const open = end.length === 1 && end[0] === 0;
  const names = ['/pd', '/pd/', '/tidb-mesh/'];
  return [...names, ...(changes ? ['/tidb/server/minstartts/other:a'] : [])].find((name) => {
    const at = new TextEncoder().encode(name);
    return compare(at, key) >= 0 && (open || compare(at, end) < 0);
  });
}

/** The tenant's lease ids in etcd: this number and the ids of a client added; tenant 0's are its own. */
export function leaseBase(space: Space): bigint {
  return space.isTenant0 ? 0n : (1n << 63n) | (BigInt(space.choice.number) << 48n);
}

/** Lease ids that a client of the space may hold are below. */
export function leaseLimit(space: Space): bigint {
  return space.isTenant0 ? 1n << 63n : 1n << 48n;
}
