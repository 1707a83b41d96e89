/** Many streams that the filter ends or continues at the same time: each gets what is its own, and the VM lives on. */
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode } from '../harness/support/messages.ts';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { startMesh, TENANTS, type Mesh, type OpenStream } from './mesh.ts';
import { frame } from './upstream.ts';

const BATCH = '/tikvpb.Tikv/BatchCommands';
const WATCH = '/etcdserverpb.Watch/Watch';
const SCATTER = '/pdpb.PD/ScatterRegion';
/** In one callback, some hundred acts of Envoy are more than V8's stack holds. */
const COUNT = 700;

const config = (alpha: object): Record<string, unknown> => ({
  ...standardPluginConfig(
    TENANTS.map((tenant) => (tenant.name === 'alpha' ? { ...tenant, ...alpha } : tenant)),
  ),
  limits: { drainTimeoutSeconds: 30 },
});

const get = (id: bigint): Buffer =>
  frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: [{ cmd: { case: 'Get', value: { key: rowKey(100, 1) } } }],
      requestIds: [id],
    }),
  );

let mesh: Mesh;
/** Of the other tenant: it must never notice anything. */
let neighbour: OpenStream;

beforeAll(async () => {
  mesh = await startMesh(config({}), true);
  mesh.upstream.echo = (id) =>
    frame(
      encode('tikvpb.BatchCommandsResponse', {
        responses: [{ cmd: { case: 'Get', value: { notFound: true } } }],
        requestIds: [id],
      }),
    );
});
afterAll(() => mesh?.stop());

beforeEach(async () => {
  neighbour = mesh.beta.open(BATCH);
  await answered(1n);
});
afterEach(async () => {
  await answered(2n);
  expect(neighbour.closed).toBe(false);
  neighbour.end();
  expect(await mesh.stat(/vm_reload/)).toBe(0);
});

async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !what(); i++) await sleep(20);
  expect(what()).toBe(true);
}

/** The neighbour's stream answers its next request. */
async function answered(id: bigint): Promise<void> {
  neighbour.write(get(id));
  await until(() => neighbour.messages.length === Number(id));
}

const many = <T>(make: () => T): T[] => Array.from({ length: COUNT }, make);

test('refusals that wait for the next second', async () => {
  const outcomes = await Promise.all(
    many(() => mesh.alpha.call('/debugpb.Debug/Get', [frame(Buffer.alloc(0))])),
  );
  for (const { status, text } of outcomes)
    expect({ status, text }).toEqual({
      status: 7,
      text: expect.stringMatching(/^tidb-mesh\[NOT_FOR_TENANTS\]: /),
    });
  expect(await mesh.stat(/tidbmesh_refused_late_total/)).toBeGreaterThan(COUNT / 2);
});

test('requests that wait for the same lookup', async () => {
  mesh.upstream.calls.length = 0;
  let release = (): void => {};
  mesh.upstream.httpHold = new Promise((done) => (release = done));
  mesh.upstream.httpAnswer = '{}';
  const calls = many(() =>
    mesh.alpha.call(SCATTER, [frame(encode('pdpb.ScatterRegionRequest', { regionId: 5n, group: 'g' }))]),
  );
  await until(() => mesh.upstream.requests.length === 1);
  await sleep(500);
  release();
  expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([0]));
  const received = mesh.upstream.calls.filter(({ path }) => path === SCATTER);
  expect(received).toHaveLength(COUNT);
  for (const { messages } of received)
    expect(decode('pdpb.ScatterRegionRequest', messages[0]!)['regionId']).toBe(0n);
});

test('streams that a state closes', async () => {
  const streams = many(() => mesh.alpha.open(WATCH));
  await until(() => mesh.upstream.calls.filter(({ path }) => path === WATCH).length === COUNT);
  await mesh.configure(config({ state: 'suspended' }));
  await until(() => streams.every(({ closed }) => closed));
  await mesh.configure(config({}));
});

test('streams that drain', async () => {
  mesh.upstream.calls.length = 0;
  const before = await mesh.stat(/tidbmesh_streams_drained_total/);
  const streams = many(() => mesh.alpha.open(BATCH));
  for (const stream of streams) stream.write(get(1n));
  await until(() => streams.every(({ messages }) => messages.length === 1));
  await mesh.configure(config({ number: 7 }));
  await until(() => streams.every(({ closed }) => closed));
  expect((await mesh.stat(/tidbmesh_streams_drained_total/)) - before).toBe(COUNT);
});
