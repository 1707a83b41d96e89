/** Locks of transactions in a key space: who holds them, how their transactions have ended, and what becomes of them at the fence. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../errors.ts';
import { CallError } from '../pd/endpoint.ts';
import { Op, type KeyError, type LockInfo } from '../pd/generated/tikv/kvrpcpb_pb.ts';
import { millisOf } from '../pd/timestamp.ts';
import { tableIdOf, type KeyMap } from './key-space.ts';
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

/** Reads the locks of a key space whose transactions began at `maxTs` or before. */
export async function scanLocks(
  { storage, space }: Side,
  maxTs = MAX_TS,
  { signal, perRegion = Infinity, skipsBusy = false }: ScanOptions = {},
): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  let start = space.start;
  let here = 0;
  while (Buffer.compare(start, space.end) < 0) {
    const askedAt = Date.now();
    const page = await storage.atRegion(
      space,
      start,
      async (located) => {
        const answer = await storage.ask(
          SCAN_LOCK,
          {
            context: located.context,
            maxVersion: maxTs,
            startKey: start,
            endKey: located.end,
            limit: LOCKS_PER_PAGE,
          },
          located,
        );
        if (answer.regionError) return { regionError: answer.regionError };
        // TiKV lists none while one in the range is in memory: of an asynchronous commit that is being prewritten (scan_lock in its mod.rs).
        if (answer.error?.locked && skipsBusy && Date.now() - askedAt > BUSY_MS)
          return { value: { locks: [], end: located.end } };
        if (answer.error?.locked) return { regionError: 'serverIsBusy' };
        if (answer.error) throw keyRefused('KvScanLock', answer.error);
        return { value: { locks: answer.locks, end: located.end } };
      },
      { signal },
    );
    found.push(...page.locks);
    here += page.locks.length;
    const last = page.locks.at(-1);
    const isFull = last && page.locks.length >= LOCKS_PER_PAGE && here < perRegion;
    start = isFull ? Buffer.concat([last.key, Buffer.from([0])]) : page.end;
    if (!isFull) here = 0;
  }
  return found;
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
        const part = before.filter((key) => Buffer.compare(key, located.end) < 0);
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

/**
 * Ends transactions whose locks have expired, as any client that meets them would. Of a client that has died, nobody may: then a feed waits
 * at that lock.
 * @returns the number of locks that are gone
 */
export async function endExpired(side: Side, signal?: AbortSignal): Promise<number> {
  const now = await side.storage.timestamp();
  let ended = 0;
  for (const lock of await scanLocks(side, now, { signal, skipsBusy: true }))
    if (!isPessimistic(lock) && (await meetLock(side, lock, now, signal)) === 'ended') ended += 1;
  return ended;
}

