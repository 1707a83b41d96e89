/**
 * Writes committed rows to the target with their own start and commit timestamps. So a client that asks there how its transaction has ended
 * gets the true answer, and snapshots from before the switch stay readable.
 */
import { CallError } from '../../pd/endpoint.ts';
import {
  Op,
  PrewriteRequest_PessimisticAction as PessimisticAction,
  WriteConflict_Reason as Reason,
  type KeyError,
  type LockInfo,
  type WriteConflict,
} from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import { forEach } from './for-each.ts';
import { Gate } from './gate.ts';
import { KeyMap } from './key-space.ts';
import {
  dropPessimistic,
  fateOf,
  forbid,
  isPessimistic,
  keyErrorText,
  keyRefused,
  MAX_TS,
  resolveLocks,
} from './locks.ts';
import { COMMIT, PREWRITE } from './methods.ts';
import type { Located, Side, Try } from './storage.ts';
import type { Throttle } from './throttle.ts';

/** A row that was committed at the source. */
export interface Row {
  readonly startTs: bigint;
  readonly commitTs: bigint;
  /** Physical, of the source. */
  readonly key: Uint8Array;
  readonly op: 'put' | 'delete';
  readonly value: Uint8Array;
}

/** A key of a transaction that was rolled back at the source. Its client must not commit it at the target. */
export interface Rollback {
  readonly startTs: bigint;
  /** Physical, of the source. */
  readonly key: Uint8Array;
  readonly op: 'rollback';
}

export function isRow(item: Row | Rollback): item is Row {
  return item.op !== 'rollback';
}

export interface ApplyOptions {
  readonly source: Side;
  readonly target: Side;
  readonly map: KeyMap;
  readonly throttle: Throttle;
  readonly signal?: AbortSignal | undefined;
}

/** Start timestamps are old, and nobody but the applier may end its locks: a day. */
const LOCK_TTL_MS = 86_400_000n;
const MOST_KEYS = 256;
const MOST_BYTES = 512 << 10;
const CONCURRENCY = 16;
/** So many keys are remembered with the last version that was written. */
const MOST_KNOWN = 50_000;

interface Group {
  readonly startTs: bigint;
  readonly commitTs: bigint;
  readonly rows: Mapped[];
}

/**
 * How rows are locked. `plain`: where nothing newer than the start is there. `late`: where nothing newer than the commit is. `unchecked`: of
 * rows that were rolled back at the target; a late one would meet that.
 */
type Manner = 'plain' | 'late' | 'unchecked';

interface Locked {
  readonly locked: readonly Mapped[];
  /** A version between start and commit is there. */
  readonly late: readonly Mapped[];
  readonly rolledBack: readonly Mapped[];
  /** A newer version lies over one of the rows, and the store does not say over which. */
  readonly mixed?: KeyError;
}

const WRITTEN = 'written';

interface Mapped {
  /** Physical, of the target. */
  readonly key: Buffer;
  /** The same for maps. */
  readonly name: string;
  readonly op: Row['op'];
  readonly value: Uint8Array;
}

function sizeOf({ key, value }: Mapped): number {
  return key.length + value.length;
}

/** The lock of another transaction that has begun to commit. */
function foreignLock({ locked }: KeyError, { startTs }: Group): LockInfo | undefined {
  return locked && !isPessimistic(locked) && locked.lockVersion !== startTs ? locked : undefined;
}

/** The pessimistic locks that an error is about. Of a transaction's own one, TiKV tells only that there is one, in the error's text. */
function pessimisticIn(
  { locked, abort }: KeyError,
  { startTs }: Group,
  rows: readonly Mapped[],
): Pessimistic[] {
  if (locked) return isPessimistic(locked) ? [locked] : [];
  if (!abort.includes('LockTypeNotMatch')) return [];
  return rows.map(({ key }) => ({ key, lockVersion: startTs, lockForUpdateTs: MAX_TS }));
}

/** What a commit meets that finds neither its lock nor its record. */
function isNotLocked({ txnNotFound, retryable }: KeyError): boolean {
  return txnNotFound !== undefined || retryable !== '';
}

type Pessimistic = Pick<LockInfo, 'key' | 'lockVersion' | 'lockForUpdateTs'>;

