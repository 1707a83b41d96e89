/** The decision for a gRPC method, from the table that proto/ is compiled to. Methods that are not in it are refused. */
import { equals, hashBytes, isSameBytes } from '../wire/bytes';
import { METHODS, METHOD_COUNT } from '../schema/table';
import { textOf } from '../texts/text';

export let decision: u32 = 0;
export let requestMessage: u32 = 0;
export let responseMessage: u32 = 0;
/** Why the method is refused, a text. */
export let because: u32 = 0;
/** Its place in METHODS. */
export let methodPlace: u32 = 0;

const RECORD_BYTES: usize = 12;
const ID_BITS: u32 = 12;
const ID_MASK: u32 = 0xfff;

function recordAt(place: u32): usize {
  return METHODS + <usize>place * RECORD_BYTES;
}

/** The path of the method at a place, a text. */
export function pathAt(place: u32): u32 {
  return load<u16>(recordAt(place), 4);
}

export function decisionAt(place: u32): u32 {
  return (<u32>load<u16>(recordAt(place), 8)) >> ID_BITS;
}

/** The message that it takes; 0 when it is not read. */
export function requestAt(place: u32): u32 {
  return (<u32>load<u16>(recordAt(place), 8)) & ID_MASK;
}

/** True when one of its sides may send several messages. */
export function isStreamAt(place: u32): bool {
  return (<u32>load<u16>(recordAt(place), 10)) >> ID_BITS != 0;
}

/** The path that was found last, which the variables above are of: calls of one method come in rows, and to spell a name out takes longer. */
const LONGEST: usize = 128;
const found: usize = memory.data(128, 8);
let foundLength: usize = 0;

/** Looks a path up; false when it is in no known service. */
export function findMethod(p: usize, length: usize): bool {
  if (length == foundLength && length != 0 && isSameBytes(found, p, length)) return true;
  const hash = hashBytes(p, length);
  let low: usize = 0;
  let high: usize = METHOD_COUNT;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(METHODS + middle * RECORD_BYTES) < hash) low = middle + 1;
    else high = middle;
  }
  const record = METHODS + low * RECORD_BYTES;
  if (low == METHOD_COUNT || load<u32>(record) != hash) return false;
  if (!equals(p, length, textOf(load<u16>(record, 4)))) return false;
  foundLength = length <= LONGEST ? length : 0;
  memory.copy(found, p, foundLength);
  methodPlace = <u32>low;
  because = load<u16>(record, 6);
  const request = <u32>load<u16>(record, 8);
  requestMessage = request & ID_MASK;
  decision = request >> ID_BITS;
  responseMessage = (<u32>load<u16>(record, 10)) & ID_MASK;
  return true;
}