/** What was done with the transactions that were open at the fence. */
export interface Settled {
  readonly committed: number;
  readonly rolledBack: number;
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

/**
 * The primary of a transaction that has begun to commit, by a lock that is prewritten. A pessimistic one may have the primary of a statement
 * that was tried again (client-go: txnlock, StatusCacheable). `stale`: pessimistic locks that lead elsewhere.
 */
function committingOf({ locks }: Transaction): Committing | undefined {
  const prewritten = locks.find((lock) => !isPessimistic(lock));
  if (!prewritten) return undefined;
  const primary = Buffer.from(prewritten.primaryLock);
  const isStale = (lock: LockInfo): boolean => isPessimistic(lock) && !primary.equals(lock.primaryLock);
  return {
    primary,
    keys: locks.filter((lock) => !isStale(lock)).map(({ key }) => Buffer.from(key)),
    stale: locks.filter(isStale),
  };
}

interface Committing {
  readonly primary: Buffer;
  readonly keys: readonly Buffer[];
  readonly stale: readonly LockInfo[];
}

/**
 * Ends every transaction that has begun to commit, while nobody writes: one whose primary has committed is committed everywhere. Any other is
 * rolled back at the source, and forbidden at the target by a protected rollback record at its primary, so that its client cannot commit
 * there what has lost its other keys. Pessimistic locks of transactions that have not begun to commit stay: see `carryLocks`.
 * @throws CommandError when a transaction cannot be decided; nothing is lost, and it can be done again
 */
export async function settle(
  source: Side,
  target: Side,
  map: KeyMap,
  { graceMs = 0, signal }: { graceMs?: number; signal?: AbortSignal } = {},
): Promise<Settled> {
  if (graceMs > 0) await sleep(graceMs, undefined, signal ? { signal } : {});
  let committed = 0;
  let rolledBack = 0;
  for (let round = 0; round < SETTLE_ROUNDS; round++) {
    let isOver = true;
    for (const transaction of transactionsOf(await scanLocks(source, MAX_TS, { signal }))) {
      const committing = committingOf(transaction);
      if (!committing) continue;
      isOver = false;
      const { startTs } = transaction;
      const { primary, keys, stale } = committing;
      const fate = await fateOf(
        source,
        { primary, startTs },
        { callerTs: 0n, currentTs: MAX_TS, rollBackIfNotExist: true, isPrimary: true, signal },
      );
      if (fate.kind === 'committed') {
        await resolveLocks(source, keys, startTs, fate.commitTs, signal);
        committed += 1;
      } else if (fate.kind === 'rolled back') {
        await resolveLocks(source, keys, startTs, 0n, signal);
        await forbid(target, map.map(primary), startTs, signal);
        rolledBack += 1;
      }
      await dropPessimistic(source, stale, signal);
    }
    if (isOver) return { committed, rolledBack };
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

/**
 * Takes the source's pessimistic locks at the target, so that their transactions go on there. Everything else must be at the target
 * already: what is applied later would meet these locks. Where one cannot be taken, its transaction fails at the target.
 * @returns how many are there, and how many are not
 */
export async function carryLocks(
  source: Side,
  target: Side,
  map: KeyMap,
  signal?: AbortSignal,
): Promise<{ readonly carried: number; readonly left: number }> {
  const locks = (await scanLocks(source, MAX_TS, { signal })).filter(isPessimistic);
  let carried = 0;
  for (const lock of locks) if (await carryLock(target, map, lock, signal)) carried += 1;
  return { carried, left: locks.length - carried };
}

/**
 * Takes a pessimistic lock at the target as it is at the source. There, nothing newer than the lock was committed. So a version that is newer
 * at the target is a copy of the one that it has locked, or the record of a rollback: each is at one timestamp, and the lock goes behind it.
 * @returns false when something else is in the way: its transaction must fail
 */
async function carryLock(target: Side, map: KeyMap, lock: LockInfo, signal?: AbortSignal): Promise<boolean> {
  const first = await lockAt(target, map, lock, lock.lockForUpdateTs, signal);
  if (!first) return true;
  const { conflict } = first;
  const isCopy = conflict && conflict.conflictTs === conflict.conflictCommitTs;
  const error = isCopy ? await lockAt(target, map, lock, conflict.conflictCommitTs, signal) : first;
  // A conflict, or a record that the transaction was rolled back. Anything else is no answer about the lock.
  if (error && !error.conflict && error.abort === '')
    throw keyRefused('KvPessimisticLock at the target', error);
  return !error;
}

async function lockAt(
  { storage, space }: Side,
  map: KeyMap,
  lock: LockInfo,
  forUpdateTs: bigint,
  signal?: AbortSignal,
): Promise<KeyError | undefined> {
  const key = map.map(lock.key);
  const primaryLock = map.map(lock.primaryLock);
  return storage.atRegion(
    space,
    key,
    async (located) => {
      const answer = await storage.ask(
        PESSIMISTIC_LOCK,
        {
          context: located.context,
          mutations: [{ op: Op.PessimisticLock, key }],
          primaryLock,
          startVersion: lock.lockVersion,
          lockTtl: lock.lockTtl,
          forUpdateTs,
          minCommitTs: lock.minCommitTs,
          isFirstLock: key.equals(primaryLock),
          waitTimeout: NO_WAIT,
        },
        located,
      );
      return answer.regionError ? { regionError: answer.regionError } : { value: answer.errors[0] };
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
  const locks = (await scanLocks(side, MAX_TS, { signal })).filter(isPessimistic);
  await dropPessimistic(side, locks, signal);
  return locks.length;
}

/** Removes these pessimistic locks where they are still, up to their `lockForUpdateTs`, and leaves no record. */
export async function dropPessimistic(
  { storage, space }: Side,
  locks: readonly Pick<LockInfo, 'key' | 'lockVersion' | 'lockForUpdateTs'>[],
  signal?: AbortSignal,
): Promise<void> {
  for (const { key, lockVersion, lockForUpdateTs } of locks)
    await storage.atRegion(
      space,
      Buffer.from(key),
      async (located) => {
        const fields = { startVersion: lockVersion, forUpdateTs: lockForUpdateTs, keys: [key] };
        const answer = await storage.ask(
          PESSIMISTIC_ROLLBACK,
          { context: located.context, ...fields },
          located,
        );
        if (answer.regionError) return { regionError: answer.regionError };
        const [error] = answer.errors;
        if (error) throw keyRefused('KVPessimisticRollback', error);
        return { value: undefined };
      },
      { signal },
    );
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
