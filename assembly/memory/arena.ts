/**
 * Memory that lives until the current proxy callback ends: buffers that the host hands over, new keys, spliced messages.
 *
 *   base block (BLOCK_BYTES, kept for ever)   [ used ......| free ]
 *   overflow blocks, one per large request    -> freed by reset()
 */

/** Size of the block that is kept; one Envoy body event rarely brings more than 16 KiB. */
const BLOCK_BYTES: usize = 256 * 1024;

let base: usize = 0;
let used: usize = 0;
/** The newest overflow block; its first word points to the one before. */
let overflow: usize = 0;

/** Gives `size` bytes, 16-byte aligned, valid until `reset()`. */
export function alloc(size: usize): usize {
  if (base == 0) base = heap.alloc(BLOCK_BYTES);
  const want = (size + 15) & ~(<usize>15);
  if (want <= BLOCK_BYTES - used) {
    const p = base + used;
    used += want;
    return p;
  }
  const block = heap.alloc(want + 16);
  store<usize>(block, overflow);
  overflow = block;
  return block + 16;
}

/** Frees everything that `alloc` gave since the last call. */
export function reset(): void {
  used = 0;
  while (overflow != 0) {
    const block = overflow;
    overflow = load<usize>(block);
    heap.free(block);
  }
}
