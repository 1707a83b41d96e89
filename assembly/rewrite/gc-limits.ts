/** Limits how far back a tenant may hold the store's GC: limits.maxHoldBackSeconds. */

/** The earliest timestamp that a tenant may hold; 0 until the time is known. */
export let oldestTimestamp: u64 = 0;
/** The longest time, in seconds, that a tenant may hold it without renewing it. */
export let longestHold: i64 = i64.MAX_VALUE;

export function useGcLimits(oldest: u64, seconds: i64): void {
  oldestTimestamp = oldest;
  longestHold = seconds;
}
