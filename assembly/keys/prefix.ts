/**
 * The prefix codec puts fixed bytes in front of every key. A keyspace of TiKV's API V2 is such a prefix, too.
 *
 *   logical  k  ->  P | k          P = the prefix          E = the first key after all that begin with it
 */
import { alloc } from '../memory/arena';
import { isSameBytes } from '../wire/bytes';
import { Mapped, replacedBy, unbounded } from './mapped';
import { KeyRange } from './range';

let prefix: usize = 0;
let prefixLength: usize = 0;
let end: usize = 0;
let endLength: usize = 0;

/** Sets [P, E). */
export function usePrefix(range: KeyRange): void {
  prefix = range.at;
  prefixLength = range.length;
  end = range.endAt;
  endLength = range.endLength;
}

/** Maps a logical key to its physical one. */
export function encodeKey(p: usize, length: usize): Mapped {
  const at = alloc(prefixLength + length);
  memory.copy(at, prefix, prefixLength);
  memory.copy(at + prefixLength, p, length);
  return replacedBy(at, prefixLength + length);
}

/** Maps a range's upper bound. Empty is the tenant's end. */
export function encodeUpper(p: usize, length: usize): Mapped {
  return length == 0 ? replacedBy(end, endLength) : encodeKey(p, length);
}

/** Maps a physical key back to the logical one. OUTSIDE: another tenant's. */
export function decodeKey(p: usize, length: usize): Mapped {
  if (length < prefixLength || !isSameBytes(p, prefix, prefixLength)) return Mapped.OUTSIDE;
  return replacedBy(p + prefixLength, length - prefixLength);
}

/** Bytes in front of every key. @inline */
export function prefixBytes(): usize {
  return prefixLength;
}

/** True for a physical key of at least so many bytes. */
export function hasPrefix(p: usize): bool {
  return isSameBytes(p, prefix, prefixLength);
}

/** True if a boundary without the prefix is before all keys that have it. */
function before(p: usize, length: usize): bool {
  return memory.compare(p, prefix, min<usize>(length, prefixLength)) <= 0;
}

/** Maps a store's start to what the tenant sees: clamped to '' below. OUTSIDE: it starts after the tenant. */
export function decodeStart(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const mapped = decodeKey(p, length);
  if (mapped != Mapped.OUTSIDE) return mapped;
  return before(p, length) ? unbounded() : Mapped.OUTSIDE;
}

/** Maps a store's end to what the tenant sees: clamped to '' above. OUTSIDE: it ends before the tenant. */
export function decodeEnd(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const mapped = decodeKey(p, length);
  if (mapped == Mapped.REPLACED) return length == prefixLength ? Mapped.OUTSIDE : mapped;
  return before(p, length) ? Mapped.OUTSIDE : unbounded();
}
