/** The decision for a gRPC method, from the table that proto/ is compiled to. Methods that are not in it are refused. */
import { hashBytes } from '../wire/bytes';
import { METHODS, METHOD_COUNT } from '../schema/table';
import { expand, expandedAt, expandedLength } from '../texts/text';

export let decision: u32 = 0;
export let requestMessage: u32 = 0;
export let responseMessage: u32 = 0;
/** Why the method is refused, a text. */
export let because: u32 = 0;

const RECORD_BYTES: usize = 12;
const ID_BITS: u32 = 12;
const ID_MASK: u32 = 0xfff;

/** Looks a path up; false when it is in no known service. */
export function findMethod(p: usize, length: usize): bool {
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
  expand(load<u16>(record, 4));
  if (expandedLength != length || memory.compare(expandedAt, p, length) != 0) return false;
  because = load<u16>(record, 6);
  const request = <u32>load<u16>(record, 8);
  requestMessage = request & ID_MASK;
  decision = request >> ID_BITS;
  responseMessage = (<u32>load<u16>(record, 10)) & ID_MASK;
  return true;
}
