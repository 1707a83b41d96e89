/** Steps over protobuf fields of messages that the schema does not cover: tipb inside coprocessor data. */
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';

/** Wire types that are read here. */
export const VARINT: u32 = 0;
export const BYTES: u32 = 2;

let fieldNumber: u32 = 0;
let wireType: u32 = 0;
/** The number in the field (wire type 0). */
export let fieldValue: u64 = 0;
/** The bytes in the field (wire type 2), or those of its number. So a list of varints has the same bytes, packed or not. */
export let bytesAt: usize = 0;
export let bytesLength: usize = 0;

/** Reads the field at `p` into the variables above. Returns the end of the field; 0 when it is malformed. */
export function readField(p: usize, end: usize): usize {
  const tag = readVarint(p, end);
  if (varint.readEnd == 0 || tag > 0xffffffff) return 0;
  fieldNumber = <u32>(tag >> 3);
  wireType = <u32>(tag & 7);
  p = varint.readEnd;
  bytesAt = p;
  if (wireType == VARINT) {
    fieldValue = readVarint(p, end);
    bytesLength = varint.readEnd - p;
    return varint.readEnd;
  }
  let length: u64 = wireType == 1 ? 8 : 4;
  if (wireType == BYTES) {
    length = readVarint(p, end);
    if (varint.readEnd == 0) return 0;
    p = varint.readEnd;
    bytesAt = p;
  } else if (wireType != 1 && wireType != 5) return 0;
  if (length > <u64>(end - p)) return 0;
  bytesLength = <usize>length;
  return p + bytesLength;
}

/** True when the field that was read last has this number and wire type. @inline */
export function isField(field: u32, wire: u32): bool {
  return fieldNumber == field && wireType == wire;
}

/** True when the field that was read last holds numbers of the list `field`, packed or not. */
export function holdsNumbers(field: u32): bool {
  return fieldNumber == field && (wireType == VARINT || wireType == BYTES);
}
