/** The message that is being rewritten: which way it goes, on which stream, and what of it all of its parts must know. */
import { Status } from '../wire/status';
import { Exchange } from './exchange';

export const enum Direction {
  REQUEST,
  RESPONSE,
}

export let direction: Direction = Direction.REQUEST;
export let exchange: Exchange = changetype<Exchange>(0);
/** Random bits for lease ids that a client leaves to etcd; 48 bits, set before each request. */
export let leaseSeed: u64 = 0;
/** Layout for the answer; 0 when its request did not ask for `_tidb_tid`. */
export let answerColumns: usize = 0;
/** The request acts on the region that its context names. */
export let namesRegion: bool = false;

/** The message and field at which a refusal happened, for its text. */
export let failedMessage: u32 = 0;
export let failedField: u32 = 0;

/** Sets what the next messages are rewritten with. */
export function useExchange(x: Exchange, randomLease: u64): void {
  exchange = x;
  leaseSeed = randomLease;
}

export function useDirection(way: Direction): void {
  direction = way;
  answerColumns = 0;
}

export function useAnswerColumns(columns: usize): void {
  answerColumns = columns;
}

export function setNamesRegion(names: bool): void {
  namesRegion = names;
}

/** What failed before is over: what fails next may have no place. */
export function forgetFailure(): void {
  failedMessage = 0;
  failedField = 0;
}

/** The message cannot go on: notes where, and returns the status. */
export function fail(status: Status, message: u32, field: u32): Status {
  if (status == Status.DROP) return status;
  failedMessage = message;
  failedField = field;
  return status;
}
