/** Questions that the code asks of the generated table. */
import { MESSAGES } from './table';

const LEASE_GRANT: u32 = 16;

/** True for the message whose absent lease id must be filled in. */
export function grantsLease(message: u32): bool {
  return (load<u32>(MESSAGES + <usize>message * 20, 8) & LEASE_GRANT) != 0;
}
