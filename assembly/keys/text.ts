/**
 * Texts of the storage layer that may quote keys: `"t\200\000…"`, `7480000000000000…`, `\\x74…`. A text that could hold one does not reach a tenant.
 */

/** A run of hex digits this long may be a key; ids and timestamps are shorter or decimal. */
const MIN_HEX_RUN: i32 = 14;
/** In hex, letters begin so: a table's key has 18 digits and may show no other. Timestamps begin so from 2063 on. */
const SIX: u8 = 0x36;
const SEVEN: u8 = 0x37;

/**
 * True if the text holds an escape, a raw byte, or a long run of hex digits that has a letter, begins as a letter does, or has more
 * than 20 digits.
 */
export function mayQuoteKeys(p: usize, length: usize): bool {
  let run = 0;
  let letters = 0;
  let first: u8 = 0;
  const end = p + length;
  for (; p < end; p++) {
    const c = load<u8>(p);
    if (c == 0x5c || c >= 0x7f || (c < 0x20 && c != 0x0a && c != 0x09)) return true;
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
  return false;
}
