/** How tests with real servers wait for the worker of a move. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MoveRecord } from '../../src-ts/move/record.ts';

/** Long beyond what a loaded machine needs. */
export const WAIT_MS = 180_000;
export const LOOK_MS = 50;
/** Of what the worker said last, in errors. */
const MOST_SAID = 8;

export function lastOf(said: readonly string[]): string {
  return said.slice(-MOST_SAID).join('\n');
}

/** How a move stands, and what its worker said last. */
export function standing(record: MoveRecord, said: readonly string[]): string {
  const { tenant, switches, state, wish = 'no wish', problem = '', progress } = record;
  const { lagMs = NaN } = (progress ?? {}) as { lagMs?: number };
  return `${tenant}: ${switches} switches, ${state}, ${wish}, ${lagMs} ms behind: ${problem}\n${lastOf(said)}`;
}

export interface Waiting {
  readonly read: () => Promise<MoveRecord>;
  /** What the worker has said. */
  readonly said: readonly string[];
  readonly timeoutMs?: number;
}

/** Waits until the record is as wanted. */
export async function recordUntil(
  isWanted: (record: MoveRecord) => boolean,
  { read, said, timeoutMs = WAIT_MS }: Waiting,
): Promise<MoveRecord> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const record = await read();
    if (isWanted(record)) return record;
    if (Date.now() > deadline) throw new Error(standing(record, said));
    await sleep(LOOK_MS);
  }
}

export function follows({ state, wish }: MoveRecord): boolean {
  return state === 'following' && wish === undefined;
}

/** True when everything up to this timestamp has been carried over. */
export function hasCarried(ts: bigint): (record: MoveRecord) => boolean {
  return ({ state, progress }) => {
    const { resolvedTs = '0' } = (progress ?? {}) as { resolvedTs?: string };
    return state === 'following' && BigInt(resolvedTs) >= ts;
  };
}
