/** The clocks of both sides' PDs: a switch waits until the target's gives timestamps behind all that the tenant has seen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import { millisOf } from '../../pd/timestamp.ts';
import type { Engine } from '../engine/engine.ts';
import { isBetweenStorages, placeText } from '../place.ts';
import type { MoveRecord } from '../record.ts';

/** How far the clock of a cluster's PD and the mesh's may be apart. */
const CLOCK_MS = 2000;
const CLOCK_HINT = 'set the clocks of both PDs right (NTP), and switch again';
const LOOK_MS = 100;

function clockText(record: MoveRecord, behindMs: number): string {
  return `the clock of PD at ${placeText(record, record.to)} is ${(behindMs / 1000).toFixed(1)} s behind`;
}

/** Why the target's clock would not be waited for. It is looked at while nothing is held. */
export async function clockObjection(record: MoveRecord, engine: Engine): Promise<string | undefined> {
  const latest = await engine.timestamp();
  const behindMs = millisOf(latest) - millisOf(await engine.targetTimestamp());
  return behindMs > CLOCK_MS ? `${clockText(record, behindMs)}: ${CLOCK_HINT}` : undefined;
}

/** Waits until the target's PD gives timestamps behind all that the tenant has seen. It may be another one. */
export async function waitForClock(record: MoveRecord, engine: Engine, latest: bigint): Promise<void> {
  const deadline = Date.now() + CLOCK_MS;
  for (;;) {
    const there = await engine.targetTimestamp();
    // The filters compare milliseconds.
    if (isBetweenStorages(record) ? millisOf(there) > millisOf(latest) : there > latest) return;
    const behindMs = millisOf(latest) - millisOf(there);
    if (Date.now() + behindMs > deadline)
      throw new CommandError('REFUSED', clockText(record, behindMs), CLOCK_HINT);
    await sleep(Math.max(1, Math.min(behindMs, LOOK_MS)));
  }
}
