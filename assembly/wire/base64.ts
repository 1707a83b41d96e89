/** Base64 with the standard alphabet (RFC 4648), padded or not. */
import { alloc } from '../memory/arena';

const PADDING: u8 = 0x3d;

/** Length of the last result. */
export let decodedLength: usize = 0;

/** The character of six bits. */
function character(six: u32): u8 {
  if (six < 26) return <u8>(0x41 + six);
  if (six < 52) return <u8>(0x47 + six);
  if (six < 62) return <u8>(six - 4);
  return six == 62 ? 0x2b : 0x2f;
}

/** Writes bytes in base64, padded. Returns the end. */
export function writeBase64(to: usize, p: usize, length: usize): usize {
  for (let i: usize = 0; i < length; i += 3) {
    const left = length - i;
    let bits = (<u32>load<u8>(p + i)) << 16;
    if (left > 1) bits |= (<u32>load<u8>(p + i, 1)) << 8;
    if (left > 2) bits |= <u32>load<u8>(p + i, 2);
    store<u8>(to, character(bits >> 18));
    store<u8>(to, character((bits >> 12) & 63), 1);
    store<u8>(to, left > 1 ? character((bits >> 6) & 63) : PADDING, 2);
    store<u8>(to, left > 2 ? character(bits & 63) : PADDING, 3);
    to += 4;
  }
  return to;
}

/** The six bits of a character, or -1. */
function sixBits(c: i32): i32 {
  if (c >= 0x41 && c <= 0x5a) return c - 0x41;
  if (c >= 0x61 && c <= 0x7a) return c - 0x47;
  if (c >= 0x30 && c <= 0x39) return c + 4;
  return c == 0x2b ? 62 : c == 0x2f ? 63 : -1;
}

/** Decodes into the arena; 0 when it holds another character or ends inside of a byte. */
export function decodeBase64(p: usize, length: usize): usize {
  for (let i = 0; i < 2 && length != 0 && load<u8>(p + length - 1) == PADDING; i++) length--;
  if ((length & 3) == 1) return 0;
  const out = alloc(length + 1);
  let to = out;
  let bits: u32 = 0;
  let count = 0;
  for (let i: usize = 0; i < length; i++) {
    const six = sixBits(load<u8>(p + i));
    if (six < 0) return 0;
    bits = (bits << 6) | (<u32>six);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    store<u8>(to++, <u8>(bits >> count));
  }
  decodedLength = to - out;
  return out;
}
