/** Counts refusals since the last tick, by status. Envoy is told on the tick, because a call for each would cost more than the refusal. */
import { Status } from '../wire/status';

/** An upper bound for the number of statuses. */
const MAX_STATUSES: usize = 128;
const counts: usize = memory.data(512, 4);

export function countRefusal(status: Status): void {
  const at = counts + ((<usize>status) << 2);
  if (<usize>status < MAX_STATUSES) store<u32>(at, load<u32>(at) + 1);
}

/** Returns the count of a status, and resets it. */
export function takeRefusals(status: Status): u32 {
  const at = counts + ((<usize>status) << 2);
  const count = load<u32>(at);
  store<u32>(at, 0);
  return count;
}
