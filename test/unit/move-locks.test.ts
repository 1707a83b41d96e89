/** What a move does with the locks of transactions, at stores that are small models. */
import { describe, expect, test } from '@jest/globals';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { carryLocks, endBegun, endExpired, oldestLock, settle } from '../../src-ts/move/engine/locks.ts';
import type { Side, Storage } from '../../src-ts/move/engine/storage.ts';
import { Op, type LockInfo } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';

const source = keySpaceOf({ name: 'a', number: 1 });
const target = keySpaceOf({ name: 'a', number: 5 });
const map = new KeyMap(source, target);

type Fields = Record<string, unknown>;

/** What PD's clock shows. */
const NOW = 1n << 62n;

/**
 * A store that has these locks, in two regions that meet at the key `m`.
 * @param fates what it says of transactions, by primary
 */
class Store {
  /** What was done with locks: `key startTs commitTs`, or `key startTs dropped`. */
  readonly ended: string[] = [];
  /** Where it was asked how a transaction has ended. */
  readonly askedFor: string[] = [];
  readonly taken: { readonly key: string; readonly forUpdateTs: bigint }[] = [];
  /** Keys of each request that takes locks. */
  readonly asked: string[][] = [];
  /** Answers to the next locks that are taken, by key. */
  readonly refusals = new Map<string, object[]>();
  /** How often each region, by its start, says that a lock is in memory only. */
  readonly busy = new Map<string, number>();

