/** Finds one field of a message by its number, without a schema; what cannot be read is not there. */
import { readVarint, varintEnd } from '../wire/varint';

/** Where the field that was found last ends. */
export let foundEnd: usize = 0;
/** The number in it, where it holds one. */
let foundValue: u64 = 0;

/** Where the bytes of the first length-delimited field `wanted` begin; 0 when there is none or the walk itself will fail. */
export function findField(p: usize, end: usize, wanted: u32): usize {
  return find(p, end, wanted, 2);
}

/** The number in the varint field `wanted`; 0 when there is none. */
export function findVarint(p: usize, end: usize, wanted: u32): u64 {
  return find(p, end, wanted, 0) == 0 ? 0 : foundValue;
}

function find(p: usize, end: usize, wanted: u32, wantedWire: u32): usize {
  while (p < end) {
    const tag = readVarint(p, end);
    if (varintEnd == 0) return 0;
    p = varintEnd;
    const wire = (<u32>tag) & 7;
    if (wire == 1 || wire == 5) {
      const size: usize = wire == 1 ? 8 : 4;
      if (size > end - p) return 0;
      p += size;
      continue;
    }
    foundValue = readVarint(p, end);
    if ((wire != 0 && wire != 2) || varintEnd == 0) return 0;
    const value = varintEnd;
    if (wire == 2 && foundValue > <u64>(end - value)) return 0;
    p = wire == 2 ? value + <usize>foundValue : value;
    if (tag >> 3 == wanted && wire == wantedWire) {
      foundEnd = p;
      return value;
    }
  }
  return 0;
}
