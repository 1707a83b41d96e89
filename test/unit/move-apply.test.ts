/** What the applier does with rows that may be at the target, at a store that answers as TiKV does where unistore does not. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { followingOf } from '../../src-ts/move/engine/engine-of.ts';
import type { Follower } from '../../src-ts/move/engine/feed.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage, type Side } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { CallError, type Endpoint } from '../../src-ts/pd/endpoint.ts';

const source = keySpaceOf({ name: 'a', number: 1 });
const target = keySpaceOf({ name: 'a', number: 5 });

interface Version {
  readonly start: bigint;
  readonly commit: bigint;
}

interface Prewrite {
  readonly context: { readonly isRetryRequest?: boolean };
  readonly mutations: readonly { readonly key: Buffer }[];
  readonly startVersion: bigint;
  readonly forUpdateTs?: bigint;
}

interface Commit {
  readonly keys: readonly Buffer[];
  readonly startVersion: bigint;
  readonly commitVersion: bigint;
}

/** One region. Its prewrites skip the pessimistic check, and nobody else has locks in it. */
class Store {
  /** The start of the transaction that holds each key's lock. */
  readonly locks = new Map<string, bigint>();
  /** Keys that were locked beside a record of the same transaction. A TiKV that rolls such a lock back stops. */
  readonly lockedAgain: string[] = [];
  /** So many commits are carried out, and answered with an error of the region. */
  lostAnswers = 0;
  private readonly versions = new Map<string, readonly Version[]>();
  /** Transactions that the store knows as committed, whatever key that was. */
  private readonly known = new Set<bigint>();

  /** @param hasKnown false as TiKV 7.1 and older, or when it has forgotten: it then tells a repeated prewrite by its flag only */
  constructor(private readonly hasKnown = true) {}

  /** A new worker's. */
  applier(): Applier {
    const storage = {
      ask: async ({ path }: { path: string }, fields: Prewrite & Commit) =>
        path.endsWith('KvPrewrite') ? this.prewrite(fields) : this.commit(fields),
      atRegion: async (_: unknown, __: unknown, act: (at: object) => Promise<object>) => {
        for (let attempt = 0; attempt < 3; attempt++) {
          const outcome = await act({ start: target.start, end: target.end, context: {}, address: '' });
          if ('value' in outcome) return outcome.value;
        }
        throw new Error('the region does not answer');
      },
    } as unknown as Storage;
    const [from, to]: Side[] = [source, target].map((space) => ({ storage, space }));
    const map = new KeyMap(source, target);
    return new Applier({ source: from!, target: to!, map, throttle: new Throttle() });
  }

  put(name: string, start: number, commit: number): void {
    this.record(name, { start: BigInt(start), commit: BigInt(commit) });
  }

  /** When the versions of a key were committed. */
  commitsOf(name: string): number[] {
    return this.versionsOf(name).map(({ commit }) => Number(commit));
  }

  /** In the order of their commits. */
  private versionsOf(name: string): readonly Version[] {
    return this.versions.get(name) ?? [];
  }

  private record(name: string, version: Version): void {
    const versions = [...this.versionsOf(name), version];
    this.versions.set(
      name,
      versions.sort((a, b) => Number(a.commit - b.commit)),
    );
  }

  private hasRecord(name: string, start: bigint): boolean {
    return this.versionsOf(name).some((version) => version.start === start);
  }

  private prewrite({ context, mutations, startVersion: start, forUpdateTs = 0n }: Prewrite): object {
    const isPessimistic = forUpdateTs > 0n;
    const isChecked = !isPessimistic || context.isRetryRequest === true || this.known.has(start);
    const newestAllowed = isPessimistic ? forUpdateTs : start;
    const names: string[] = [];
    for (const { key } of mutations) {
      const name = String(target.decode(key));
      if (this.locks.get(name) === start) continue;
      const newest = this.versionsOf(name).at(-1);
      if (isChecked && newest && newest.commit > newestAllowed) {
        // Taken for a repeated request: it succeeds, and the locks of the other keys are dropped.
        if (this.hasRecord(name, start)) return { errors: [] };
        const conflict = { key, conflictTs: newest.start, conflictCommitTs: newest.commit, reason: 1 };
        return isPessimistic
          ? { errors: [{ abort: 'Error(Txn(Error(Mvcc(Error(PessimisticLockNotFound {', retryable: '' }] }
          : { errors: [{ abort: '', retryable: '', conflict }] };
      }
      names.push(name);
    }
    for (const name of names) {
      if (this.hasRecord(name, start)) this.lockedAgain.push(name);
      this.locks.set(name, start);
    }
    return { errors: [] };
  }

  private commit({ keys, startVersion: start, commitVersion: commit }: Commit): object {
    const names = keys.map((key) => String(target.decode(key)));
    const isHeld = (name: string): boolean => this.locks.get(name) === start;
    if (names.some((name) => !isHeld(name) && !this.hasRecord(name, start)))
      return { error: { abort: '', retryable: 'TxnLockNotFound', txnNotFound: undefined } };
    for (const name of names.filter(isHeld)) {
      this.locks.delete(name);
      if (!this.hasRecord(name, start)) this.record(name, { start, commit });
    }
    if (this.hasKnown) this.known.add(start);
    if (this.lostAnswers === 0) return {};
    this.lostAnswers -= 1;
    return { regionError: { staleCommand: {} } };
  }
}

