/**
 * Tests whether key ranges can be in one store: they must have no key in common, and one store must serve all their requests.
 *
 * What a store serves (TiKV src/storage/mod.rs check_api_version, components/api_version/src/api_v2.rs parse_key_mode):
 *
 *   store     API V1 txn     API V1 raw       API V2
 *   V1        any key        any key, but not both: they write into the same column family
 *   V2        m... t...      none             x... txn, r... raw
 */
import { Codec } from '../keys/codec';
import { KeyRange, compareStarts, freeRange, overlap } from '../keys/range';
import { RAW, Space, tableTenants } from '../keys/space';
import { Tenant } from './tenant';

const M: u8 = 0x6d;
const T: u8 = 0x74;
const HEX: string = '0123456789abcdef';

/** The keys of the tenant with this index. For a table tenant: those of all possible table tenants. */
class Owned {
  constructor(
    public range: KeyRange,
    public tenant: i32,
  ) {}
}

function isKeyspace(space: Space): bool {
  return space.apiVersion != 0;
}

function isPrefix(space: Space): bool {
  return space.codec == Codec.PREFIX && !isKeyspace(space);
}

function isRaw(space: Space): bool {
  return (space.capabilities & RAW) != 0;
}

function hasTiDBsKeys(space: Space): bool {
  if (!isPrefix(space)) return !isKeyspace(space);
  const first = load<u8>(space.keys.at);
  return first == M || first == T;
}

/** A tenant by its index in the configuration. */
function at(i: i32): string {
  return 'tenants[' + i.toString() + ']';
}

function field(space: Space): string {
  return isKeyspace(space) ? '.keyspace' : isPrefix(space) ? '.prefix' : '';
}

function hex(p: usize, length: usize): string {
  let text = '';
  for (let i: usize = 0; i < length; i++) {
    const byte = load<u8>(p + i);
    text += HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  }
  return text;
}

function described(space: Space): string {
  if (space.codec == Codec.TABLE) return 'which like all table tenants lies in `t` 80 01 to `t` FF FF';
  if (space.codec == Codec.TENANT_ZERO)
    return 'tenant 0, which owns everything below `t` 80 01; beside it can stand table tenants and keyspaces of mode txn';
  if (isKeyspace(space))
    return 'keyspace ' + space.keyspaceId.toString() + ' of mode ' + (isRaw(space) ? 'raw' : 'txn');
  return 'behind the prefix with the hex ' + hex(space.keys.at, space.keys.length);
}

/** '' or one line: the first tenants that no single store can serve. */
function servedTogether(tenants: Tenant[]): string {
  let keyspace = -1;
  let rawPrefix = -1;
  let txn = -1;
  let foreign = -1;
  for (let i = tenants.length - 1; i >= 0; i--) {
    const space = tenants[i].terms.space;
    if (isKeyspace(space)) keyspace = i;
    else if (isRaw(space)) rawPrefix = i;
    else txn = i;
    if (!isRaw(space) && isPrefix(space) && !hasTiDBsKeys(space)) foreign = i;
  }
  if (rawPrefix >= 0 && keyspace >= 0)
    return (
      at(rawPrefix) +
      '.prefix.mode: "raw" beside the keyspace of ' +
      at(keyspace) +
      ': a store with API V2 takes raw requests for keyspaces only; give it a keyspace of mode "raw"'
    );
  if (rawPrefix >= 0 && txn >= 0)
    return (
      at(rawPrefix) +
      '.prefix.mode: "raw" beside ' +
      at(txn) +
      ', which writes transactions: API V1 raw and txn data do not share a store; give it a store of its own'
    );
  if (foreign >= 0 && keyspace >= 0)
    return (
      at(foreign) +
      '.prefix: beside the keyspace of ' +
      at(keyspace) +
      ': a store with API V2 takes other keys only when they begin with TiDB\'s own m or t; give it a keyspace of mode "txn"'
    );
  return '';
}

/** '' or one line: the first two key ranges with a key in common. */
function disjoint(tenants: Tenant[]): string {
  const owned: Owned[] = [];
  const ofTable = new Map<u32, i32>();
  let tables = -1;
  for (let i = 0; i < tenants.length; i++) {
    const space = tenants[i].terms.space;
    if (space.codec != Codec.TABLE) owned.push(new Owned(space.keys, i));
    else if (ofTable.has(space.keyNumber)) return sharedTable(tenants, ofTable.get(space.keyNumber), i);
    else {
      ofTable.set(space.keyNumber, i);
      if (tables < 0) tables = i;
    }
  }
  const all = tableTenants();
  if (tables >= 0) owned.push(new Owned(all, tables));
  owned.sort((one, other) => compareStarts(one.range, other.range));
  let error = '';
  for (let i = 1; i < owned.length && error.length == 0; i++)
    if (overlap(owned[i - 1].range, owned[i].range))
      error = shared(
        tenants,
        min(owned[i - 1].tenant, owned[i].tenant),
        max(owned[i - 1].tenant, owned[i].tenant),
      );
  freeRange(all);
  return error;
}

/** The error for two table tenants with the same number in their keys. At least one has moved; the error says where to change it. */
function sharedTable(tenants: Tenant[], first: i32, second: i32): string {
  const hasMoved = tenants[second].terms.space.keyNumber != tenants[second].terms.number;
  const blamed = hasMoved ? second : first;
  const number = tenants[blamed].terms.space.keyNumber.toString();
  return (
    at(blamed) + '.keyNumber: ' + number + ' is in the keys of ' + at(hasMoved ? first : second) + ' already'
  );
}

/** The error for two tenants with common keys. At least one has a prefix or a keyspace; the error says where to change it. */
function shared(tenants: Tenant[], first: i32, second: i32): string {
  const blamed = tenants[second].terms.space.codec == Codec.PREFIX ? second : first;
  const other = blamed == second ? first : second;
  return (
    at(blamed) +
    field(tenants[blamed].terms.space) +
    ': its keys would lie among those of ' +
    at(other) +
    ', ' +
    described(tenants[other].terms.space)
  );
}

/** '' or one line: why these tenants cannot share one store. */
export function cannotShare(tenants: Tenant[]): string {
  const error = servedTogether(tenants);
  return error.length != 0 ? error : disjoint(tenants);
}
