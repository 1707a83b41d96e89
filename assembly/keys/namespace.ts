/**
 * Maps etcd keys and leases: every key behind the tenant's prefix, every lease id into the tenant's block.
 *
 *   key     -> "/tidb-mesh/" name ":" key      names hold no ':', so that no prefix begins another one
 *   lease   -> 1 | number:15 | id:48           etcd itself never makes negative ids
 *   client  -> 1 | number:52 | id:11           who asks PD for tokens; the ids of the storage layer's own clients are shorter
 *
 * Tenant 0 keeps its keys and leases. Reserved keys and negative lease ids do not exist for it:
 *
 *   /pd  /pd/...       PD's own            /tidb-mesh/...    the other tenants'
 *
 * Two names are shared by all tenants, see read-since.ts.
 */
import { alloc } from '../memory/arena';
import { Ascii, ascii, isSameBytes, startsWith } from '../wire/bytes';
import { Mapped } from './mapped';
import { compareBytes } from './range';
import * as readSince from './read-since';
import { FOLDER, FOLDER_END } from './read-since';

let prefix: usize = 0;
let prefixLength: usize = 0;
let leaseBase: u64 = 0;
let clientBase: u64 = 0;
/** The tenant is number 0. */
let isTenantZero: bool = false;

/** The result of a mapping that returned SAME or REPLACED. */
export let namedAt: usize = 0;
export let namedLength: usize = 0;
/** The end of the range that was mapped last. */
export let namedEndAt: usize = 0;
export let namedEndLength: usize = 0;
/** The tenant's name and a colon. */
export let ownerAt: usize = 0;
export let ownerLength: usize = 0;

const LEASE_BITS: u64 = 0x0000ffffffffffff;
/**
 * TiDB's id in its cluster, which is unique there (pkg/util/globalconn/globalconn.go: ServerIDBits32). With longer ones, two TiDBs of a tenant
 * may get the same id: they share what PD gives to one client.
 */
const CLIENT_ID_BITS: u64 = 11;
const OTHERS: u64 = (<u64>1) << 63;

const PD: Ascii = ascii('/pd');
/** The first key after `/pd/...`. */
const PD_END: Ascii = ascii('/pd0');
const MESH: Ascii = ascii('/tidb-mesh/');
const MESH_END: Ascii = ascii('/tidb-mesh0');

/** Sets the tenant. `at` must end in ':' and stay valid while it is used. */
export function useNamespace(at: usize, length: usize, tenantNumber: u32): void {
  prefix = at;
  prefixLength = length;
  leaseBase = OTHERS | ((<u64>tenantNumber) << 48);
  clientBase = OTHERS | ((<u64>tenantNumber) << CLIENT_ID_BITS);
  isTenantZero = tenantNumber == 0;
  ownerAt = at + MESH.length;
  ownerLength = length - MESH.length;
}

function same(p: usize, length: usize): Mapped {
  namedAt = p;
  namedLength = length;
  return Mapped.SAME;
}

function join(p: usize, length: usize): Mapped {
  namedAt = alloc(prefixLength + length);
  memory.copy(namedAt, prefix, prefixLength);
  memory.copy(namedAt + prefixLength, p, length);
  namedLength = prefixLength + length;
  return Mapped.REPLACED;
}

function shared(): Mapped {
  namedAt = readSince.sharedAt;
  namedLength = readSince.sharedLength;
  return Mapped.REPLACED;
}

function isReserved(p: usize, length: usize): bool {
  if (startsWith(p, length, MESH) || readSince.isTenantsReadSince(p, length)) return true;
  return startsWith(p, length, PD) && (length == 3 || load<u8>(p, 3) == 0x2f);
}

/** Maps a client's key to the stored one. OUTSIDE: it is reserved; the result is the empty key, which etcd rejects. */
export function encodeName(p: usize, length: usize): Mapped {
  if (!isTenantZero) {
    if (!readSince.isReadSince(p, length)) return join(p, length);
    readSince.shareReadSince(p, length, ownerAt, ownerLength);
    return shared();
  }
  if (!isReserved(p, length)) return same(p, length);
  same(0, 0);
  return Mapped.OUTSIDE;
}

/** Maps a client's range end. Empty means one key. `\0` means everything after the key: the prefix with its last byte raised. */
export function encodeNameEnd(p: usize, length: usize): Mapped {
  if (isTenantZero) return same(p, length);
  if (length == 0) return Mapped.SAME;
  if (length > 1 || load<u8>(p) != 0) return join(p, length);
  join(p, 0);
  const last = namedAt + namedLength - 1;
  store<u8>(last, load<u8>(last) + 1);
  return Mapped.REPLACED;
}

