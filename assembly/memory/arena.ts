/**
 * Memory that lives until the current proxy callback ends: buffers from the host, new keys, patched messages.
 *
 *   base block (BLOCK_BYTES, kept for ever)   [ used ......| free ]
 *   overflow blocks, one per large request, and of BLOCK_BYTES for many small ones    -> freed by reset()
 */

/** Size of the block that is kept. One body event of Envoy rarely brings more than 16 KiB. */
const BLOCK_BYTES: usize = 256 * 1024;

/** Requests up to this size share an overflow block. */
const SMALL_BYTES: usize = 4096;

/** One event may take this much, and eight times what it brought. Legitimate messages stay below six times. */
const EVENT_BYTES: usize = 16 * 1024 * 1024;
const EVENT_FACTOR: usize = 8;

/** Bytes given since the last `reset()`, and how many may be. */
let given: usize = 0;
let mayGive: usize = EVENT_BYTES;

let base: usize = 0;
let used: usize = 0;
/** The newest overflow block; its first word points to the one before. */
let overflow: usize = 0;
/** Free space in the overflow block for small requests. Alone, each would take three times its bytes of the heap. */
let small: usize = 0;
let smallLeft: usize = 0;

/** Allocates `size` bytes, 16-byte aligned, valid until `reset()`. */
export function alloc(size: usize): usize {
  if (base == 0) base = heap.alloc(BLOCK_BYTES);
  const want = (size + 15) & ~(<usize>15);
  given += want;
  if (want <= BLOCK_BYTES - used) {
    const p = base + used;
    used += want;
    return p;
  }
  if (want > SMALL_BYTES) return overflowBlock(want);
  if (want > smallLeft) {
    small = overflowBlock(BLOCK_BYTES);
    smallLeft = BLOCK_BYTES;
  }
  const p = small;
  small += want;
  smallLeft -= want;
  return p;
}

function overflowBlock(size: usize): usize {
  const block = heap.alloc(size + 16);
  store<usize>(block, overflow);
  overflow = block;
  return block + 16;
}

/** Begins the work of an event on `length` bytes. */
export function beginWork(length: usize): void {
  mayGive = given + EVENT_BYTES + length * EVENT_FACTOR;
}

/** True if the event has taken more memory than it may. It must end then. @inline */
export function isOverspent(): bool {
  return given > mayGive;
}

/** Frees everything that `alloc` returned since the last call. */
export function reset(): void {
  used = 0;
  given = 0;
  mayGive = EVENT_BYTES;
  smallLeft = 0;
  while (overflow != 0) {
    const block = overflow;
    overflow = load<usize>(block);
    heap.free(block);
  }
}
