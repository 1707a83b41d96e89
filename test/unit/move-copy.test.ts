/** The copy, at stores that take files as TiKV does. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { create, fromBinary, toBinary, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { copy, type CopyState } from '../../src-ts/move/engine/copy.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { MULTI_INGEST, SCAN, WRITE } from '../../src-ts/move/engine/methods.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';

const asIs = (bytes: Buffer): Buffer => bytes;
const PLAIN = {
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
} as const;

function bytesOf<Desc extends DescMessage>(schema: Desc, fields: MessageInitShape<Desc>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, fields)));
}

const servers: grpc.Server[] = [];
const endpoints: Endpoint[] = [];
afterEach(() => {
  for (const endpoint of endpoints.splice(0)) endpoint.close();
  for (const server of servers.splice(0)) server.forceShutdown();
});

const source = keySpaceOf({ name: 'a', number: 1 });
const target = keySpaceOf({ name: 'a', number: 5 });
const KEYS = ['t1', 't2', 't3'];

interface Store {
  readonly address: string;
  /** Ids of the files that it has, in hex, with the pairs in them. */
  readonly files: Map<string, number>;
  /** So many of the next files are refused, with this text. */
  refuses: { times: number; text: string };
}

/** One region at each of `stores`, whose leader is at the first. */
class Cluster {
  confVer = 1;
  stores: Store[] = [];
  /** Pairs that are readable at every replica. */
  ingested = 0;
  /** Replicas that had to open a file that they did not have: there a TiKV stops for good. */
  stopped: string[] = [];
  /** So many of the next commands are refused, since the store has too many files already. */
  busy = 0;
  /** Files that the leader had each time it was asked whether it is busy. */
  filesAtCheck: number[] = [];
  /** Is called before the leader looks at a command to ingest. */
  beforeIngest: () => void = () => undefined;

  async addStore(): Promise<Store> {
    const files = new Map<string, number>();
    const refuses = { times: 0, text: '' };
    const server = new grpc.Server();
    server.addService(
      {
        scan: { ...PLAIN, path: SCAN.path, requestStream: false, responseStream: false },
        write: { ...PLAIN, path: WRITE.path, requestStream: true, responseStream: false },
        ingest: { ...PLAIN, path: MULTI_INGEST.path, requestStream: false, responseStream: false },
      },
      {
        scan: (_: unknown, done: grpc.sendUnaryData<Buffer>) =>
          done(null, bytesOf(SCAN.answer, { pairs: KEYS.map((key) => this.pairOf(key)) })),
        write: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
          let meta: MessageInitShape<typeof WRITE.answer>['metas'];
          let id = '';
          let pairs = 0;
          call.on('data', (data: Buffer) => {
            const { chunk } = fromBinary(WRITE.request, data);
            if (chunk.case === 'batch') pairs += chunk.value.pairs.length;
            if (chunk.case !== 'meta') return;
            meta = [chunk.value];
            id = Buffer.from(chunk.value.uuid).toString('hex');
          });
          call.on('end', () => {
            if (refuses.times-- > 0) return done({ code: grpc.status.UNKNOWN, details: refuses.text });
            files.set(id, pairs);
            done(null, bytesOf(WRITE.answer, { metas: meta ?? [] }));
          });
        },
        ingest: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
          done(null, bytesOf(MULTI_INGEST.answer, this.ingest(call.request))),
      },
    );
    servers.push(server);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    const store = { address: `127.0.0.1:${port}`, files, refuses };
    this.stores.push(store);
    return store;
  }

  private pairOf(key: string): { key: Buffer; value: Buffer } {
    return { key: source.encode(Buffer.from(key))!, value: Buffer.from('value') };
  }

  /** As check_sst_for_ingestion at the leader, and then handle_ingest_sst at each replica. */
  private ingest(request: Buffer): MessageInitShape<typeof MULTI_INGEST.answer> {
    const { ssts } = fromBinary(MULTI_INGEST.request, request);
    if (ssts.length > 0) this.beforeIngest();
    else this.filesAtCheck.push(this.stores[0]!.files.size);
    if (this.busy > 0 && this.busy-- > 0)
      return { error: { serverIsBusy: { reason: 'too many sst files' } } };
    for (const { uuid, regionEpoch } of ssts) {
      if (regionEpoch?.confVer !== BigInt(this.confVer)) return { error: { epochNotMatch: {} } };
      const id = Buffer.from(uuid).toString('hex');
      const without = this.stores.filter(({ files }) => !files.has(id));
      this.stopped.push(...without.map(({ address }) => address));
      if (without.length === 0) this.ingested += this.stores[0]!.files.get(id)!;
    }
    return {};
  }

  /** PD, as its HTTP API answers. A store of TiFlash takes files at another address than requests. */
  storage(): Storage {
    const endpoint = new Endpoint({ pd: 'http://127.0.0.1:1' });
    endpoints.push(endpoint);
    endpoint.http = async (_, path) => {
      const stores = this.stores.map(({ address }, i) =>
        i === 0
          ? { id: 1, address }
          : { id: i + 1, address: '127.0.0.1:1', peer_address: address, labels: [] },
      );
      if (path.includes('/stores')) return { stores: stores.map((store) => ({ store })) };
      const peers = this.stores.map((__, i) => ({ id: 10 + i, store_id: i + 1 }));
      const epoch = { conf_ver: this.confVer, version: 1 };
      return { regions: [{ id: 7, start_key: '', end_key: '', epoch, peers, leader: peers[0] }] };
    };
    return new Storage(endpoint);
  }
}

