/** State of the message that is being rewritten: its direction, its stream, and what all of its parts need to know. */
import { Status } from '../wire/status';
import { Exchange } from './exchange';

export const enum Direction {
  REQUEST,
  RESPONSE,
}

export let direction: Direction = Direction.REQUEST;
export let exchange: Exchange = changetype<Exchange>(0);
/** Random bits for a lease id, used when a client lets etcd choose the id. 48 bits, set before each request. */
export let leaseSeed: u64 = 0;
/** Column layout of the answer; 0 when its request did not ask for `_tidb_tid`. */
export let answerColumns: usize = 0;
/** True when the request acts on the region that its context names. */
export let namesRegion: bool = false;

/** The message and field that caused a refusal, for the refusal's text. */
export let failedMessage: u32 = 0;
export let failedField: u32 = 0;

/** Sets the stream's notes and the random bits for the next messages. */
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

/** Clears the place of the last failure: the next failure may have none. */
export function forgetFailure(): void {
  failedMessage = 0;
  failedField = 0;
}

/** Notes where a failure happened, and returns its status. DROP is no failure. */
export function fail(status: Status, message: u32, field: u32): Status {
  if (status == Status.DROP) return status;
  failedMessage = message;
  failedField = field;
  return status;
}
