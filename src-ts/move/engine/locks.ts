/** Locks of transactions in a key space: who holds them, how their transactions have ended, and what becomes of them at the fence. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import { CallError } from '../../pd/endpoint.ts';
import { Op, type KeyError, type LockInfo } from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import { millisOf } from '../../pd/timestamp.ts';
import { forEach } from './for-each.ts';
import { lowerEnd, tableIdOf, type KeyMap, type Range } from './key-space.ts';
import {
  CHECK_SECONDARY_LOCKS,
  CHECK_TXN_STATUS,
  PESSIMISTIC_LOCK,
  PESSIMISTIC_ROLLBACK,
  RESOLVE_LOCK,
  SCAN_LOCK,
} from './methods.ts';
import type { Side } from './storage.ts';

/** The largest timestamp: a lock looked at by it has expired. */
export const MAX_TS = (1n << 64n) - 1n;
const LOCKS_PER_PAGE = 1024;
/** Regions whose locks are looked through beside each other, and requests about one page of these. */
const REGIONS_AT_ONCE = 16;
const REQUESTS_AT_ONCE = 4;
/** As many as one command of a store writes to its log at once without harm. */
const KEYS_PER_REQUEST = 256;
/** No more are counted. */
const MOST_COUNTED = 1_000_000;
/** TiKV's wait_timeout that does not wait: client-go kv.LockNoWait. */
const NO_WAIT = -1n;
const SETTLE_ROUNDS = 5;
/** How long a region is asked for its locks while some of them are in memory only. */
const BUSY_MS = 200;

/** What has become of a transaction. */
export type Fate =
  | { readonly kind: 'committed'; readonly commitTs: bigint }
  | { readonly kind: 'rolled back' }
  /** `isPassed`: it will commit behind the reader. */
  | { readonly kind: 'alive'; readonly isPassed: boolean }
  | { readonly kind: 'unknown' };

/** The text of an error of a key, without the key. */
export function keyErrorText(error: KeyError): string {
  const [name] =
    Object.entries(error).find(
      ([field, value]) => !field.startsWith('$') && value !== undefined && value !== '',
    ) ?? [];
  return [name ?? 'unknown error', error.retryable, error.abort].filter((part) => part !== '').join(': ');
}

/** A store refused a request about keys. */
export function keyRefused(what: string, error: KeyError): CallError {
  return new CallError(
    `${what}: ${keyErrorText(error)}`,
    0,
    'run `move resume`; it goes on where it stopped',
  );
}

export function isPessimistic(lock: LockInfo): boolean {
  return lock.lockType === Op.PessimisticLock;
}

interface ScanOptions {
  readonly signal?: AbortSignal | undefined;
  readonly perRegion?: number;
  /** Goes on behind a region whose store cannot list its locks just now. */
  readonly skipsBusy?: boolean;
}

/** The parts of a key space that are in one region each, as far as PD can be asked. */
async function partsOf({ storage, space }: Side, signal: AbortSignal | undefined): Promise<Range[]> {
  const regions = await storage.regions(space, space).catch(() => []);
  signal?.throwIfAborted();
  const isInside = (key: Buffer): boolean =>
    Buffer.compare(key, space.start) > 0 && Buffer.compare(key, space.end) < 0;
  const borders = regions.map(({ start }) => space.fromPd(start)).filter(isInside);
  return [space.start, ...borders].map((start, i) => ({ start, end: borders[i] ?? space.end }));
}

/**
 * Reads the locks of a key space whose transactions began at `maxTs` or before, a page after the other, and several regions beside each
 * other.
 * @param act gets each page; 'enough' ends it
 */
async function eachPage(
  side: Side,
  act: (locks: LockInfo[]) => Promise<unknown>,
  maxTs: bigint,
  options: ScanOptions,
): Promise<void> {
  let isEnough = false;
  await forEach(await partsOf(side, options.signal), REGIONS_AT_ONCE, async ({ start, end }) => {
    let from = start;
    let here = 0;
    while (!isEnough && Buffer.compare(from, end) < 0) {
      const page = await pageAt(side, { start: from, end }, maxTs, options);
      if (page.locks.length > 0 && (await act(page.locks)) === 'enough') isEnough = true;
      here += page.locks.length;
      const last = page.locks.at(-1);
      const isFull = last && page.locks.length >= LOCKS_PER_PAGE && here < (options.perRegion ?? Infinity);
      from = isFull ? Buffer.concat([last.key, Buffer.from([0])]) : page.end;
      if (!isFull) here = 0;
    }
  });
}

