/** The texts that the filter knows. A text is its place in TEXTS, where it lies as a constant of ours does; 0 is the empty one. */
import { Ascii, LENGTH_BYTES } from '../wire/bytes';
import { TEXTS } from './table';

/** @inline */
export function textOf(place: u32): Ascii {
  return changetype<Ascii>(TEXTS + LENGTH_BYTES + <usize>place);
}
