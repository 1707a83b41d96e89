import { describe, expect, test } from '@jest/globals';
import { Applier, isRow, type Rollback, type Row } from '../../src-ts/move/engine/apply.ts';
import { between } from '../../src-ts/move/engine/diff.ts';
import { commonSegments, KeyMap, keySpaceOf, tableIdOf } from '../../src-ts/move/engine/key-space.ts';
import { Follower, Pipeline } from '../../src-ts/move/engine/feed.ts';
import { fateOf } from '../../src-ts/move/engine/locks.ts';
import { FeedError, Matcher } from '../../src-ts/move/engine/matcher.ts';
import { Storage, type Side } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import {
  Event_LogType as LogType,
  Event_Row_OpType as OpType,
  type Event_Row,
} from '../../src-ts/pd/generated/tikv/cdcpb_pb.ts';
import { Op, type LockInfo } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import * as model from '../harness/model/key-spaces.ts';
import { rowKey } from '../harness/support/keys.ts';
import type { SpaceChoice } from './filter.ts';

/** Each kind of key space, as a tenant of a mesh file and as the model knows it. */
const SPACES: readonly (readonly [text: string, tenant: Tenant, choice: SpaceChoice])[] = [
  ['tenant 0', { name: 'a', number: 0 }, { number: 0 }],
  ['number 1', { name: 'a', number: 1 }, { number: 1 }],
  ['number 32766', { name: 'a', number: 32766 }, { number: 32766 }],
  ['key number 5', { name: 'a', number: 1, keyNumber: 5 }, { number: 5 }],
  ['tenant 0 at key number 5', { name: 'a', number: 0, keyNumber: 5 }, { number: 5 }],
  [
    'keyspace 4242',
    { name: 'a', number: 1, keyspace: { id: 4242, mode: 'txn' } },
    { number: 1, keyspace: { id: 4242, mode: 'txn' } },
  ],
  [
    'prefix 61ff',
    { name: 'a', number: 1, prefix: { hex: '61ff', mode: 'txn' } },
    { number: 1, prefix: { bytes: Uint8Array.of(0x61, 0xff), mode: 'txn' } },
  ],
];

const KEYS = [
  '00',
  '6d',
  '6d44423a31',
  '74',
  '7480',
  '748000',
  '748000000000000000',
  '748000000000000000ff',
  '748000000000000001',
  rowKey(100, 7).toString('hex'),
  '748000ffffffffffff',
  '748000ffffffffffffff',
  '748001',
  '7480010000',
  'ff',
].map((text) => Buffer.from(text, 'hex'));

describe('key spaces of a move', () => {
  test.each(SPACES)('%s: encodes and decodes as the filter does', (_, tenant, choice) => {
    const space = keySpaceOf(tenant);
    const expected = model.spaceOf(choice);
    let owned = 0;
    for (const key of KEYS) {
      const wanted = expected.takes(key) ? expected.encodeKey(key) : undefined;
      const physical = space.encode(key);
      expect([key.toString('hex'), physical?.toString('hex')]).toEqual([
        key.toString('hex'),
        wanted instanceof Uint8Array ? Buffer.from(wanted).toString('hex') : undefined,
      ]);
      if (!physical) continue;
      owned += 1;
      expect(space.owns(physical)).toBe(true);
      expect(space.decode(physical)).toEqual(key);
      expect(space.logicalBoundary(physical)).toEqual(key);
      expect(space.fromPd(space.toPd(physical))).toEqual(physical);
    }
    expect(owned).toBeGreaterThan(10);
    expect(space.decode(space.end)).toBeUndefined();
    expect(space.logicalBoundary(space.end)).toBeUndefined();
    expect(space.boundary(Buffer.alloc(0))).toEqual(space.start);
  });

  test('refuse to map a key that is not theirs, or that the target cannot have', () => {
    const [, zero, one] = SPACES.map(([, tenant]) => keySpaceOf(tenant));
    const keyspace = keySpaceOf(SPACES[5]![1]);
    const map = new KeyMap(one!, keyspace);
    expect(() => map.map(Buffer.from('6d', 'hex'))).toThrow('does not lie in');
    expect(() => map.map(one!.end)).toThrow('does not lie in');
    // A keyspace can have keys that table keys cannot.
    const far = keyspace.encode(Buffer.from('ff', 'hex'))!;
    expect(() => new KeyMap(keyspace, one!).map(far)).toThrow('cannot lie in');
    expect(zero!.text).toBe('table keys');
  });

  test.each(SPACES.flatMap(([a, one]) => SPACES.map(([b, other]) => [a, b, one, other] as const)))(
    '%s and %s: common segments cover every key once, by one prefix each',
    (_a, _b, one, other) => {
      const [from, to] = [keySpaceOf(one), keySpaceOf(other)];
      const segments = commonSegments(from, to);
      for (const key of KEYS) {
        const [a, b] = [from.encode(key), to.encode(key)];
        const holding = segments.filter(
          ({ start, end }) =>
            Buffer.compare(key, start) >= 0 && (end.length === 0 || Buffer.compare(key, end) < 0),
        );
        expect(holding).toHaveLength(a && b ? 1 : 0);
        if (!a || !b) continue;
        for (const [segment, physical] of [
          [holding[0]!.a, a],
          [holding[0]!.b, b],
        ] as const)
          expect(
            Buffer.concat([segment.logicalPrefix, physical.subarray(segment.physicalPrefix.length)]),
          ).toEqual(key);
      }
    },
  );

  test('a table is told by its id', () => {
    expect(tableIdOf(rowKey(100, 1))).toBe(100n);
    expect(tableIdOf(Buffer.from('mDBs'))).toBeUndefined();
  });
});

