/** Writes what a caller is told: `tidb-mesh[KEY_OUTSIDE]: a key lies outside …`. */
import { fieldNameOf, nameOf } from '../schema/messages';
import { codeOf, sentenceOf } from '../schema/statuses';
import { Status } from '../wire/status';
import { Text } from './table';
import { fillNumber, fillText, writeTemplate } from './writer';

/** Fills the first two places of a template with the status's code and sentence. */
export function fillStatus(status: Status): void {
  fillText(0, codeOf(status));
  fillText(1, sentenceOf(status));
}

/** Fills two places of a template with the name of a field, or its number when it has no name, and the name of its message. */
export function fillPlace(place: usize, message: u32, field: u32): void {
  const name = fieldNameOf(message, field);
  if (name != 0) fillText(place, name);
  else fillNumber(place, field);
  fillText(place + 1, nameOf(message));
}

/** Writes the details of a refusal for access logs. */
export function writeDetails(status: Status): void {
  fillText(0, codeOf(status));
  writeTemplate(Text.DETAILS);
}

/** Writes a status without a place. */
export function writeStatus(status: Status): void {
  fillStatus(status);
  writeTemplate(Text.REFUSED);
}
