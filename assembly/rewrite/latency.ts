/** Measures how long the requests of a stream take, from the batch that brings a request to the one that brings its answer. */
import { readVarint } from '../wire/varint';
import * as varint from '../wire/varint';
import * as current from './current';
import { Direction } from './current';
import { Exchange } from './exchange';
import { keepTime, newTable, takeTime } from './id-times';

/** The time of this event, us since 1970. */
let now: u64 = 0;

export function useTime(microseconds: u64): void {
  now = microseconds;
}

/** Measures the requests of a batch stream from now on, if there is memory for it. */
export function measureBatches(exchange: Exchange): void {
  if (exchange.times == 0) exchange.times = newTable();
}

/** Takes the id of a request, or of an answer, in a stream that is measured. */
export function sawId(id: u64): void {
  const exchange = current.exchange;
  if (current.direction == Direction.REQUEST) {
    exchange.times = keepTime(exchange.times, id, now);
    return;
  }
  const sent = takeTime(exchange.times, id);
  if (sent != 0) current.terms.account.addLatency(now > sent ? now - sent : 0);
}

/** Takes a packed list of ids. A broken one is judged elsewhere. */
export function sawIds(p: usize, end: usize): void {
  while (p < end) {
    const id = readVarint(p, end);
    if (varint.readEnd == 0) return;
    sawId(id);
    p = varint.readEnd;
  }
}
