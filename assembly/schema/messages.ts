/** Reads the generated wire tables. Only this file knows their layout. */
import { FAR, FIELD_NAMES, FIELD_NAMES_FROM, FIELDS, MESSAGES, SHAPES } from './table';

/** Kinds of fields, see FIELDS. */
export const enum Kind {
  UNKNOWN = 0,
  VARINT = 1,
  FIXED64 = 2,
  BYTES = 3,
  MESSAGE = 4,
  FIXED32 = 5,
}

/** What a message has or needs, see SHAPES. */
export const enum Flag {
  RANGE = 1,
  ENCODED_RANGE = 2,
  BATCH = 8,
  LEASE_GRANT = 16,
  CONTEXT = 64,
  NAME_RANGE = 128,
  RESOURCE_PATH = 256,
  EXACT_KEY = 512,
  SAFE_POINT_OUT = 1024,
  NEEDS = 2048 | 4096 | 8192,
  ACTS_ALWAYS = 16384,
  ACTS_WITHOUT_KEYS = 32768,
  LENIENT = 65536,
  HAS_CONTEXT = 131072,
  REQUIRED_LIST = 262144,
  NAMED_VALUE = 524288,
  SERVICE = 1048576,
  OWNERS = 2097152,
  PLACES = 4194304,
  ACTS_BY_ID = 8388608,
  COMMAND = 16777216,
  GROUP_SETTINGS = 33554432,
  CHECKSUM_RULE = 67108864,
  /** Flags of requests that may act on a whole region. */
  ACTS = ACTS_ALWAYS | ACTS_WITHOUT_KEYS | ACTS_BY_ID,
  /** Flags that need work before the first field. */
  BEGINS = OWNERS | NEEDS | ACTS_ALWAYS | ACTS_WITHOUT_KEYS | SERVICE | HAS_CONTEXT | CONTEXT | BATCH,
  /** Flags that need work after the last field. */
  ENDS = RANGE |
    ENCODED_RANGE |
    SAFE_POINT_OUT |
    RESOURCE_PATH |
    LEASE_GRANT |
    NAME_RANGE |
    NAMED_VALUE |
    SERVICE |
    REQUIRED_LIST |
    ACTS_ALWAYS |
    ACTS_WITHOUT_KEYS |
    CONTEXT |
    GROUP_SETTINGS |
    CHECKSUM_RULE,
}

/** Other bits of a field's entry. */
export const REPEATED: u32 = 1 << 11;
export const ESSENTIAL: u32 = 1 << 12;
export const PACKABLE: u32 = 1 << 14;

/** The record of a message, for the functions below. @inline */
export function recordOf(message: u32): usize {
  return MESSAGES + ((<usize>message) << 3);
}

/** @inline */
function shapeOf(record: usize): usize {
  return SHAPES + ((<usize>load<u8>(record, 3)) << 3);
}

/** What the message holds, see SHAPES. @inline */
export function flagsOf(record: usize): u32 {
  return load<u32>(shapeOf(record));
}

/** The first field of a range, or the field of a name or of the message's one key; 0 when there is none. @inline */
export function startFieldOf(record: usize): u32 {
  return load<u8>(shapeOf(record), 4);
}

/** The last field of a range; 0 when there is none. @inline */
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

/** True for a request that may act on a whole region. */
export function mayActOnRegions(message: u32): bool {
  return (flagsOf(recordOf(message)) & Flag.ACTS) != 0;
}

/** The field of a response that takes the reason of a refusal, | kind << 8, see SHAPES. */
export function refusalOf(message: u32): u32 {
  return load<u16>(shapeOf(recordOf(message)), 6);
}
