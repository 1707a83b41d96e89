/** What the filter knows beside the messages, the same in every run: the time, and whose some regions are. */
import type { Filter } from '../test/unit/filter.ts';

/** The latest timestamp that a request may name, as PD makes them: milliseconds << 18. */
export const LATEST = BigInt(Date.UTC(2025, 0, 1)) << 18n;
export const NO_TIMESTAMP_LIMIT = (1n << 64n) - 1n;

/** A region of the tenant, and one that is not. */
export const INSIDE = { region: 2n, version: 1n };
export const OUTSIDE = { region: 3n, version: 1n };

/** For the key space that is chosen. */
export function tellFacts(filter: Filter): void {
  filter.latestTimestamp = LATEST;
  filter.lookups = true;
  filter.learn(INSIDE.region, INSIDE.version, true);
  filter.learn(OUTSIDE.region, OUTSIDE.version, false);
}
