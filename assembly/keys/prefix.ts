/**
 * The prefix codec: fixed bytes in front of every key. A keyspace of TiKV's API V2 is such a prefix as well.
 *
 *   logical  k  ->  P | k          P = the prefix          E = the first bytes behind everything that begins with it
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

/** A logical key to its physical one. */
export function encodeKey(p: usize, length: usize): Mapped {
  const at = alloc(prefixLength + length);
  memory.copy(at, prefix, prefixLength);
  memory.copy(at + prefixLength, p, length);
  return replacedBy(at, prefixLength + length);
}

/** A range's upper bound; empty is the tenant's end. */
export function encodeUpper(p: usize, length: usize): Mapped {
  return length == 0 ? replacedBy(end, endLength) : encodeKey(p, length);
}

/** A physical key back to the logical one. OUTSIDE: another tenant's. */
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

/** True when a boundary without the prefix lies before everything that has it. */
function before(p: usize, length: usize): bool {
  return memory.compare(p, prefix, min<usize>(length, prefixLength)) <= 0;
}

/** A store's region or range start as the tenant sees it: clamped to '' below; OUTSIDE when it starts behind the tenant. */
export function decodeStart(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const mapped = decodeKey(p, length);
  if (mapped != Mapped.OUTSIDE) return mapped;
  return before(p, length) ? unbounded() : Mapped.OUTSIDE;
}

/** A store's region or range end as the tenant sees it: clamped to '' above; OUTSIDE when it ends before the tenant. */
export function decodeEnd(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const mapped = decodeKey(p, length);
  if (mapped == Mapped.REPLACED) return length == prefixLength ? Mapped.OUTSIDE : mapped;
  return before(p, length) ? Mapped.OUTSIDE : unbounded();
}
