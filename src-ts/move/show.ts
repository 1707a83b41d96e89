/** What there is to say of a move. */
import { placeText } from './place.ts';
import type { MoveRecord } from './record.ts';
import { alarmText } from './wishes.ts';

export interface Progress {
  readonly copied?: { readonly bytes: number; readonly keys: number; readonly ofBytes: number };
  readonly lagMs?: number;
}

export interface Summary {
  readonly tenant: string;
  readonly state: string;
  readonly from: string;
  readonly to: string;
  /** In words: how much is copied, or how far behind the target is. */
  readonly progress: string;
  readonly switches: number;
  /** Of the last switch, ms. */
  readonly heldMs: number | undefined;
  readonly worker: string | undefined;
  /** In words. */
  readonly alarm: string | undefined;
  readonly problem: string | undefined;
}

const MIB = 2 ** 20;

function progressText({ state, progress, isPaused }: MoveRecord): string {
  if (isPaused) return 'paused';
  const { copied, lagMs } = (progress ?? {}) as Progress;
  if (state === 'copying' && copied) {
    const share = copied.ofBytes > 0 ? Math.min(100, (copied.bytes / copied.ofBytes) * 100) : 100;
    return `${(copied.bytes / MIB).toFixed(1)} MiB, ${copied.keys} keys (${share.toFixed(0)} %)`;
  }
  return lagMs === undefined ? '-' : `${(lagMs / 1000).toFixed(1)} s behind`;
}

export function summaryOf(record: MoveRecord): Summary {
  const { tenant, state, from, to, switches, history, worker, problem, wish, alarm } = record;
  return {
    tenant,
    state: [state, ...(wish === undefined ? [] : [`to ${wish}`]), ...(alarm ? ['ALARM'] : [])].join(', '),
    from: placeText(record, from),
    to: placeText(record, to),
    progress: progressText(record),
    switches,
    heldMs: history.at(-1)?.writesHeldMs,
    worker: worker && worker.until > Date.now() ? worker.id : undefined,
    alarm: alarm && alarmText(record, alarm),
    problem,
  };
}
