/** What a caller is told: `tidb-mesh[KEY_OUTSIDE]: a key lies outside …`. */
import { fieldNameOf, nameOf } from '../schema/messages';
import { codeOf, sentenceOf } from '../schema/statuses';
import { Status } from '../wire/status';
import { Text } from './table';
import { fillNumber, fillText, writeTemplate } from './writer';

/** Gives the first two places of a template the status's code and sentence. */
export function fillStatus(status: Status): void {
  fillText(0, codeOf(status));
  fillText(1, sentenceOf(status));
}

/** Gives two places of a template the name of a field, or the number of one that has none, and its message. */
export function fillPlace(place: usize, message: u32, field: u32): void {
  const name = fieldNameOf(message, field);
  if (name != 0) fillText(place, name);
  else fillNumber(place, field);
  fillText(place + 1, nameOf(message));
}

/** Writes what access logs show as the details of a refusal. */
export function writeDetails(status: Status): void {
  fillText(0, codeOf(status));
  writeTemplate(Text.DETAILS);
}

/** Writes what a status says by itself. */
export function writeStatus(status: Status): void {
  fillStatus(status);
  writeTemplate(Text.REFUSED);
}
