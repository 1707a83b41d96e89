/** Percent-escapes (RFC 3986, and `+` for a space as Go's url.QueryEscape writes it) and hex, as PD's HTTP API carries keys. */
import { alloc } from '../memory/arena';

/** Length of the last result. */
export let escapedLength: usize = 0;

/** The digit's value, or -1. */
export function hexDigit(c: u8): i32 {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Decodes percent-escapes into the arena; 0 if one is incomplete or not hex. */
export function unescape(p: usize, length: usize): usize {
  const out = alloc(length + 1);
  const end = p + length;
  let to = out;
  while (p < end) {
    const c = load<u8>(p++);
    if (c == 0x25) {
      if (end - p < 2) return 0;
      const high = hexDigit(load<u8>(p));
      const low = hexDigit(load<u8>(p, 1));
      if (high < 0 || low < 0) return 0;
      store<u8>(to++, <u8>((high << 4) | low));
      p += 2;
    } else store<u8>(to++, c == 0x2b ? 0x20 : c);
  }
  escapedLength = to - out;
  return out;
}

function upperHex(digit: u32): u8 {
  return <u8>(digit < 10 ? 0x30 + digit : 0x37 + digit);
}

/** Writes every byte as a percent-escape. Returns the address after it. */
export function writeEscaped(to: usize, p: usize, length: usize): usize {
  for (let i: usize = 0; i < length; i++) {
    store<u8>(to++, 0x25);
    to = writeHex(to, p + i, 1);
  }
  return to;
}

/** Writes upper-case hex, as PD does. Returns the address after it. */
export function writeHex(to: usize, p: usize, length: usize): usize {
  for (let i: usize = 0; i < length; i++) {
    const byte = <u32>load<u8>(p + i);
    store<u8>(to++, upperHex(byte >> 4));
    store<u8>(to++, upperHex(byte & 15));
  }
  return to;
}

/** Decodes hex into the arena; 0 if it has an odd length or another character. */
export function readHex(p: usize, length: usize): usize {
  if (length & 1) return 0;
  const out = alloc((length >> 1) + 1);
  for (let i: usize = 0; i < length; i += 2) {
    const high = hexDigit(load<u8>(p + i));
    const low = hexDigit(load<u8>(p + i + 1));
    if (high < 0 || low < 0) return 0;
    store<u8>(out + (i >> 1), <u8>((high << 4) | low));
  }
  escapedLength = length >> 1;
  return out;
}
