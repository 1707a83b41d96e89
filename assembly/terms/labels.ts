/**
 * Texts of a tenant that TiKV keeps for good: it makes series of its metrics of each, in each of its threads, and frees none. So a VM lets a
 * tenant name so many of a kind, and remembers them: they are good from then on. Texts are compared whole, as whoever chooses them could
 * choose some with the same hash.
 */
import { isSameBytes } from '../wire/bytes';

/** Maximum of texts. One TiDB names some 90 sources of requests, and each again for other replicas and retries (client-go). */
export const MOST_LABELS: u32 = 512;

/** Twice as many, so that a search ends soon. */
const PLACE_BITS: u64 = 10;
const PLACES: usize = 1 << (<usize>PLACE_BITS);

@unmanaged
export class Labels {
  /** Where texts are kept, length:u32 | bytes: u32 by place, 0: nowhere. Made with the first text. */
  private places: usize = 0;
  private count: u32 = 0;

  /** True for a text that is known, or for which there is room. */
  admits(p: usize, length: usize): bool {
    if (length == 0) return true;
    if (this.places == 0) {
      this.places = heap.alloc(PLACES << 2);
      memory.fill(this.places, 0, PLACES << 2);
    }
    let place = placeOf(p, length);
    let at = this.places + (place << 2);
    for (let known = load<usize>(at); known != 0; known = load<usize>(at)) {
      if (<usize>load<u32>(known) == length && isSameBytes(p, known + 4, length)) return true;
      place = (place + 1) & (PLACES - 1);
      at = this.places + (place << 2);
    }
    if (this.count == MOST_LABELS) return false;
    this.count++;
    const copy = heap.alloc(4 + length);
    store<u32>(copy, <u32>length);
    memory.copy(copy + 4, p, length);
    store<usize>(at, copy);
    return true;
  }

  /** Forgets all texts. */
  forget(): void {
    if (this.count == 0) return;
    for (let place: usize = 0; place < PLACES; place++) {
      const known = load<usize>(this.places + (place << 2));
      if (known != 0) heap.free(known);
    }
    memory.fill(this.places, 0, PLACES << 2);
    this.count = 0;
  }
}

/** Where a search begins: by the text's first and last bytes, and its length. */
function placeOf(p: usize, length: usize): usize {
  let mixed: u64 = length;
  if (length >= 8) mixed ^= load<u64>(p) ^ rotl<u64>(load<u64>(p + length - 8), 32);
  else for (let i: usize = 0; i < length; i++) mixed = (mixed << 8) ^ (<u64>load<u8>(p + i));
  return <usize>((mixed * 0x9e3779b97f4a7c15) >> (64 - PLACE_BITS));
}
