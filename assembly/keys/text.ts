/**
 * Texts of the storage layer that may quote keys: `"t\200\000…"`, `7480000000000000…`, `\\x74…`, `[116, 128, 0, …]`. A text that could hold
 * one does not reach a tenant.
 */

/** A run of hex digits this long may be a key; ids and timestamps are shorter or decimal. */
const MIN_HEX_RUN: i32 = 14;
/** In hex, letters begin so: a table's key has 18 digits and may show no other. Timestamps begin so from 2063 on. */
const SIX: u8 = 0x36;
const SEVEN: u8 = 0x37;

const SPACE: u8 = 0x20;
const COMMA: u8 = 0x2c;
const OPEN: u8 = 0x5b;
const CLOSE: u8 = 0x5d;
const MAX_BYTE: i32 = 255;
/** So many numbers of a list may be a key. One is more often an id. */
const MIN_LISTED: i32 = 2;

/**
 * True if the text holds an escape, a raw byte, a list of bytes in decimal as Rust's `{:?}` and Go's `%v` print one, or a long run of hex
 * digits that has a letter, begins as a letter does, or has more than 20 digits.
 */
export function mayQuoteKeys(p: usize, length: usize): bool {
  let run = 0;
  let letters = 0;
  let first: u8 = 0;
  // Of a list in brackets: how many bytes are read, -1 outside of one; digits and value of the number that is being read.
  let listed = -1;
  let digits = 0;
  let value = 0;
  const end = p + length;
  for (; p < end; p++) {
    const c = load<u8>(p);
    if (c == 0x5c || c >= 0x7f || (c < 0x20 && c != 0x0a && c != 0x09)) return true;
    if (c == OPEN) {
      listed = 0;
      digits = 0;
      value = 0;
    } else if (listed >= 0) {
      if (c >= 0x30 && c <= 0x39) {
        value = value * 10 + (c - 0x30);
        if (++digits > 3) listed = -1;
      } else if (c > SPACE && c != COMMA && c != CLOSE) listed = -1;
      else if (digits > 0) {
        if (value > MAX_BYTE) listed = -1;
        else if (++listed >= MIN_LISTED) return true;
        digits = 0;
        value = 0;
      }
      if (c == CLOSE) listed = -1;
    }
    const lower = c | 0x20;
    const letter = lower >= 0x61 && lower <= 0x66;
    if (letter || (c >= 0x30 && c <= 0x39)) {
      if (run++ == 0) first = c;
      if (letter) letters++;
      // A u64 in decimal has at most 20 digits; a key in hex that shows no letter in 20 digits has one soon or is longer.
      if (run < MIN_HEX_RUN) continue;
      if (letters > 0 || first == SIX || first == SEVEN || run > 20) return true;
    } else {
      run = 0;
      letters = 0;
    }
  }
  return listed + 1 >= MIN_LISTED && digits > 0 && value <= MAX_BYTE;
}
