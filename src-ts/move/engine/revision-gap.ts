/**
 * How far the target's etcd is behind the source's. A tenant can be switched only where it is not: see `raiseRevision`. A storage layer that is
 * new is millions behind one that has run for years, so the gap is closed little by little while a move copies and follows.
 */
import type { Endpoint } from '../../pd/endpoint.ts';
import { ageText } from '../../tenants/holders.ts';
import { MOST_RAISED, raiseBy, revisionOf } from './etcd.ts';

/** Few enough that other users of the target's etcd do not notice. */
const PER_SECOND = 500;
const AT_MOST = 2 * PER_SECOND;

export async function revisionsBehind(source: Endpoint, target: Endpoint): Promise<number> {
  const [wanted, is] = await Promise.all([revisionOf(source), revisionOf(target)]);
  return wanted > is ? Number(wanted - is) : 0;
}

/** Why nobody can be switched yet, and for how long; undefined when the rest can be raised at the switch. */
export function gapText(behind: number): string | undefined {
  if (behind <= MOST_RAISED) return undefined;
  const left = ageText(0, ((behind - MOST_RAISED) / PER_SECOND) * 1000);
  return `etcd of the target is ${behind} revisions behind, and is being raised: it can be switched in about ${left}`;
}

export class RevisionGap {
  private raising: Promise<void> | undefined;
  private since = 0;
  private isClosed = false;
  /** As it was seen last. */
  behind = 0;

  constructor(
    private readonly source: Endpoint,
    private readonly target: Endpoint,
  ) {}

  /** Raises the target by what is due, beside what else is done. What fails shows at the switch. */
  raise(): void {
    if (this.raising || this.isClosed) return;
    this.raising = this.part()
      .catch(() => undefined)
      .finally(() => (this.raising = undefined));
  }

  private async part(): Promise<void> {
    const now = performance.now();
    const due = Math.min(AT_MOST, Math.round(((now - this.since) / 1000) * PER_SECOND));
    this.since = now;
    this.behind = await revisionsBehind(this.source, this.target);
    await raiseBy(this.target, Math.min(due, this.behind), () => this.isClosed);
  }

  close(): void {
    this.isClosed = true;
  }
}
