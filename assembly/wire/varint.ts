/** Base-128 varints of the protobuf wire format. Pure: pointers in, values out. */

/** Bytes of the longest varint. */
const LONGEST: usize = 10;

/** The end of the last varint; 0 if it was incomplete or exceeded 64 bits. */
export let readEnd: usize = 0;

/** Reads the varint at `p`, which must end before `end`. Check `readEnd` for 0. */
export function readVarint(p: usize, end: usize): u64 {
  if (p < end) {
    const first = load<u8>(p);
    if (first < 0x80) {
      readEnd = p + 1;
      return first;
    }
  }
  return p + 8 <= end ? readWithin(p, end) : readAtEnd(p, end);
}

/** Reads a varint with at least eight bytes left, eight at once. Timestamps have nine; a loop takes three times as long. */
function readWithin(p: usize, end: usize): u64 {
  const word = load<u64>(p);
  const stops = ~word & 0x8080808080808080;
  // The bytes below the first one that ends it; all of them if stops is 0.
  let x = word & ((stops & -stops) - 1) & 0x7f7f7f7f7f7f7f7f;
  x = (x & 0x007f007f007f007f) | ((x & 0x7f007f007f007f00) >> 1);
  x = (x & 0x00003fff00003fff) | ((x & 0x3fff00003fff0000) >> 2);
  x = (x & 0x000000000fffffff) | ((x & 0x0fffffff00000000) >> 4);
  if (stops != 0) {
    readEnd = p + 1 + <usize>(ctz<u64>(stops) >> 3);
    return x;
  }
  const ninth = p + 8 < end ? load<u8>(p, 8) : 0xff;
  x |= (<u64>(ninth & 0x7f)) << 56;
  if (ninth < 0x80) {
    readEnd = p + 9;
    return x;
  }
  // The tenth byte holds one bit only. Decoders read more bits differently.
  const tenth = p + 9 < end ? load<u8>(p, 9) : 0xff;
  readEnd = tenth > 1 ? 0 : p + LONGEST;
  return x | ((<u64>tenth) << 63);
}

function readAtEnd(p: usize, end: usize): u64 {
  let value: u64 = 0;
  let shift: u64 = 0;
  while (p < end && shift < 64) {
    const byte = load<u8>(p++);
    if (shift == 63 && byte > 1) break;
    value |= u64(byte & 0x7f) << shift;
    if (byte < 0x80) {
      readEnd = p;
      return value;
    }
    shift += 7;
  }
  readEnd = 0;
  return 0;
}

/** The length of `value` as a varint, 1 to 10 bytes. */
export function varintSize(value: u64): i32 {
  return <i32>((70 - <u32>clz<u64>(value | 1)) / 7);
}

/** Writes `value` at `p` and returns the address after it. */
export function writeVarint(p: usize, value: u64): usize {
  while (value >= 0x80) {
    store<u8>(p++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(p, <u8>value);
  return p + 1;
}

/** Writes `value` over exactly `size` bytes, padded with continuation bits; `size` must be enough. */
export function writePaddedVarint(p: usize, value: u64, size: i32): void {
  for (let i = 1; i < size; i++) {
    store<u8>(p++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(p, <u8>(value & 0x7f));
}
