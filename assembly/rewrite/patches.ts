/**
 * Keeps the changes that alter a message's length: [from, to) of the source is replaced by `length` bytes at `bytes`.
 * They are ordered by `from` and applied in one pass.
 */

/** from:u32 to:u32 bytes:u32 length:u32 */
const PATCH_BYTES: usize = 16;
const FIRST_CAPACITY: u32 = 1024;

let list: usize = 0;
let capacity: u32 = 0;

export let patchCount: u32 = 0;
/** Bytes by which all patches together make the message longer. Every change to the list updates it. */
export let grown: i32 = 0;

export function clearPatches(): void {
  patchCount = 0;
  grown = 0;
}

/** @inline */
function growthOf(at: usize): i32 {
  return load<i32>(at, 12) - (load<i32>(at, 4) - load<i32>(at));
}

/** Rolls back all patches from `count` on, for a message that is dropped. */
export function truncatePatches(count: u32): void {
  while (patchCount > count) grown -= growthOf(patchAt(--patchCount));
}

/** Removes the last patch, which was reserved and not set. @inline */
export function unreservePatch(): void {
  patchCount--;
}

function grow(): void {
  const next = capacity == 0 ? FIRST_CAPACITY : capacity * 2;
  const bigger = heap.alloc(<usize>next * PATCH_BYTES);
  if (list != 0) {
    memory.copy(bigger, list, <usize>patchCount * PATCH_BYTES);
    heap.free(list);
  }
  list = bigger;
  capacity = next;
}

/** Adds a patch. A range's bounds are known only at its message's end, so the patch may have to go before newer ones. */
export function addPatch(from: usize, to: usize, bytes: usize, length: usize): void {
  if (patchCount == capacity) grow();
  let at = list + <usize>patchCount * PATCH_BYTES;
  while (at > list && load<usize>(at - PATCH_BYTES) > from) {
    memory.copy(at, at - PATCH_BYTES, PATCH_BYTES);
    at -= PATCH_BYTES;
  }
  store<usize>(at, from);
  store<usize>(at, to, 4);
  store<usize>(at, bytes, 8);
  store<usize>(at, length, 12);
  patchCount++;
  grown += <i32>length - <i32>(to - from);
}

/** Reserves the last place in the list for a patch at `from` that changes nothing yet. */
export function reservePatch(from: usize): void {
  if (patchCount == capacity) grow();
  const at = list + <usize>patchCount * PATCH_BYTES;
  store<usize>(at, from);
  store<usize>(at, from, 4);
  store<u64>(at, 0, 8);
  patchCount++;
}

/** Fills in a patch that was reserved. */
export function setPatch(index: u32, to: usize, bytes: usize, length: usize): void {
  const at = list + <usize>index * PATCH_BYTES;
  grown += <i32>length - <i32>(to - load<usize>(at));
  store<usize>(at, to, 4);
  store<usize>(at, bytes, 8);
  store<usize>(at, length, 12);
}

/** The patch with this index: from, to, bytes and length, one after the other. @inline */
export function patchAt(index: u32): usize {
  return list + <usize>index * PATCH_BYTES;
}

/** Copies [source, source + length) to `target` with all patches applied. Returns the end of the result. */
export function applyPatches(source: usize, length: usize, target: usize): usize {
  let cursor = source;
  for (let at = list, end = list + <usize>patchCount * PATCH_BYTES; at < end; at += PATCH_BYTES) {
    const from = load<usize>(at);
    memory.copy(target, cursor, from - cursor);
    target += from - cursor;
    const bytes = load<usize>(at, 12);
    memory.copy(target, load<usize>(at, 8), bytes);
    target += bytes;
    cursor = load<usize>(at, 4);
  }
  memory.copy(target, cursor, source + length - cursor);
  return target + (source + length - cursor);
}

/** Frees an unusually long list after its message. */
export function trimPatches(): void {
  if (capacity <= FIRST_CAPACITY * 64) return;
  heap.free(list);
  list = 0;
  capacity = 0;
  clearPatches();
}
