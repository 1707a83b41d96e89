/** Looks up a gRPC method in the wire table. Unknown methods are refused. */
import { equals, hashBytes, isSameBytes } from '../wire/bytes';
import { Method } from '../schema/bits';
import { METHODS, METHOD_BYTES, METHOD_COUNT } from '../schema/table';
import { textOf } from '../texts/text';

export let decision: u32 = 0;
export let requestMessage: u32 = 0;
export let responseMessage: u32 = 0;
/** A text: why the method is refused. */
export let because: u32 = 0;
/** Its index in METHODS. */
export let methodPlace: u32 = 0;

function recordAt(place: u32): usize {
  return METHODS + <usize>place * METHOD_BYTES;
}

/** A text: the path of the method with this index. */
export function pathAt(place: u32): u32 {
  return load<u16>(recordAt(place), 4);
}

export function decisionAt(place: u32): u32 {
  return (<u32>load<u16>(recordAt(place), 8)) >> Method.ID_BITS;
}

/** Its request's message; 0 if the request is not read. */
export function requestAt(place: u32): u32 {
  return (<u32>load<u16>(recordAt(place), 8)) & Method.ID_MASK;
}

/** True if one side may send several messages. */
export function isStreamAt(place: u32): bool {
  return (<u32>load<u16>(recordAt(place), 10)) >> Method.ID_BITS != 0;
}

/** What a call of it is for, see Call. */
export function callAt(place: u32): u32 {
  return load<u16>(recordAt(place), 12);
}

/** The path that was found last. Calls of one method come in series, and looking a name up takes longer than comparing it. */
const LONGEST: usize = 128;
const found: usize = memory.data(128, 8);
let foundLength: usize = 0;

/** Looks a path up; false if it is unknown. */
export function findMethod(p: usize, length: usize): bool {
  if (length == foundLength && length != 0 && isSameBytes(found, p, length)) return true;
  const hash = hashBytes(p, length);
  let low: usize = 0;
  let high: usize = METHOD_COUNT;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(METHODS + middle * METHOD_BYTES) < hash) low = middle + 1;
    else high = middle;
  }
  const record = METHODS + low * METHOD_BYTES;
  if (low == METHOD_COUNT || load<u32>(record) != hash) return false;
  if (!equals(p, length, textOf(load<u16>(record, 4)))) return false;
  foundLength = length <= LONGEST ? length : 0;
  memory.copy(found, p, foundLength);
  methodPlace = <u32>low;
  because = load<u16>(record, 6);
  const request = <u32>load<u16>(record, 8);
  requestMessage = request & Method.ID_MASK;
  decision = request >> Method.ID_BITS;
  responseMessage = (<u32>load<u16>(record, 10)) & Method.ID_MASK;
  return true;
}
