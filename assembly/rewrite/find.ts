/** Finds a field of a message by its number, without a schema. An unreadable field counts as absent. */
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';

/** End of the field that was found last. */
export let foundEnd: usize = 0;
/** Value of that field, when it holds a number. */
let foundValue: u64 = 0;

const VARINT: u32 = 1 << 0;
const FIXED64: u32 = 1 << 1;
const BYTES: u32 = 1 << 2;

/**
 * Where the bytes of the first length-delimited field `wanted` begin. 0 when there is none, or when walking the message will fail anyway.
 */
export function findField(p: usize, end: usize, wanted: u32): usize {
  return find(p, end, wanted, BYTES);
}

/** The same for the first piece of a list of varints: a packed field, or a field with one number. */
export function findNumbers(p: usize, end: usize, wanted: u32): usize {
  return find(p, end, wanted, VARINT | BYTES);
}

/** The number in the varint field `wanted`; 0 when there is none. */
export function findVarint(p: usize, end: usize, wanted: u32): u64 {
  return find(p, end, wanted, VARINT) == 0 ? 0 : foundValue;
}

/** How many numbers the list `wanted` has, packed or not: each ends with a byte below 0x80. */
export function countNumbers(p: usize, end: usize, wanted: u32): u32 {
  let count: u32 = 0;
  for (let at = findNumbers(p, end, wanted); at != 0; at = findNumbers(foundEnd, end, wanted))
    for (; at < foundEnd; at++) if (load<u8>(at) < 0x80) count++;
  return count;
}

/** The double in the field `wanted`; 0 when there is none, and then `foundEnd` is 0. */
export function findDouble(p: usize, end: usize, wanted: u32): f64 {
  const at = find(p, end, wanted, FIXED64);
  if (at != 0) return load<f64>(at);
  foundEnd = 0;
  return 0;
}

/** `wires`: a bit for each wire type that the field may have. */
function find(p: usize, end: usize, wanted: u32, wires: u32): usize {
  while (p < end) {
    let tag: u64 = load<u8>(p);
    if (tag < 0x80) p++;
    else {
      tag = readVarint(p, end);
      if (varint.readEnd == 0) return 0;
      p = varint.readEnd;
    }
    const wire = (<u32>tag) & 7;
    if (wire == 1 || wire == 5) {
      const size: usize = wire == 1 ? 8 : 4;
      if (size > end - p) return 0;
      p += size;
      if (tag >> 3 != wanted || !((wires >> wire) & 1)) continue;
      foundEnd = p;
      return p - size;
    }
    let behind = p + 1;
    foundValue = p < end ? load<u8>(p) : 0x80;
    if (foundValue >= 0x80) {
      foundValue = readVarint(p, end);
      behind = varint.readEnd;
    }
    if ((wire != 0 && wire != 2) || behind == 0) return 0;
    const value = wire == 2 ? behind : p;
    if (wire == 2 && foundValue > <u64>(end - value)) return 0;
    p = wire == 2 ? value + <usize>foundValue : behind;
    if (tag >> 3 == wanted && (wires >> wire) & 1) {
      foundEnd = p;
      return value;
    }
  }
  return 0;
}

/** How many length-delimited fields `wanted` there are. */
export function countFields(p: usize, end: usize, wanted: u32): u32 {
  let count: u32 = 0;
  for (; findField(p, end, wanted) != 0; p = foundEnd) count++;
  return count;
}
