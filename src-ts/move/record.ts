/**
 * The record of a tenant's move, in PD's etcd: what is moved where, how far it is, and what an operator wants. Everything changes by
 * compare-and-swap, so that any worker can go on where another one has died, and two never work at once.
 */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { deleteIfUnchanged, deletePrefix, entries, putIfUnchanged, snapshot } from '../pd/etcd.ts';
import { millisOf, timestamp } from '../pd/timestamp.ts';
import type { State as TenantState } from '../tenants/tenant.ts';
import type { SeenEnvoy } from './filters/envoys.ts';
import { isBetweenStorages, type Place } from './place.ts';
import type { PdIds } from './same-pd.ts';

/** No tenant reaches it: tenants' names end in `:` there (assembly/tenant/tenant.ts). */
export const FOLDER = '/tidb-mesh/.moves/';

/** Beside the records: the state of a copy, in pieces that etcd takes (copy-state.ts). */
const PIECES = '/tidb-mesh/.move-pieces/';

/** How the last moves of tenants have ended. The filters remember their serials, too. */
const LAST = '/tidb-mesh/.last-moves/';

/**
 * How far a move is.
 *
 *   planned -> copying -> following <-> switching -> committing -> following (the other way) ...
 *                              \-> completing -> (gone)
 *   any of them before the first switch -> cancelling -> (gone)
 */
export type State =
  'planned' | 'copying' | 'following' | 'switching' | 'committing' | 'completing' | 'cancelling';

/** What an operator has asked for and the worker has not done yet. */
export type Wish = 'switch' | 'complete' | 'cancel';

export interface Throttle {
  readonly bytesPerSecond?: number;
  readonly requestsPerSecond?: number;
}

/** One switch that was done. */
export interface Switch {
  /** ms since 1970. */
  readonly at: number;
  /** How long writes were held, ms; and how long all requests were. */
  readonly writesHeldMs: number;
  readonly allHeldMs: number;
  /** Everything that was committed at the old place up to here is at the new one: a timestamp of PD, decimal. */
  readonly fence: string;
}

/** A switch that the filters are still being told of. */
export interface Commitment {
  /** Where the tenant is served from now on. */
  readonly served: Place;
  readonly fence: string;
  /** Since when writes have been held, and all requests, ms since 1970. */
  readonly writesHeldSince: number;
  readonly allHeldSince: number;
}

/** A commit at the side that is not serving, which nobody but the mover writes to. */
export interface ForeignCommit {
  /** Logical, in hex. */
  readonly key: string;
  readonly tableId?: string;
  readonly op: 'put' | 'delete';
  /** Timestamps of PD, decimal. */
  readonly startTs: string;
  readonly commitTs: string;
}

/** Somebody has written where the tenant is not served, and the serving side lacks it; or TiDBs run there that would. */
export interface Alarm {
  /** When it was noticed first, ms since 1970. */
  readonly at: number;
  readonly place: Place;
  /** The first ones, and how many there were. */
  readonly commits: readonly ForeignCommit[];
  readonly count: number;
  /** Addresses of TiDBs that are registered at a cluster outside of the mesh. */
  readonly tidbs?: readonly string[] | undefined;
  /** Every filter holds the tenant's requests because of it. */
  readonly isStopped: boolean;
  /** An operator has seen it: the tenant goes on. */
  readonly isAccepted?: true;
}

export interface MoveRecord {
  readonly tenant: string;
  /** The tenant's own number, which it keeps. */
  readonly number: number;
  /** Grows with each phase that is pushed to the filter, so that an old acknowledgement never counts. */
  readonly serial: number;
  readonly state: State;
  readonly wish?: Wish;
  /** The storage layer whose PD has this record, when the tenant moves between two. */
  readonly home?: string;
  /** Which PDs the sides have. An earlier version did not write it. */
  readonly pdIds?: PdIds;
  /** Where the tenant is served, and where its copy is made. A switch exchanges them. */
  readonly from: Place;
  readonly to: Place;
  /** Number of switches so far. Odd: the tenant is served at the place that it moves to. */
  readonly switches: number;
  readonly history: readonly Switch[];
  /** While committing: what the filters are told. Nothing leads back from here. */
  readonly committed?: Commitment;
  /** How far copy and feed are, for whoever goes on: see copy.ts and feed.ts. */
  readonly progress?: unknown;
  /**
   * The state that the tenant has for its operator while the configuration says `suspended` for the move's sake: where a cluster outside of
   * the mesh serves it, and from the hand-over to another storage layer on until that is done.
   */
  readonly keptState?: TenantState | undefined;
  /** Of the copy, once it is complete. */
  readonly copied?: { readonly bytes: number; readonly keys: number };
  readonly isPaused: boolean;
  /** The cluster outside of the mesh that serves the tenant is gone for good, an operator says: `cancel` destroys the last copy. */
  readonly isWithoutCluster?: true;
  /** At the end: the target's range is given up, and somebody else may have it. Nothing is destroyed there any more. */
  readonly isGivenUp?: true;
  /**
   * The other storage layer is gone for good, by an operator's word: the move ends without its PD, stores and filters. Nothing is destroyed
   * then. Where it is the one that serves the tenant, see `isLeftClosed`.
   */
  readonly otherIsGone?: true;
  readonly throttle: Throttle;
  /** The Envoys that a worker has seen, and that may live. A switch waits for them. */
  readonly envoys?: readonly SeenEnvoy[];
  /** Who works on it, and until when it need not be asked, ms since 1970. */
  readonly worker?: { readonly id: string; readonly until: number };
  readonly alarm?: Alarm | undefined;
  /** The last ones that an operator has accepted. */
  readonly pastAlarms?: readonly Alarm[];
  /** Why nothing is carried over any more: the other side is an old copy, and the tenant stays where it is served. */
  readonly wayBackLost?: string | undefined;
  /** Why the last step did not succeed. */
  readonly problem?: string | undefined;
  /** That step is done again by itself, and the problem ends when it succeeds. */
  readonly isTriedAgain?: true | undefined;
  /** ms since 1970. */
  readonly createdAt: number;
}

