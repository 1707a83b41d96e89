/** What an operator asks of a move. It is written into the record; the worker does it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { millisOf } from '../pd/timestamp.ts';
import { isBetweenStorages, placeText } from './place.ts';
import {
  findMove,
  isServedElsewhere,
  moveOf,
  update,
  type Alarm,
  type MoveRecord,
  type Throttle,
} from './record.ts';
import { mustBeHome } from './same-pd.ts';

export const VERBS = ['switch', 'reverse', 'complete', 'cancel', 'pause', 'resume', 'throttle'] as const;
export type Verb = (typeof VERBS)[number];

/** True while the tenant is served where the move began. */
export function isAtHome({ switches }: MoveRecord): boolean {
  return switches % 2 === 0;
}

/** TiDBs that a text names. */
const MOST_SHOWN = 5;

/** `2 TiDBs run at cluster shop: …` */
export function tidbsText(running: readonly string[], where: string): string {
  const shown = running.slice(0, MOST_SHOWN).join(', ') + (running.length > MOST_SHOWN ? ', …' : '');
  const many = running.length === 1 ? '1 TiDB runs' : `${running.length} TiDBs run`;
  return `${many} at ${where}: ${shown}`;
}

/** What an alarm says, in words. */
export function alarmText(record: MoveRecord, alarm: Alarm): string {
  const { commits, count, place, isStopped, tidbs = [] } = alarm;
  const where = `${placeText(record, place)}, where it is not served`;
  const tables = [...new Set(commits.map(({ tableId }) => (tableId === undefined ? 'schema' : tableId)))];
  const [first] = commits;
  const since = first ? `, the first at ${new Date(millisOf(BigInt(first.commitTs))).toISOString()}` : '';
  return [
    ...(tidbs.length > 0 ? [tidbsText(tidbs, where)] : []),
    ...(count > 0 ? [`${count} commits at ${where}, in tables ${tables.join(', ')}${since}`] : []),
    isStopped ? 'its requests are held' : 'its requests go on',
  ].join('; ');
}

function alarmHint({ tenant }: MoveRecord, { count }: Alarm): string {
  return count === 0
    ? 'stop each of them, for good; the alarm ends when none is registered any more, a minute later at most'
    : `find out how that came (docs/move.md#an-alarm); then let it go on: tidb-mesh move resume ${tenant}`;
}

/** What is asked for beside the verb. */
interface Manner {
  readonly throttle?: Throttle;
  /** To complete without the storage layer that the tenant has left. */
  readonly otherIsGone?: boolean;
  /** With `cancel`: the cluster outside of the mesh is gone for good. */
  readonly withoutCluster?: boolean;
  /** With `cancel`: the storage layer that serves the tenant is gone for good, and the copy is kept. */
  readonly withoutStorage?: boolean;
}

/** Why a move cannot end without the other storage layer. It is decided that the tenant is served by the one with the record. */
function objectionToEndAlone({ tenant, home, from, to, committed }: MoveRecord): CommandError | undefined {
  const served = committed?.served ?? from;
  if (home !== undefined && isBetweenStorages({ from, to }) && served.storage === home) return undefined;
  return new CommandError(
    'REFUSED',
    `${tenant} is not served by a storage layer that it was moved to`,
    'only the storage layer that a tenant has left can be given up: leave out --other-is-gone',
  );
}

/** Why a move cannot end without the storage layer that serves the tenant. */
function objectionToLeave(record: MoveRecord): CommandError | undefined {
  if (isServedElsewhere(record)) return undefined;
  const { tenant, committed, from } = record;
  if (!isBetweenStorages(record))
    return new CommandError(
      'REFUSED',
      `${tenant} does not move between two storage layers`,
      'leave --without-storage out',
    );
  return new CommandError(
    'REFUSED',
    `${tenant} is served at ${placeText(record, committed?.served ?? from)}, whose PD has the record of its move`,
    'only the other storage layer can be given up; where the tenant has left it: tidb-mesh move complete --other-is-gone',
  );
}

