/** Tells whose worker lives, by one's own clock: those of hosts may differ. */
import type { Stored } from './record.ts';

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
