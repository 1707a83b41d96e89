/**
 * What time it is for PD, in ms since 1970. A timestamp far ahead of PD's clock raises TiKV's `max_ts` for everybody, and TiKV 9.0 and newer
 * stop on one that is more than a minute ahead. Envoy's own clock can be wrong, and PD's can have been pushed ahead. So PD is asked for its
 * clock, see streams/pd-time.ts, and the time since is added.
 */

/** How far in the future timestamps may lie at least while nobody can say what time it is for PD, in ms. */
const UNKNOWN_DRIFT_MS: u64 = 600_000;

/** PD lets nobody push its clock further at once (`max-gap-reset-ts`), in ms. */
const MOST_PUSH_MS: u64 = 24 * 3600 * 1000;

/** An answer of PD decides for so long that a timestamp is too late. Later, PD must be asked anew. Longer than a tick. */
const FRESH_MS: u64 = 1500;

/** What PD said, 0: nothing yet; and when that was by Envoy's clock. */
export let said: u64 = 0;
export let saidAt: u64 = 0;
/** True when a question had no good answer while nothing was known. */
export let hasFailed: bool = false;
/** True when a timestamp was held back until PD is asked anew. */
export let isWanted: bool = false;

/** Takes over what PD said, and when it was asked; 0: it did not say. */
export function setPdClock(time: u64, askedAt: u64, failed: bool): void {
  said = time;
  saidAt = askedAt;
  hasFailed = failed;
}

export function wantPdClock(wanted: bool): void {
  isWanted = wanted;
}

/** PD's clock at the time `now` of Envoy. Call it only if it is known. */
function timeAt(now: u64): u64 {
  return said + (now - min(now, saidAt));
}

/** The latest time that a timestamp may name now. `asks`: PD can be asked. */
export function latestTime(now: u64, driftMs: u64, asks: bool): u64 {
  if (asks && said != 0) return timeAt(now) + driftMs;
  return now + (asks && !hasFailed ? driftMs : max(driftMs, UNKNOWN_DRIFT_MS));
}

/** How far beyond the latest time a timestamp may lie that PD, asked anew, may say is good: 0 after an answer, and where it cannot be asked. */
export function doubtMs(now: u64, asks: bool): u64 {
  if (!asks) return 0;
  const isDoubtful = said == 0 ? !hasFailed : now - min(now, saidAt) > FRESH_MS;
  return isDoubtful ? MOST_PUSH_MS : 0;
}