type Sides = Pick<MoveRecord, 'from' | 'to' | 'home' | 'committed' | 'otherIsGone'>;

/** True while a storage layer serves the tenant whose PD has not the record of its move. */
export function isServedElsewhere({ from, to, home, committed }: Sides): boolean {
  const { storage } = committed?.served ?? from;
  return home !== undefined && isBetweenStorages({ from, to }) && storage !== home;
}

/** True when that one is gone for good, by an operator's word: the copy is kept, and nobody serves the tenant. */
export function isLeftClosed(record: Sides): boolean {
  return record.otherIsGone === true && isServedElsewhere(record);
}

/** A record as it was read. */
export interface Stored {
  readonly record: MoveRecord;
  /** etcd's revision of its last change. */
  readonly revision: bigint;
}

const keyOf = (tenant: string): string => FOLDER + tenant;

/** Somebody else has changed the record since it was read. */
export class Overtaken extends CommandError {
  constructor(tenant: string) {
    super('REFUSED', `the move of ${tenant} has just been changed by somebody else`, 'look, and try again');
    this.name = 'Overtaken';
  }
}

function parse(tenant: string, text: string): MoveRecord {
  try {
    return JSON.parse(text) as MoveRecord;
  } catch (cause) {
    throw new CommandError(
      'REFUSED',
      `the record of ${tenant}'s move in etcd is not JSON`,
      `read it: etcdctl get ${keyOf(tenant)}`,
      { cause },
    );
  }
}

/** All moves at one revision of etcd. */
export interface Moves {
  readonly revision: bigint;
  /** By the tenant's name. */
  readonly all: readonly Stored[];
}

/** All moves as they were at a revision of etcd; 0: as they are. @throws CallError when etcd does not know that revision */
export async function movesAt(pd: Endpoint, at = 0n): Promise<Moves> {
  const { revision, entries } = await snapshot(pd, FOLDER, at);
  const all = entries.map((entry) => ({
    record: parse(entry.key.slice(FOLDER.length), entry.value),
    revision: entry.revision,
  }));
  return { revision, all };
}

/** What can be read of all moves, and what cannot. */
export interface ReadableMoves {
  readonly all: readonly Stored[];
  /** For each record that cannot be read, why. */
  readonly broken: readonly CommandError[];
}

/** All moves whose records can be read: one that cannot must not stop the others. Whoever looks for a free range needs `moves`. */
export async function readableMoves(pd: Endpoint): Promise<ReadableMoves> {
  const all: Stored[] = [];
  const broken: CommandError[] = [];
  for (const { key, value, revision } of await entries(pd, FOLDER))
    try {
      all.push({ record: parse(key.slice(FOLDER.length), value), revision });
    } catch (error) {
      broken.push(error as CommandError);
    }
  return { all, broken };
}

/** All moves, by the tenant's name. @throws CommandError when one cannot be read */
export async function moves(pd: Endpoint): Promise<readonly Stored[]> {
  return (await movesAt(pd)).all;
}

/** The move of this tenant; undefined when there is none. */
export async function findMove(pd: Endpoint, tenant: string): Promise<Stored | undefined> {
  const found = (await entries(pd, keyOf(tenant))).find(({ key }) => key === keyOf(tenant));
  return found && { record: parse(tenant, found.value), revision: found.revision };
}

/** The move of this tenant. @throws CommandError when there is none */
export async function moveOf(pd: Endpoint, tenant: string): Promise<Stored> {
  const found = await findMove(pd, tenant);
  if (found) return found;
  throw new CommandError(
    'REFUSED',
    `${tenant} is not being moved`,
    `see all moves: tidb-mesh move list; begin one: tidb-mesh move create ${tenant} --to-number N`,
  );
}

/** @throws CommandError while the tenant is being moved */
export async function mustNotMove(pd: Endpoint, tenant: string): Promise<void> {
  if (!(await findMove(pd, tenant))) return;
  throw new CommandError(
    'REFUSED',
    `${tenant} is being moved; nothing was changed`,
    `end the move first: tidb-mesh move complete ${tenant}, or: tidb-mesh move cancel ${tenant}`,
  );
}