async function clusterOf(stores: number): Promise<Cluster> {
  const cluster = new Cluster();
  for (let i = 0; i < stores; i++) await cluster.addStore();
  return cluster;
}

async function copyAt(cluster: Cluster): Promise<CopyState> {
  const storage = cluster.storage();
  const state: CopyState = {
    chunks: [{ start: '', end: '', readTs: '100', bytes: 0, keys: 0 }],
    ofBytes: 0,
  };
  await copy({
    source: { storage, space: source },
    target: { storage, space: target },
    map: new KeyMap(source, target),
    throttle: new Throttle(),
    state,
  });
  return state;
}

describe('a copied file', () => {
  test('is at the store of every replica before it is ingested', async () => {
    const cluster = await clusterOf(3);
    const { chunks } = await copyAt(cluster);
    expect(cluster.stopped).toEqual([]);
    expect(cluster.ingested).toBe(KEYS.length);
    expect(chunks).toMatchObject([{ isDone: true, keys: KEYS.length }]);
  });

  test('is written anew, whole, when one replica does not take it', async () => {
    const cluster = await clusterOf(3);
    const [first, , third] = cluster.stores as [Store, Store, Store];
    third.refuses = Object.assign(third.refuses, { times: 2, text: 'RequestTooOld: region 7 is not found' });
    await copyAt(cluster);
    expect(cluster.stopped).toEqual([]);
    expect(cluster.ingested).toBe(KEYS.length);
    const [whole] = third.files.keys();
    expect(third.files.size).toBe(1);
    expect(first.files.get(whole!)).toBe(KEYS.length);
  });

  test('is written anew when a replica has come since it was written', async () => {
    const cluster = await clusterOf(2);
    const late = await cluster.addStore();
    cluster.stores.pop();
    cluster.beforeIngest = () => {
      if (cluster.confVer > 1) return;
      cluster.confVer++;
      cluster.stores.push(late);
    };
    await copyAt(cluster);
    expect(cluster.stopped).toEqual([]);
    expect(cluster.ingested).toBe(KEYS.length);
    expect(late.files.size).toBe(1);
  });

  test('is not written while a store is busy, and not again for one that gets busy', async () => {
    const cluster = await clusterOf(1);
    const [store] = cluster.stores as [Store];
    cluster.busy = 2;
    cluster.beforeIngest = () => {
      if (cluster.ingested === 0 && cluster.busy === 0 && !wasBusy) cluster.busy = 3;
      wasBusy = true;
    };
    let wasBusy = false;
    await copyAt(cluster);
    expect(cluster.filesAtCheck).toEqual([0, 0, 0]);
    expect(store.files.size).toBe(1);
    expect(cluster.ingested).toBe(KEYS.length);
    expect(cluster.stopped).toEqual([]);
  });

  test('is not ingested when a store refuses it for good', async () => {
    const cluster = await clusterOf(3);
    cluster.stores[1]!.refuses = Object.assign(cluster.stores[1]!.refuses, {
      times: 1,
      text: 'disk is full',
    });
    await expect(copyAt(cluster)).rejects.toThrow(`ImportSST.Write at ${cluster.stores[1]!.address}`);
    expect(cluster.ingested).toBe(0);
    expect(cluster.stopped).toEqual([]);
  });
});
