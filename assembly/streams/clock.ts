/** The time of the last tick. It is exact enough for drifts of seconds, and costs nothing per message. */
import { currentTime } from '../host/host';
import { setRegionClock } from '../rewrite/regions';

/** PD's timestamps are milliseconds since 1970, above this many bits of a counter. */
const LOGICAL_BITS: u64 = 18;

/** Milliseconds since 1970; 0 before the first tick. */
export let now: u64 = 0;

/** Called when a configuration is loaded and on every tick. */
export function readClock(): void {
  now = currentTime() / 1_000_000;
  setRegionClock(now);
}

/** The earliest timestamp that a tenant may keep if it may hold GC back by `seconds`. */
export function earliestTimestamp(seconds: u64): u64 {
  const span = seconds * 1000;
  return now < span ? 0 : (now - span) << LOGICAL_BITS;
}

/** The latest timestamp that a client may send if its clock may run `driftMs` ahead. */
export function latestTimestamp(driftMs: u64): u64 {
  return now == 0 ? u64.MAX_VALUE : (now + driftMs) << LOGICAL_BITS;
}
