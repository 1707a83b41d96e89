/**
 * The texts that the filter knows: packed by byte pairs when the tables are generated, expanded here when one is needed. A text is
 * its place in TEXTS; 0 is the empty one.
 */
import { put } from './pairs';
import { LONGEST_TEXT, PAIRS, TEXTS } from './table';

/** The text that was expanded last lies here until the next one is. */
export const expandedAt: usize = memory.data(LONGEST_TEXT, 8);
export let expandedLength: usize = 0;

/** Expands a text to `expandedAt`, ASCII. */
export function expand(text: u32): void {
  let from = TEXTS + <usize>text;
  let to = expandedAt;
  for (let code = <u32>load<u8>(from); code != 0; code = load<u8>(++from)) to = put(PAIRS, code, to);
  expandedLength = to - expandedAt;
}