function row(name: string, startTs: number, commitTs: number): Row {
  return {
    key: source.encode(Buffer.from(name))!,
    startTs: BigInt(startTs),
    commitTs: BigInt(commitTs),
    op: 'put',
    value: Buffer.from('value'),
  };
}

describe('the applier at a TiKV', () => {
  test.each([
    ['optimistic', []],
    ['pessimistic, behind newer versions than its start', [105]],
  ])('writes the rest of a transaction that a worker left half done: %s', async (_, before) => {
    const store = new Store();
    const rows = ['a', 'b', 'c'].map((name) => row(name, 100, 110));
    for (const name of ['a', 'b', 'c']) for (const commit of before) store.put(name, commit - 1, commit);
    await store.applier().apply([rows[1]!]);
    await store.applier().apply(rows);
    for (const name of ['a', 'b', 'c']) expect(store.commitsOf(name)).toEqual([...before, 110]);
    expect(store.locks.size).toBe(0);
  });

  test('leaves a row out that lies under a copied one, and writes the others of its transaction', async () => {
    const store = new Store();
    store.put('b', 500, 500);
    const applier = store.applier();
    // From now on the store knows the transaction, and checks all its prewrites.
    await applier.apply([row('a', 100, 110)]);
    await applier.apply([row('b', 100, 110), row('c', 100, 110)]);
    expect(store.commitsOf('b')).toEqual([500]);
    expect(store.commitsOf('c')).toEqual([110]);
    expect(store.locks.size).toBe(0);
  });

  test('does not lock a row again whose commit was carried out without an answer', async () => {
    const store = new Store(false);
    const applier = store.applier();
    await applier.apply([row('a', 90, 105)]);
    store.lostAnswers = 1;
    await applier.apply([row('a', 100, 110), row('b', 100, 110)]);
    expect(store.lostAnswers).toBe(0);
    expect(store.commitsOf('a')).toEqual([105, 110]);
    expect(store.commitsOf('b')).toEqual([110]);
    expect(store.lockedAgain).toEqual([]);
    expect(store.locks.size).toBe(0);
  });
});

describe('at a region that does not answer', () => {
  /** @returns how often it was asked. Each try lasts until it is aborted, or fails after a while. */
  function deadStore(failAfterMs: number, signal?: AbortSignal): { applier: Applier; asked: () => number } {
    let asked = 0;
    const storage = {
      passed: async () => undefined,
      atRegion: async (): Promise<never> => {
        asked += 1;
        await sleep(failAfterMs, undefined, signal ? { signal } : {});
        throw new CallError('region 7 cannot be asked', 0);
      },
    } as unknown as Storage;
    const [from, to]: Side[] = [source, target].map((space) => ({ storage, space }));
    const map = new KeyMap(source, target);
    const applier = new Applier({ source: from!, target: to!, map, throttle: new Throttle(), signal });
    return { applier, asked: () => asked };
  }

  test('no try begins when one has failed', async () => {
    const { applier, asked } = deadStore(5);
    const rows = Array.from({ length: 1024 }, (_, i) => row(`k${i}`, 2 * i + 1, 2 * i + 2));
    const key = source.encode(Buffer.from('r'))!;
    const rollbacks = Array.from({ length: 1024 }, (_, i) => ({
      op: 'rollback' as const,
      startTs: BigInt(i + 1),
      key,
    }));
    await expect(applier.apply(rows)).rejects.toThrow('region 7');
    await expect(applier.apply(rollbacks)).rejects.toThrow('region 7');
    expect(asked()).toBeLessThanOrEqual(4 * 16);
  });

  test('nothing is sent by a worker that has lost the move', async () => {
    const sent: string[] = [];
    const pd = { grpc: async ({ path }: { path: string }) => void sent.push(path) } as unknown as Endpoint;
    const isMine = async (): Promise<void> => Promise.reject(new Error('lost'));
    const storage = Object.assign(new Storage(pd, undefined, isMine), {
      passed: async () => undefined,
      atRegion: async (_: unknown, __: unknown, act: (at: object) => Promise<unknown>) =>
        act({ start: target.start, end: target.end, context: {}, address: '' }),
    } as unknown as Storage);
    const [from, to]: Side[] = [source, target].map((space) => ({ storage, space }));
    const map = new KeyMap(source, target);
    const applier = new Applier({ source: from!, target: to!, map, throttle: new Throttle() });
    const rollback = { op: 'rollback' as const, startTs: 1n, key: source.encode(Buffer.from('r'))! };
    await expect(applier.apply([row('k', 1, 2)])).rejects.toThrow('lost');
    await expect(applier.apply([rollback])).rejects.toThrow('lost');
    expect(sent).toEqual([]);
  });

  test('a feed that is stopped ends what it has begun', async () => {
    const writing = new AbortController();
    const { applier } = deadStore(600_000, writing.signal);
    const applied = applier.apply([row('k', 1, 2)]).catch(() => 'ended');
    const feed = { stop: () => applied } as unknown as Follower;
    await followingOf(feed, writing, 1).stop();
    expect(await applied).toBe('ended');
  });
});