/** Why the verb does not fit the state of the move, and what to do; undefined when it does. */
export function objection(
  record: MoveRecord,
  verb: Verb,
  { otherIsGone = false, withoutStorage = false }: Manner = {},
): CommandError | undefined {
  const { tenant, state, wish, from, isPaused } = record;
  const no = (why: string, hint: string): CommandError =>
    new CommandError('REFUSED', `${tenant} ${why}`, hint);
  const at = placeText(record, from);
  if (otherIsGone) return objectionToEndAlone(record);
  if (withoutStorage) return objectionToLeave(record);
  if (verb === 'throttle' || verb === 'pause' || verb === 'resume') return undefined;
  if (record.alarm)
    return no(`has an alarm: ${alarmText(record, record.alarm)}`, alarmHint(record, record.alarm));
  const look = `tidb-mesh move show ${tenant}`;
  // Until the new place is written down, a switch can be given up; where the tenant is served is decided then.
  const isSwitching = state === 'committing' || (state === 'switching' && !isAtHome(record));
  if ((verb === 'cancel' || verb === 'complete') && isSwitching)
    return no('is just being switched', `wait, and look: ${look}`);
  if (verb === 'cancel')
    return isAtHome(record)
      ? undefined
      : no(
          `is served at ${at}, where it was moved to`,
          `first: tidb-mesh move reverse ${tenant}; or: complete`,
        );
  if (verb === 'complete')
    return isAtHome(record)
      ? no(`is still served at ${at}, where it was`, `first: tidb-mesh move switch ${tenant}; or: cancel`)
      : undefined;
  if (verb === 'switch' && !isAtHome(record))
    return no(`is served at ${at} already`, `to go back: tidb-mesh move reverse ${tenant}`);
  if (verb === 'reverse' && isAtHome(record))
    return no(`is served at ${at}, where it was`, `to go on: tidb-mesh move switch ${tenant}`);
  if (record.wayBackLost !== undefined) {
    const end = isAtHome(record) ? 'cancel' : 'complete';
    return no(
      `stays at ${at}, since the other side is an old copy: ${record.wayBackLost}`,
      `end the move: tidb-mesh move ${end} ${tenant}`,
    );
  }
  if (wish === 'cancel' || wish === 'complete')
    return no(`is asked to ${wish} already`, `wait until the move has ended: ${look}`);
  if (isPaused) return no('is paused', `first: tidb-mesh move resume ${tenant}`);
  if (state !== 'following' && state !== 'switching')
    return no(`is ${state}, and not yet followed`, `wait; see: ${look}`);
  return undefined;
}

/**
 * The record with this wish.
 * @throws CommandError when the verb does not fit the state of the move
 */
export function wished(record: MoveRecord, verb: Verb, manner: Manner = {}): MoveRecord {
  const { throttle = {}, otherIsGone = false, withoutCluster = false, withoutStorage = false } = manner;
  const why = objection(record, verb, manner);
  if (why) throw why;
  if (withoutCluster && record.from.cluster === undefined)
    throw new CommandError(
      'REFUSED',
      `${record.tenant} is served at ${placeText(record, record.from)}, and at no cluster`,
      'leave --without-cluster out',
    );
  // JSON leaves it out.
  const clean = { ...record, problem: undefined, isTriedAgain: undefined };
  switch (verb) {
    case 'switch':
    case 'reverse':
      return { ...clean, wish: 'switch' };
    case 'complete':
    case 'cancel':
      return {
        ...clean,
        wish: verb,
        ...(otherIsGone || withoutStorage ? { otherIsGone: true } : {}),
        ...(withoutCluster ? { isWithoutCluster: true } : {}),
        // A worker may have begun to destroy it, and does not go on.
        ...(withoutStorage && record.state === 'cancelling' ? { isGivenUp: true } : {}),
      };
    case 'pause':
      return { ...record, isPaused: true };
    case 'resume':
      return {
        ...clean,
        isPaused: false,
        ...(record.alarm ? { alarm: { ...record.alarm, isAccepted: true } } : {}),
      };
    case 'throttle':
      return { ...record, throttle };
  }
}

/**
 * Asks for something.
 * @throws CommandError when it does not fit the state of the move
 */
