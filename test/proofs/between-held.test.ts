/**
 * A client that knows only the storage layer which its tenant has left: its addresses, regions, cluster id, timestamps and lease, over
 * connections and streams from before the switch, as a TiDB that slept for an hour. Nobody waits for that hour: what ends in it is ended.
 * The client must be sent on or refused. It must never read an old row, commit at the old place, or get a timestamp that is no later.
 * `npm run test:proofs -- between-held`.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { moveService, releaseHistory } from '../../src-ts/move/engine/space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putIfUnchanged, revokeLease } from '../../src-ts/pd/etcd.ts';
import { clusterId } from '../../src-ts/pd/timestamp.ts';
import { etcdPrefix } from '../../src-ts/tenants/belongings.ts';
import { memcomparable } from '../harness/model/table-codec.ts';
import { callHttp } from '../harness/stack/caller.ts';
import type { CertFiles } from '../harness/stack/certs.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { collectAsTidb } from './garbage.ts';
import { Layers } from './layers.ts';
import { Timestamps } from './timestamps.ts';

const ALPHA = { name: 'alpha', number: 1 };
const SPACE = keySpaceOf(ALPHA);
const ROWS = 300;
const HOUR_MS = 3_600_000;
const NAME = '/tidb/held';
/** Each of all ways is tried so often. */
const TRIES = 3;
const LONGEST_MS = 10_000;
/** As long as TiDB's sessions have. */
const LEASE_S = 60n;

/** A key as a TiDB has it of an index: the store reads rows, so it gets none. */
function keyOf(handle: number): Buffer {
  const key = rowKey(100, handle);
  key.write('_i', 9, 'latin1');
  return key;
}
const KEY = keyOf(7);
/** A transaction has written it, and has not committed, when everything is switched. */
const LOCKED = keyOf(8);

let layers: Layers;
let certs: CertFiles;
/** As the client knows it: the old layer, by Envoy. Its connections are never closed. */
let pdA: string;
let storeA: string;
let client: Endpoint;
let pump: Timestamps;
let batch: Batch;
let watch: Watch;
/** What the client has kept. */
let context: Fields;
let cluster: bigint;
let lease: bigint;
/** Of a snapshot, and of the transaction that has not ended. */
let before: bigint;
let undecided: bigint;

beforeAll(async () => {
  // Both have stores and regions with the same ids.
  layers = await Layers.start(['a', 'b'], [ALPHA], { a: { regionSize: 20_000 } });
  certs = await layers.clientCerts();
  const { stack } = layers.of('a');
  [pdA, storeA] = [stack.pd.meshAddress, stack.store.meshAddress];
  client = new Endpoint({ pd: `https://${pdA}`, ...certs });
  await load('a', 'old');
});
afterAll(async () => {
  await pump?.stop();
  batch?.end();
  watch?.end();
  client?.close();
  await layers?.end();
});

/** Writes rows past the mesh. */
async function load(name: string, what: string): Promise<void> {
  const storage = new Storage(new Endpoint({ pd: layers.of(name).stack.pd.directUrl }));
  try {
    const [startTs, commitTs] = [await storage.timestamp(), await storage.timestamp()];
    const rows = Array.from({ length: ROWS }, (_, i): Row => {
      const value = Buffer.from(`${what} ${i}`);
      return { startTs, commitTs, key: SPACE.encode(keyOf(i))!, op: 'put', value };
    });
    const side = { storage, space: SPACE };
    const map = new KeyMap(SPACE, SPACE);
    await new Applier({ source: side, target: side, map, throttle: new Throttle() }).apply(rows);
  } finally {
    storage.close();
  }
}

const asIs = (bytes: Buffer): Buffer => bytes;
const textOf = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString();
const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one));

/** Over the connection that the client has had from the start. */
function call(address: string, path: string, type: string, fields: Fields): Promise<Buffer> {
  const deadline = Date.now() + LONGEST_MS;
  const bytes = Buffer.from(encode(type, fields));
  return new Promise((resolve, reject) => {
    client
      .client(address)
      .makeUnaryRequest(path, asIs, asIs, bytes, new grpc.Metadata(), { deadline }, (error, answer) =>
        error ? reject(error) : resolve(answer!),
      );
  });
}
async function askPd(method: string, fields: Fields = {}, type = method): Promise<Fields> {
  const request = { header: { clusterId: cluster }, ...fields };
  return decode(
    `pdpb.${type}Response`,
    await call(pdA, `/pdpb.PD/${method}`, `pdpb.${type}Request`, request),
  );
}