/**
 * True if an applier that has died holds the lock for a later row of the key. Rows come in order, so this one is at the target already. A
 * later one saw this one: it began after that was committed, or has locked the key (see `prewrite`) after that.
 */
function isLater({ lockForUpdateTs, lockVersion }: LockInfo, { commitTs }: Group): boolean {
  return (lockForUpdateTs || lockVersion) >= commitTs;
}

export class Applier {
  /** Rows that are at the target. */
  rows = 0;
  /** When the last version of a key was committed that this applier wrote: all before it are there, and none behind it. */
  private readonly written = new Map<string, bigint>();
  private readonly back: KeyMap;

  constructor(private readonly options: ApplyOptions) {
    this.back = new KeyMap(options.target.space, options.source.space);
  }

  /**
   * Applies rows. A key's rows must come in the order of their commits; what is there already is left as it is. What was rolled back is
   * forbidden.
   * @throws CallError when a store cannot be asked: all may be given again
   */
  async apply(items: readonly (Row | Rollback)[]): Promise<void> {
    const { target, map, signal } = this.options;
    await this.inOrder(this.groupsOf(items.filter(isRow)));
    const rollbacks = items.filter((item): item is Rollback => !isRow(item));
    await forEach(rollbacks, CONCURRENCY, ({ key, startTs }) =>
      forbid(target, map.map(key), startTs, signal),
    );
  }

  private groupsOf(rows: readonly Row[]): Group[] {
    const groups = new Map<string, Group>();
    for (const { startTs, commitTs, key, op, value } of rows) {
      const name = `${startTs} ${commitTs}`;
      let group = groups.get(name);
      if (!group) groups.set(name, (group = { startTs, commitTs, rows: [] }));
      const mapped = this.options.map.map(key);
      group.rows.push({ key: mapped, name: mapped.toString('latin1'), op, value });
    }
    for (const { rows: all } of groups.values()) all.sort((a, b) => Buffer.compare(a.key, b.key));
    return [...groups.values()].sort((a, b) => (a.commitTs < b.commitTs ? -1 : 1));
  }

