/** Ranges of keys as they are kept with a configuration: [start, end), an empty end is open. */

@unmanaged
export class KeyRange {
  at: usize;
  length: usize;
  endAt: usize;
  endLength: usize;
}

/** Orders bytes as the store does: -1, 0, 1. */
export function compareBytes(a: usize, aLength: usize, b: usize, bLength: usize): i32 {
  const order = memory.compare(a, b, min<usize>(aLength, bLength));
  if (order != 0) return order < 0 ? -1 : 1;
  return aLength < bLength ? -1 : aLength > bLength ? 1 : 0;
}

/** A copy of these bytes, outside of the arena. */
export function keepBytes(p: usize, length: usize): usize {
  const at = heap.alloc(max<usize>(length, 1));
  memory.copy(at, p, length);
  return at;
}

/** A range of its own copies of these bytes; given back by `freeRange`. */
export function newRange(p: usize, length: usize, end: usize, endLength: usize): KeyRange {
  const range = new KeyRange();
  range.at = keepBytes(p, length);
  range.length = length;
  range.endAt = keepBytes(end, endLength);
  range.endLength = endLength;
  return range;
}

export function freeRange(range: KeyRange): void {
  heap.free(range.at);
  heap.free(range.endAt);
  heap.free(changetype<usize>(range));
}

/** For sorting by start. */
export function compareStarts(a: KeyRange, b: KeyRange): i32 {
  return compareBytes(a.at, a.length, b.at, b.length);
}

/** True when ranges, of which `first` does not start behind `second`, have a key in common. */
export function overlap(first: KeyRange, second: KeyRange): bool {
  return first.endLength == 0 || compareBytes(second.at, second.length, first.endAt, first.endLength) < 0;
}
