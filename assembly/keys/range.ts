/** Ranges of keys that live as long as a configuration: [start, end). An empty end is open. */

@unmanaged
export class KeyRange {
  at: usize;
  length: usize;
  endAt: usize;
  endLength: usize;
}

/** Orders bytes as the store does: -1, 0, 1. */
export function compareBytes(a: usize, aLength: usize, b: usize, bLength: usize): i32 {
  const end = a + min<usize>(aLength, bLength);
  for (; end - a >= 8; a += 8, b += 8) {
    const ours = load<u64>(a);
    const theirs = load<u64>(b);
    if (ours != theirs) return bswap<u64>(ours) < bswap<u64>(theirs) ? -1 : 1;
  }
  for (; a < end; a++, b++) {
    const ours = load<u8>(a);
    const theirs = load<u8>(b);
    if (ours != theirs) return ours < theirs ? -1 : 1;
  }
  return aLength < bLength ? -1 : aLength > bLength ? 1 : 0;
}

/** Copies bytes out of the arena. */
export function keepBytes(p: usize, length: usize): usize {
  const at = heap.alloc(max<usize>(length, 1));
  memory.copy(at, p, length);
  return at;
}

/** Makes a range with copies of these bytes. `freeRange` frees it. */
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

/** True if the ranges have a key in common. `first` must not start after `second`. */
export function overlap(first: KeyRange, second: KeyRange): bool {
  return first.endLength == 0 || compareBytes(second.at, second.length, first.endAt, first.endLength) < 0;
}