  /** Writes transactions in the order of their commits where they have a key in common, and beside each other where not. */
  private async inOrder(groups: readonly Group[]): Promise<void> {
    const last = new Map<string, Promise<void>>();
    const gate = new Gate(CONCURRENCY);
    let failure: { readonly error: unknown } | undefined;
    const write = async (group: Group): Promise<void> => {
      // One that has failed ends all behind it.
      await Promise.all(group.rows.map(({ name }) => last.get(name)));
      const leave = await gate.enter();
      try {
        // Where a region does not answer, each try takes its time.
        if (failure) throw failure.error;
        await this.write(group);
      } catch (error) {
        failure ??= { error };
        throw error;
      } finally {
        leave();
      }
    };
    const all = groups.map((group) => {
      const written = write(group);
      for (const { name } of group.rows) last.set(name, written);
      return written;
    });
    const outcomes = await Promise.allSettled(all);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) throw failed.reason;
  }

  private isKnown({ commitTs }: Group, { name }: Mapped): boolean {
    return (this.written.get(name) ?? 0n) >= commitTs;
  }

  private remember({ commitTs }: Group, rows: readonly Mapped[]): void {
    if (this.written.size > MOST_KNOWN) this.written.clear();
    for (const { name } of rows) this.written.set(name, commitTs);
  }

  private async write(whole: Group): Promise<void> {
    const { target, throttle, signal } = this.options;
    // Fed again, or twice.
    const group = { ...whole, rows: whole.rows.filter((row) => !this.isKnown(whole, row)) };
    this.rows += whole.rows.length - group.rows.length;
    for (let at = 0; at < group.rows.length;) {
      const first = group.rows[at];
      if (!first) return;
      const from = at;
      const done = await target.storage.atRegion(
        target.space,
        first.key,
        async (located) => {
          const part: Mapped[] = [];
          let bytes = 0;
          for (const row of group.rows.slice(from, from + MOST_KEYS)) {
            if (Buffer.compare(row.key, located.end) >= 0 || bytes > MOST_BYTES) break;
            part.push(row);
            bytes += sizeOf(row);
          }
          await throttle.take(bytes, signal);
          // A try before this one may have written some.
          const rows = part.filter((row) => !this.isKnown(group, row));
          const outcome = await this.writePart(located, group, rows);
          return 'value' in outcome ? { value: part.length } : outcome;
        },
        { signal },
      );
      at += done;
      this.rows += done;
    }
  }

  /** Rows of one transaction in one region. */
  private async writePart(
    located: Located,
    group: Group,
    part: readonly Mapped[],
  ): Promise<Try<typeof WRITTEN>> {
    const together = await this.writeTogether(located, group, part);
    if ('regionError' in together) return together;
    if (together.value === WRITTEN) return { value: WRITTEN };
    for (const row of part) {
      if (this.isKnown(group, row)) continue;
      const alone = await this.writeTogether(located, group, [row]);
      if ('regionError' in alone) return alone;
      if (alone.value !== WRITTEN) throw keyRefused('a row at the target', alone.value);
    }
    return { value: WRITTEN };
  }

  /** @returns the error after which only each row alone can be told from the others */
  private async writeTogether(
    located: Located,
    group: Group,
    part: readonly Mapped[],
  ): Promise<Try<typeof WRITTEN | KeyError>> {
    // Behind a newer version than the start timestamp: the transaction was pessimistic at the source.
    const isLate = ({ name }: Mapped): boolean => (this.written.get(name) ?? 0n) >= group.startTs;
    const late = part.filter(isLate);
    const plain = await this.lock(
      located,
      group,
      part.filter((row) => !isLate(row)),
      'plain',
    );
    if ('regionError' in plain) return plain;
    late.push(...plain.value.late);
    const behind = await this.lock(located, group, late, 'late');
    if ('regionError' in behind) return behind;
    const { mixed } = behind.value;
    if (mixed && part.length > 1) return { value: mixed };
    const rest = [...plain.value.rolledBack, ...behind.value.rolledBack];
    const unchecked = await this.lock(located, group, rest, 'unchecked');
    if ('regionError' in unchecked) return unchecked;
    const rows = [plain, behind, unchecked].flatMap(({ value }) => value.locked);
    if (rows.length === 0) return { value: WRITTEN };
    const { regionError, error } = await this.commit(
      located,
      group,
      rows.map(({ key }) => key),
    );
    if (regionError) return { regionError };
    // A prewrite that meets a row which is there is a success for TiKV, and locks no other row (check_committed_record_on_err).
    if (error && isNotLocked(error) && part.length > 1) return { value: error };
    if (error) throw keyRefused('KvCommit at the target', error);
    this.remember(group, rows);
    return { value: WRITTEN };
  }

  /** Locks rows in one way, except those that are there. */
  private async lock(
    located: Located,
    group: Group,
    rows: readonly Mapped[],
    manner: Manner,
  ): Promise<Try<Locked>> {
    const unlocked = new Set<string>();
    const late: Mapped[] = [];
    const rolledBack: Mapped[] = [];
    let locked = [...rows];
    while (locked.length > 0) {
      const { regionError, errors } = await this.prewrite(located, group, locked, manner);
      if (regionError) return { regionError };
      const [error] = errors;
      if (!error) break;
      if (await this.unlocked(error, group, locked, unlocked)) continue;
      const foreign = foreignLock(error, group);
      if (foreign) {
        locked = await this.passLock(foreign, group, locked);
        continue;
      }
      // A newer version lies over the row, and none of the row's own transaction: a copied one, since rows come in order. Whatever lies
      // under a copied row is never read.
      if (manner === 'late' && error.abort.includes('PessimisticLockNotFound'))
        return { value: { locked: [], late, rolledBack, mixed: error } };
      const conflict = this.conflictOf(error);
      const row = locked.find(({ key }) => key.equals(conflict.key));
      if (!row) throw keyRefused('KvPrewrite at the target: a conflict of another key', error);
      locked = locked.filter((other) => other !== row);
      // Garbage collection ends every lock that is older than its safe point: one of this applier, before it was committed. The source has
      // told that the row is committed, and a later version would have been met first.
      if (conflict.reason === Reason.SelfRolledBack && manner !== 'unchecked') {
        rolledBack.push(row);
        continue;
      }
      if (manner !== 'plain') throw keyRefused('KvPrewrite at the target', error);
      const there = await this.isThere(located, group, row, conflict);
      if (typeof there !== 'boolean') return there;
      if (!there) late.push(row);
    }
    return { value: { locked, late, rolledBack } };
  }

  /**
   * Removes pessimistic locks of clients from the target, from before a switch: each came to the store too late to be seen, or the store did
   * not list it. What its transaction has committed, it has committed at the source.
   * @param before locks that were removed for these rows, each once
   * @returns false when the error is about none, or they are there again
   */
  private async unlocked(
    error: KeyError,
    group: Group,
    rows: readonly Mapped[],
    before: Set<string>,
  ): Promise<boolean> {
    const locks = pessimisticIn(error, group, rows);
    const name = locks
      .map(({ key, lockVersion }) => `${Buffer.from(key).toString('hex')} ${lockVersion}`)
      .join();
    if (locks.length === 0 || before.has(name)) return false;
    before.add(name);
    await dropPessimistic(this.options.target, locks, this.options.signal);
    return true;
  }

  /** Rows that are still to be written where one has met this lock. */
  private async passLock(lock: LockInfo, group: Group, rows: readonly Mapped[]): Promise<Mapped[]> {
    if (isLater(lock, group)) return rows.filter(({ key }) => !key.equals(lock.key));
    await this.endForeign(lock);
    return [...rows];
  }

  /**
   * Ends a lock of an earlier applier, or of a client whose prewrite has waited in the store since before a switch. Nobody else would. The
   * source tells how its transaction has ended; what is not there was not committed.
   * @throws CallError while it is alive there
   */
  private async endForeign({ key, lockVersion: startTs }: LockInfo): Promise<void> {
    const { source, target, signal } = this.options;
    const fate = await fateOf(
      source,
      { primary: this.back.map(key), startTs },
      { callerTs: 0n, currentTs: 0n, rollBackIfNotExist: false, signal },
    );
    if (fate.kind === 'alive')
      throw new CallError('a transaction of the source holds a lock at the target', 0);
    const commitTs = fate.kind === 'committed' ? fate.commitTs : 0n;
    await resolveLocks(target, [Buffer.from(key)], startTs, commitTs, signal);
  }

  private prewrite(
    { context, address }: Located,
    { startTs, commitTs }: Group,
    rows: readonly Mapped[],
    manner: Manner,
  ) {
    const mutations = rows.map(({ key, op, value }) =>
      op === 'put' ? { op: Op.Put, key, value } : { op: Op.Del, key },
    );
    const late = {
      // Between start and commit, as a pessimistic transaction's is.
      forUpdateTs: commitTs - 1n,
      pessimisticActions: rows.map(() => PessimisticAction.SKIP_PESSIMISTIC_CHECK),
    };
    return this.options.target.storage.ask(
      PREWRITE,
      {
        // TiKV looks for a newer version, and for the row itself, when the request may be one that was sent before.
        context: { ...context, isRetryRequest: manner === 'late' },
        mutations,
        primaryLock: rows[0]?.key ?? Buffer.alloc(0),
        startVersion: startTs,
        lockTtl: LOCK_TTL_MS,
        txnSize: BigInt(rows.length),
        ...(manner === 'plain' ? {} : late),
      },
      { address },
    );
  }

  private commit({ context, address }: Located, { startTs, commitTs }: Group, keys: Buffer[]) {
    const fields = { context, startVersion: startTs, keys, commitVersion: commitTs };
    return this.options.target.storage.ask(COMMIT, fields, { address });
  }

  private conflictOf(error: KeyError): WriteConflict {
    const { conflict } = error;
    if (!conflict) throw keyRefused('KvPrewrite at the target', error);
    return conflict;
  }

  /** True if the row is at the target already. Versions of a key come in order, so a newer one tells. */
  private async isThere(
    located: Located,
    group: Group,
    { key }: Mapped,
    { conflictTs, conflictCommitTs }: WriteConflict,
  ): Promise<boolean | Try<never>> {
    if (conflictCommitTs < group.commitTs) return false;
    if (conflictCommitTs !== conflictTs) return true;
    // A rollback record (TiKV keeps it at its start timestamp) says nothing about what lies behind it: a commit finds its own record, if any.
    const { regionError, error } = await this.commit(located, group, [key]);
    if (regionError) return { regionError };
    if (!error) return true;
    if (isNotLocked(error)) return false;
    throw new CallError(`KvCommit at the target: ${keyErrorText(error)}`, 0);
  }
}