const told = (
  type: LogType,
  key: string,
  startTs: number,
  commitTs = 0,
  value = `${key}@${startTs}`,
): Event_Row =>
  ({
    type,
    key: Buffer.from(key),
    startTs: BigInt(startTs),
    commitTs: BigInt(commitTs),
    value: Buffer.from(value),
    opType: value === '' ? OpType.DELETE : OpType.PUT,
    generation: 0n,
  }) as unknown as Event_Row;
const texts = (items: readonly (Row | Rollback)[]): string[] =>
  items.map((item) =>
    isRow(item)
      ? `${String(item.key)} ${item.commitTs} ${item.op} ${String(item.value)}`
      : `${String(item.key)} ${item.startTs} rollback`,
  );

describe('the matcher of change feeds', () => {
  test('sorts what a region held, with what changes meanwhile', () => {
    const matcher = new Matcher(10n);
    const before = matcher.take([
      told(LogType.PREWRITE, 'a', 30),
      told(LogType.COMMITTED, 'a', 20, 25),
      // A key's newest version comes first.
      told(LogType.COMMITTED, 'b', 21, 26),
      told(LogType.COMMIT, 'a', 30, 35, ''),
      told(LogType.COMMITTED, 'b', 11, 12),
      told(LogType.COMMITTED, 'b', 5, 9),
      // Its prewrite was before the registration.
      told(LogType.COMMIT, 'c', 13, 14, ''),
      told(LogType.COMMITTED, 'c', 13, 14),
      told(LogType.ROLLBACK, 'd', 15, 0, ''),
      told(LogType.PREWRITE, 'd', 15),
      told(LogType.PREWRITE, 'e', 16),
    ]);
    expect(before).toEqual([]);
    expect(texts(matcher.take([told(LogType.INITIALIZED, '', 0)]))).toEqual([
      'b 12 put b@11',
      'c 14 put c@13',
      'a 25 put a@20',
      'b 26 put b@21',
      'a 35 put a@30',
      'd 15 rollback',
    ]);
    expect(texts(matcher.take([told(LogType.COMMIT, 'e', 16, 40, '')]))).toEqual(['e 40 put e@16']);
    expect(() => matcher.take([told(LogType.COMMIT, 'd', 15, 41, '')])).toThrow(FeedError);
    expect(matcher.bytes).toBe(0);
  });

  test('tells what was rolled back, also while nobody looked', () => {
    const one = new Matcher(0n);
    one.take([told(LogType.INITIALIZED, '', 0)]);
    expect(texts(one.take([told(LogType.ROLLBACK, 'nothing', 11)]))).toEqual(['nothing 11 rollback']);
    one.take(['still', 'committed', 'rolled', 'gone'].map((key) => told(LogType.PREWRITE, key, 12)));
    expect(texts(one.take([told(LogType.ROLLBACK, 'rolled', 12)]))).toEqual(['rolled 12 rollback']);
    const two = new Matcher(0n, one.prewritten);
    two.take([told(LogType.PREWRITE, 'still', 12), told(LogType.COMMITTED, 'committed', 12, 20)]);
    // It may end before it knows more.
    const three = new Matcher(0n, two.prewritten);
    for (const matcher of [two, three]) {
      if (matcher === three)
        three.take([told(LogType.PREWRITE, 'still', 12), told(LogType.COMMITTED, 'committed', 12, 20)]);
      expect(texts(matcher.take([told(LogType.INITIALIZED, '', 0)]))).toEqual([
        'committed 20 put committed@12',
        'gone 12 rollback',
      ]);
      expect(matcher.prewritten.map(({ key }) => String(key))).toEqual(['still']);
    }
  });

  test('keeps the value when a heartbeat repeats the prewrite without it', () => {
    const matcher = new Matcher(0n);
    matcher.take([told(LogType.INITIALIZED, '', 0)]);
    matcher.take([told(LogType.PREWRITE, 'a', 1), told(LogType.PREWRITE, 'a', 1, 0, '')]);
    expect(texts(matcher.take([told(LogType.COMMIT, 'a', 1, 2, '')]))).toEqual(['a 2 put a@1']);
    matcher.take([told(LogType.PREWRITE, 'a', 3, 0, '')]);
    expect(texts(matcher.take([told(LogType.COMMIT, 'a', 3, 4, '')]))).toEqual(['a 4 delete ']);
  });
});