export async function ask(
  pd: Endpoint,
  tenant: string,
  verb: Verb,
  { dryRun = false, ...manner }: Manner & { dryRun?: boolean } = {},
): Promise<MoveRecord> {
  const change = (record: MoveRecord): MoveRecord => wished(record, verb, manner);
  const { record } = await moveOf(pd, tenant);
  await mustBeHome(pd, record);
  if (dryRun) return change(record);
  return (await update(pd, tenant, change)).record;
}

const LOOK_MS = 200;
/** A worker looks at least so often. */
const NOBODY_MS = 20_000;

/** What is waited for. */
export interface WaitOptions {
  readonly verb: Verb;
  /** How often the tenant had been switched when it was asked for. */
  readonly switches?: number;
  /** Of the move that was asked; the first one that is found without it. */
  readonly createdAt?: number | undefined;
  readonly timeoutMs: number;
  /** Gets each state. */
  readonly tell: (record: MoveRecord) => void;
}

/** Where the tenant is served, now or soon, in words. */
function servedText(record: MoveRecord): string {
  const { committed, from } = record;
  if (!committed) return `it is served at ${placeText(record, from)}`;
  const old = placeText(record, from);
  return `it is decided that it is served at ${placeText(record, committed.served)}: start nothing at ${old}`;
}

/** Why a wish is not fulfilled, and will not be by itself; undefined when it may be. */
function failureOf(record: MoveRecord): CommandError | undefined {
  const { tenant, alarm, problem, wish, state, from, to, otherIsGone = false } = record;
  const hint = `see: tidb-mesh move show ${tenant}`;
  if (alarm && !alarm.isAccepted && !otherIsGone)
    return new CommandError('REFUSED', `${tenant} has an alarm: ${alarmText(record, alarm)}`, hint);
  if (problem !== undefined && wish === undefined && state === 'following')
    return new CommandError('REFUSED', `${tenant}: ${problem}; ${servedText(record)}`, hint);
  // It waits for what serves the tenant, which may be gone.
  const isApart = from.cluster !== undefined || isBetweenStorages({ from, to });
  if (problem !== undefined && wish === 'cancel' && isApart && !otherIsGone)
    return new CommandError('REFUSED', `${tenant} is not cancelled yet: ${problem}`, hint);
  return undefined;
}

/**
 * Waits until a wish is fulfilled.
 * @returns the record; undefined when the move has ended, as was asked for
 * @throws CommandError when it failed, or when nobody works on it
 */
export async function fulfilled(
  pd: Endpoint,
  tenant: string,
  { verb, switches = 0, createdAt, timeoutMs, tell }: WaitOptions,
): Promise<MoveRecord | undefined> {
  const deadline = Date.now() + timeoutMs;
  const isEnd = verb === 'complete' || verb === 'cancel';
  /** By this clock, not by the worker's. */
  let seen = { revision: 0n, at: Date.now() };
  let asked = createdAt;
  for (;;) {
    const found = await findMove(pd, tenant);
    const record = found?.record;
    asked ??= record?.createdAt;
    if (record?.createdAt !== asked || !record) {
      if (isEnd) return undefined;
      throw new CommandError(
        'REFUSED',
        `the move of ${tenant} has ended before it was switched: somebody else has ended it`,
        'see where it is served: tidb-mesh routing get',
      );
    }
    tell(record);
    // Whatever has failed since then.
    if (!isEnd && record.switches > switches) return record;
    const failure = failureOf(record);
    if (failure) throw failure;
    if (found && found.revision !== seen.revision) seen = { revision: found.revision, at: Date.now() };
    if (Date.now() > seen.at + NOBODY_MS)
      throw new CommandError(
        'REFUSED',
        `nobody works on the move of ${tenant}; ${servedText(record)}`,
        'start a worker: tidb-mesh move run --config FILE --apply COMMAND --pd URL --envoy URL…',
      );
    if (Date.now() > deadline)
      throw new CommandError(
        'REFUSED',
        `${tenant} is still ${record.state} after ${timeoutMs / 1000} s; ${servedText(record)}`,
        `it goes on; see: tidb-mesh move show ${tenant}`,
      );
    await sleep(LOOK_MS);
  }
}
