/** Expands texts that are packed by byte pairs, see src-ts/texts/pack.ts. */

/** Codes from here on, round through 0xff to 0x1f, stand for a pair of codes; 0 ends a text. */
const FIRST_PAIR: u32 = 0x7f;
const LAST_PAIR: u8 = 0xa0;

/** Writes what a code stands for; gives the place behind it. */
export function put(pairs: usize, code: u32, to: usize): usize {
  let pair = <u8>(code - FIRST_PAIR);
  if (pair > LAST_PAIR) {
    store<u8>(to, <u8>code);
    return to + 1;
  }
  // 0 is no code of a pair.
  if (code < FIRST_PAIR) pair--;
  const codes = pairs + ((<usize>pair) << 1);
  return put(pairs, load<u8>(codes, 1), put(pairs, load<u8>(codes), to));
}