describe('an asynchronous commit whose locks have expired', () => {
  const space = keySpaceOf({ name: 'a', number: 1 });
  const [primary, secondary] = ['p', 's'].map((key) => space.encode(Buffer.from(key))!);

  /** A store that has both locks, and rolls the primary back when the commit is said to be no asynchronous one. */
  function sideOf(isSecondaryAsync: boolean): Side {
    const lock = {
      lockVersion: 5n,
      lockTtl: 1n,
      minCommitTs: 9n,
      useAsyncCommit: true,
      secondaries: [secondary],
    };
    const ask = async ({ path }: { path: string }, fields: Record<string, unknown>): Promise<unknown> => {
      if (path.endsWith('KvCheckSecondaryLocks'))
        return { locks: [{ ...lock, useAsyncCommit: isSecondaryAsync }], commitTs: 0n };
      return {
        commitVersion: 0n,
        ...(fields['forceSyncCommit'] ? { lockTtl: 0n } : { lockTtl: 1n, lockInfo: lock }),
      };
    };
    const storage = {
      ask,
      atRegion: async (_: unknown, __: unknown, act: (at: unknown) => Promise<unknown>) =>
        ((await act({})) as { value: unknown }).value,
    } as unknown as Storage;
    return { storage, space };
  }

  test.each([
    ['has committed when all of them are asynchronous', true, { kind: 'committed', commitTs: 9n }],
    ['is what its primary says when it has fallen back to two phases', false, { kind: 'rolled back' }],
  ])('%s', async (_, isSecondaryAsync, fate) => {
    const options = { callerTs: 0n, currentTs: 1n << 62n, rollBackIfNotExist: true };
    expect(await fateOf(sideOf(isSecondaryAsync), { primary: primary!, startTs: 5n }, options)).toEqual(fate);
  });
});

