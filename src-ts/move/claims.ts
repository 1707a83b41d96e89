/** Tells whose worker lives, by one's own clock: those of hosts may differ. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Endpoint } from '../pd/endpoint.ts';
import { moves, type MoveRecord, type Stored } from './record.ts';

/** A worker that has not written its record for so long has lost the move. */
export const CLAIM_MS = 5000;

export class Claims {
  private readonly seen = new Map<string, { readonly revision: bigint; readonly since: number }>();

  /** True when a record has not changed for the time of a claim, as far as this observer has looked. */
  isOver({ record: { tenant }, revision }: Stored, now = performance.now()): boolean {
    const last = this.seen.get(tenant);
    if (last?.revision === revision) return now - last.since >= CLAIM_MS;
    this.seen.set(tenant, { revision, since: now });
    return false;
  }
}

const LOOK_MS = 250;

/** True when a worker has the move by what the record says, and the clock here agrees with the worker's. */
export function isClaimed({ worker }: Pick<MoveRecord, 'worker'>, now = Date.now()): boolean {
  return worker !== undefined && worker.until > now && worker.until <= now + CLAIM_MS;
}

/**
 * The tenants whose moves have a worker that lives. Where the clock here does not say so, it may be another one than the worker's: then the
 * record is watched for the time of a claim, in which one that lives writes it.
 */
export async function workedOn(
  pd: Endpoint,
  all: readonly Stored[],
  waitMs = CLAIM_MS,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const doubtful = new Map<string, bigint>();
  for (const { record, revision } of all)
    if (isClaimed(record)) found.add(record.tenant);
    else if (record.worker) doubtful.set(record.tenant, revision);
  for (const end = performance.now() + waitMs; doubtful.size > 0 && performance.now() < end;) {
    await sleep(LOOK_MS);
    for (const { record, revision } of await moves(pd)) {
      const before = doubtful.get(record.tenant);
      if (before === undefined || before === revision) continue;
      doubtful.delete(record.tenant);
      if (record.worker) found.add(record.tenant);
    }
  }
  return found;
}
