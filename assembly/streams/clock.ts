/** The time of the last tick. It is exact enough for drifts of seconds, and costs nothing per message. */
import { currentTime } from '../host/host';
import { setRegionClock } from '../rewrite/regions';

/** Milliseconds since 1970; 0 before the first tick. */
export let now: u64 = 0;

/** Milliseconds since then; very many when the clock was set back. */
export function millisecondsSince(): u64 {
  return currentTime() / 1_000_000 - now;
}

/** Called when a configuration is loaded and on every tick. */
export function readClock(): void {
  now = currentTime() / 1_000_000;
  setRegionClock(now);
}
