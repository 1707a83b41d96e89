/**
 * Caches the verdicts on callers, so that each is judged once. It has two generations of entries, each a table of hashes and one block
 * of bytes.
 *
 *   entry   hash:4 | key length:4 | place of the tenant, or -1:4 | 0:4 | key
 *
 * A full young generation becomes the old one, and the old one is freed. An old entry that is found becomes young again. So memory is
 * bounded, and frequent callers stay, however many others come once.
 */
import { hashBytes, isSameBytes, toEight } from '../wire/bytes';

const ENTRY_BYTES: usize = 16;
/** Bytes of entries in the first generation, and in the largest: some ten thousand callers. */
const FIRST_BYTES: usize = 16 * 1024;
const MOST_BYTES: usize = 1024 * 1024;
/** A slot for so many bytes of entries, of which the shortest takes 24. */
const BYTES_PER_SLOT: usize = 16;
/** Callers may choose texts of one hash: no search looks at more slots. */
const MOST_SLOTS: u32 = 64;
/** Longer keys are judged again each time. */
const MOST_KEY_BYTES: usize = 8 * 1024;

@unmanaged
class Generation {
  slots: usize = 0;
  mask: u32 = 0;
  entries: usize = 0;
  used: usize = 0;
  size: usize = 0;
}

function newGeneration(size: usize): Generation {
  const made = new Generation();
  const slots = size / BYTES_PER_SLOT;
  made.size = size;
  made.mask = <u32>(slots - 1);
  made.slots = heap.alloc(slots * 4);
  memory.fill(made.slots, 0, slots * 4);
  made.entries = heap.alloc(size);
  return made;
}

function freeGeneration(old: Generation | null): void {
  if (old == null) return;
  heap.free(old.slots);
  heap.free(old.entries);
  heap.free(changetype<usize>(old));
}

/** The place of the slot that holds the key, or of the free one where it belongs; 0 when there is neither nearby. */
function slotOf(g: Generation, hash: u32, key: usize, length: usize): usize {
  for (let i: u32 = 0; i < MOST_SLOTS; i++) {
    const slot = g.slots + ((<usize>((hash + i) & g.mask)) << 2);
    const entry = load<usize>(slot);
    if (entry == 0) return slot;
    if (load<u32>(entry) != hash || <usize>load<u32>(entry, 4) != length) continue;
    if (isSameBytes(entry + ENTRY_BYTES, key, length)) return slot;
  }
  return 0;
}

/** The entry of the key, or 0. */
function entryOf(g: Generation, hash: u32, key: usize, length: usize): usize {
  const slot = slotOf(g, hash, key, length);
  return slot == 0 ? 0 : load<usize>(slot);
}

export class CallerCache {
  private young: Generation | null = null;
  private old: Generation | null = null;
  /** What `find` found: the tenant's place, -1 for a system principal. */
  tenant: i32 = 0;

  /** True when the caller is known. */
  find(key: usize, length: usize): bool {
    const young = this.young;
    if (young == null || length > MOST_KEY_BYTES) return false;
    const hash = hashBytes(key, length);
    let entry = entryOf(young, hash, key, length);
    const isYoung = entry != 0;
    const old = this.old;
    if (!isYoung && old != null) entry = entryOf(old, hash, key, length);
    if (entry == 0) return false;
    this.tenant = load<i32>(entry, 8);
    if (!isYoung) this.add(key, length, this.tenant);
    return true;
  }

  /** Remembers a caller that is not among the young. */
  add(key: usize, length: usize, place: i32): void {
    if (length > MOST_KEY_BYTES) return;
    const size = toEight(ENTRY_BYTES + length);
    const young = this.place(size);
    const hash = hashBytes(key, length);
    const slot = slotOf(young, hash, key, length);
    if (slot == 0) return;
    const entry = young.entries + young.used;
    young.used += size;
    store<u32>(entry, hash);
    store<u32>(entry, <u32>length, 4);
    store<i32>(entry, place, 8);
    memory.copy(entry + ENTRY_BYTES, key, length);
    store<usize>(slot, entry);
  }

  /** The young generation, with room for an entry. */
  private place(size: usize): Generation {
    const young = this.young;
    if (young != null && young.used + size <= young.size) return young;
    freeGeneration(this.old);
    this.old = young;
    const fresh = newGeneration(young == null ? FIRST_BYTES : min(young.size * 2, MOST_BYTES));
    this.young = fresh;
    return fresh;
  }

  free(): void {
    freeGeneration(this.young);
    freeGeneration(this.old);
    this.young = null;
    this.old = null;
  }
}
