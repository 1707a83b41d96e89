import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { copy, planCopy, presplit, rangeOfChunk, type CopyState } from '../../src-ts/move/engine/copy.ts';
import { diff, type DiffResult } from '../../src-ts/move/engine/diff.ts';
import { Follower } from '../../src-ts/move/engine/feed.ts';
import { KeyMap, keySpaceOf, type MoveSpace } from '../../src-ts/move/engine/key-space.ts';
import {
  carryLocks,
  dropPessimisticLocks,
  endExpired,
  fateOf,
  oldestLock,
  resolveLocks,
  scanLocks,
  settle,
} from '../../src-ts/move/engine/locks.ts';
import { COMMIT, PESSIMISTIC_LOCK, PREWRITE } from '../../src-ts/move/engine/methods.ts';
import { Snapshot } from '../../src-ts/move/engine/snapshot.ts';
import {
  destroy,
  highestEpoch,
  isEmpty,
  keepHistory,
  moveService,
  releaseHistory,
} from '../../src-ts/move/engine/space.ts';
import { Storage, type Side } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { Watcher, Written } from '../../src-ts/move/engine/watch.ts';
import { forget, moveOf, save } from '../../src-ts/move/record.ts';
import { applyRouting, routing } from '../../src-ts/move/routing.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { Op } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { rowKey } from '../harness/support/keys.ts';
import { moveRecord } from '../harness/support/move-record.ts';

/* A key space is copied, followed and compared at the real PD and store, while a client writes to it. No filter is in between. */
const TABLES = [100, 101, 102];
const KEYS = 400;
const REGION_BYTES = 64 * 1024;
const CLIENTS = 4;
/** Long beyond what a loaded machine needs. */
const WAIT_MS = 90_000;
const LATEST = (1n << 64n) - 1n;

let stack: Stack;
let storage: Storage;
const spaceOf = (name: string, number: number): MoveSpace => keySpaceOf({ name, number });
const alpha = spaceOf('alpha', 1);
const target = spaceOf('target', 5);
const side = (space: MoveSpace): Side => ({ storage, space });
const unlimited = new Throttle();

beforeAll(async () => {
  stack = await startStack({
    mesh: false,
    startTidbs: false,
    boundaries: true,
    regionSize: REGION_BYTES,
    tenants: [
      { name: 'alpha', number: 1 },
      { name: 'beta', number: 2 },
      { name: 'target', number: 5 },
      { name: 'other', number: 7 },
    ],
  });
  storage = open();
});
afterAll(async () => {
  storage?.close();
  await stack?.stop();
});

function open(): Storage {
  return new Storage(new Endpoint({ pd: stack.pd.directUrl }));
}

