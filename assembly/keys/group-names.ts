/**
 * Maps names of resource groups. PD has one list for the whole store:
 *
 *   name      -> number ":" name     the tenant's number in decimal, so that no prefix begins another one
 *   default   -> default             one for all tenants; PD makes it, without a limit
 *   default   -> number ":default"   of a tenant whose `ownDefaultGroup` is true; its operator makes it and sets its limit
 *
 * Tenant 0 keeps its names. Names that begin like another tenant's do not exist for it.
 */
import { alloc } from '../memory/arena';
import { Ascii, ascii, equals, isSameBytes } from '../wire/bytes';
import { writeDecimal } from '../wire/decimal';
import { Mapped } from './mapped';
import { hasOwnDefaultGroup, tenantNumber } from './space';

/** PD refuses longer ones (pkg/mcs/resourcemanager/server/manager.go). */
export const MAX_GROUP_BYTES: usize = 32;

/** The group of who names none. */
export const DEFAULT: Ascii = ascii('default');
const COLON: u8 = 0x3a;
const ZERO: u8 = 0x30;
const MAX_PREFIX_BYTES: usize = 11;

/** The result of a mapping that returned REPLACED. */
export let groupAt: usize = 0;
export let groupLength: usize = 0;

let prefixOf: u32 = 0;
let prefixAt: usize = 0;
const prefixEnd: usize = heap.alloc(MAX_PREFIX_BYTES) + MAX_PREFIX_BYTES;

/** Writes the prefix of the tenant in use, which is not tenant 0, and returns its length. */
function prefixLength(): usize {
  if (prefixOf != tenantNumber()) {
    prefixOf = tenantNumber();
    store<u8>(prefixEnd - 1, COLON);
    prefixAt = writeDecimal(prefixEnd - 1, prefixOf);
  }
  return prefixEnd - prefixAt;
}

export function isDefaultGroup(p: usize, length: usize): bool {
  return equals(p, length, DEFAULT);
}

/** True for `default` where it is PD's own, which all tenants share. */
export function isSharedGroup(p: usize, length: usize): bool {
  return !hasOwnDefaultGroup() && isDefaultGroup(p, length);
}

/** Digits and a colon. */
function isSomeTenants(p: usize, length: usize): bool {
  let i: usize = 0;
  while (i < length && <u32>(load<u8>(p + i) - ZERO) < 10) i++;
  return i > 0 && i < length && load<u8>(p + i) == COLON;
}

/** Maps a client's name to PD's. An empty name stays empty. */
export function encodeGroup(p: usize, length: usize): Mapped {
  return isSharedGroup(p, length) ? Mapped.SAME : encodeOwnGroup(p, length);
}

/** The same for a name that tenants never share: also that of a group of regions. */
export function encodeOwnGroup(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  if (tenantNumber() == 0) return isSomeTenants(p, length) ? Mapped.OUTSIDE : Mapped.SAME;
  const before = prefixLength();
  groupLength = before + length;
  groupAt = alloc(groupLength);
  memory.copy(groupAt, prefixAt, before);
  memory.copy(groupAt + before, p, length);
  return Mapped.REPLACED;
}

/** The same for the group `default`. */
export function encodeDefaultGroup(): Mapped {
  return encodeGroup(changetype<usize>(DEFAULT), DEFAULT.length);
}

/** Maps PD's name back to the client's. OUTSIDE: another tenant's. */
export function decodeGroup(p: usize, length: usize): Mapped {
  if (length == 0 || isSharedGroup(p, length)) return Mapped.SAME;
  if (tenantNumber() == 0) return isSomeTenants(p, length) ? Mapped.OUTSIDE : Mapped.SAME;
  const before = prefixLength();
  if (length <= before || !isSameBytes(p, prefixAt, before)) return Mapped.OUTSIDE;
  groupAt = p + before;
  groupLength = length - before;
  return isSharedGroup(groupAt, groupLength) ? Mapped.OUTSIDE : Mapped.REPLACED;
}