/** A stream that is never closed. */
class Held {
  ended: string | undefined;
  protected readonly stream: grpc.ClientDuplexStream<Buffer, Buffer>;

  constructor(address: string, path: string) {
    this.stream = client.client(address).makeBidiStreamRequest(path, asIs, asIs, new grpc.Metadata());
    this.stream.on('error', (error: grpc.ServiceError) => (this.ended = error.details));
  }

  end(): void {
    this.stream.cancel();
  }
}

class Batch extends Held {
  private readonly waiting = new Map<bigint, (answer: Fields) => void>();
  private next = 0n;

  constructor(address: string) {
    super(address, '/tikvpb.Tikv/BatchCommands');
    this.stream.on('error', (error: grpc.ServiceError) => {
      for (const resolve of this.waiting.values()) resolve({ ended: error.details });
    });
    this.stream.on('data', (bytes: Buffer) => {
      const { requestIds, responses } = decode('tikvpb.BatchCommandsResponse', bytes);
      for (const [i, id] of (requestIds as bigint[]).entries())
        this.waiting.get(id)?.(((responses as Fields[])[i]!['cmd'] as Fields)['value'] as Fields);
    });
  }

  ask(command: string, value: Fields): Promise<Fields> {
    if (this.ended !== undefined) return Promise.resolve({ ended: this.ended });
    const id = ++this.next;
    const answer = new Promise<Fields>((resolve) => this.waiting.set(id, resolve));
    const requests = [{ cmd: { case: command, value } }];
    this.stream.write(Buffer.from(encode('tikvpb.BatchCommandsRequest', { requests, requestIds: [id] })));
    return Promise.race([answer, sleep(LONGEST_MS).then((): Fields => ({ silent: true }))]);
  }
}

class Watch extends Held {
  readonly values: string[] = [];
  isThere = false;

  constructor(address: string) {
    super(address, '/etcdserverpb.Watch/Watch');
    this.stream.on('data', (bytes: Buffer) => {
      const { created, events } = decode('etcdserverpb.WatchResponse', bytes);
      this.isThere ||= created === true;
      for (const { kv } of (events ?? []) as Fields[]) this.values.push(textOf((kv as Fields)['value']));
    });
    const requestUnion = { case: 'createRequest', value: { key: Buffer.from(NAME) } };
    this.stream.write(Buffer.from(encode('etcdserverpb.WatchRequest', { requestUnion })));
  }
}

/** Asks for one keep-alive of the client's lease. @returns its time to live; 0 where nobody knows it */
async function keepAlive(): Promise<bigint> {
  const path = '/etcdserverpb.Lease/LeaseKeepAlive';
  const stream = client.client(pdA).makeBidiStreamRequest(path, asIs, asIs, new grpc.Metadata());
  const answer = new Promise<Buffer>((resolve, reject) => {
    stream.on('data', resolve);
    stream.on('error', reject);
  });
  stream.write(Buffer.from(encode('etcdserverpb.LeaseKeepAliveRequest', { ID: lease })));
  try {
    return decode('etcdserverpb.LeaseKeepAliveResponse', await answer)['TTL'] as bigint;
  } finally {
    stream.cancel();
  }
}

/** Writes a name of the tenant past the mesh. */
const put = (name: string, value: string): Promise<unknown> =>
  putIfUnchanged(layers.of(name).pd, [], [{ key: `${etcdPrefix(ALPHA.name)}${NAME}`, value }]);

async function nameSeen(): Promise<string | undefined> {
  const fields = { key: Buffer.from(NAME) };
  const bytes = await call(pdA, '/etcdserverpb.KV/Range', 'etcdserverpb.RangeRequest', fields);
  const [kv] = decode('etcdserverpb.RangeResponse', bytes)['kvs'] as Fields[];
  return kv && textOf(kv['value']);
}

interface Ask {
  readonly method: string;
  readonly fields: Fields;
  /** In BatchCommands; undefined when it is no command of it. */
  readonly command?: string;
}

const prewrite = (key: Buffer, startVersion: bigint, lockTtl = 3000n): Fields => ({
  mutations: [{ op: 0, key, value: Buffer.from('from before') }],
  primaryLock: key,
  startVersion,
  lockTtl,
});