  /** What was taken, by key. */
  get inOrder(): Store['taken'] {
    return [...this.taken].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  constructor(
    private readonly space: typeof source,
    private readonly locks: LockInfo[],
    private readonly fates: Readonly<Record<string, object>> = {},
  ) {}

  get side(): Side {
    const boundary = this.space.encode(Buffer.from('m'))!;
    const located = (key: Buffer): { start: Buffer; end: Buffer; context: object; address: string } => {
      const isLow = Buffer.compare(key, boundary) < 0;
      return {
        start: isLow ? this.space.start : boundary,
        end: isLow ? boundary : this.space.end,
        context: {},
        address: '',
      };
    };
    const storage = {
      regions: async () => [this.space.start, boundary].map((start) => ({ start: this.space.toPd(start) })),
      timestamp: async () => NOW,
      passed: async () => undefined,
      ask: async ({ path }: { path: string }, fields: Fields) => this.answer(path.split('/').at(-1)!, fields),
      atRegion: async (_: unknown, key: Buffer, act: (at: unknown) => Promise<object>) => {
        for (;;) {
          const outcome = await act(located(key));
          if ('value' in outcome) return outcome.value;
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
    } as unknown as Storage;
    return { storage, space: this.space };
  }

  private nameOf(key: Uint8Array): string {
    return String(this.space.decode(key));
  }

  private end(keys: Buffer[], startTs: bigint, how: string, isIt: (lock: LockInfo) => boolean): void {
    for (const key of keys) {
      const at = this.locks.findIndex(
        (lock) => key.equals(lock.key) && lock.lockVersion === startTs && isIt(lock),
      );
      if (at >= 0) this.locks.splice(at, 1);
      this.ended.push(`${this.nameOf(key)} ${startTs} ${how}`);
    }
  }

  private answer(call: string, fields: Fields): object {
    const startTs = fields['startVersion'] as bigint;
    switch (call) {
      case 'KvScanLock': {
        const start = fields['startKey'] as Buffer;
        const region = start.equals(this.space.start) ? 'low' : 'high';
        const left = this.busy.get(region) ?? 0;
        this.busy.set(region, left - 1);
        if (left > 0) return { error: { locked: {}, retryable: '', abort: '' } };
        const isIn = ({ key, lockVersion }: LockInfo): boolean =>
          lockVersion <= (fields['maxVersion'] as bigint) &&
          Buffer.compare(key, start) >= 0 &&
          Buffer.compare(key, fields['endKey'] as Buffer) < 0;
        return { locks: this.locks.filter(isIn).slice(0, fields['limit'] as number) };
      }
      case 'KvCheckTxnStatus': {
        const primary = this.nameOf(fields['primaryKey'] as Buffer);
        this.askedFor.push(`${primary} ${String(fields['lockTs'])}`);
        return this.fates[primary] ?? { commitVersion: 0n, lockTtl: 0n };
      }
      case 'KvResolveLock':
        this.end(fields['keys'] as Buffer[], startTs, String(fields['commitVersion']), () => true);
        return {};
      case 'KVPessimisticRollback':
        this.end(
          fields['keys'] as Buffer[],
          startTs,
          'dropped',
          ({ lockType }) => lockType === Op.PessimisticLock,
        );
        return { errors: [] };
      case 'KvPessimisticLock': {
        const names = (fields['mutations'] as { key: Buffer }[]).map(({ key }) => this.nameOf(key));
        this.asked.push(names);
        // All of them or none (acquire_pessimistic_lock.rs process_write).
        const refused = names.find((name) => (this.refusals.get(name)?.length ?? 0) > 0);
        if (refused !== undefined) {
          // A request for several says nothing of the others, and is followed by one for each.
          const all = this.refusals.get(refused) ?? [];
          const refusal = names.length > 1 ? all[0] : all.shift();
          return { errors: [{ retryable: '', abort: '', ...refusal }] };
        }
        for (const key of names) this.taken.push({ key, forUpdateTs: fields['forUpdateTs'] as bigint });
        return { errors: [] };
      }
      default:
        throw new Error(call);
    }
  }
}

const lockOf = (space: typeof source, key: string, primary: string, fields: Partial<LockInfo>): LockInfo =>
  ({
    key: space.encode(Buffer.from(key))!,
    primaryLock: space.encode(Buffer.from(primary))!,
    lockType: Op.Put,
    lockTtl: 1n,
    lockForUpdateTs: 0n,
    minCommitTs: 0n,
    useAsyncCommit: false,
    secondaries: [],
    ...fields,
  }) as unknown as LockInfo;
const pessimistic = (key: string, primary: string, lockVersion: bigint, lockForUpdateTs: bigint): LockInfo =>
  lockOf(source, key, primary, { lockType: Op.PessimisticLock, lockVersion, lockForUpdateTs });

describe('the fence of a switch', () => {
  test('asks the primary of what is prewritten, not that of a statement before', async () => {
    const store = new Store(
      source,
      [
        // Its statement failed, and took another primary when it was tried again.
        pessimistic('k0', 'k0', 5n, 5n),
        lockOf(source, 'p10', 'k9', { lockVersion: 5n }),
      ],
      { k9: { commitVersion: 8n } },
    );
    const there = new Store(target, []);
    expect(await settle(store.side, there.side, map)).toEqual({ committed: 1, rolledBack: 0, open: 0 });
    expect(store.askedFor).toEqual(['k9 5']);
    expect(store.ended).toEqual(['p10 5 8', 'k0 5 dropped']);
    expect(there.askedFor).toEqual([]);
  });

  test('rolls back what has not committed, also what it has only locked, and forbids its primary', async () => {
    const store = new Store(source, [
      pessimistic('k1', 'k9', 5n, 6n),
      lockOf(source, 'p10', 'k9', { lockVersion: 5n }),
      pessimistic('k2', 'k2', 7n, 7n),
    ]);
    const there = new Store(target, []);
    expect(await settle(store.side, there.side, map)).toEqual({ committed: 0, rolledBack: 1, open: 1 });
    expect(store.ended.sort()).toEqual(['k1 5 0', 'p10 5 0']);
    expect(there.askedFor).toEqual(['k9 5']);
  });

  test('ends a transaction whose locks fill several pages, by the one that is prewritten', async () => {
    const names = Array.from({ length: 2500 }, (_, i) => `b${1000 + i}`);
    const store = new Store(
      source,
      [
        ...names.map((key) => pessimistic(key, 'q1', 5n, 6n)),
        lockOf(source, 'q1', 'q1', { lockVersion: 5n }),
        pessimistic('r', 'r', 7n, 7n),
      ],
      { q1: { commitVersion: 8n } },
    );
    expect(await settle(store.side, new Store(target, []).side, map)).toEqual({
      committed: 1,
      rolledBack: 0,
      open: 1,
    });
    expect(store.ended.sort()).toEqual([...names, 'q1'].map((key) => `${key} 5 8`));
    expect(store.askedFor).toEqual(['q1 5']);
  });

  test('looks again while a lock is in memory only', async () => {
    const store = new Store(source, [lockOf(source, 'p1', 'p1', { lockVersion: 5n })], {
      p1: { commitVersion: 8n },
    });
    store.busy.set('low', 3).set('high', 2);
    expect(await settle(store.side, new Store(target, []).side, map)).toEqual({
      committed: 1,
      rolledBack: 0,
      open: 0,
    });
  });
});

describe('a store that cannot list its locks, since some are in memory only', () => {
  test('keeps nobody from ending those that have expired elsewhere, and none from being shown', async () => {
    const store = new Store(source, [lockOf(source, 'p1', 'p1', { lockVersion: 5n })]);
    store.busy.set('low', Infinity);
    expect(await oldestLock(store.side)).toMatchObject({ startTs: 5n });
    expect(await endExpired(store.side)).toBe(1);
    expect(store.ended).toEqual(['p1 5 0']);
  });
});

describe('locks that keep a feed', () => {
  test('are ended behind one that cannot be', async () => {
    const locks = ['p1', 'p2'].map((key) => lockOf(source, key, key, { lockVersion: 5n }));
    const store = new Store(source, locks, { p1: { error: { abort: 'no', retryable: '' } } });
    await expect(endExpired(store.side)).rejects.toThrow('no');
    expect(store.ended).toEqual(['p2 5 0']);
  });

  test('are left to their clients while they are young', async () => {
    const store = new Store(source, [lockOf(source, 'p1', 'p1', { lockVersion: NOW - (4000n << 18n) })]);
    expect(await endExpired(store.side, { olderMs: 10_000 })).toBe(0);
    expect(store.askedFor).toEqual([]);
    expect(await endExpired(store.side, { olderMs: 3000 })).toBe(1);
  });
});

describe('before the copy reads', () => {
  const TIMEOUT = { timeoutMs: 5 };
  const alive = { commitVersion: 0n, lockTtl: 3000n };

  test('waits for what is prewritten, not for what is only locked', async () => {
    const locks = [
      pessimistic('k2', 'k2', 7n, 7n),
      lockOf(source, 'p1', 'p1', { lockVersion: 5n, lockTtl: 3000n }),
      lockOf(source, 'p2', 'p1', { lockVersion: 5n, lockTtl: 3000n }),
    ];
    expect(await endBegun(new Store(source, locks, { p1: alive }).side, TIMEOUT)).toBe(1);
    expect(await endBegun(new Store(source, locks.slice(0, 1)).side, TIMEOUT)).toBe(0);
  });

  test('waits until a transaction has ended, and ends one whose client has died', async () => {
    const fates: Record<string, object> = { p1: alive };
    const store = new Store(source, [lockOf(source, 'p1', 'p1', { lockVersion: 5n, lockTtl: 3000n })], fates);
    const ending = endBegun(store.side, { timeoutMs: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(store.ended).toEqual([]);
    // Its client has died: the store rolls it back.
    fates['p1'] = { commitVersion: 0n, lockTtl: 0n };
    expect(await ending).toBe(0);
    expect(store.ended).toEqual(['p1 5 0']);
  });
});

describe('locks of open transactions at the target', () => {
  const conflict = (conflictTs: bigint, conflictCommitTs: bigint): object => ({
    conflict: { conflictTs, conflictCommitTs },
    retryable: 'Error',
  });
  const store = (): Store =>
    new Store(source, [pessimistic('a', 'a', 5n, 6n), pessimistic('p', 'a', 5n, 9n)]);

  test('go behind a copy that is newer than they are, and behind the record of a rollback', async () => {
    const there = new Store(target, []);
    there.refusals.set('a', [conflict(20n, 20n)]);
    expect(await carryLocks(store().side, there.side, map)).toEqual({ carried: 2, left: 0 });
    expect(there.inOrder).toEqual([
      { key: 'a', forUpdateTs: 20n },
      { key: 'p', forUpdateTs: 9n },
    ]);
  });

  test('are taken many at once, of each statement apart, and each by itself where one is refused', async () => {
    const names = (from: string): string[] => Array.from({ length: 300 }, (_, i) => `${from}${1000 + i}`);
    const [low, high] = [names('b'), names('q')];
    const here = new Store(source, [
      ...low.map((key) => pessimistic(key, 'b1000', 5n, 6n)),
      ...high.map((key) => pessimistic(key, 'b1000', 5n, 9n)),
      pessimistic('s', 's', 7n, 9n),
    ]);
    const there = new Store(target, []);
    // It needs a timestamp of its own; the others that were in its request do not.
    there.refusals.set('q1299', [conflict(20n, 20n)]);
    expect(await carryLocks(here.side, there.side, map)).toEqual({ carried: 601, left: 0 });
    expect(there.inOrder).toEqual([
      ...low.map((key) => ({ key, forUpdateTs: 6n })),
      ...high.map((key) => ({ key, forUpdateTs: key === 'q1299' ? 20n : 9n })),
      { key: 's', forUpdateTs: 9n },
    ]);
    const sizes = there.asked.map(({ length }) => length).sort((a, b) => a - b);
    // Both statements of the one transaction have two requests. The last of these is taken apart.
    expect(sizes).toEqual([...Array<number>(46).fill(1), 44, 44, 256, 256]);
  });

  test('take the place of one that a switch has left there that was given up', async () => {
    const leftover = lockOf(target, 'a', 'a', {
      lockType: Op.PessimisticLock,
      lockVersion: 3n,
      lockForUpdateTs: 4n,
    });
    const there = new Store(target, [leftover]);
    there.refusals.set('a', [{ locked: leftover }]);
    expect(await carryLocks(store().side, there.side, map)).toEqual({ carried: 2, left: 0 });
    expect(there.ended).toEqual(['a 3 dropped']);
  });

  test.each([
    ['somebody has committed there', [conflict(19n, 20n)]],
    ['something newer is behind a copy', [conflict(20n, 20n), conflict(29n, 30n)]],
    ['the transaction was rolled back there', [{ abort: 'PessimisticLockRolledBack' }]],
  ])('are left where %s: their transactions fail, the switch does not', async (_, refusals) => {
    const there = new Store(target, []);
    there.refusals.set('a', refusals);
    expect(await carryLocks(store().side, there.side, map)).toEqual({ carried: 1, left: 1 });
    expect(there.taken).toEqual([{ key: 'p', forUpdateTs: 9n }]);
  });

  test('are not left for an error that says nothing about them', async () => {
    const there = new Store(target, []);
    there.refusals.set('a', [{ locked: {} }]);
    await expect(carryLocks(store().side, there.side, map)).rejects.toThrow(
      'KvPessimisticLock at the target',
    );
  });
});
