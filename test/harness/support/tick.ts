/** The filter's tick: once a second it reads the clock and sets its gauges. */
import { setTimeout as sleep } from 'node:timers/promises';

/** A second, and as much again for a machine that is busy. */
const SURELY_TICKED = 2000;

/** Resolves when the filter has ticked at least once since the call. */
export async function ticked(): Promise<void> {
  await sleep(SURELY_TICKED);
}