/** The first locks of a range, at most those of one region. */
async function pageAt(
  { storage, space }: Side,
  { start, end }: Range,
  maxTs: bigint,
  { signal, skipsBusy = false }: ScanOptions,
): Promise<{ readonly locks: LockInfo[]; readonly end: Buffer }> {
  const askedAt = Date.now();
  return storage.atRegion(
    space,
    start,
    async (located) => {
      const bound = lowerEnd(located.end, end);
      const answer = await storage.ask(
        SCAN_LOCK,
        {
          context: located.context,
          maxVersion: maxTs,
          startKey: start,
          endKey: bound,
          limit: LOCKS_PER_PAGE,
        },
        located,
      );
      if (answer.regionError) return { regionError: answer.regionError };
      // TiKV lists none while one in the range is in memory: of an asynchronous commit that is being prewritten (scan_lock in its mod.rs).
      if (answer.error?.locked && skipsBusy && Date.now() - askedAt > BUSY_MS)
        return { value: { locks: [], end: bound } };
      if (answer.error?.locked) return { regionError: 'serverIsBusy' };
      if (answer.error) throw keyRefused('KvScanLock', answer.error);
      return { value: { locks: answer.locks, end: bound } };
    },
    { signal },
  );
}

/** Reads the locks of a key space whose transactions began at `maxTs` or before, in the order of their keys. */
export async function scanLocks(side: Side, maxTs = MAX_TS, options: ScanOptions = {}): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  await eachPage(side, async (locks) => void found.push(...locks), maxTs, options);
  return found.sort((a, b) => Buffer.compare(a.key, b.key));
}

/** How many locks a key space has; no more than a million are counted. */
export async function countLocks(side: Side, signal?: AbortSignal): Promise<number> {
  let count = 0;
  const add = async (locks: LockInfo[]): Promise<unknown> =>
    (count += locks.length) >= MOST_COUNTED ? 'enough' : undefined;
  await eachPage(side, add, MAX_TS, { signal, skipsBusy: true });
  return count;
}

