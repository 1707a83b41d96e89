/** Questions that the code asks of the generated tables; how the tables lie is known here only. */
import { FIELDS, MESSAGES, REFUSALS } from './table';

const RECORD_BYTES: usize = 20;
const LEASE_GRANT: u32 = 16;

/** The record of a message, for the functions below. */
export function recordOf(message: u32): usize {
  return MESSAGES + <usize>message * RECORD_BYTES;
}

/** What the message holds, see MESSAGES. */
export function flagsOf(record: usize): u32 {
  return load<u32>(record, 8);
}

/** The field that a range, a name or the message's one key begins in; 0 when there is none. */
export function startFieldOf(record: usize): u32 {
  return load<u32>(record, 12);
}

/** The field that a range ends in; 0 when there is none. */
export function endFieldOf(record: usize): u32 {
  return load<u32>(record, 16);
}

/** The entry of a field, see FIELDS; 0 for a field that the schema does not know. */
export function entryOf(record: usize, field: u32): u32 {
  if (field > load<u32>(record, 4)) return 0;
  return load<u32>(FIELDS + ((<usize>load<u32>(record) + <usize>field) << 2));
}

/** True for the message whose absent lease id must be filled in. */
export function grantsLease(message: u32): bool {
  return (flagsOf(recordOf(message)) & LEASE_GRANT) != 0;
}

/** Where a response takes the reason of a refusal, see REFUSALS. */
export function refusalOf(message: u32): u32 {
  return load<u32>(REFUSALS + ((<usize>message) << 2));
}
