/** The decision for a gRPC method, from the table that proto/ is compiled to. Methods that are not in it are refused. */
import { hashBytes } from '../wire/bytes';
import { METHODS, METHOD_SLOTS, STRINGS } from '../schema/table';

export let decision: u32 = 0;
export let requestMessage: u32 = 0;
export let responseMessage: u32 = 0;
/** Why the method is refused, ASCII. */
export let becauseAt: usize = 0;
export let becauseLength: usize = 0;

/** hash | path offset | path length | decision + request << 16 | response + flags << 16 | because offset + length << 20 */
const SLOT_BYTES: usize = 24;

/** Looks a path up; false when it is in no known service. */
export function findMethod(p: usize, length: usize): bool {
  const hash = hashBytes(p, length);
  for (let i = hash; ; i++) {
    const slot = METHODS + <usize>(i & (METHOD_SLOTS - 1)) * SLOT_BYTES;
    const found = load<u32>(slot);
    if (found == 0) return false;
    if (found != hash || load<u32>(slot, 8) != <u32>length) continue;
    if (memory.compare(STRINGS + load<u32>(slot, 4), p, length) != 0) continue;
    decision = load<u16>(slot, 12);
    requestMessage = load<u16>(slot, 14);
    responseMessage = load<u16>(slot, 16);
    const because = load<u32>(slot, 20);
    becauseAt = STRINGS + (because & 0xfffff);
    becauseLength = because >> 20;
    return true;
  }
}
