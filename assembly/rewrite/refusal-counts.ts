/** How often something was refused since the last tick, by status: told to Envoy then, since a call for each would cost more than the refusal. */
import { Status } from '../wire/status';

/** More than there are statuses. */
const MAX_STATUSES: usize = 128;
const counts: usize = memory.data(512, 4);

export function countRefusal(status: Status): void {
  const at = counts + ((<usize>status) << 2);
  if (<usize>status < MAX_STATUSES) store<u32>(at, load<u32>(at) + 1);
}

/** The count of a status, which begins anew. */
export function takeRefusals(status: Status): u32 {
  const at = counts + ((<usize>status) << 2);
  const count = load<u32>(at);
  store<u32>(at, 0);
  return count;
}
