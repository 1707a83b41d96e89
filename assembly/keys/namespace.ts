/**
 * A tenant's part of PD's embedded etcd: every key behind one prefix, every lease id inside one block of ids.
 *
 *   key     -> "/tidb-mesh/" name ":" key      names hold no ':', so that no prefix begins another one
 *   lease   -> 1 | number:15 | id:48           etcd itself never makes negative ids
 *
 * Tenant 0 keeps its keys and leases as they are. What is reserved does not exist for it, and neither do negative lease ids:
 *
 *   /pd  /pd/...       PD's own            /tidb-mesh/...    the other tenants'
 *
 * Two names are shared by all tenants, see read-since.ts.
 */
import { alloc } from '../memory/arena';
import { Ascii, ascii, isSameBytes, startsWith } from '../wire/bytes';
import { Mapped } from './mapped';
import { compareBytes } from './range';
import {
  FOLDER,
  FOLDER_END,
  isReadSince,
  isReadSinceRange,
  isSavedSafePoint,
  isTenantsReadSince,
  shareReadSince,
  shareReadSinceEnd,
  sharedAt,
  sharedLength,
  unshareReadSince,
} from './read-since';

let prefix: usize = 0;
let prefixLength: usize = 0;
let leaseBase: u64 = 0;
/** The tenant is number 0. */
let adopted: bool = false;

/** The result of a mapping that says SAME or REPLACED. */
export let namedAt: usize = 0;
export let namedLength: usize = 0;
/** The end of the range that was mapped last. */
export let namedEndAt: usize = 0;
export let namedEndLength: usize = 0;
/** The tenant's name and a colon. */
export let ownerAt: usize = 0;
export let ownerLength: usize = 0;

const LEASE_BITS: u64 = 0x0000ffffffffffff;
const OTHERS: u64 = (<u64>1) << 63;

const PD: Ascii = ascii('/pd');
/** The first key behind `/pd/...`. */
const PD_END: Ascii = ascii('/pd0');
const MESH: Ascii = ascii('/tidb-mesh/');
const MESH_END: Ascii = ascii('/tidb-mesh0');

/** Sets the tenant; `at` must stay valid while it is used and end in ':'. */
export function useNamespace(at: usize, length: usize, tenantNumber: u32): void {
  prefix = at;
  prefixLength = length;
  leaseBase = OTHERS | ((<u64>tenantNumber) << 48);
  adopted = tenantNumber == 0;
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
  namedAt = sharedAt;
  namedLength = sharedLength;
  return Mapped.REPLACED;
}

function isReserved(p: usize, length: usize): bool {
  if (startsWith(p, length, MESH) || isTenantsReadSince(p, length)) return true;
  return startsWith(p, length, PD) && (length == 3 || load<u8>(p, 3) == 0x2f);
}

/** A client's key to the stored one. OUTSIDE: it is reserved, and what is left in its place is the empty key, which etcd refuses. */
export function encodeName(p: usize, length: usize): Mapped {
  if (!adopted) {
    if (!isReadSince(p, length)) return join(p, length);
    shareReadSince(p, length, ownerAt, ownerLength);
    return shared();
  }
  if (!isReserved(p, length)) return same(p, length);
  same(0, 0);
  return Mapped.OUTSIDE;
}

/** A client's range end: empty means one key, `\0` everything behind the key, which is the prefix with its last byte raised. */
export function encodeNameEnd(p: usize, length: usize): Mapped {
  if (adopted) return same(p, length);
  if (length == 0) return Mapped.SAME;
  if (length > 1 || load<u8>(p) != 0) return join(p, length);
  join(p, 0);
  const last = namedAt + namedLength - 1;
  store<u8>(last, load<u8>(last) + 1);
  return Mapped.REPLACED;
}

/**
 * A client's range, an empty end being one key, into `namedAt` and `namedEndAt`; a key is as good as a range of its own. `reads`: what
 * all tenants share may be read. OUTSIDE: it holds reserved keys.
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
    return reads && isSavedSafePoint(key, keyLength) ? same(key, keyLength) : encodeName(key, keyLength);
  if (adopted) {
    // A range that begins at a reserved key is refused even where it ends before it, and holds nothing.
    if (isReserved(key, keyLength) && !(reads && isReadSince(key, keyLength))) return Mapped.OUTSIDE;
    // All tenants' are in there: what is deleted as a range holds none of them.
    if (!reads && meets(key, keyLength, end, endLength, FOLDER, FOLDER_END)) return Mapped.OUTSIDE;
    return same(key, keyLength);
  }
  if (isReadSinceRange(key, keyLength, end, endLength)) {
    shareReadSinceEnd(end, endLength, ownerAt, ownerLength);
    shared();
    namedEndAt = namedAt;
    namedEndLength = namedLength;
    shareReadSince(key, keyLength, ownerAt, ownerLength);
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

/** True when [key, end), `\0` as the end being open, has a key of [from, to) in it. */
function meets(key: usize, keyLength: usize, end: usize, endLength: usize, from: Ascii, to: Ascii): bool {
  if (isAtOrBehind(key, keyLength, to)) return false;
  if (endLength == 1 && load<u8>(end) == 0) return true;
  return compareBytes(end, endLength, changetype<usize>(from), from.length) > 0;
}

/**
 * True when a client's range holds reserved keys, and so must be refused. `key` and `end` as the client sent them; an empty end is one
 * key, which `encodeName` judges. Always false but for tenant 0: the others' ranges cannot leave their prefix.
 */
export function reachesReserved(key: usize, keyLength: usize, end: usize, endLength: usize): bool {
  if (!adopted || endLength == 0) return false;
  return (
    meets(key, keyLength, end, endLength, PD, PD_END) || meets(key, keyLength, end, endLength, MESH, MESH_END)
  );
}

/** A stored key back to the client's. OUTSIDE: not below the tenant's prefix, or reserved. Tenant 0 sees since when all tenants read: its TiDBs may lead GC. */
export function decodeName(p: usize, length: usize): Mapped {
  if (adopted) return isReserved(p, length) && !isReadSince(p, length) ? Mapped.OUTSIDE : same(p, length);
  if (length < prefixLength || !isSameBytes(p, prefix, prefixLength)) {
    if (isSavedSafePoint(p, length)) return same(p, length);
    return unshareReadSince(p, length, ownerAt, ownerLength) ? shared() : Mapped.OUTSIDE;
  }
  namedAt = p + prefixLength;
  namedLength = length - prefixLength;
  return Mapped.REPLACED;
}

/** True for lease ids that a client can hold: 48 bits, for tenant 0 all that etcd makes. 0 means none. */
export function isClientLease(id: u64): bool {
  return adopted ? id < OTHERS : id <= LEASE_BITS;
}

/** A client's lease id to etcd's; 0 stays 0. */
export function encodeLease(id: u64): u64 {
  return id == 0 || adopted ? id : leaseBase | id;
}

/** etcd's lease id to the client's; ids that are not the tenant's become 0. */
export function decodeLease(id: u64): u64 {
  if (adopted) return isClientLease(id) ? id : 0;
  return (id & ~LEASE_BITS) == leaseBase ? id & LEASE_BITS : 0;
}