/**
 * Maps a client's range into `namedAt` and `namedEndAt`. An empty end means one key. `reads`: keys that all tenants share may be read.
 * OUTSIDE: it holds reserved keys.
 */
export function encodeNameRange(
  key: usize,
  keyLength: usize,
  end: usize,
  endLength: usize,
  reads: bool,
): Mapped {
  namedEndAt = end;
  namedEndLength = endLength;
  if (reachesReserved(key, keyLength, end, endLength)) return Mapped.OUTSIDE;
  if (endLength == 0)
    return reads && readSince.isSavedSafePoint(key, keyLength)
      ? same(key, keyLength)
      : encodeName(key, keyLength);
  if (isTenantZero) {
    // A range that begins at a reserved key is refused even if it is empty.
    if (isReserved(key, keyLength) && !(reads && readSince.isReadSince(key, keyLength)))
      return Mapped.OUTSIDE;
    // The folder holds all tenants' keys, so a range that is deleted must not touch it.
    if (!reads && meets(key, keyLength, end, endLength, FOLDER, FOLDER_END)) return Mapped.OUTSIDE;
    return same(key, keyLength);
  }
  if (readSince.isReadSinceRange(key, keyLength, end, endLength)) {
    readSince.shareReadSinceEnd(end, endLength, ownerAt, ownerLength);
    shared();
    namedEndAt = namedAt;
    namedEndLength = namedLength;
    readSince.shareReadSince(key, keyLength, ownerAt, ownerLength);
    return shared();
  }
  encodeNameEnd(end, endLength);
  namedEndAt = namedAt;
  namedEndLength = namedLength;
  return join(key, keyLength);
}

function isAtOrBehind(p: usize, length: usize, end: Ascii): bool {
  return compareBytes(p, length, changetype<usize>(end), end.length) >= 0;
}

/** True if [key, end), where `\0` is an open end, has a key in [from, to). */
function meets(key: usize, keyLength: usize, end: usize, endLength: usize, from: Ascii, to: Ascii): bool {
  if (isAtOrBehind(key, keyLength, to)) return false;
  if (endLength == 1 && load<u8>(end) == 0) return true;
  return compareBytes(end, endLength, changetype<usize>(from), from.length) > 0;
}

/**
 * True if a client's range holds reserved keys and must be refused. `key` and `end` are the client's; an empty end is one key, which
 * `encodeName` judges. Only tenant 0 can do this: the others' ranges cannot leave their prefix.
 */
export function reachesReserved(key: usize, keyLength: usize, end: usize, endLength: usize): bool {
  if (!isTenantZero || endLength == 0) return false;
  return (
    meets(key, keyLength, end, endLength, PD, PD_END) || meets(key, keyLength, end, endLength, MESH, MESH_END)
  );
}

/**
 * Maps a stored key back to the client's. OUTSIDE: not below the tenant's prefix, or reserved. Tenant 0 sees all tenants' start
 * timestamps, because its TiDBs may lead GC.
 */
export function decodeName(p: usize, length: usize): Mapped {
  if (isTenantZero)
    return isReserved(p, length) && !readSince.isReadSince(p, length) ? Mapped.OUTSIDE : same(p, length);
  if (length < prefixLength || !isSameBytes(p, prefix, prefixLength)) {
    if (readSince.isSavedSafePoint(p, length)) return same(p, length);
    return readSince.unshareReadSince(p, length, ownerAt, ownerLength) ? shared() : Mapped.OUTSIDE;
  }
  namedAt = p + prefixLength;
  namedLength = length - prefixLength;
  return Mapped.REPLACED;
}

/** True for lease ids that a client can have: 48 bits, for tenant 0 all that etcd makes. 0 means none. */
export function isClientLease(id: u64): bool {
  return isTenantZero ? id < OTHERS : id <= LEASE_BITS;
}

/** Maps a client's lease id to etcd's; 0 stays 0. */
export function encodeLease(id: u64): u64 {
  return id == 0 || isTenantZero ? id : leaseBase | id;
}

/** The number of the tenant that has this lease id, which is not tenant 0's: the highest bit is set. */
export function tenantNumberOf(id: u64): u32 {
  return <u32>((id & ~OTHERS) >> 48);
}

/** Maps etcd's lease id to the client's; others' ids become 0. */
export function decodeLease(id: u64): u64 {
  if (isTenantZero) return isClientLease(id) ? id : 0;
  return (id & ~LEASE_BITS) == leaseBase ? id & LEASE_BITS : 0;
}

/** Maps the id of a client that asks for tokens: PD keeps something for each id. */
export function encodeClient(id: u64): u64 {
  return clientBase | (id & (((<u64>1) << CLIENT_ID_BITS) - 1));
}