/** What a TiDB asks of a store. */
function asks(ts: bigint): Ask[] {
  const key = KEY;
  const [startKey, endKey] = [keyOf(0), keyOf(ROWS)];
  const range = { start: startKey, end: endKey };
  const locked = { startVersion: undecided, keys: [LOCKED] };
  const lock = { mutations: [{ op: 4, key }], primaryLock: key, startVersion: ts, forUpdateTs: ts };
  const check = { primaryKey: LOCKED, lockTs: undecided, callerStartTs: ts, currentTs: ts };
  const cached = { isCacheEnabled: true, cacheIfMatchVersion: 1n };
  const commands: Record<string, Fields> = {
    Get: { key, version: ts },
    BatchGet: { keys: [key], version: before },
    Scan: { startKey, endKey, limit: 9, version: ts },
    Prewrite: prewrite(key, ts),
    Commit: { ...locked, commitVersion: ts },
    PessimisticLock: { ...lock, lockTtl: 3000n },
    CheckTxnStatus: check,
    ScanLock: { maxVersion: ts, startKey, endKey, limit: 9 },
    ResolveLock: { startVersion: undecided, commitVersion: ts },
    BatchRollback: locked,
    TxnHeartBeat: { primaryLock: LOCKED, startVersion: undecided, adviseLockTtl: 9000n },
    Coprocessor: { tp: 105n, data: Buffer.alloc(0), startTs: ts, ranges: [range], ...cached },
  };
  const others: Record<string, Fields> = {
    MvccGetByKey: { key },
    SplitRegion: { splitKeys: [key] },
    UnsafeDestroyRange: { startKey, endKey },
    GetLockWaitInfo: {},
    GetStoreSafeTS: { keyRange: { startKey, endKey } },
  };
  return [
    ...Object.entries(commands).map(([command, fields]) => ({
      command,
      method: command === 'Coprocessor' ? command : `Kv${command}`,
      fields,
    })),
    ...Object.entries(others).map(([method, fields]) => ({ method, fields })),
  ];
}

const TYPES: Readonly<Record<string, string>> = {
  Coprocessor: 'coprocessor.',
  GetStoreSafeTS: 'kvrpcpb.StoreSafeTS',
};
const typeOf = (method: string): string => TYPES[method] ?? `kvrpcpb.${method.replace(/^Kv/, '')}`;

/** What the old store answers that is no refusal and does not send the client on. */
async function answersOfTheStore(): Promise<string[]> {
  const wrong: string[] = [];
  for (const { command, method, fields } of asks(pump.latest)) {
    const request = { context, ...fields };
    const type = typeOf(method);
    const alone = await call(storeA, `/tikvpb.Tikv/${method}`, `${type}Request`, request).then(
      (bytes) => decode(`${type}Response`, bytes),
      (error: grpc.ServiceError) => ({ regionError: error.details }),
    );
    if (alone['regionError'] === undefined) wrong.push(`${method} alone: ${toJson(alone)}`);
    if (command === undefined) continue;
    for (const stream of [batch, new Batch(storeA)]) {
      const answer = await stream.ask(command, request);
      if (stream !== batch) stream.end();
      const isRefused = String(answer['ended']).startsWith('tidb-mesh[');
      if (answer['regionError'] === undefined && !isRefused)
        wrong.push(`${command} of ${stream === batch ? 'the held' : 'a new'} stream: ${toJson(answer)}`);
    }
  }
  return wrong;
}

/** All that is at the old place, with locks. */
async function keptAt(name: string): Promise<unknown[]> {
  const { inspect } = layers.of(name).stack.store;
  const [start, end] = [SPACE.encode(keyOf(0))!, SPACE.encode(keyOf(ROWS))!];
  return [await inspect.values(start, end), await inspect.locks(start, end)];
}

/** What is over after an hour: lifetimes that clocks of PD measure, and safe points that nobody renewed. */
async function anHourPasses(): Promise<void> {
  // Both clocks stand still from now on. The old layer's must not be behind: complete waits for all up to now that is committed there.
  for (const name of ['b', 'a']) {
    await layers.jump(name, HOUR_MS);
    const storage = new Storage(layers.of(name).pd);
    await releaseHistory(storage, moveService(ALPHA.name));
  }
  // As etcd has it: `1 | number:15 | id:48`.
  await revokeLease(
    layers.of('b').pd,
    BigInt.asIntN(64, (0x8000n << 48n) | (BigInt(ALPHA.number) << 48n) | lease),
  );
  await pump.more(50);
  expect(pump.latest - before).toBeGreaterThan(BigInt(HOUR_MS) << 18n);
}

/** Nobody keeps the versions of an hour ago any more: TiDB keeps those of ten minutes. */
async function garbageIsCollected(): Promise<void> {
  for (const name of ['a', 'b']) {
    const { stack, pd } = layers.of(name);
    await collectAsTidb(stack, pd, pump.latest - (600_000n << 18n));
  }
}