describe('the applier', () => {
  const space = keySpaceOf({ name: 'a', number: 1 });
  const to = keySpaceOf({ name: 'a', number: 5 });
  const row = (key: string, startTs: number, commitTs: number): Row => ({
    key: space.encode(Buffer.from(key))!,
    startTs: BigInt(startTs),
    commitTs: BigInt(commitTs),
    op: 'put',
    value: Buffer.from('value'),
  });

  /**
   * A store of one region that remembers when each key was committed, and TiKV's rollback records.
   * @param fates what the source says of transactions, by their start
   */
  function store(fates: Readonly<Record<string, object>> = {}): {
    applier: Applier;
    commits: string[];
    latest: Map<string, [bigint, bigint]>;
    /** Locks that others hold, by key. */
    held: Map<string, Partial<LockInfo>>;
    asked: () => number;
  } {
    let asked = 0;
    const held = new Map<string, Partial<LockInfo>>();
    const commits: string[] = [];
    const latest = new Map<string, [bigint, bigint]>();
    const done = new Set<string>();
    const locks = new Set<string>();
    const ask = ({ path }: { path: string }, fields: Record<string, unknown>): unknown => {
      asked++;
      const startTs = fields['startVersion'] as bigint;
      const name = (key: Uint8Array): string => String(to.decode(key));
      if (path.endsWith('KvResolveLock')) {
        const [key] = fields['keys'] as [Buffer];
        held.delete(name(key));
        const commitTs = fields['commitVersion'] as bigint;
        commits.push(`${name(key)} ${startTs} is ended at ${commitTs}`);
        if (commitTs > 0n) latest.set(name(key), [startTs, commitTs]);
        return {};
      }
      if (path.endsWith('KVPessimisticRollback')) {
        for (const key of fields['keys'] as Buffer[]) {
          const lock = held.get(name(key));
          const isIt = lock?.lockType === Op.PessimisticLock && lock.lockVersion === startTs;
          if (isIt && (lock.lockForUpdateTs ?? 0n) <= (fields['forUpdateTs'] as bigint))
            held.delete(name(key));
        }
        return { errors: [] };
      }
      if (path.endsWith('KvPrewrite')) {
        const mutations = fields['mutations'] as { key: Buffer }[];
        for (const { key } of mutations) {
          const locked = held.get(name(key));
          if (locked?.lockVersion === startTs && fields['forUpdateTs'] === undefined)
            return { errors: [{ abort: 'Error(Txn(Error(Mvcc(Error(LockTypeNotMatch {' }] };
          if (locked?.lockVersion === startTs) held.delete(name(key));
          else if (locked)
            return { errors: [{ abort: '', locked: { lockType: 0, lockForUpdateTs: 0n, key, ...locked } }] };
          const [conflictTs, conflictCommitTs] = latest.get(name(key)) ?? [0n, 0n];
          if (conflictCommitTs === startTs && conflictTs === startTs && fields['forUpdateTs'] === undefined)
            return { errors: [{ abort: '', conflict: { key, conflictTs, conflictCommitTs, reason: 3 } }] };
          if (conflictCommitTs > startTs && fields['forUpdateTs'] === undefined)
            return { errors: [{ abort: '', conflict: { key, conflictTs, conflictCommitTs, reason: 1 } }] };
        }
        for (const { key } of mutations) locks.add(`${name(key)} ${startTs}`);
        return { errors: [] };
      }
      const commitTs = fields['commitVersion'] as bigint;
      for (const key of fields['keys'] as Buffer[]) {
        const id = `${name(key)} ${startTs}`;
        if (!locks.delete(id)) {
          if (done.has(id)) continue;
          return { error: { txnNotFound: {}, retryable: '', abort: '' } };
        }
        done.add(id);
        commits.push(`${name(key)} ${commitTs}`);
        if (commitTs > (latest.get(name(key))?.[1] ?? 0n)) latest.set(name(key), [startTs, commitTs]);
      }
      return {};
    };
    const located = { start: to.start, end: to.end, context: {}, address: '' };
    const storageOf = (answer: (method: { path: string }, fields: Record<string, unknown>) => unknown) =>
      ({
        ask: (method: { path: string }, fields: Record<string, unknown>) =>
          Promise.resolve(answer(method, fields)),
        atRegion: async (_: unknown, __: unknown, act: (at: unknown) => Promise<unknown>) =>
          ((await act(located)) as { value: unknown }).value,
      }) as unknown as Storage;
    const target: Side = { storage: storageOf(ask), space: to };
    const atSource = (_: unknown, { lockTs }: Record<string, unknown>): unknown =>
      fates[String(lockTs)] ?? { error: { txnNotFound: {}, retryable: '', abort: '' } };
    const source: Side = { storage: storageOf(atSource), space };
    const applier = new Applier({ source, target, map: new KeyMap(space, to), throttle: new Throttle() });
    return { applier, commits, latest, held, asked: () => asked };
  }

  test('keeps the order of a key, and leaves what is there', async () => {
    const { applier, commits } = store();
    // The third was pessimistic: it began before the second was committed.
    const rows = [row('a', 1, 2), row('b', 1, 2), row('a', 3, 6), row('a', 5, 8), row('b', 7, 9)];
    await applier.apply(rows);
    await applier.apply(rows);
    expect(commits.filter((text) => text.startsWith('a'))).toEqual(['a 2', 'a 6', 'a 8']);
    expect(commits.filter((text) => text.startsWith('b'))).toEqual(['b 2', 'b 9']);
  });

  test('is not misled by a rollback record of a later transaction', async () => {
    const { applier, commits, latest } = store();
    latest.set('a', [20n, 20n]);
    await applier.apply([row('a', 10, 12)]);
    await applier.apply([row('a', 10, 12)]);
    expect(commits).toEqual(['a 12']);
  });

  test.each([
    ['that began after the row was committed', { lockVersion: 30n }],
    ['that was pessimistic, and locked the key after that', { lockVersion: 5n, lockForUpdateTs: 39n }],
  ])('leaves a row to the lock of a later one %s', async (_, lock) => {
    const { applier, commits, held } = store();
    held.set('a', lock);
    await applier.apply([row('a', 10, 20), row('b', 10, 20)]);
    expect(commits).toEqual(['b 20']);
  });

  test.each([
    ['whose prewrite has waited since before a switch', { lockVersion: 5n }, 0n],
    ['the same, and pessimistic', { lockVersion: 5n, lockForUpdateTs: 15n }, 0n],
    ['of an applier that has died', { lockVersion: 12n }, 13n],
    ['of one that has died, pessimistic', { lockVersion: 4n, lockForUpdateTs: 12n }, 13n],
    ['that the source has rolled back', { lockVersion: 6n }, 0n],
  ])('ends an earlier lock %s, and loses no row to it', async (_, lock, endedAt) => {
    const { applier, commits, held } = store({
      12: { commitVersion: 13n },
      4: { commitVersion: 13n },
      6: { commitVersion: 0n, lockTtl: 0n },
    });
    held.set('a', lock);
    await applier.apply([row('a', 10, 20)]);
    expect(commits).toEqual([`a ${lock.lockVersion} is ended at ${endedAt}`, 'a 20']);
    // Behind a newer version.
    held.set('a', lock);
    await applier.apply([row('a', 18, 25)]);
    expect(commits.at(-1)).toBe('a 25');
  });

  test.each([
    ['another one', { lockVersion: 30n, lockForUpdateTs: 31n }],
    ['its own client', { lockVersion: 10n, lockForUpdateTs: 11n }],
  ])('removes a pessimistic lock of %s, which nobody else would', async (_, lock) => {
    const { applier, commits, held } = store();
    held.set('a', { lockType: Op.PessimisticLock, ...lock });
    await applier.apply([row('a', 10, 20), row('b', 10, 20)]);
    expect(commits).toEqual(['a 20', 'b 20']);
    expect(held.size).toBe(0);
    // Behind a newer version.
    held.set('a', { lockType: Op.PessimisticLock, ...lock, lockVersion: 31n });
    await applier.apply([row('a', 18, 25)]);
    expect(commits.at(-1)).toBe('a 25');
  });

  test('writes a row whose lock garbage collection has rolled back before it was committed', async () => {
    const { applier, commits, latest } = store();
    latest.set('a', [10n, 10n]);
    await applier.apply([row('a', 10, 20), row('b', 10, 20)]);
    expect(commits.sort()).toEqual(['a 20', 'b 20']);
  });

  test('waits at a lock of a transaction that is alive at the source', async () => {
    const { applier, commits, held } = store({ 5: { commitVersion: 0n, lockTtl: 100n } });
    held.set('a', { lockVersion: 5n });
    await expect(applier.apply([row('a', 10, 20)])).rejects.toThrow('holds a lock at the target');
    expect(commits).toEqual([]);
  });

  test('asks twice for each version of a hot row, and not at all for one that it has written', async () => {
    const { applier, commits, asked } = store();
    // All of them pessimistic: each began before the one before it was committed.
    const rows = Array.from({ length: 50 }, (_, i) => row('hot', 10 * i + 1, 10 * i + 15));
    await applier.apply(rows.slice(0, 30));
    await applier.apply(rows.slice(20));
    expect(commits).toEqual(rows.map(({ commitTs }) => `hot ${commitTs}`));
    expect(asked()).toBe(100);
    expect(applier.rows).toBe(60);
  });

  test('does not let one hot row hold up the others', async () => {
    const { applier, commits } = store();
    const hot = Array.from({ length: 20 }, (_, i) => row('hot', 100 + 10 * i, 105 + 10 * i));
    await applier.apply([...hot, row('b', 300, 310), row('c', 300, 311)]);
    expect(commits.indexOf('c 311')).toBeLessThan(10);
    expect(commits.filter((text) => text.startsWith('hot'))).toEqual(hot.map((one) => `hot ${one.commitTs}`));
  });
});

