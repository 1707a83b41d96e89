/** Reads what proto/mesh/statuses.ts says about a status. */
import { Status } from '../wire/status';
import { StatusBits } from './bits';
import { STATUSES, STATUS_BYTES } from './table';


function word(status: Status, i: usize): u32 {
  return load<u16>(STATUSES + <usize>status * STATUS_BYTES + (i << 1));
}

/** The status's code, a text. */
export function codeOf(status: Status): u32 {
  return word(status, 0);
}

/** The sentence for the caller, a text. */
export function sentenceOf(status: Status): u32 {
  return word(status, 1);
}

export function httpStatusOf(status: Status): u32 {
  return word(status, 2);
}

export function grpcStatusOf(status: Status): i32 {
  return <i32>(word(status, 3) & StatusBits.GRPC_MASK);
}

/** True when one request of a batch can be refused with this status, while the others go on. */
export function isSingle(status: Status): bool {
  return (word(status, 3) & StatusBits.SINGLE) != 0;
}
