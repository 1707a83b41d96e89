/** A move that an operator has paused. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { OwnRecord } from './own-record.ts';

const LOOK_MS = 1000;

/** Waits for a while when the move is paused. */
export async function isPaused(own: OwnRecord): Promise<boolean> {
  if (!own.record.isPaused || own.record.wish !== undefined) return false;
  await sleep(LOOK_MS, undefined, { signal: own.signal }).catch(() => undefined);
  await own.look();
  await own.change({});
  return true;
}
