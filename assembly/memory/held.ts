/**
 * What is kept between callbacks of a stream: the bytes of a frame that has not come whole. Counted per VM and per tenant, so that
 * memory never runs out under the filter.
 */

/** Grows by pages of this size. */
const STEP: usize = 4096;
/** A buffer no larger than this stays with its stream for the next partial frame. */
const KEEP: usize = 16 * 1024;

/** One owner's count against its limit, in bytes. */
@unmanaged
export class Budget {
  used: usize;
  limit: usize;
  /** Calls of its that were refused in the second that began then, see streams/late.ts. */
  refusals: u32;
  refusedAt: u64;
}

@unmanaged
export class Held {
  at: usize;
  length: usize;
  capacity: usize;
}

/** The budget of this VM; the tenant's comes with each call. */
export const vmBudget: Budget = new Budget();

/** Appends to what is held. `wanted` is the whole length that is expected in the end. False when a limit would be passed. */
export function append(h: Held, p: usize, length: usize, wanted: usize, tenant: Budget): bool {
  const need = h.length + length;
  if (need > h.capacity) {
    let capacity = max<usize>(need, min<usize>(h.capacity * 2, wanted));
    capacity = (capacity + STEP - 1) & ~(STEP - 1);
    const more = capacity - h.capacity;
    if (more > vmBudget.limit - min(vmBudget.used, vmBudget.limit)) return false;
    if (more > tenant.limit - min(tenant.used, tenant.limit)) return false;
    const at = heap.alloc(capacity);
    memory.copy(at, h.at, h.length);
    if (h.at != 0) heap.free(h.at);
    h.at = at;
    h.capacity = capacity;
    vmBudget.used += more;
    tenant.used += more;
  }
  memory.copy(h.at + h.length, p, length);
  h.length = need;
  return true;
}

/** Counts bytes that are held elsewhere for a stream; `more` may be negative. False when a limit is passed: end the stream. */
export function charge(more: isize, tenant: Budget): bool {
  vmBudget.used += more;
  tenant.used += more;
  return more <= 0 || (vmBudget.used <= vmBudget.limit && tenant.used <= tenant.limit);
}

/** Drops the first `count` bytes. */
export function consume(h: Held, count: usize, tenant: Budget): void {
  h.length -= count;
  if (h.length != 0) memory.copy(h.at, h.at + count, h.length);
  else if (h.capacity > KEEP) release(h, tenant);
}

/** Gives the memory back. */
export function release(h: Held, tenant: Budget): void {
  if (h.at == 0) return;
  heap.free(h.at);
  vmBudget.used -= h.capacity;
  tenant.used -= h.capacity;
  h.at = 0;
  h.length = 0;
  h.capacity = 0;
}