/** Pieces of the state of a copy, by their index. */
export type PieceMap = ReadonlyMap<number, string>;

function piecesFolder({ tenant, createdAt }: MoveRecord): string {
  return `${PIECES}${tenant}/${createdAt}/`;
}

/** The state of a copy as it was saved last, in order. */
export async function piecesOf(pd: Endpoint, record: MoveRecord): Promise<string[]> {
  return (await entries(pd, piecesFolder(record))).map(({ value }) => value);
}

export async function dropPieces(pd: Endpoint, record: MoveRecord): Promise<void> {
  await deletePrefix(pd, piecesFolder(record));
}

/**
 * Writes a record that nobody has changed since it was read; a new one has revision 0. Pieces are written with it, or not at all: so a
 * worker that has lost the move cannot undo what another one has copied.
 * @throws Overtaken
 */
export async function save(
  pd: Endpoint,
  { record, revision }: Stored,
  pieces: PieceMap = new Map(),
): Promise<Stored> {
  const along = [...pieces].map(([index, value]) => ({
    // They are read in the order of their keys.
    key: `${piecesFolder(record)}${String(index).padStart(8, '0')}`,
    value,
  }));
  const saved = await saveAll(pd, [{ record, revision }], along);
  if (saved === undefined) throw new Overtaken(record.tenant);
  return { record, revision: saved };
}

/** Writes records if nobody has changed any of them: all or none. Returns their new revision; undefined when one was changed. */
export async function saveAll(
  pd: Endpoint,
  all: readonly Stored[],
  along: readonly { readonly key: string; readonly value: string }[] = [],
): Promise<bigint | undefined> {
  const puts = all.map(({ record, revision }) => ({
    key: keyOf(record.tenant),
    value: JSON.stringify(record),
    revision,
  }));
  return putIfUnchanged(pd, puts, along);
}

/** What is known of a tenant's last move. */
export interface LastMove {
  readonly serial: number;
  /** The storage layer that serves the tenant since then, where it has moved between two. */
  readonly storage?: string | undefined;
}

/** Keeps what the next move of a tenant must know of one that ends. */
export async function keepLast(pd: Endpoint, tenant: string, last: LastMove): Promise<void> {
  const before = (await lastMoves(pd)).get(tenant);
  const serial = Math.max(last.serial, before?.serial ?? 0);
  const value = JSON.stringify({ ...before, ...last, serial });
  await putIfUnchanged(pd, [], [{ key: LAST + tenant, value }]);
}

/** By the tenant's name. */
export async function lastMoves(pd: Endpoint): Promise<ReadonlyMap<string, LastMove>> {
  const found = await entries(pd, LAST);
  return new Map(
    found.map(({ key, value }) => {
      const parsed = JSON.parse(value) as LastMove | number;
      return [key.slice(LAST.length), typeof parsed === 'number' ? { serial: parsed } : parsed];
    }),
  );
}

/** For a tenant that is removed: one that comes back may be anywhere. Its serial stays, which filters may remember. */
export async function forgetStorage(pd: Endpoint, tenant: string): Promise<void> {
  const last = (await lastMoves(pd)).get(tenant);
  if (last?.storage === undefined) return;
  const value = JSON.stringify({ serial: last.serial });
  await putIfUnchanged(pd, [], [{ key: LAST + tenant, value }]);
}

/**
 * The serial with which a move begins, above those of the tenant's former moves. The filters remember these, and hold a tenant whose serial
 * is lower. PD's clock is one for all hosts, and goes on while the tenant does not move.
 * @param pds of all storage layers whose filters are told
 */
export async function firstSerial(pds: readonly Endpoint[], tenant: string): Promise<number> {
  const all = await Promise.all(
    pds.map(async (pd) => [
      Math.floor(millisOf(await timestamp(pd)) / 1000),
      (await lastMoves(pd)).get(tenant)?.serial ?? 0,
    ]),
  );
  const [seconds, last] = [0, 1].map((i) => Math.max(...all.map((one) => one[i] ?? 0)));
  return Math.max(seconds ?? 0, (last ?? 0) + 1);
}

/** Removes a record. @throws Overtaken */
export async function forget(pd: Endpoint, { record, revision }: Stored): Promise<void> {
  if (!(await deleteIfUnchanged(pd, { key: keyOf(record.tenant), revision })))
    throw new Overtaken(record.tenant);
}

const TRIES = 10;

/**
 * Changes a record, again if another one was quicker.
 * @param change gives the new record; it may throw
 */
export async function update(
  pd: Endpoint,
  tenant: string,
  change: (record: MoveRecord) => MoveRecord,
): Promise<Stored> {
  for (let attempt = 1; ; attempt++) {
    const { record, revision } = await moveOf(pd, tenant);
    try {
      return await save(pd, { record: change(record), revision });
    } catch (error) {
      if (!(error instanceof Overtaken) || attempt === TRIES) throw error;
    }
  }
}
