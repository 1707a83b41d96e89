/** The time, as the tick last saw it: exact enough for drifts of seconds, and free on the message path. */
import { currentTime } from '../host/host';
import { setRegionClock } from '../rewrite/regions';

/** PD's timestamps hold milliseconds since 1970 above this many bits of a counter. */
const LOGICAL_BITS: u64 = 18;

/** Milliseconds since 1970; 0 before the first tick. */
export let now: u64 = 0;

/** Called when a configuration is loaded and on every tick. */
export function readClock(): void {
  now = currentTime() / 1_000_000;
  setRegionClock(now);
}

/** The earliest timestamp that somebody may want kept who holds GC back by at most `seconds`. */
export function earliestTimestamp(seconds: u64): u64 {
  const span = seconds * 1000;
  return now < span ? 0 : (now - span) << LOGICAL_BITS;
}

/** The latest timestamp that a client may name whose clock runs at most `driftMs` ahead. */
export function latestTimestamp(driftMs: u64): u64 {
  return now == 0 ? u64.MAX_VALUE : (now + driftMs) << LOGICAL_BITS;
}