/** A key as a TiDB would have it: of an index, or of what it keeps about tables. The store reads rows, so it gets none. */
function someKey(random: () => number): Buffer {
  const handle = Math.floor(random() * KEYS);
  if (random() < 0.1) return Buffer.from(`mkey${handle}`);
  const key = rowKey(TABLES[Math.floor(random() * TABLES.length)]!, handle);
  key.write('_i', 9, 'latin1');
  return key;
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

type Change = { key: Buffer; value: Buffer | undefined };

/** Commits changes as a client does; with `since`, as a pessimistic transaction that began then. */
async function commit(space: MoveSpace, changes: readonly Change[], since?: bigint): Promise<void> {
  const { startTs, byRegion } = await prewrite(space, changes, { since });
  const commitVersion = await storage.timestamp();
  for (const { key } of byRegion) {
    const answer = await storage.atRegion(space, key, async (located) => {
      const fields = { context: located.context, startVersion: startTs, keys: [key], commitVersion };
      const done = await storage.ask(COMMIT, fields, located);
      return done.regionError ? { regionError: done.regionError } : { value: done };
    });
    if (answer.error) throw new Error(`commit: ${JSON.stringify(Object.keys(answer.error))}`);
  }
}

async function prewrite(
  space: MoveSpace,
  changes: readonly Change[],
  {
    since,
    startTs: given = since,
    primary,
    lockTtl = 20_000n,
  }: { since?: bigint | undefined; startTs?: bigint | undefined; primary?: Buffer; lockTtl?: bigint } = {},
): Promise<{ startTs: bigint; byRegion: { key: Buffer }[] }> {
  const startTs = given ?? (await storage.timestamp());
  const forUpdateTs = since === undefined ? 0n : await storage.timestamp();
  const mutations = changes.map(({ key, value }) => {
    const physical = space.encode(key)!;
    return value ? { op: Op.Put, key: physical, value } : { op: Op.Del, key: physical };
  });
  const primaryLock = primary ? space.encode(primary)! : mutations[0]!.key;
  for (const mutation of mutations) {
    const answer = await storage.atRegion(space, mutation.key, async (located) => {
      const done = await storage.ask(
        PREWRITE,
        {
          context: located.context,
          mutations: [mutation],
          primaryLock,
          startVersion: startTs,
          lockTtl,
          txnSize: BigInt(mutations.length),
          forUpdateTs,
          pessimisticActions: since === undefined ? [] : [0],
        },
        located,
      );
      return done.regionError ? { regionError: done.regionError } : { value: done };
    });
    if (answer.errors.length > 0) throw new Error('prewrite: conflict');
  }
  return { startTs, byRegion: mutations };
}

/** Clients that write until stopped; each has keys of its own, so that no transaction fails. */
function startWriting(space: MoveSpace): { stop: () => Promise<number> } {
  let isStopped = false;
  let done = 0;
  const client = async (id: number): Promise<void> => {
    const random = randomOf(id + 1);
    while (!isStopped) {
      const chosen = new Map<string, Change>();
      const count = 1 + Math.floor(random() * 4);
      for (let i = 0; i < count; i++) {
        const key = Buffer.concat([someKey(random), Buffer.from([id])]);
        const value = random() < 0.2 ? undefined : Buffer.alloc(1 + Math.floor(random() * 600), done % 250);
        chosen.set(key.toString('hex'), { key, value });
      }
      const changes = [...chosen.values()];
      // Sometimes something is committed after the start, as pessimistic transactions allow.
      const since = random() < 0.3 ? await storage.timestamp() : undefined;
      if (since !== undefined) await commit(space, changes.slice(0, 1));
      await commit(space, changes, since);
      done += 1;
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, id) => client(id));
  return {
    stop: async () => {
      isStopped = true;
      await Promise.all(clients);
      return done;
    },
  };
}

/** Puts rows into a key space: four for each key, of the sizes that the clients write. */
async function load(space: MoveSpace): Promise<void> {
  const random = randomOf(99);
  const all = new Map<string, Row>();
  const startTs = await storage.timestamp();
  const commitTs = await storage.timestamp();
  for (let i = 0; i < KEYS * 8; i++) {
    const key = space.encode(Buffer.concat([someKey(random), Buffer.from([i % 8])]))!;
    const value = Buffer.alloc(1 + Math.floor(random() * 600), i % 250);
    all.set(key.toString('hex'), { startTs, commitTs, key, op: 'put', value });
  }
  const map = new KeyMap(space, space);
  await new Applier({ source: side(space), target: side(space), map, throttle: unlimited }).apply([
    ...all.values(),
  ]);
}

const compare = (ts: bigint, to = target): Promise<DiffResult> =>
  diff({ source: side(alpha), target: side(to), ts, throttle: unlimited });

/** All that a snapshot shows, by logical key. */
async function everything(space: MoveSpace, ts: bigint): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const snapshot = new Snapshot(side(space), ts, { locks: 'meet' });
  for await (const { pairs } of snapshot.pages({ start: space.start, end: space.end }))
    for (const { key, value } of pairs)
      found.set(space.decode(key)!.toString('hex'), Buffer.from(value).toString('hex'));
  return found;
}

/** start and commit timestamps of all versions that were committed behind `ts`, by logical key. */
async function versions(space: MoveSpace, ts: bigint): Promise<string[]> {
  const all = await stack.store.inspect.versions(space.start, space.end, 1_000_000);
  return all
    .filter(({ commitTs }) => commitTs > ts)
    .map(({ key, startTs, commitTs }) => `${space.decode(key)!.toString('hex')} ${startTs} ${commitTs}`)
    .sort();
}

