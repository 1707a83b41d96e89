/** Reads the filter's texts. A text is identified by its place in TEXTS, where it has the form of a constant. 0 is the empty text. */
import { Ascii, LENGTH_BYTES } from '../wire/bytes';
import { TEXTS } from './table';

/** @inline */
export function textOf(place: u32): Ascii {
  return changetype<Ascii>(TEXTS + LENGTH_BYTES + <usize>place);
}
