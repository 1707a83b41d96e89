/** What there is to say of a move. */
import { ageText } from '../../tenants/holders.ts';
import { isClaimed } from '../claims.ts';
import { gapText } from '../engine/revision-gap.ts';
import { placeText } from '../place.ts';
import type { MoveRecord } from '../record.ts';
import { alarmText } from '../wishes.ts';

export interface Progress {
  readonly copied?: {
    readonly bytes: number;
    readonly keys: number;
    readonly ofBytes: number;
    readonly bytesPerSecond?: number;
  };
  /** JSON has no Infinity, which it is while a part is not followed. */
  readonly lagMs?: number | null;
  /** What keeps the feed from going on. */
  readonly trouble?: string;
  /** Of the target's etcd. */
  readonly revisionsBehind?: number;
}

export interface Summary {
  readonly tenant: string;
  readonly state: string;
  readonly from: string;
  readonly to: string;
  /** In words: how much is copied, or how far behind the target is. */
  readonly progress: string;
  /** Until the copy is complete, seconds; PD estimates how much it is. */
  readonly etaSeconds: number | undefined;
  readonly switches: number;
  /** Of the last switch, ms. */
  readonly heldMs: number | undefined;
  readonly worker: string | undefined;
  /** In words. */
  readonly alarm: string | undefined;
  /** Why there is none. */
  readonly wayBackLost: string | undefined;
  readonly problem: string | undefined;
}

const MIB = 2 ** 20;

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

function etaOf({ progress, state, isPaused }: MoveRecord): number | undefined {
  const { copied } = (progress ?? {}) as Progress;
  if (state !== 'copying' || isPaused || !copied?.bytesPerSecond) return undefined;
  return Math.round(Math.max(0, copied.ofBytes - copied.bytes) / copied.bytesPerSecond);
}

function copyText(record: MoveRecord, copied: NonNullable<Progress['copied']>): string {
  const { bytes, keys, ofBytes, bytesPerSecond } = copied;
  const share = ofBytes > 0 ? Math.min(100, (bytes / ofBytes) * 100) : 100;
  const eta = etaOf(record);
  return [
    `${mib(bytes)}, ${keys} keys (${share.toFixed(0)} %)`,
    ...(bytesPerSecond === undefined ? [] : [`${mib(bytesPerSecond)}/s`]),
    ...(eta === undefined ? [] : [`about ${ageText(0, eta * 1000)} left`]),
  ].join(', ');
}

export function lagText(lagMs: number | null | undefined): string {
  if (lagMs === undefined) return '-';
  return lagMs === null ? 'not followed everywhere yet' : `${(lagMs / 1000).toFixed(1)} s behind`;
}

function progressText(record: MoveRecord): string {
  const { state, progress, isPaused, copied: whole } = record;
  if (isPaused) return 'paused';
  const { copied, lagMs, trouble, revisionsBehind = 0 } = (progress ?? {}) as Progress;
  if (state === 'copying' && copied) return copyText(record, copied);
  return [
    trouble === undefined ? lagText(lagMs) : `${lagText(lagMs)}, trying again: ${trouble}`,
    gapText(revisionsBehind),
    whole && `${mib(whole.bytes)}, ${whole.keys} keys copied`,
  ]
    .filter((text) => text !== undefined)
    .join('; ');
}

/** @param hasWorker as `workedOn` has found out; by the clock here without it */
export function summaryOf(record: MoveRecord, hasWorker = isClaimed(record)): Summary {
  const { tenant, state, from, to, switches, history, worker, problem, wish, alarm, wayBackLost } = record;
  return {
    tenant,
    state: [state, ...(wish === undefined ? [] : [`to ${wish}`]), ...(alarm ? ['ALARM'] : [])].join(', '),
    from: placeText(record, from),
    to: placeText(record, to),
    progress: progressText(record),
    etaSeconds: etaOf(record),
    switches,
    heldMs: history.at(-1)?.writesHeldMs,
    // What makes it unique is of no use to people.
    worker: worker && hasWorker ? worker.id.split(' ', 1)[0] : undefined,
    alarm: alarm && alarmText(record, alarm),
    wayBackLost,
    problem,
  };
}
