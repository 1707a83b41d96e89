/** PD's clock and its GC safe point, past the filter, as the storage layer's operators see them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '../../harness/stack/stack.ts';

const LOGICAL_BITS = 18n;
/**
 * TiDB's gc_worker ticks each minute. Between its resolving of locks and PD's safe point it lets 100 s pass, so that every
 * TiDB has read the one that is to come, and after a round it rests for a minute: rounds lie three minutes apart.
 */
const TICK = 60_000;
/** TiDB's least life time of versions, and its least interval between rounds. */
const GC_FLOOR = 10 * 60_000;
const ROUND_TIMEOUT = 5 * TICK;
const PD_TIMEOUT = 15_000;

export interface ServiceSafePoint {
  service: string;
  safePoint: bigint;
  /** Seconds since 1970. */
  expires: bigint;
}

/** Asks until the answer is not undefined. */
export async function until<T>(
  what: string,
  timeout: number,
  ask: () => Promise<T | undefined>,
  pause = 500,
): Promise<T> {
  const deadline = Date.now() + timeout;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeout / 1000} s`);
    await sleep(pause);
  }
}

/** Milliseconds since 1970 of a timestamp of PD's. */
export function millisecondsOf(ts: bigint): number {
  return Number(ts >> LOGICAL_BITS);
}

/** The first timestamp of a timestamp's millisecond. */
export function floorToMillisecond(ts: bigint): bigint {
  return (ts >> LOGICAL_BITS) << LOGICAL_BITS;
}

export class StoreTime {
  private ahead = 0;
  private lastRound = 0;

  constructor(private readonly stack: Stack) {}

  /** Numbers of 64 bits do not survive JSON.parse. PD gives no answer for some seconds while it elects itself anew. */
  private page(): Promise<string> {
    return until('an answer of PD', PD_TIMEOUT, async () => {
      const response = await fetch(`${this.stack.pd.directUrl}/pd/api/v1/gc/safepoint`);
      const text = await response.text();
      return response.ok ? text : undefined;
    });
  }

  async safePoint(): Promise<bigint> {
    return BigInt(/"gc_safe_point":\s*(\d+)/.exec(await this.page())?.[1] ?? '0');
  }

  async services(): Promise<ServiceSafePoint[]> {
    const entry = /"service_id":\s*"([^"]*)",\s*"expired_at":\s*(\d+),\s*"safe_point":\s*(\d+)/g;
    return [...(await this.page()).matchAll(entry)].map(([, service, expires, safePoint]) => ({
      service: service!,
      expires: BigInt(expires!),
      safePoint: BigInt(safePoint!),
    }));
  }

  /** Puts PD's clock forward, since TiDB's GC waits ten minutes for everything. It stays ahead of the wall clock. */
  private async forward(milliseconds: number): Promise<void> {
    this.ahead += milliseconds;
    const tso = BigInt(Date.now() + this.ahead) << LOGICAL_BITS;
    const response = await fetch(`${this.stack.pd.directUrl}/pd/api/v1/admin/reset-ts`, {
      method: 'POST',
      body: JSON.stringify({ tso: tso.toString() }),
    });
    if (!response.ok) throw new Error(`reset-ts: ${response.status} ${await response.text()}`);
  }

  /**
   * Lets every GC worker that is enabled make one round, and waits until PD's safe point has moved. A worker that ticks in
   * its rest counts the round as made without making it, so the clock moves after that.
   * @returns the new safe point
   */
  async round(): Promise<bigint> {
    await sleep(Math.max(0, this.lastRound + TICK + 5_000 - Date.now()));
    const before = await this.safePoint();
    await this.forward(GC_FLOOR + TICK);
    const safePoint = await until('a GC round', ROUND_TIMEOUT, async () => {
      const now = await this.safePoint();
      return now > before ? now : undefined;
    });
    this.lastRound = Date.now();
    return safePoint;
  }
}
