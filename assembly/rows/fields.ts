/** A minimal cursor over protobuf fields for the messages that the schema does not cover (tipb inside coprocessor data). */
import { readVarint, varintEnd } from '../wire/varint';

export let fieldNumber: u32 = 0;
export let wireType: u32 = 0;
/** The field's varint (wire type 0). */
export let varint: u64 = 0;
/** The field's bytes (wire type 2); for fixed values their place. */
export let bytesAt: usize = 0;
export let bytesLength: usize = 0;

/** Reads the field at `p` into the variables above and gives the place behind it; 0 when malformed. */
export function readField(p: usize, end: usize): usize {
  const tag = readVarint(p, end);
  if (varintEnd == 0 || tag > 0xffffffff) return 0;
  fieldNumber = <u32>(tag >> 3);
  wireType = <u32>(tag & 7);
  p = varintEnd;
  bytesAt = p;
  if (wireType == 0) {
    varint = readVarint(p, end);
    return varintEnd;
  }
  let length: u64 = wireType == 1 ? 8 : 4;
  if (wireType == 2) {
    length = readVarint(p, end);
    if (varintEnd == 0) return 0;
    p = varintEnd;
    bytesAt = p;
  } else if (wireType != 1 && wireType != 5) return 0;
  if (length > <u64>(end - p)) return 0;
  bytesLength = <usize>length;
  return p + bytesLength;
}
