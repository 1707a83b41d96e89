/**
 * The texts that the filter knows: packed by byte pairs when the tables are generated, expanded here when one is needed. A text is
 * its place in TEXTS; 0 is the empty one.
 */
import { LONGEST_TEXT, PAIRS, TEXTS } from './table';

/** Codes from here on, round through 0xff to 0x1f, stand for a pair of codes; 0 ends a text. */
const FIRST_PAIR: u32 = 0x7f;
const LAST_PAIR: u8 = 0xa0;

/** The text that was expanded last lies here until the next one is. */
export const expandedAt: usize = memory.data(LONGEST_TEXT, 8);
export let expandedLength: usize = 0;

function put(code: u32, to: usize): usize {
  let pair = <u8>(code - FIRST_PAIR);
  if (pair > LAST_PAIR) {
    store<u8>(to, <u8>code);
    return to + 1;
  }
  // 0 is no code of a pair.
  if (code < FIRST_PAIR) pair--;
  const codes = PAIRS + ((<usize>pair) << 1);
  return put(load<u8>(codes, 1), put(load<u8>(codes), to));
}

/** Expands a text to `expandedAt`, ASCII. */
export function expand(text: u32): void {
  let from = TEXTS + <usize>text;
  let to = expandedAt;
  for (let code = <u32>load<u8>(from); code != 0; code = load<u8>(++from)) to = put(code, to);
  expandedLength = to - expandedAt;
}
