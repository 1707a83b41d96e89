/**
 * A tenant's part of PD's embedded etcd: every key behind one prefix, every lease id inside one block of ids.
 *
 *   key     -> "/tidb-mesh/" name ":" key      names hold no ':', so that no prefix begins another one
 *   lease   -> 1 | number:15 | id:48           etcd itself never makes negative ids
 */
import { alloc } from '../memory/arena';
import { Mapped } from './table';

let prefix: usize = 0;
let prefixLength: usize = 0;
let leaseBase: u64 = 0;

export let namedAt: usize = 0;
export let namedLength: usize = 0;

const LEASE_BITS: u64 = 0x0000ffffffffffff;

/** Sets the tenant; `at` must stay valid while it is used and end in ':'. */
export function useNamespace(at: usize, length: usize, tenantNumber: u32): void {
  prefix = at;
  prefixLength = length;
  leaseBase = ((<u64>1) << 63) | ((<u64>tenantNumber) << 48);
}

function join(p: usize, length: usize): Mapped {
  namedAt = alloc(prefixLength + length);
  memory.copy(namedAt, prefix, prefixLength);
  memory.copy(namedAt + prefixLength, p, length);
  namedLength = prefixLength + length;
  return Mapped.REPLACED;
}

/** A client's key to the stored one. */
export function encodeName(p: usize, length: usize): Mapped {
  return join(p, length);
}

/** A client's range end: empty means one key, `\0` everything behind the key, which is the prefix with its last byte raised. */
export function encodeNameEnd(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  if (length > 1 || load<u8>(p) != 0) return join(p, length);
  join(p, 0);
  const last = namedAt + namedLength - 1;
  store<u8>(last, load<u8>(last) + 1);
  return Mapped.REPLACED;
}

/** A stored key back to the client's. OUTSIDE: not below the tenant's prefix. */
export function decodeName(p: usize, length: usize): Mapped {
  if (length < prefixLength || memory.compare(p, prefix, prefixLength) != 0) return Mapped.OUTSIDE;
  namedAt = p + prefixLength;
  namedLength = length - prefixLength;
  return Mapped.REPLACED;
}

/** True for lease ids that a client can hold: 48 bits. 0 means none. */
export function isClientLease(id: u64): bool {
  return id <= LEASE_BITS;
}

/** A client's lease id to etcd's; 0 stays 0. */
export function encodeLease(id: u64): u64 {
  return id == 0 ? 0 : leaseBase | id;
}

/** etcd's lease id to the client's; ids that are not the tenant's become 0. */
export function decodeLease(id: u64): u64 {
  return (id & ~LEASE_BITS) == leaseBase ? id & LEASE_BITS : 0;
}