describe('a transaction of another PD that was rolled back', () => {
  const [from, to] = [keySpaceOf({ name: 'a', number: 1 }), keySpaceOf({ name: 'a', number: 5 })];
  const rollback = (aheadMs: number): Rollback => ({
    op: 'rollback',
    startTs: BigInt(Math.round(Date.now() + aheadMs)) << 18n,
    key: from.encode(Buffer.from('k'))!,
  });

  /** The target's store, which is told of rolled back transactions, and its PD. */
  function target(): { applier: Applier; told: { startTs: bigint; at: bigint }[] } {
    const told: { startTs: bigint; at: bigint }[] = [];
    const clock = (): bigint => BigInt(Date.now());
    const pd = {
      url: new URL('http://pd-b:2379'),
      http: async () => ({ id: '1' }),
      grpc: async () => ({ timestamp: { physical: clock(), logical: 0n } }),
    } as unknown as Endpoint;
    const storage = Object.assign(new Storage(pd), {
      atRegion: async (_: unknown, __: unknown, act: (at: unknown) => Promise<unknown>) =>
        ((await act({})) as { value: unknown }).value,
      ask: async (_: unknown, { lockTs }: { lockTs: bigint }) => {
        told.push({ startTs: lockTs, at: clock() << 18n });
        return { commitVersion: 0n, lockTtl: 0n };
      },
    }) as unknown as Storage;
    const [source, side]: Side[] = [from, to].map((space) => ({ storage, space }));
    const map = new KeyMap(from, to);
    return { applier: new Applier({ source: source!, target: side!, map, throttle: new Throttle() }), told };
  }

  test('is told to a store when its PD has given a later timestamp', async () => {
    const { applier, told } = target();
    await applier.apply([rollback(150), rollback(-1000)]);
    expect(told.length).toBe(2);
    for (const { startTs, at } of told) expect(at).toBeGreaterThan(startTs);
  });

  test('is not told where the clocks of both are too far apart', async () => {
    const { applier, told } = target();
    await expect(applier.apply([rollback(60_000)])).rejects.toThrow(
      /the clock of PD at pd-b:2379 is \d+\.\d s behind/,
    );
    expect(told).toEqual([]);
  });
});