/** Everything that the client asks of its old layer. Its lease goes along at the switch, and lasts as long as somebody keeps it. */
async function nothingOfA(latestName: string, { hasLease = false } = {}): Promise<void> {
  const kept = await keptAt('a');
  const b = layers.of('b').stack;
  for (let i = 0; i < TRIES; i++) {
    expect(await answersOfTheStore()).toEqual([]);
    const members = await call(pdA, '/pdpb.PD/GetMembers', 'pdpb.HeadedRequest', {});
    expect((decode('pdpb.HeadedResponse', members)['header'] as Fields)['clusterId']).toBe(cluster);
    expect(members.includes(b.pd.meshAddress)).toBe(true);
    expect(members.includes(pdA)).toBe(false);
    const { body } = await callHttp(pdA, certs, '/pd/api/v1/stores');
    expect(body).toContain(b.store.meshAddress);
    expect(body).not.toContain(storeA);
    expect(await nameSeen()).toBe(latestName);
    expect((await keepAlive()) > 0n).toBe(hasLease);
    await pump.more(50);
  }
  expect(pump.wrong).toEqual([]);
  expect(watch.ended).toBeDefined();
  expect(watch.values).not.toContain('of A');
  // It is still the stream from before the switch.
  expect(batch.ended).toBeUndefined();
  expect(await keptAt('a')).toEqual(kept);
}

interface Place {
  readonly context: Fields;
  readonly store: string;
}

/** Where the client is sent to, by what it asks over its old connection to PD. */
async function sentTo(key: Buffer): Promise<Place> {
  const { region, leader } = await askPd('GetRegion', { regionKey: memcomparable(key) });
  const { id, regionEpoch } = region as Fields;
  const { store } = await askPd('GetStore', { storeId: (leader as Fields)['storeId'] });
  return {
    context: { regionId: id, regionEpoch, peer: leader },
    store: (store as Fields)['address'] as string,
  };
}

/** What the client reads and writes where it is sent to, with what it knows from before. */
async function rightlyAtB({ isCollected = true } = {}): Promise<void> {
  const { context: there, store } = await sentTo(KEY);
  const epochs = [there['regionEpoch'], context['regionEpoch']] as Fields[];
  expect(store).toBe(layers.of('b').stack.store.meshAddress);
  expect(epochs[0]!['version']).toBeGreaterThan(epochs[1]!['version']);
  expect(epochs[0]!['confVer']).toBeGreaterThan(epochs[1]!['confVer']);
  const stream = new Batch(store);
  try {
    const deadline = Date.now() + LONGEST_MS;
    const ask = async (command: string, fields: Fields, key = KEY): Promise<Fields> => {
      for (;;) {
        const answer = await stream.ask(command, { context: (await sentTo(key)).context, ...fields });
        // A clock has jumped, and the filter asks PD what time it is. A client asks again.
        const { maxTimestampNotSynced } = (answer['regionError'] ?? {}) as Fields;
        if (maxTimestampNotSynced === undefined || Date.now() > deadline) return answer;
        await sleep(100);
      }
    };
    const read = async (version: bigint): Promise<string> =>
      textOf((await ask('Get', { key: KEY, version }))['value']);
    if (!isCollected) expect(await read(before)).toBe('old 7');
    const value = await read(pump.latest);
    expect(value).toMatch(/^(new|from before)/);
    // The transaction from before the switch has not committed, and can't.
    const version = pump.latest;
    expect(textOf((await ask('Get', { key: LOCKED, version }, LOCKED))['value'])).toBe('new 8');
    const late = { startVersion: undecided, keys: [LOCKED], commitVersion: version };
    expect((await ask('Commit', late, LOCKED))['error']).toBeDefined();
    const conflict = (await ask('Prewrite', prewrite(KEY, before)))['errors'] as Fields[];
    expect(conflict.map((one) => one['conflict'] !== undefined)).toEqual([true]);
    expect(await read(pump.latest)).toBe(value);
    // One that begins now commits, here and nowhere else.
    const startVersion = pump.latest;
    expect(await ask('Prewrite', prewrite(KEY, startVersion))).toMatchObject({ errors: [] });
    await pump.more(2);
    const done = { startVersion, keys: [KEY], commitVersion: pump.latest };
    expect((await ask('Commit', done))['error']).toBeUndefined();
    await pump.more(2);
    expect(await read(pump.latest)).toBe('from before');
  } finally {
    stream.end();
  }
}

