/**
 * Maps the etcd keys of TiDBs' smallest start timestamps. The storage layer's GC must see every tenant's, so they lie in one folder.
 * Each tenant sees its own:
 *
 *   "/tidb/server/minstartts/" id  ->  "/tidb/server/minstartts/" name ":" id
 *
 * TiDB: pkg/domain/infosync (ServerMinStartTSPath), pkg/store/gcworker (calcGlobalMinStartTS reads them all, from the name without its
 * last slash on). The safe point that GC has reached is shared: tenants read the shared key, and write their own.
 */
import { alloc } from '../memory/arena';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';
import { compareBytes } from './range';

/** The folder of all these keys, and the first key after it. */
export const FOLDER: Ascii = ascii('/tidb/server/minstartts/');
export const FOLDER_END: Ascii = ascii('/tidb/server/minstartts0');
const FOLDER_NAME: Ascii = ascii('/tidb/server/minstartts');
/** The end of all keys that begin with the folder's name. */
const NEXT_NAME: Ascii = ascii('/tidb/server/minstarttt');
const SAVED: Ascii = ascii('/tidb/store/gcworker/saved_safe_point');
/** Follows the tenant's name. Tenant 0's ids must not contain it. */
const COLON: u8 = 0x3a;

/** The shared key that was made last; in the arena. */
export let sharedAt: usize = 0;
export let sharedLength: usize = 0;

/** True for the key of a TiDB's smallest start timestamp. */
export function isReadSince(p: usize, length: usize): bool {
  return startsWith(p, length, FOLDER);
}

/** True for such a key of a tenant other than 0. */
export function isTenantsReadSince(p: usize, length: usize): bool {
  if (!isReadSince(p, length)) return false;
  for (let i: usize = FOLDER.length; i < length; i++) if (load<u8>(p + i) == COLON) return true;
  return false;
}

/** True for the key that holds the safe point that GC has reached. */
export function isSavedSafePoint(p: usize, length: usize): bool {
  return equals(p, length, SAVED);
}

/** True if [key, end) begins and ends at the folder or inside it. A range that reaches further is the tenant's own. */
export function isReadSinceRange(key: usize, keyLength: usize, end: usize, endLength: usize): bool {
  const begins =
    isReadSince(key, keyLength) ||
    (compare(key, keyLength, FOLDER_NAME) >= 0 && compare(key, keyLength, FOLDER) <= 0);
  return begins && compare(end, endLength, FOLDER) > 0 && compare(end, endLength, NEXT_NAME) <= 0;
}

function compare(p: usize, length: usize, name: Ascii): i32 {
  return compareBytes(p, length, changetype<usize>(name), name.length);
}

/** Inserts the owner, its name with a colon, into a key of the folder or a bound before it. */
export function shareReadSince(p: usize, length: usize, owner: usize, ownerLength: usize): void {
  const size = <usize>FOLDER.length;
  const rest = isReadSince(p, length) ? length - size : 0;
  sharedLength = size + ownerLength + rest;
  sharedAt = alloc(sharedLength);
  memory.copy(sharedAt, changetype<usize>(FOLDER), size);
  memory.copy(sharedAt + size, owner, ownerLength);
  memory.copy(sharedAt + size + ownerLength, p + size, rest);
}

/** The same for a range's end. An end after the folder becomes the end of the owner's part. */
export function shareReadSinceEnd(p: usize, length: usize, owner: usize, ownerLength: usize): void {
  shareReadSince(p, length, owner, ownerLength);
  if (isReadSince(p, length)) return;
  const last = sharedAt + sharedLength - 1;
  store<u8>(last, load<u8>(last) + 1);
}

/** Removes the owner from a shared key; false if it is another owner's. */
export function unshareReadSince(p: usize, length: usize, owner: usize, ownerLength: usize): bool {
  const size = <usize>FOLDER.length;
  if (!isReadSince(p, length) || length < size + ownerLength) return false;
  if (!isSameBytes(p + size, owner, ownerLength)) return false;
  sharedLength = length - ownerLength;
  sharedAt = alloc(sharedLength);
  memory.copy(sharedAt, p, size);
  memory.copy(sharedAt + size, p + size + ownerLength, length - size - ownerLength);
  return true;
}
