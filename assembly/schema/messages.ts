/** Reads the generated wire tables. Only this file knows their layout. `bits.ts` names their bits. */
import { Entry, Flag } from './bits';
import { FAR, FIELD_NAMES, FIELD_NAMES_FROM, FIELDS, LIMITS, MESSAGES, SHAPES } from './table';

export { Entry, Flag, Kind } from './bits';

/** Flags of what a request needs of its key range. */
export const ANY_NEED: u32 = Flag.TXN | Flag.RAW | Flag.COPROCESSOR | Flag.RAW_TTL;

/** Flags of requests that may act on a whole region. */
const ANY_ACT: u32 = Flag.ACTS_WITHOUT_KEYS | Flag.ACTS_BY_ID;

/** Flags that need work before the first field. */
export const ANY_BEGINNING: u32 =
  Flag.OWNERS | ANY_NEED | Flag.ACTS_WITHOUT_KEYS | Flag.SERVICE | Flag.HAS_CONTEXT | Flag.CONTEXT | Flag.BATCH;

/** Flags of requests whose numbers are judged together. */
export const ANY_NUMBER: u32 = Flag.NOT_ZERO | Flag.COMPARED | Flag.TXN_START;

/** Flags that need work after the last field. */
export const ANY_ENDING: u32 =
  Flag.RANGE |
  Flag.ENCODED_RANGE |
  Flag.SAFE_POINT_OUT |
  Flag.RESOURCE_PATH |
  Flag.LEASE_GRANT |
  Flag.NAME_RANGE |
  Flag.NAMED_VALUE |
  Flag.SERVICE |
  Flag.REQUIRED_LIST |
  Flag.ACTS_WITHOUT_KEYS |
  Flag.CONTEXT |
  Flag.GROUP_SETTINGS |
  Flag.WATCH_ANSWER |
  Flag.CHECKSUM_RULE |
  Flag.ERRORS |
  ANY_NUMBER;

/** The role in a field's entry. @inline */
export function roleIn(entry: u32): u32 {
  return entry & Entry.ROLE_MASK;
}

/** The kind in a field's entry. @inline */
export function kindIn(entry: u32): u32 {
  return (entry >> Entry.KIND_SHIFT) & Entry.KIND_MASK;
}

/** The class of the error that a field tells, one of ErrorClass; UNSPECIFIED for most fields. @inline */
export function errorClassIn(entry: u32): u32 {
  return (entry >> Entry.ERROR_SHIFT) & Entry.ERROR_MASK;
}

/** The message in a field's entry; 0 for one that is not read. @inline */
export function messageIn(entry: u32): u32 {
  return entry >> Entry.MESSAGE_SHIFT;
}

/** True when a number of ONE_OF with this entry may have this value. @inline */
export function isAllowed(entry: u32, value: u64): bool {
  return value < 15 && ((entry >> (Entry.MESSAGE_SHIFT + <u32>value)) & 1) != 0;
}

/** The place of the limit of a number with this entry. @inline */
export function limitPlaceIn(entry: u32): u32 {
  return entry >> Entry.MESSAGE_SHIFT;
}

/** The limit at a place. @inline */
export function limitAt(place: u32): u64 {
  return load<u64>(LIMITS + ((<usize>place) << 3));
}

/** The record of a message, for the functions below. @inline */
export function recordOf(message: u32): usize {
  return MESSAGES + ((<usize>message) << 3);
}

/** @inline */
function shapeOf(record: usize): usize {
  return SHAPES + ((<usize>load<u8>(record, 3)) << 3);
}

/** What the message has or needs, bits of Flag. @inline */
export function flagsOf(record: usize): u32 {
  return load<u32>(shapeOf(record));
}

/** The first field of a range, or the field of a name or of the message's one key; 0 when there is none. @inline */
export function startFieldOf(record: usize): u32 {
  return load<u8>(shapeOf(record), 4);
}

/** The last field of a range, a number that must not be 0, or a list that must have an item; 0 when there is none. @inline */
export function endFieldOf(record: usize): u32 {
  return load<u8>(shapeOf(record), 5);
}

/** The entry of a field, see FIELDS; 0 when the schema does not know the field. `field` is not 0. @inline */
export function entryOf(record: usize, field: u32): u32 {
  if (field <= <u32>load<u8>(record, 2))
    return load<u32>(FIELDS + ((<usize>load<u16>(record) + <usize>field) << 2));
  const far = <usize>load<u16>(record, 4);
  return far == 0 ? 0 : farEntry(FAR + (far << 3), field);
}

function farEntry(item: usize, field: u32): u32 {
  while (<u32>load<u16>(item) != field) {
    if (load<u16>(item, 2) != 0) return 0;
    item += 8;
  }
  return load<u32>(item, 4);
}

/** The message's full name, a text. */
export function nameOf(message: u32): u32 {
  return load<u16>(recordOf(message), 6);
}

/** A field's name, a text; 0 when the schema does not know the field. Slow, because it searches: use it for refusals only. */
export function fieldNameOf(message: u32, field: u32): u32 {
  const from = FIELD_NAMES_FROM + ((<usize>message) << 1);
  const end = <u32>load<u16>(from, 2);
  for (let i = <u32>load<u16>(from); i < end; i++) {
    const item = FIELD_NAMES + ((<usize>i) << 2);
    if (<u32>load<u16>(item) == field) return load<u16>(item, 2);
  }
  return 0;
}

/** True for the message that gets a lease id when it has none. */
export function grantsLease(message: u32): bool {
  return (flagsOf(recordOf(message)) & Flag.LEASE_GRANT) != 0;
}

/** True for a request to a region of the store. */
export function hasContext(message: u32): bool {
  return (flagsOf(recordOf(message)) & Flag.HAS_CONTEXT) != 0;
}

/** True for a request that may act on a whole region. */
export function mayActOnRegions(message: u32): bool {
  return (flagsOf(recordOf(message)) & ANY_ACT) != 0;
}

/** The field of a response that takes the reason of a refusal, | one of Refusal << 8. */
export function refusalOf(message: u32): u32 {
  return load<u16>(shapeOf(recordOf(message)), 6);
}