describe('a client that knows only the layer that its tenant has left', () => {
  test('works there before the switch, with ids that the other layer has as well', async () => {
    cluster = await clusterId(client);
    pump = new Timestamps(client);
    await pump.start();
    await pump.more(20);
    ({ context } = await sentTo(KEY));
    batch = new Batch(storeA);
    watch = new Watch(pdA);
    const granted = await call(pdA, '/etcdserverpb.Lease/LeaseGrant', 'etcdserverpb.LeaseGrantRequest', {
      TTL: LEASE_S,
    });
    lease = decode('etcdserverpb.LeaseGrantResponse', granted)['ID'] as bigint;
    expect(await keepAlive()).toBeGreaterThan(0n);
    const deadline = Date.now() + 60_000;
    while (!watch.isThere && Date.now() < deadline) await sleep(20);
    await put('a', 'before');
    const answer = await batch.ask('Get', { context, key: KEY, version: pump.latest });
    expect(textOf(answer['value'])).toBe('old 7');
    while (watch.values.length === 0 && Date.now() < deadline) await sleep(20);
    expect(watch.values).toEqual(['before']);
    const shared = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const { regions } = (await layers.of(name).pd.http('GET', '/pd/api/v1/regions')) as {
          regions: { id: number }[];
        };
        return regions.map(({ id }) => id);
      }),
    );
    expect(shared[1]!.filter((id) => shared[0]!.includes(id))).not.toEqual([]);
  });

  test('is sent on, or refused, an hour after the switch', async () => {
    await layers.begin('a', 'b');
    // What waits for three minutes behind a switch has ended by then.
    const limits = { calmMs: 1000, obeyMs: 30_000, holdMs: 30_000, maxLagMs: 15_000 };
    layers.startWorker({ limits });
    await layers.follows();
    before = pump.latest;
    await pump.more(2);
    undecided = pump.latest;
    const { context: there } = await sentTo(LOCKED);
    const begun = await batch.ask('Prewrite', { context: there, ...prewrite(LOCKED, undecided) });
    expect([begun['errors'], begun['regionError']]).toEqual([[], undefined]);
    const { history } = await layers.switches();
    const { writesHeldMs, allHeldMs } = history.at(-1)!;
    await pump.more(50);
    console.log(
      `writes held ${writesHeldMs} ms, all ${allHeldMs} ms; no timestamp for ${pump.longestMs} ms, ${pump.streams} streams`,
    );
    // A's keys stay as they were, and B's change.
    await layers.stopWorker();
    await load('b', 'new');
    await put('b', 'of B');
    await put('a', 'of A');
    await nothingOfA('of B', { hasLease: true });
    await anHourPasses();
    await nothingOfA('of B');
    await rightlyAtB({ isCollected: false });
    await garbageIsCollected();
    await nothingOfA('of B');
    await rightlyAtB();
  });

  test('is sent on, or refused, after the end of the move', async () => {
    layers.startWorker();
    // No worker ran for longer than an hour.
    const { wayBackLost } = await layers.until((record) => record.wayBackLost !== undefined);
    expect(wayBackLost).toContain('has collected garbage');
    await layers.finish('complete');
    await layers.stopWorker();
    await put('b', 'of B, later');
    await nothingOfA('of B, later');
    await rightlyAtB();
  });

  test("is sent on, or refused, when another tenant's rows are at its old place", async () => {
    await load('a', 'of another tenant');
    await put('a', 'of A');
    await nothingOfA('of B, later');
    await rightlyAtB();
  });

  test('is refused when nothing hands it over any more', async () => {
    await layers.edit((entry) => delete entry['movedFrom']);
    const kept = await keptAt('a');
    const isRefused = (): Promise<string> =>
      call(pdA, '/pdpb.PD/GetMembers', 'pdpb.HeadedRequest', {}).then(
        () => 'answered',
        (error: grpc.ServiceError) => grpc.status[error.code] ?? '',
      );
    const deadline = Date.now() + 60_000;
    while ((await isRefused()) === 'answered' && Date.now() < deadline) await sleep(50);
    await pump.stop();
    expect(await isRefused()).toBe('PERMISSION_DENIED');
    for (let i = 0; i < TRIES; i++) expect(await answersOfTheStore()).toEqual([]);
    await expect(nameSeen()).rejects.toThrow();
    expect(await keptAt('a')).toEqual(kept);
    expect(pump.wrong).toEqual([]);
  });
});
