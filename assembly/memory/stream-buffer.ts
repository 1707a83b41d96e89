/**
 * Bytes that outlive a callback: a frame that has not arrived whole. They are counted per VM and per tenant, so that the VM never runs
 * out of memory.
 */

/** Grows by pages of this size. */
const STEP: usize = 4096;
/** A buffer up to this size stays with its stream for the next partial frame. */
const KEEP: usize = 16 * 1024;

/** Bytes in use by one owner, and its limit. */
@unmanaged
export class Budget {
  used: usize;
  limit: usize;
}

@unmanaged
export class StreamBuffer {
  at: usize;
  length: usize;
  capacity: usize;
}

/** The budget of this VM. The tenant's is a parameter of each call. */
export const vmBudget: Budget = new Budget();

/** Appends bytes. `wanted` is the whole length that is expected. False if a limit would be exceeded. */
export function append(h: StreamBuffer, p: usize, length: usize, wanted: usize, tenant: Budget): bool {
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

/** Counts bytes that a stream holds elsewhere; `more` may be negative. False if a limit is exceeded: end the stream. */
export function charge(more: isize, tenant: Budget): bool {
  vmBudget.used += more;
  tenant.used += more;
  return more <= 0 || (vmBudget.used <= vmBudget.limit && tenant.used <= tenant.limit);
}

/** Drops the first `count` bytes. */
export function consume(h: StreamBuffer, count: usize, tenant: Budget): void {
  h.length -= count;
  if (h.length != 0) memory.copy(h.at, h.at + count, h.length);
  else if (h.capacity > KEEP) release(h, tenant);
}

/** Frees the buffer. */
export function release(h: StreamBuffer, tenant: Budget): void {
  if (h.at == 0) return;
  heap.free(h.at);
  vmBudget.used -= h.capacity;
  tenant.used -= h.capacity;
  h.at = 0;
  h.length = 0;
  h.capacity = 0;
}
