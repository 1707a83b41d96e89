/** What one caller sends must not take the memory, and so the streams, of all others. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { ticked } from '../harness/support/tick.ts';
import { bytesField, GET, getRequest } from './messages.ts';
import { startMesh, TENANTS, type Mesh, type Outcome } from './mesh.ts';
import { frame } from './upstream.ts';

const COPROCESSOR = '/tikvpb.Tikv/Coprocessor';
const BATCH = '/tikvpb.Tikv/BatchCommands';
const HELD = 256 * 1024;
const good = frame(getRequest(rowKey(70, 1)));

let mesh: Mesh;
beforeAll(async () => {
  // All tenants together may hold less than two of them alone could.
  mesh = await startMesh({ limits: { heldBytesPerTenant: HELD, heldBytesPerVM: HELD + HELD / 2 } });
});
afterAll(() => mesh?.stop());
afterEach(() => {
  mesh.upstream.calls.length = 0;
});

const reached = (): number => mesh.upstream.calls.reduce((sum, call) => sum + call.messages.length, 0);

async function expectGoodCall(): Promise<void> {
  expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 0 });
}

/** The gauges are set once a second. */
async function gauge(name: string): Promise<number> {
  await ticked();
  return mesh.stat(new RegExp(`tidbmesh_${name}$`));
}

function times(count: number, part: Buffer): Buffer {
  return Buffer.alloc(count * part.length).fill(part);
}

describe('a small message that grows when it is rewritten', () => {
  let roomy: Mesh;
  beforeAll(async () => {
    roomy = await startMesh();
  });
  afterAll(() => roomy?.stop());

  test.each<[string, string, Buffer, number, RegExp]>([
    [
      'empty ranges',
      COPROCESSOR,
      times(2_000_000, Buffer.from([0x22, 0x00])),
      8,
      /more keys and ranges than/,
    ],
    [
      'empty keys',
      '/tikvpb.Tikv/KvBatchGet',
      times(2_000_000, Buffer.from([0x12, 0x00])),
      8,
      /more keys and ranges than/,
    ],
    // BatchCommandsRequest.requests = 1, Coprocessor = 22; its Request: tp = 2 (a plan), data = 3.
    [
      'small plans in one batch',
      BATCH,
      times(400_000, Buffer.from([0x0a, 0x07, 0xb2, 0x01, 0x04, 0x10, 0x67, 0x1a, 0x00])),
      0,
      /^$/,
    ],
  ])('%s take no more memory than their limit', async (_name, path, message, status, text) => {
    const outcome = await roomy.alpha.call(path, [frame(message)]);
    expect(outcome).toMatchObject({ status, text: expect.stringMatching(text) });
    expect(await roomy.alpha.call(GET, [good])).toMatchObject({ status: 0 });
    await ticked();
    const memory = await roomy.stat(/tidbmesh_vm_memory_bytes$/);
    expect(memory).toBeGreaterThan(0);
    expect(memory).toBeLessThan(256 << 20);
  });
});

test('what all tenants hold together is limited as well', async () => {
  const head = frame(Buffer.alloc(0), 0, 1 << 20);
  const hold = (size: number): Buffer => Buffer.concat([head, Buffer.alloc(size)]);
  const outcomes: Outcome[] = [];
  const callers = [mesh.alpha, mesh.beta].map((caller) =>
    caller.call(GET, [hold(HELD - 16_384)], { open: true }).then(
      (outcome) => outcomes.push(outcome),
      () => {},
    ),
  );
  await Promise.race(callers);
  expect(outcomes).toHaveLength(1);
  expect(outcomes[0]).toMatchObject({ status: 8, text: expect.stringMatching(/limits\.heldBytesPerVM/) });
  expect(reached()).toBe(0);
  mesh.alpha.close();
  mesh.beta.close();
  await expectGoodCall();
  expect(await gauge('held_bytes')).toBe(0);
});

describe('streams that end with trailers', () => {
  const trailers = { 'x-late': '1' };

  test('after whole messages they pass', async () => {
    expect(await mesh.alpha.call(GET, [good], { trailers })).toMatchObject({ status: 0 });
    expect(reached()).toBe(1);
  });

  test.each([1, 4, 5, 9, good.length - 1])('after %i bytes of a message they are refused', async (size) => {
    const outcome = await mesh.alpha.call(GET, [good.subarray(0, size)], { trailers });
    expect(outcome).toMatchObject({ status: 13, text: expect.stringMatching(/ended inside/) });
    expect(reached()).toBe(0);
    await expectGoodCall();
  });
});

test('memory stays what it was over a thousand streams, good and bad', async () => {
  const round = async (): Promise<void> => {
    for (let i = 0; i < 20; i++)
      await Promise.all([
        ...Array.from({ length: 10 }, () => mesh.alpha.call(GET, [good])),
        ...Array.from({ length: 10 }, () => mesh.beta.call(GET, [frame(bytesField(15, Buffer.from('no')))])),
        ...Array.from({ length: 5 }, () => mesh.beta.call(GET, [good.subarray(0, 9)])),
      ]);
  };
  await round();
  const before = await gauge('vm_memory_bytes');
  expect(before).toBeGreaterThan(0);
  await round();
  expect(await gauge('vm_memory_bytes')).toBe(before);
  expect(await gauge('held_bytes')).toBe(0);
  expect(await gauge('streams_active')).toBe(0);
});