interface StatusOptions {
  /** Who asks; a lock is pushed behind it. 0 pushes nothing. */
  readonly callerTs: bigint;
  /** By this time a lock may have expired. */
  readonly currentTs: bigint;
  /** Writes a protected rollback record when the primary has neither a lock nor a record. */
  readonly rollBackIfNotExist: boolean;
  /** The key is a primary: the store says so when a lock there has another one, and looks past one that was never prewritten. */
  readonly isPrimary?: boolean;
  /** An asynchronous commit has fallen back to two phases: its primary decides. */
  readonly isSync?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Asks the primary of a transaction how it has ended; ends it when its lock has expired. `primary` is physical. */
export async function fateOf(
  side: Side,
  transaction: { readonly primary: Buffer; readonly startTs: bigint },
  options: StatusOptions,
): Promise<Fate> {
  const { storage, space } = side;
  const { primary, startTs } = transaction;
  const answer = await storage.atRegion(
    space,
    primary,
    async (located) => {
      const status = await storage.ask(
        CHECK_TXN_STATUS,
        {
          context: located.context,
          primaryKey: primary,
          lockTs: startTs,
          callerStartTs: options.callerTs,
          currentTs: options.currentTs,
          rollbackIfNotExist: options.rollBackIfNotExist,
          verifyIsPrimary: options.isPrimary ?? false,
          forceSyncCommit: options.isSync ?? false,
        },
        located,
      );
      return status.regionError ? { regionError: status.regionError } : { value: status };
    },
    { signal: options.signal },
  );
  if (answer.error?.txnNotFound) return { kind: 'unknown' };
  if (answer.error) throw keyRefused('KvCheckTxnStatus', answer.error);
  if (answer.commitVersion > 0n) return { kind: 'committed', commitTs: answer.commitVersion };
  const lock = answer.lockInfo;
  const isAsync = lock?.useAsyncCommit === true && !options.isSync;
  if (answer.lockTtl === 0n && !isAsync) return { kind: 'rolled back' };
  if (isAsync) {
    const expires = millisOf(startTs) + Number(lock.lockTtl);
    if (expires >= millisOf(options.currentTs)) return { kind: 'alive', isPassed: false };
    const fate = await fateOfAsync(side, lock, options.signal);
    return fate ?? fateOf(side, transaction, { ...options, isSync: true });
  }
  // Action.MinCommitTSPushed
  return { kind: 'alive', isPassed: (answer.action as number) === 2 };
}

/**
 * An async-commit transaction has committed exactly when all its keys are locked. Asking for a key that is not forbids it for good.
 * @returns undefined when a key is locked to commit in two phases: the transaction has fallen back, and its primary decides
 */
async function fateOfAsync(
  { storage, space }: Side,
  primary: LockInfo,
  signal?: AbortSignal,
): Promise<Fate | undefined> {
  let commitTs = primary.minCommitTs;
  for (const secondary of primary.secondaries) {
    const key = Buffer.from(secondary);
    const answer = await storage.atRegion(
      space,
      key,
      async (located) => {
        const fields = { context: located.context, keys: [key], startVersion: primary.lockVersion };
        const status = await storage.ask(CHECK_SECONDARY_LOCKS, fields, located);
        return status.regionError ? { regionError: status.regionError } : { value: status };
      },
      { signal },
    );
    if (answer.error) throw keyRefused('KvCheckSecondaryLocks', answer.error);
    const [lock] = answer.locks;
    if (!lock && answer.commitTs === 0n) return { kind: 'rolled back' };
    if (!lock) return { kind: 'committed', commitTs: answer.commitTs };
    if (!lock.useAsyncCommit) return undefined;
    if (lock.minCommitTs > commitTs) commitTs = lock.minCommitTs;
  }
  return { kind: 'committed', commitTs };
}

/** Ends the locks of one transaction as it has ended. Keys are physical; a commit timestamp of 0 rolls back. */
export async function resolveLocks(
  { storage, space }: Side,
  keys: readonly Buffer[],
  startTs: bigint,
  commitTs: bigint,
  signal?: AbortSignal,
): Promise<void> {
  let rest = [...keys].sort((a, b) => Buffer.compare(a, b));
  while (rest.length > 0) {
    const [first] = rest as [Buffer];
    const before = rest;
    const count = await storage.atRegion(
      space,
      first,
      async (located) => {
        const part = before.slice(0, KEYS_PER_REQUEST).filter((key) => Buffer.compare(key, located.end) < 0);
        const answer = await storage.ask(
          RESOLVE_LOCK,
          { context: located.context, startVersion: startTs, commitVersion: commitTs, keys: part },
          located,
        );
        if (answer.regionError) return { regionError: answer.regionError };
        if (answer.error) throw keyRefused('KvResolveLock', answer.error);
        return { value: part.length };
      },
      { signal },
    );
    rest = rest.slice(count);
  }
}

/**
 * Meets a lock as a reader at `ts`: ends it when its transaction has ended.
 * @returns 'ended' when the reader may look again, 'passed' when it may look past the lock, 'waits' when it must wait
 */
export async function meetLock(
  side: Side,
  lock: LockInfo,
  ts: bigint,
  signal?: AbortSignal,
): Promise<'ended' | 'passed' | 'waits'> {
  const startTs = lock.lockVersion;
  const primary = Buffer.from(lock.primaryLock);
  const pessimistic = isPessimistic(lock);
  // That of a lock which is not prewritten may be one from before a statement that was tried again.
  const isPrimary = !pessimistic;
  const options = { callerTs: ts, currentTs: await side.storage.timestamp(), isPrimary, signal };
  let fate = await fateOf(side, { primary, startTs }, { ...options, rollBackIfNotExist: false });
  if (fate.kind === 'unknown') {
    const expired = millisOf(startTs) + Number(lock.lockTtl) < millisOf(options.currentTs);
    if (!expired) return pessimistic ? 'passed' : 'waits';
    fate = await fateOf(side, { primary, startTs }, { ...options, rollBackIfNotExist: true });
  }
  if (fate.kind === 'alive') return fate.isPassed ? 'passed' : 'waits';
  const commitTs = fate.kind === 'committed' ? fate.commitTs : 0n;
  await resolveLocks(side, [Buffer.from(lock.key)], startTs, commitTs, signal);
  return 'ended';
}

interface ExpiredOptions {
  /** Since when a transaction has begun at least, ms. Those of clients that live need nobody's help, and are not pushed behind a reader. */
  readonly olderMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Ends transactions whose locks have expired, as any client that meets them would. Of a client that has died, nobody may: then a feed waits
 * at that lock.
 * @returns the number of locks that are gone
 * @throws the first error, when all locks have been met: one that cannot be ended must not keep another one
 */
export async function endExpired(side: Side, { olderMs = 0, signal }: ExpiredOptions = {}): Promise<number> {
  const now = await side.storage.timestamp();
  const errors: unknown[] = [];
  let ended = 0;
  for (const lock of await scanLocks(side, now - (BigInt(olderMs) << 18n), { signal, skipsBusy: true })) {
    if (isPessimistic(lock)) continue;
    try {
      if ((await meetLock(side, lock, now, signal)) === 'ended') ended += 1;
    } catch (error) {
      signal?.throwIfAborted();
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  return ended;
}

export interface BegunOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Between two looks at transactions that are waited for. */
const LOOK_MS = 100;

/**
 * Waits until every transaction has ended that has begun to commit by now. Those of a client that has died are ended when their locks have
 * expired, as any reader would. A transaction that begins to commit later is not waited for.
 * @returns how many have not ended in time
 */
export async function endBegun(side: Side, { timeoutMs, signal }: BegunOptions): Promise<number> {
  const deadline = Date.now() + timeoutMs;
  const begun = new Map<bigint, LockInfo>();
  // Its commit has a timestamp as soon as its primary is no longer locked: one of its locks says so.
  const note = async (locks: LockInfo[]): Promise<void> => {
    for (const lock of locks) if (!isPessimistic(lock)) begun.set(lock.lockVersion, lock);
  };
  await eachPage(side, note, await side.storage.timestamp(), { signal });
  for (;;) {
    await forEach([...begun.values()], REQUESTS_AT_ONCE, async (lock) => {
      // Nobody reads here: nothing is pushed behind a reader.
      if ((await meetLock(side, lock, 0n, signal)) === 'ended') begun.delete(lock.lockVersion);
    });
    if (begun.size === 0 || Date.now() > deadline) return begun.size;
    await sleep(LOOK_MS, undefined, signal ? { signal } : {});
  }
}

/** What was done with the transactions that were open at the fence. */
export interface Settled {
  readonly committed: number;
  readonly rolledBack: number;
  /** Locks of transactions that have not begun to commit. */
  readonly open: number;
}

interface Transaction {
  readonly startTs: bigint;
  readonly locks: LockInfo[];
}

function transactionsOf(locks: readonly LockInfo[]): Transaction[] {
  const found = new Map<bigint, Transaction>();
  for (const lock of locks) {
    const known = found.get(lock.lockVersion);
    if (known) known.locks.push(lock);
    else found.set(lock.lockVersion, { startTs: lock.lockVersion, locks: [lock] });
  }
  return [...found.values()];
}

/** How a transaction has ended that had begun to commit. */
interface Ended {
  readonly primary: Buffer;
  /** 0: it is rolled back. */
  readonly commitTs: bigint;
}

/** Ends transactions that have begun to commit, each once. */
class Settling {
  committed = 0;
  rolledBack = 0;
  /** By their start. Locks of one transaction are on several pages. */
  private readonly ended = new Map<bigint, Promise<Ended | undefined>>();

  constructor(
    private readonly source: Side,
    private readonly target: Side,
    private readonly map: KeyMap,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /**
   * Looks at all locks once, and ends those whose transactions have begun to commit.
   * @returns how many of these there were, and how many others
   */
  async round(): Promise<{ readonly found: number; readonly open: number }> {
    let [found, open] = [0, 0];
    const settle = async ({ startTs, locks }: Transaction): Promise<void> => {
      const end = this.endOf(startTs, locks);
      if (!end) {
        open += locks.length;
        return;
      }
      found += locks.length;
      const ended = await end;
      if (ended) await this.end(startTs, locks, ended);
      // It is asked again.
      else this.ended.delete(startTs);
    };
    const act = (locks: LockInfo[]): Promise<void> =>
      forEach(transactionsOf(locks), REQUESTS_AT_ONCE, settle);
    await eachPage(this.source, act, MAX_TS, { signal: this.signal });
    return { found, open };
  }

  /** undefined: it has not begun to commit, by these locks and those that were looked at before. */
  private endOf(startTs: bigint, locks: readonly LockInfo[]): Promise<Ended | undefined> | undefined {
    const known = this.ended.get(startTs);
    const prewritten = known ? undefined : locks.find((lock) => !isPessimistic(lock));
    if (!prewritten) return known;
    // A pessimistic lock may have the primary of a statement that was tried again (client-go: txnlock, StatusCacheable).
    const asked = this.decide(startTs, Buffer.from(prewritten.primaryLock));
    this.ended.set(startTs, asked);
    return asked;
  }

  private async decide(startTs: bigint, primary: Buffer): Promise<Ended | undefined> {
    const { source, target, map, signal } = this;
    const fate = await fateOf(
      source,
      { primary, startTs },
      { callerTs: 0n, currentTs: MAX_TS, rollBackIfNotExist: true, isPrimary: true, signal },
    );
    if (fate.kind === 'committed') {
      this.committed += 1;
      return { primary, commitTs: fate.commitTs };
    }
    if (fate.kind !== 'rolled back') return undefined;
    await forbid(target, map.map(primary), startTs, signal);
    this.rolledBack += 1;
    return { primary, commitTs: 0n };
  }

  private async end(
    startTs: bigint,
    locks: readonly LockInfo[],
    { primary, commitTs }: Ended,
  ): Promise<void> {
    const { source, signal } = this;
    const leadsElsewhere = (lock: LockInfo): boolean =>
      isPessimistic(lock) && !primary.equals(lock.primaryLock);
    const keys = locks.filter((lock) => !leadsElsewhere(lock)).map(({ key }) => Buffer.from(key));
    await resolveLocks(source, keys, startTs, commitTs, signal);
    await dropPessimistic(source, locks.filter(leadsElsewhere), signal);
  }
}

/**
 * Ends every transaction that has begun to commit, while nobody writes: one whose primary has committed is committed everywhere. Any other is
 * rolled back at the source, and forbidden at the target by a protected rollback record at its primary, so that its client cannot commit
 * there what has lost its other keys. Pessimistic locks of transactions that have not begun to commit stay: see `carryLocks`.
 *
 * It can be given up anywhere, and what is on its way to a store may come at any time later: how a transaction has ended is what its primary
 * says for good.
 * @throws CommandError when a transaction cannot be decided; nothing is lost, and it can be done again
 */
export async function settle(
  source: Side,
  target: Side,
  map: KeyMap,
  { graceMs = 0, signal }: { graceMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<Settled> {
  if (graceMs > 0) await sleep(graceMs, undefined, signal ? { signal } : {});
  const settling = new Settling(source, target, map, signal);
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    const { found, open } = await settling.round();
    const { committed, rolledBack } = settling;
    if (found === 0) return { committed, rolledBack, open };
  }
  throw new CommandError(
    'REFUSED',
    `locks of transactions keep appearing in ${source.space.text}`,
    'find who writes past the fence: `move show` lists acknowledgements',
  );
}

/** Writes a protected rollback record at the target, where the transaction must not be. `key` is the target's, physical. */
export async function forbid(
  target: Side,
  key: Buffer,
  startTs: bigint,
  signal?: AbortSignal,
): Promise<void> {
  // A transaction of another PD may have begun in this one's future.
  await target.storage.passed(startTs, signal);
  const fate = await fateOf(
    target,
    { primary: key, startTs },
    { callerTs: 0n, currentTs: MAX_TS, rollBackIfNotExist: true, signal },
  );
  if (fate.kind !== 'rolled back')
    throw new CommandError(
      'REFUSED',
      `a transaction that is not committed at the source is ${fate.kind} at the target`,
      'stop the move, and compare both sides: `move diff`',
    );
}

/** Locks that one request can take: of one statement of one transaction. */
function batchesOf(locks: readonly LockInfo[]): LockInfo[][] {
  const batches: LockInfo[][] = [];
  const last = new Map<string, LockInfo[]>();
  for (const lock of locks) {
    const primary = Buffer.from(lock.primaryLock).toString('latin1');
    const name = `${lock.lockVersion} ${lock.lockForUpdateTs} ${primary}`;
    const known = last.get(name);
    if (known && known.length < KEYS_PER_REQUEST) known.push(lock);
    else {
      const batch = [lock];
      last.set(name, batch);
      batches.push(batch);
    }
  }
  return batches;
}

/**
 * Takes the source's pessimistic locks at the target, so that their transactions go on there. Everything else must be at the target
 * already: what is applied later would meet these locks. Where one cannot be taken, its transaction fails at the target.
 *
 * It can be given up anywhere. Whatever is at the target then, or comes there late, is a lock without a value: `dropPessimisticLocks` removes
 * it before changes are carried over again, and so does who meets it: the applier (apply.ts), and this.
 * @returns how many are there, and how many are not
 */
export async function carryLocks(
  source: Side,
  target: Side,
  map: KeyMap,
  signal?: AbortSignal,
): Promise<{ readonly carried: number; readonly left: number }> {
  let [carried, left] = [0, 0];
  const carry = async (batch: LockInfo[]): Promise<void> => {
    for (let rest = batch; rest.length > 0;) {
      const { count, error } = await lockTogether(target, map, rest, signal);
      const part = rest.slice(0, count);
      rest = rest.slice(count);
      if (!error) carried += count;
      // A store takes all or none, and does not say which others it would not take.
      else
        await forEach(part, REQUESTS_AT_ONCE, async (lock) => {
          const first = part.length > 1 ? await lockAlone(target, map, lock, signal) : error;
          if (!first || (await carryBehind(target, map, lock, first, signal))) carried += 1;
          else left += 1;
        });
    }
  };
  const act = (locks: LockInfo[]): Promise<void> =>
    forEach(batchesOf(locks.filter(isPessimistic)), REQUESTS_AT_ONCE, carry);
  await eachPage(source, act, MAX_TS, { signal });
  return { carried, left };
}

async function lockAlone(
  target: Side,
  map: KeyMap,
  lock: LockInfo,
  signal?: AbortSignal,
): Promise<KeyError | undefined> {
  return (await lockTogether(target, map, [lock], signal)).error;
}

/**
 * Takes a pessimistic lock at the target that could not be taken there as it is at the source. There, nothing newer than the lock was
 * committed. So a version that is newer at the target is a copy of the one that it has locked, or the record of a rollback: each is at one
 * timestamp, and the lock goes behind it.
 * @returns false when something else is in the way: its transaction must fail
 */
async function carryBehind(
  target: Side,
  map: KeyMap,
  lock: LockInfo,
  first: KeyError,
  signal?: AbortSignal,
): Promise<boolean> {
  let error: KeyError | undefined = first;
  const { locked } = first;
  // At the source, this lock is the only one. That of another transaction is from a switch that was given up.
  if (locked && isPessimistic(locked) && locked.lockVersion !== lock.lockVersion) {
    await dropPessimistic(target, [locked], signal);
    error = await lockAlone(target, map, lock, signal);
  }
  const { conflict } = error ?? {};
  if (conflict && conflict.conflictTs === conflict.conflictCommitTs)
    error = await lockAlone(target, map, { ...lock, lockForUpdateTs: conflict.conflictCommitTs }, signal);
  // A conflict, or a record that the transaction was rolled back. Anything else is no answer about the lock.
  if (error && !error.conflict && error.abort === '')
    throw keyRefused('KvPessimisticLock at the target', error);
  return !error;
}

function latest(locks: readonly LockInfo[], field: 'lockTtl' | 'minCommitTs'): bigint {
  return locks.reduce((most, lock) => (lock[field] > most ? lock[field] : most), 0n);
}

/**
 * Takes locks of one statement at the target, as many as are in one region there.
 * @returns how many those are, and why none of them was taken
 */
async function lockTogether(
  { storage, space }: Side,
  map: KeyMap,
  locks: readonly LockInfo[],
  signal: AbortSignal | undefined,
): Promise<{ readonly count: number; readonly error?: KeyError | undefined }> {
  const [first] = locks;
  if (!first) return { count: 0 };
  const primaryLock = map.map(first.primaryLock);
  return storage.atRegion(
    space,
    map.map(first.key),
    async (located) => {
      const keys: Buffer[] = [];
      for (const lock of locks) {
        const key = map.map(lock.key);
        if (Buffer.compare(key, located.end) >= 0) break;
        keys.push(key);
      }
      const answer = await storage.ask(
        PESSIMISTIC_LOCK,
        {
          context: located.context,
          mutations: keys.map((key) => ({ op: Op.PessimisticLock, key })),
          primaryLock,
          startVersion: first.lockVersion,
          // Of a transaction that is open, no lock ends before another one.
          lockTtl: latest(locks, 'lockTtl'),
          forUpdateTs: first.lockForUpdateTs,
          minCommitTs: latest(locks, 'minCommitTs'),
          isFirstLock: keys.some((key) => key.equals(primaryLock)),
          waitTimeout: NO_WAIT,
        },
        located,
      );
      if (answer.regionError) return { regionError: answer.regionError };
      return { value: { count: keys.length, error: answer.errors[0] } };
    },
    { signal },
  );
}

/** The oldest lock of a key space, for people. */
export interface OldestLock {
  readonly startTs: bigint;
  /** Of its transaction, ms. */
  readonly ageMs: number;
  readonly tableId: bigint | undefined;
  readonly isPessimistic: boolean;
}

/** The transaction that has been open for longest; it holds the resolved timestamp back once it has begun to commit. */
export async function oldestLock(
  side: Side,
  { signal }: { signal?: AbortSignal } = {},
): Promise<OldestLock | undefined> {
  const now = millisOf(await side.storage.timestamp());
  const locks = await scanLocks(side, MAX_TS, { signal, perRegion: LOCKS_PER_PAGE, skipsBusy: true });
  const oldest = locks.reduce<LockInfo | undefined>(
    (a, b) => (a && a.lockVersion <= b.lockVersion ? a : b),
    undefined,
  );
  if (!oldest) return undefined;
  const logical = side.space.decode(oldest.key);
  return {
    startTs: oldest.lockVersion,
    ageMs: Math.max(0, now - millisOf(oldest.lockVersion)),
    tableId: logical && tableIdOf(logical),
    isPessimistic: isPessimistic(oldest),
  };
}

/**
 * Removes pessimistic locks from a copy, without a record that their transactions were rolled back: they may have been carried, and commit
 * at the other side.
 * @returns their number
 */
export async function dropPessimisticLocks(side: Side, signal?: AbortSignal): Promise<number> {
  let count = 0;
  const drop = async (locks: LockInfo[]): Promise<void> => {
    const pessimistic = locks.filter(isPessimistic);
    await dropPessimistic(side, pessimistic, signal);
    count += pessimistic.length;
  };
  await eachPage(side, drop, MAX_TS, { signal });
  return count;
}

type Pessimistic = Pick<LockInfo, 'key' | 'lockVersion' | 'lockForUpdateTs'>;

/** Removes these pessimistic locks where they are still, up to their `lockForUpdateTs`, and leaves no record. */
export async function dropPessimistic(
  { storage, space }: Side,
  locks: readonly Pessimistic[],
  signal?: AbortSignal,
): Promise<void> {
  const statements = new Map<string, Pessimistic[]>();
  for (const lock of locks) {
    const name = `${lock.lockVersion} ${lock.lockForUpdateTs}`;
    const known = statements.get(name);
    if (known) known.push(lock);
    else statements.set(name, [lock]);
  }
  await forEach([...statements.values()], REQUESTS_AT_ONCE, async (all) => {
    const { lockVersion: startVersion, lockForUpdateTs: forUpdateTs } = all[0] as Pessimistic;
    const keys = all.map(({ key }) => Buffer.from(key)).sort((a, b) => Buffer.compare(a, b));
    for (let rest = keys; rest.length > 0;) {
      const before = rest;
      const count = await storage.atRegion(
        space,
        before[0] as Buffer,
        async (located) => {
          const part = before
            .slice(0, KEYS_PER_REQUEST)
            .filter((key) => Buffer.compare(key, located.end) < 0);
          const answer = await storage.ask(
            PESSIMISTIC_ROLLBACK,
            { context: located.context, startVersion, forUpdateTs, keys: part },
            located,
          );
          if (answer.regionError) return { regionError: answer.regionError };
          const [error] = answer.errors;
          if (error) throw keyRefused('KVPessimisticRollback', error);
          return { value: part.length };
        },
        { signal },
      );
      rest = before.slice(count);
    }
  });
}

/**
 * Rolls back whatever locks a key space has. Only for a copy that nobody uses.
 * @param isMine throws when what was found may be somebody else's
 */
export async function dropLocks(side: Side, isMine?: () => Promise<void>): Promise<number> {
  const all = transactionsOf(await scanLocks(side, MAX_TS));
  await isMine?.();
  for (const { startTs, locks } of all)
    await resolveLocks(
      side,
      locks.map(({ key }) => Buffer.from(key)),
      startTs,
      0n,
    );
  return all.length;
}