describe('moving a key space', () => {
  let state: CopyState;

  test('copies it chunk by chunk, and goes on after it was stopped', async () => {
    await load(alpha);
    // The store splits what has grown, and tells PD.
    for (let tries = 0; tries < 50 && (await storage.regions(alpha, alpha)).length < 6; tries++)
      await sleep(200);
    await keepHistory(storage, moveService('alpha'), await storage.timestamp(), 600);
    const services = (await safePoints(storage.pd)).services.map(({ service }) => service);
    expect(services).toContain('tidb-mesh/move/alpha');
    state = await planCopy(side(alpha));
    expect(state.chunks.length).toBeGreaterThan(5);
    await presplit(side(target), state);
    expect((await storage.regions(target, target)).length).toBeGreaterThanOrEqual(state.chunks.length);

    const stop = new AbortController();
    const map = new KeyMap(alpha, target);
    let kept = '';
    let saves = 0;
    const options = { source: side(alpha), target: side(target), map, throttle: unlimited };
    const stopped = copy({
      ...options,
      state,
      signal: stop.signal,
      saved: async (now) => {
        kept = JSON.stringify(now);
        if (++saves === 9) stop.abort();
      },
    });
    await expect(stopped).rejects.toThrow();
    state = JSON.parse(kept) as CopyState;
    expect(state.chunks.some(({ isDone }) => isDone)).toBe(true);
    expect(state.chunks.every(({ isDone }) => isDone)).toBe(false);
    await copy({ ...options, state });
    expect(state.chunks.every(({ isDone }) => isDone)).toBe(true);
    const ts = await storage.timestamp();
    expect(await everything(target, ts)).toEqual(await everything(alpha, ts));
    const { differences, keys } = await compare(ts);
    expect(differences).toEqual([]);
    expect(keys).toBe((await everything(alpha, ts)).size);
  });

  test('follows its changes with their own timestamps, whatever its feeds tell', async () => {
    const since = await storage.timestamp();
    const map = new KeyMap(alpha, target);
    const errors: string[] = [];
    const applier = new Applier({ source: side(alpha), target: side(target), map, throttle: unlimited });
    const options = { source: side(alpha), applier, onError: (why: string) => errors.push(why) };
    let follower = new Follower(options);
    const reach = (ts: bigint): Promise<void> =>
      follower.reach(ts, AbortSignal.timeout(WAIT_MS)).catch((cause: unknown) => {
        const why = [...new Set(errors)].join(', ');
        throw new Error(`${ts} is not reached: ${JSON.stringify(follower.state())}; ${why}`, { cause });
      });
    const writing = startWriting(alpha);
    const feeds = (query: string): Promise<string> =>
      fetch(`${stack.store.inspectUrl}/feeds?${query}`, { method: 'POST' }).then((answer) => answer.text());
    await feeds('duplicates=1&initialized=300');
    for (const chunk of state.chunks) follower.add(rangeOfChunk(chunk), BigInt(chunk.readTs!));
    await reach(since);
    // A region that is split ends its feeds.
    const halves = TABLES.map((table) => rowKey(table, KEYS / 2).toString('hex'));
    const chunks = halves.map((start) => ({ start, end: '', bytes: 0, keys: 0 }));
    await presplit(side(alpha), { chunks, ofBytes: 0 });
    for (const kind of [
      'epochNotMatch',
      'congested',
      'serverIsBusy',
      'notLeader',
      'regionNotFound',
      'duplicateRequest',
    ]) {
      const path = `/feeds/errors?kind=${kind}&times=2`;
      await fetch(`${stack.store.inspectUrl}${path}`, { method: 'POST' }).then((answer) => answer.text());
      await sleep(300);
    }
    await fetch(`${stack.store.inspectUrl}/feeds/end`, { method: 'POST' });
    // Another mover goes on where this one is.
    await feeds('reset=1');
    await follower.stop();
    const kept = JSON.parse(JSON.stringify(follower.state())) as ReturnType<Follower['state']>;
    follower = Follower.from(options, kept);
    await sleep(1000);
    const midway = await storage.timestamp();
    await reach(midway);
    // Nothing has stopped.
    expect((await compare(midway)).differences).toEqual([]);
    expect(await writing.stop()).toBeGreaterThan(10);
    const end = await storage.timestamp();
    await reach(end);
    await follower.stop();
    expect((await compare(end)).differences).toEqual([]);
    expect(await everything(target, end)).toEqual(await everything(alpha, end));
    expect(await versions(target, since)).toEqual(await versions(alpha, since));
    expect(errors.length).toBeGreaterThan(0);
  });

  test('what somebody else commits at the target is told, and nothing of the mover', async () => {
    const since = await storage.timestamp();
    const map = new KeyMap(alpha, target);
    const [source, there] = [side(alpha), side(target)];
    const from = { spans: [{ start: '', end: '', checkpoint: String(since) }] };
    const applier = new Applier({ source, target: there, map, throttle: unlimited });
    const written = new Written(map);
    const apply: Applier['apply'] = (items) => {
      written.add(items);
      return applier.apply(items);
    };
    const follower = Follower.from({ source, applier: { apply } }, from);
    const told: string[][] = [[], []];
    // One knows what it has written itself; the other one asks the source, as a worker that takes over.
    const watchers = [written, new Written(map)].map((known, i) => {
      const watcher = new Watcher({
        source,
        target: there,
        written: known,
        onForeign: (commits) =>
          told[i]!.push(...commits.map(({ key, tableId, op }) => `${op} ${key} of ${tableId}`)),
      });
      return Follower.from({ source: there, applier: watcher }, from);
    });
    const reach = async (ts: bigint): Promise<void> => {
      for (const one of [follower, ...watchers]) await one.reach(ts, AbortSignal.timeout(WAIT_MS));
    };
    const writing = startWriting(alpha);
    await sleep(1500);
    // Each client ends what it has begun.
    expect(await writing.stop()).toBeGreaterThan(0);
    await reach(await storage.timestamp());
    expect(told).toEqual([[], []]);
    const key = rowKey(TABLES[1]!, 9_999);
    key.write('_i', 9, 'latin1');
    await commit(target, [{ key, value: Buffer.from('lost') }]);
    await reach(await storage.timestamp());
    // Leaves the sides as they were; a removal of what the source does not have is no loss.
    await commit(target, [{ key, value: undefined }]);
    await reach(await storage.timestamp());
    for (const one of [follower, ...watchers]) await one.stop();
    const lost = `put ${key.toString('hex')} of ${TABLES[1]}`;
    expect(told).toEqual([[lost], [lost]]);
  });

  test('the comparison finds each row that is lost, left over or changed', async () => {
    const end = await storage.timestamp();
    const keys = [...(await everything(alpha, end)).keys()];
    const [lost, changed] = [keys[10]!, keys.at(-7)!];
    const extra = Buffer.concat([Buffer.from(keys[40]!, 'hex'), Buffer.from('more')]);
    const some = (key: string): Change => ({ key: Buffer.from(key, 'hex'), value: Buffer.from('wrong') });
    await commit(target, [{ key: Buffer.from(lost, 'hex'), value: undefined }, some(changed)]);
    await commit(target, [some(extra.toString('hex'))]);
    const { differences } = await compare(await storage.timestamp());
    const found = differences.map(({ key, what }) => `${what} ${key}`).sort();
    expect(found).toEqual([
      `different values ${changed}`,
      `missing at the target ${lost}`,
      `only at the target ${extra.toString('hex')}`,
    ]);
  });
});