describe('what is on its way to the target', () => {
  const row = (commitTs: number): Row => ({
    key: Buffer.from(`k${commitTs}`),
    startTs: BigInt(commitTs - 1),
    commitTs: BigInt(commitTs),
    op: 'put',
    value: Buffer.alloc(0),
  });

  test('has checkpoints between the rows that a region held', async () => {
    const passed: bigint[] = [];
    let applied = 0;
    const at: number[] = [];
    const apply = async (items: readonly unknown[]): Promise<void> => {
      await Promise.resolve();
      applied += items.length;
    };
    const pipeline = new Pipeline(
      { apply },
      (ts) => {
        passed.push(ts);
        at.push(applied);
      },
      () => undefined,
    );
    const rows = Array.from({ length: 3000 }, (_, i) => row(10 + i));
    const pushed = pipeline.push(rows, false);
    // A live one, and one of a transaction that was rolled back, before the stores tell how far they are.
    const late: Rollback = { op: 'rollback', startTs: 2000n, key: Buffer.from('r') };
    await pipeline.push([row(4000), late, 5000n]);
    await pushed;
    while (passed.at(-1) !== 5000n) await Promise.resolve();
    expect(passed.length).toBeGreaterThan(2);
    for (const [i, ts] of passed.entries()) {
      const before = rows.filter(({ commitTs }) => commitTs <= ts).length;
      expect(at[i]).toBeGreaterThanOrEqual(before);
      if (i < passed.length - 1) expect(ts).toBeLessThan(late.startTs);
    }
    await pipeline.stop();
  });

  test('has none behind what could not be applied, whatever comes after it', async () => {
    const passed: bigint[] = [];
    const pipeline = new Pipeline(
      {
        apply: async () => {
          await Promise.resolve();
          throw new Error('not this one');
        },
      },
      (ts) => passed.push(ts),
      () => undefined,
    );
    const first = pipeline.push([row(100)]).catch(String);
    for (let i = 0; i < 10; i++) await Promise.resolve();
    // In the stream's buffer when that failed.
    await expect(pipeline.push([200n])).rejects.toThrow('not this one');
    await expect(pipeline.push([row(150), 300n])).rejects.toThrow('not this one');
    await first;
    await expect(pipeline.stop()).rejects.toThrow('not this one');
    expect(passed).toEqual([]);
  });

  test('has none behind what is dropped', async () => {
    const passed: bigint[] = [];
    const pipeline = new Pipeline(
      { apply: async () => Promise.resolve() },
      (ts) => passed.push(ts),
      () => undefined,
    );
    await pipeline.push([...Array.from({ length: 3000 }, (_, i) => row(10 + i)), 5000n]);
    await pipeline.stop();
    expect(passed.every((ts) => ts < 3010n)).toBe(true);
  });
});

