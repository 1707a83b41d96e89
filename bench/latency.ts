/**
 * Latencies of two sides that take short turns. The machine stands still for milliseconds now and then: measured for seconds, one side after
 * the other, 99th percentiles said where that had happened, and the same two sides differed by 0.04 to 4.7 times from round to round.
 */
import type { Report } from './load.ts';
import { median } from './rows.ts';

const TURN_SECONDS = 0.3;
const TURNS = 8;

/** A side's 99th percentile over the other's: medians of their turns, of which the second side has every other first. */
export async function p99Ratio(
  one: (seconds: number) => Promise<Report>,
  other: (seconds: number) => Promise<Report>,
): Promise<number> {
  const [ones, others]: [number[], number[]] = [[], []];
  for (let turn = 0; turn < TURNS; turn++) {
    if (turn % 2 === 0) ones.push((await one(TURN_SECONDS)).p99);
    others.push((await other(TURN_SECONDS)).p99);
    if (turn % 2 === 1) ones.push((await one(TURN_SECONDS)).p99);
  }
  return median(ones) / median(others);
}
