/** The key spaces that inputs are run in. How one is chosen in the filter is known here only. */
import type { Filter } from '../unit/filter.ts';
import * as table from '../unit/model/table-codec.ts';

export type Bound = 'key' | 'lower' | 'upper';

/** A tenant's key space as the reference model sees it. */
export interface Space {
  readonly name: string;
  /** The tenant's number, in its lease ids and in the table codec's keys. */
  readonly number: number;
  readonly tenant: string;
  choose(filter: Filter): void;
  /** Its first key, and the first one behind it. */
  readonly first: Uint8Array;
  readonly behind: Uint8Array;
  encode(key: Uint8Array, bound: Bound): table.Result;
  decode(key: Uint8Array, bound: Bound): table.Result;
  encodeEncoded(key: Uint8Array, bound: Bound): table.Result;
  decodeEncoded(key: Uint8Array, bound: Bound): table.Result;
  /** A key of a neighbour that holds this logical key. */
  neighbour(key: Uint8Array): Uint8Array;
}

function tableSpace(number: number): Space {
  const tenant = `tenant-${number}`;
  const encoders = { key: table.encodeKey, lower: table.encodeLower, upper: table.encodeUpper };
  const decoders = { key: table.decodeKey, lower: table.decodeStart, upper: table.decodeEnd };
  return {
    name: `table ${number}`,
    number,
    tenant,
    choose: (filter) => filter.select(number, tenant),
    first: table.first(number),
    behind: table.behind(number),
    encode: (key, bound) => encoders[bound](number, key),
    decode: (key, bound) => decoders[bound](number, key),
    encodeEncoded: (key, bound) => table.encodeEncoded(number, key, bound),
    decodeEncoded: (key, bound) => table.decodeEncoded(number, key, bound),
    neighbour: (key) => table.encodeLower(number === 32766 ? number - 1 : number + 1, key) as Uint8Array,
  };
}

/** The borders of the tag's two bytes are among them. */
export const SPACES: readonly Space[] = [1, 2, 255, 256, 32766].map(tableSpace);

export function spaceNamed(name: string): Space {
  const found = SPACES.find((space) => space.name === name);
  if (found === undefined) throw new Error(`no key space is called ${name}`);
  return found;
}

export function namesPrefix(space: Space): Uint8Array {
  return new TextEncoder().encode(`/tidb-mesh/${space.tenant}:`);
}

const LEASE_BITS = 48n;

/** The first lease id of the tenant in etcd, as an unsigned number. */
export function leaseBase(space: Space): bigint {
  return (1n << 63n) | (BigInt(space.number) << LEASE_BITS);
}
