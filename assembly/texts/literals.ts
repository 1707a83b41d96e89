/** Reads the string literals that src-ts/texts/literals.ts packs while the filter is compiled. */
import { LITERALS, LITERAL_PAIRS, LONGEST_LITERAL } from './literal-table';
import { put } from './pairs';

const room: usize = memory.data(LONGEST_LITERAL, 8);

/** A new string. */
export function literal(place: i32): string {
  let from = LITERALS + <usize>place;
  let to = room;
  for (let code = <u32>load<u8>(from); code != 0; code = load<u8>(++from)) to = put(LITERAL_PAIRS, code, to);
  return String.UTF8.decodeUnsafe(room, to - room);
}