describe('a caller that is refused again and again', () => {
  const BACKUP = '/backup.Backup/backup';
  const REFUSED = { status: 7, text: expect.stringMatching(/the storage layer's own/) };
  const late = (): Promise<number> => mesh.stat(/tidbmesh_refused_late_total$/);
  const refusals = (caller: 'alpha' | 'beta', count: number): Promise<Outcome[]> =>
    Promise.all(Array.from({ length: count }, () => mesh[caller].call(BACKUP, [frame(Buffer.alloc(0))])));

  test('is answered at once a few times a second, else with the tick', async () => {
    await ticked();
    const before = await late();
    for (const outcome of await refusals('alpha', 300)) expect(outcome).toMatchObject(REFUSED);
    expect(await late()).toBeGreaterThan(before);
    expect(reached()).toBe(0);
    await expectGoodCall();
  });

  test('leaves the others what they have: a few refusals of theirs come at once', async () => {
    await Promise.all([refusals('alpha', 100), ticked()]);
    const before = await late();
    for (const outcome of await refusals('beta', 5)) expect(outcome).toMatchObject(REFUSED);
    expect(await late()).toBe(before);
  });

  test('holds nothing when it goes away before its answer', async () => {
    const streams = Array.from({ length: 60 }, () => mesh.alpha.open(BACKUP));
    for (const stream of streams) stream.end();
    await refusals('alpha', 1);
    mesh.alpha.close();
    await expectGoodCall();
    await ticked();
    expect(await gauge('streams_active')).toBe(0);
  });
});

describe('a tenant over its rate', () => {
  const ALPHA_RATES = { requestsPerSecond: 5, pdRequestsPerSecond: 3 };
  let rated: Mesh;
  beforeAll(async () => {
    const [alpha, beta] = standardPluginConfig(TENANTS).tenants;
    rated = await startMesh({ tenants: [{ ...alpha, limits: ALPHA_RATES }, beta] });
    // The store answers all requests of a batch alike. What it answers to a delayed one is replaced.
    rated.upstream.echo = (id) =>
      frame(
        encode('tikvpb.BatchCommandsResponse', {
          responses: [{ cmd: { case: 'Get', value: { notFound: true } } }],
          requestIds: [id],
        }),
      );
  });
  afterAll(() => rated?.stop());

  async function delays(limit: string): Promise<number> {
    await ticked();
    return rated.stat(
      new RegExp(`tenant=\\.=alpha;\\.;limit=\\.=${limit};\\.;tidbmesh_tenant_delayed_total`),
    );
  }
  const get = (id: bigint): Buffer =>
    frame(
      encode('tikvpb.BatchCommandsRequest', {
        requests: [{ cmd: { case: 'Get', value: { key: rowKey(70, 1), version: 5n } } }],
        requestIds: [id],
      }),
    );

  /** Sends each request until it was served, as TiDB does. Gives the answers that it got before. */
  async function serve(caller: 'alpha' | 'beta', count: number): Promise<Fields[]> {
    const stream = rated[caller].open(BATCH);
    const early: Fields[] = [];
    const open = new Set(Array.from({ length: count }, (_, i) => BigInt(i + 1)));
    let seen = 0;
    for (let round = 0; round < 100 && open.size > 0; round++) {
      const expected = seen + open.size;
      for (const id of open) stream.write(get(id));
      for (let i = 0; i < 500 && stream.messages.length < expected; i++) await sleep(10);
      for (const message of stream.messages.slice(seen)) {
        const { responses, requestIds } = decode('tikvpb.BatchCommandsResponse', message);
        const { value } = responses[0].cmd as Fields;
        if (value.notFound === true) open.delete(requestIds[0] as bigint);
        else early.push(value as Fields);
      }
      seen = expected;
      await sleep(50);
    }
    stream.reset();
    expect([...open]).toEqual([]);
    return early;
  }

  test('has each request of a batch answered by a region error, until its turn comes', async () => {
    const early = await serve('alpha', 12);
    expect(early.length).toBeGreaterThan(0);
    for (const { regionError } of early) {
      expect(regionError.maxTimestampNotSynced ?? regionError.serverIsBusy).toBeDefined();
      expect(regionError.message).toMatch(/^tidb-mesh\[OVER_RATE\]: /);
    }
    expect(await delays('requestsPerSecond')).toBe(early.length);
    expect(await serve('beta', 40)).toEqual([]);
  });

  test('has other calls wait in Envoy, whole and with their trailers', async () => {
    const before = await delays('requestsPerSecond');
    rated.upstream.calls.length = 0;
    const pieces = [good.subarray(0, 7), good.subarray(7)];
    const calls = Array.from({ length: 12 }, (_, i) =>
      rated.alpha.call(GET, pieces, i % 2 === 0 ? {} : { trailers: { 'x-late': '1' } }),
    );
    for (const outcome of await Promise.all(calls)) expect(outcome).toMatchObject({ status: 0 });
    const messages = rated.upstream.calls.flatMap((call) => call.messages);
    expect(messages).toHaveLength(12);
    expect(new Set(messages.map((message) => message.toString('hex'))).size).toBe(1);
    expect(await delays('requestsPerSecond')).toBeGreaterThan(before);
  });

  test('waits for PD and etcd by a rate of their own', async () => {
    const range = frame(encode('etcdserverpb.RangeRequest', { key: Buffer.from('/tidb/x') }));
    // More than what both workers may have saved, and fewer than PD's clients wait for.
    const calls = Array.from({ length: 8 }, () => rated.alpha.call('/etcdserverpb.KV/Range', [range]));
    for (const outcome of await Promise.all(calls)) expect(outcome).toMatchObject({ status: 0 });
    expect(await delays('pdRequestsPerSecond')).toBeGreaterThan(0);
  });
});
