/** Change feeds of many regions: connections to a store, silent regions, and what may wait for the target. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import type { Row } from '../../src-ts/move/engine/apply.ts';
import { Follower, Pipeline, QueueBudget } from '../../src-ts/move/engine/feed.ts';
import { keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import {
  ChangeDataEventSchema,
  ChangeDataRequestSchema,
  Event_LogType as LogType,
} from '../../src-ts/pd/generated/tikv/cdcpb_pb.ts';
import { rowKey } from '../harness/support/keys.ts';

const STREAMS_ON_CONNECTION = 8;
const REGIONS = 20;
const RESOLVED = 100n;
const WAIT_MS = 60_000;
const asIs = (message: Buffer): Buffer => message;

type Feed = grpc.ServerDuplexStream<Buffer, Buffer>;

/** A store that answers each registration, apart from those of silent regions. */
class Store {
  /** Registrations by region, and those of them that were given up. */
  readonly asked = new Set<number>();
  readonly ended = new Set<number>();
  private readonly server = new grpc.Server({ 'grpc.max_concurrent_streams': STREAMS_ON_CONNECTION });
  address = '';

  constructor(private readonly silent: ReadonlySet<number>) {
    const method = { requestStream: true, responseStream: true, path: '/cdcpb.ChangeData/EventFeed' };
    const forms = {
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    this.server.addService(
      { EventFeed: { ...method, ...forms } },
      { EventFeed: (feed: Feed): void => this.serve(feed) },
    );
  }

  private serve(feed: Feed): void {
    feed.on('error', () => undefined);
    feed.on('data', (message: Buffer) => {
      const { regionId } = fromBinary(ChangeDataRequestSchema, message);
      const id = Number(regionId);
      this.asked.add(id);
      feed.on('cancelled', () => this.ended.add(id));
      if (this.silent.has(id)) return;
      const initialized = {
        case: 'entries' as const,
        value: { entries: [{ type: LogType.INITIALIZED }] },
      };
      const events = [{ regionId, event: initialized }];
      const answer = { events, resolvedTs: { regions: [regionId], ts: RESOLVED } };
      feed.write(Buffer.from(toBinary(ChangeDataEventSchema, create(ChangeDataEventSchema, answer))));
    });
  }

  async start(): Promise<void> {
    const port = await new Promise<number>((resolve, reject) =>
      this.server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    this.address = `127.0.0.1:${port}`;
  }

  stop(): void {
    this.server.forceShutdown();
  }
}

const space = keySpaceOf({ name: 'a', number: 1 });
const BORDERS = Array.from({ length: REGIONS - 1 }, (_, i) => space.boundary(rowKey(100 + i, 1)));

/** A storage layer with one store that leads all regions. */
class Regions extends Storage {
  constructor(
    readonly store: Store,
    streams?: number,
  ) {
    super(new Endpoint({ pd: `http://${store.address}` }), streams);
  }

  override clusterId = async (): Promise<bigint> => 1n;

  override locate: Storage['locate'] = async (_, key) => {
    const after = BORDERS.findIndex((border) => Buffer.compare(key, border) < 0);
    const index = after < 0 ? BORDERS.length : after;
    const region = { id: index + 1 } as NonNullable<Awaited<ReturnType<Storage['locate']>>>['region'];
    const [start, end] = [BORDERS[index - 1] ?? space.start, BORDERS[index] ?? space.end];
    return { region, context: {}, start, end, address: this.store.address };
  };
}

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function following(
  silent: readonly number[],
  streams?: number,
): Promise<{ store: Store; follower: Follower }> {
  const store = new Store(new Set(silent));
  await store.start();
  const storage = new Regions(store, streams);
  const spans = [{ start: '', end: '', checkpoint: '1' }];
  const source = { storage, space };
  const follower = Follower.from({ source, applier: { apply: async () => undefined } }, { spans });
  closing.push(
    () => store.stop(),
    () => storage.close(),
    () => follower.stop(),
  );
  return { store, follower };
}

describe('a store with more regions than one connection has streams', () => {
  test('is followed by several connections', async () => {
    const { store, follower } = await following([], STREAMS_ON_CONNECTION - 2);
    await follower.reach(RESOLVED, AbortSignal.timeout(WAIT_MS));
    expect([store.asked.size, store.ended.size]).toEqual([REGIONS, 0]);
    const endpoint = new Endpoint({ pd: `http://${store.address}` });
    closing.push(() => endpoint.close());
    await endpoint.connected(store.address);
  });

  test('regions that say nothing do not keep the others back', async () => {
    const silent = [1, 2, 3, 4, 5];
    const { store } = await following(silent, STREAMS_ON_CONNECTION - 2);
    const deadline = Date.now() + WAIT_MS;
    while (store.asked.size < REGIONS && Date.now() < deadline) await sleep(20);
    expect(store.asked.size).toBe(REGIONS);
    // None of them was given up for that.
    expect([...store.ended]).toEqual([]);
  });
});

describe('what waits for the target', () => {
  const row = (bytes: number): Row => ({
    key: Buffer.alloc(0),
    startTs: 1n,
    commitTs: 2n,
    op: 'put',
    value: Buffer.alloc(bytes),
  });
  const turns = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
  };
  /** A region whose rows are applied one by one, each when `apply` is called. */
  function region(budget: QueueBudget): { pipeline: Pipeline; apply: (error?: Error) => void } {
    let next: (error?: Error) => void = () => undefined;
    const applied = (): Promise<void> =>
      new Promise((resolve, reject) => (next = (error) => (error ? reject(error) : resolve())));
    const pipeline = new Pipeline(
      { apply: applied },
      () => undefined,
      () => undefined,
      budget,
    );
    return { pipeline, apply: (error) => next(error) };
  }
  async function isDone(promise: Promise<unknown>): Promise<boolean> {
    let done = false;
    void promise.catch(() => undefined).then(() => (done = true));
    await turns();
    return done;
  }

  test('is limited for all regions together', async () => {
    const budget = new QueueBudget(100);
    const [one, two] = [region(budget), region(budget)];
    const first = one.pipeline.push([row(90)]);
    expect(await isDone(first)).toBe(true);
    const second = two.pipeline.push([row(50)]);
    expect(await isDone(second)).toBe(false);
    one.apply();
    expect(await isDone(second)).toBe(true);
    two.apply();
    await one.pipeline.stop();
    await two.pipeline.stop();
  });

  test('makes no region wait that has nothing there, nor one that has failed', async () => {
    const budget = new QueueBudget(100);
    const [one, two, three] = [region(budget), region(budget), region(budget)];
    expect(await isDone(one.pipeline.push([row(200)]))).toBe(false);
    const second = two.pipeline.push([row(50)]);
    expect(await isDone(second)).toBe(false);
    two.apply();
    expect(await isDone(second)).toBe(true);
    expect(await isDone(three.pipeline.push([5n]))).toBe(true);
    const third = three.pipeline.push([row(10)]);
    expect(await isDone(third)).toBe(false);
    three.apply(new Error('not this one'));
    await expect(third).rejects.toThrow('not this one');
    // What a region has left when it ends counts no more.
    await expect(three.pipeline.stop()).rejects.toThrow('not this one');
    one.apply();
    await one.pipeline.stop();
    await two.pipeline.stop();
    expect(await isDone(region(budget).pipeline.push([row(100)]))).toBe(true);
  });
});