describe('routing rules at a real etcd', () => {
  test('are compared with what they were made from', async () => {
    const record = moveRecord({ tenant: 'beta', number: 2, serial: 1 });
    const stored = await save(storage.pd, { record, revision: 0n });
    const { revision, rules } = await routing(storage.pd);
    expect(rules).toEqual({ beta: 'source_beta' });
    const wanted = { rules: { beta: 'target' }, revision: BigInt(revision) };
    const later = await save(storage.pd, { ...stored, record: { ...record, switches: 2 } });
    await expect(applyRouting(storage.pd, wanted)).rejects.toThrow(/after 0 switches; now .* after 2/);
    const never = { ...wanted, revision: BigInt(revision) + 1_000_000n };
    await expect(applyRouting(storage.pd, never)).rejects.toThrow('it has not been yet');
    const now = BigInt((await routing(storage.pd)).revision);
    await applyRouting(storage.pd, { ...wanted, revision: now });
    const asked = await moveOf(storage.pd, 'beta');
    expect(asked.record.wish).toBe('switch');
    expect(asked.revision).toBeGreaterThan(later.revision);
    await forget(storage.pd, asked);
  });
});

describe('the fence', () => {
  const keyOf = (handle: number): Buffer => {
    const made = rowKey(300, handle);
    made.write('_i', 9, 'latin1');
    return made;
  };
  const source = spaceOf('beta', 2);
  const map = new KeyMap(source, target);

  test('ends what has begun to commit, and carries what has only locked', async () => {
    const key = keyOf;
    const value = Buffer.from('value');
    // Committed by its primary only.
    const one = await prewrite(source, [
      { key: key(1), value },
      { key: key(2), value },
    ]);
    const commitVersion = await storage.timestamp();
    const primary = source.encode(key(1))!;
    await storage.atRegion(source, primary, async (located) => {
      const fields = { context: located.context, startVersion: one.startTs, keys: [primary], commitVersion };
      const done = await storage.ask(COMMIT, fields, located);
      return done.regionError ? { regionError: done.regionError } : { value: done };
    });
    // Not decided.
    const two = await prewrite(source, [{ key: key(3), value }]);
    // Only locked.
    const startTs = await storage.timestamp();
    const locked = source.encode(key(4))!;
    await storage.atRegion(source, locked, async (located) => {
      const done = await storage.ask(
        PESSIMISTIC_LOCK,
        {
          context: located.context,
          mutations: [{ op: Op.PessimisticLock, key: locked }],
          primaryLock: locked,
          startVersion: startTs,
          forUpdateTs: startTs,
          lockTtl: 20_000n,
          isFirstLock: true,
        },
        located,
      );
      return done.regionError ? { regionError: done.regionError } : { value: done };
    });
    expect(await oldestLock(side(source))).toMatchObject({ tableId: 300n, startTs: one.startTs });
    expect(await settle(side(source), side(target), map)).toMatchObject({ committed: 1, rolledBack: 1 });
    const shown = await everything(source, await storage.timestamp());
    expect([...shown.keys()]).toEqual([key(1), key(2)].map((made) => made.toString('hex')));
    const [left, ...more] = await scanLocks(side(source));
    expect(more).toEqual([]);
    expect(left).toMatchObject({ lockVersion: startTs, lockForUpdateTs: startTs });
    expect(await scanLocks(side(target))).toEqual([]);
    expect(await carryLocks(side(source), side(target), map)).toEqual({ carried: 1, left: 0 });
    const [carried] = await scanLocks(side(target));
    expect(Buffer.from(carried!.key)).toEqual(target.encode(key(4)));
    expect(carried).toMatchObject({ lockVersion: startTs, lockForUpdateTs: startTs, lockTtl: left!.lockTtl });
    expect(await dropPessimisticLocks(side(target))).toBe(1);
    expect(await scanLocks(side(target))).toEqual([]);
    // The client of the undecided one goes on at the target, and must fail.
    await expect(
      storage.atRegion(target, target.encode(key(3))!, async (located) => {
        const done = await storage.ask(
          PREWRITE,
          {
            context: located.context,
            mutations: [{ op: Op.Put, key: target.encode(key(3))!, value }],
            primaryLock: target.encode(key(3))!,
            startVersion: two.startTs,
            lockTtl: 20_000n,
          },
          located,
        );
        return done.regionError ? { regionError: done.regionError } : { value: done.errors.length };
      }),
    ).resolves.toBe(1);
  });

  test('what somebody else has rolled back cannot be committed at the target', async () => {
    const ts = await storage.timestamp();
    const applier = new Applier({ source: side(source), target: side(target), map, throttle: unlimited });
    const follower = new Follower({ source: side(source), applier });
    follower.add({ start: Buffer.alloc(0), end: Buffer.alloc(0) }, ts);
    await follower.reach(await storage.timestamp(), AbortSignal.timeout(WAIT_MS));
    const [primary, secondary] = [5, 6].map(
      (handle) => ({ key: keyOf(handle), value: Buffer.from('value') }) as const,
    ) as [Change, Change];
    // Its client still waits to prewrite the primary, when others take it for dead.
    const startTs = await storage.timestamp();
    await prewrite(source, [secondary], { startTs, primary: primary.key });
    const fate = await fateOf(
      side(source),
      { primary: source.encode(primary.key)!, startTs },
      { callerTs: 0n, currentTs: LATEST, rollBackIfNotExist: true },
    );
    expect(fate.kind).toBe('rolled back');
    await resolveLocks(side(source), [source.encode(secondary.key)!], startTs, 0n);
    await follower.reach(await storage.timestamp(), AbortSignal.timeout(WAIT_MS));
    await follower.stop();
    for (const one of [primary, secondary])
      await expect(prewrite(target, [one], { startTs })).rejects.toThrow('prewrite: conflict');
  });

  test('a lock is ended when it has expired, and not before', async () => {
    const change = (handle: number): Change[] => {
      const key = rowKey(301, handle);
      key.write('_i', 9, 'latin1');
      return [{ key, value: Buffer.from('value') }];
    };
    const before = (await scanLocks(side(source))).length;
    await prewrite(source, change(1));
    expect(await endExpired(side(source))).toBe(0);
    await prewrite(source, change(2), { lockTtl: 1n });
    await sleep(100);
    expect(await endExpired(side(source))).toBe(1);
    expect(await scanLocks(side(source))).toHaveLength(before + 1);
    await settle(side(source), side(target), map);
  });

  test('an emptied target has neither keys nor locks', async () => {
    expect(await isEmpty(side(target))).toBe(false);
    await destroy(side(target));
    expect(await isEmpty(side(target))).toBe(true);
    expect((await highestEpoch(side(target))).version).toBeGreaterThan(1);
    await releaseHistory(storage, moveService('alpha'));
    const services = (await safePoints(storage.pd)).services.map(({ service }) => service);
    expect(services).not.toContain('tidb-mesh/move/alpha');
  });
});