describe('how far the target is behind', () => {
  /** A storage layer whose PD has another time, and whose regions nobody finds. */
  const storageAt = (aheadMs: number): Storage =>
    new Storage({
      http: async () => ({ id: '1' }),
      grpc: async ({ path }: { path: string }) => {
        if (path !== '/pdpb.PD/Tso') throw new Error('nobody is asked');
        return { timestamp: { physical: BigInt(Date.now() + aheadMs), logical: 0n } };
      },
    } as unknown as Endpoint);

  test.each([0, 60_000, -60_000])(
    "is told by the clock of the source's PD, which is %i ms ahead",
    async (aheadMs) => {
      const storage = storageAt(aheadMs);
      const source: Side = { storage, space: keySpaceOf({ name: 'a', number: 1 }) };
      const behindMs = 20_000;
      const checkpoint = (await storage.timestamp()) - (BigInt(behindMs) << 18n);
      const applier = { apply: async () => undefined };
      const spans = [{ start: '', end: '', checkpoint: String(checkpoint) }];
      const follower = Follower.from({ source, applier }, { spans });
      const lagMs = follower.lagMs();
      await follower.stop();
      expect(lagMs).toBeGreaterThanOrEqual(behindMs - 1);
      expect(lagMs).toBeLessThan(behindMs + 30_000);
    },
  );
});

describe('throttle and halves', () => {
  /** A clock that only sleeping moves. */
  function fakeClock() {
    let now = 0;
    const slept: number[] = [];
    const clock = {
      now: () => now,
      sleep: (ms: number) => {
        slept.push(ms);
        now += ms;
        return Promise.resolve();
      },
    };
    return { clock, slept };
  }

  test('a request waits for what the ones before it cost', async () => {
    const { clock, slept } = fakeClock();
    const throttle = new Throttle({ bytesPerSecond: 1000 }, clock);
    for (const bytes of [500, 100, 0]) await throttle.take(bytes);
    expect(slept).toEqual([500, 100]);
    throttle.set({ requestsPerSecond: 10 });
    for (let i = 0; i < 3; i++) await throttle.take(1_000_000);
    expect(slept.slice(2)).toEqual([100, 100]);
    throttle.set({});
    for (let i = 0; i < 3; i++) await throttle.take(1_000_000);
    expect(slept).toHaveLength(4);
  });

  test('several moves share what their worker may do', async () => {
    const { clock, slept } = fakeClock();
    const all = new Throttle({ bytesPerSecond: 1000 }, clock);
    const [one, other] = [all.part({ bytesPerSecond: 100 }), all.part({})];
    // Its own limit holds for the first, and that of all for the second.
    await one.take(200);
    await other.take(300);
    expect(slept).toEqual([200]);
    await other.take(0);
    expect(slept).toEqual([200, 300]);
    await one.take(0);
    expect(slept).toEqual([200, 300, 1500]);
  });

  test('halving a range of keys ends, and stays inside', () => {
    for (const [from, to] of [
      ['', ''],
      ['', '00'],
      ['74', '75'],
      ['748000', '748000ff'],
      ['7480', ''],
    ] as const) {
      const start = Buffer.from(from, 'hex');
      let end: Buffer = Buffer.from(to, 'hex');
      let steps = 0;
      for (let middle = between(start, end); middle && steps < 5000; middle = between(start, end)) {
        expect(Buffer.compare(middle, start)).toBe(1);
        expect(end.length === 0 || Buffer.compare(middle, end) < 0).toBe(true);
        end = middle;
        steps += 1;
      }
      expect(steps).toBeLessThan(5000);
    }
  });
});
