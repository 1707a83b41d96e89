/** Requests that act on a whole region wait until PD has said whose it is; nothing else waits along, and none waits for ever. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { memcomparable, rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { ticked } from '../harness/support/tick.ts';
import { standardPluginConfig } from '../harness/stack/stack.ts';
import { GET, getRequest } from './messages.ts';
import { startMesh, TENANTS, type Mesh } from './mesh.ts';
import { frame } from './upstream.ts';

const SCATTER = '/pdpb.PD/ScatterRegion';
const OPERATOR = '/pdpb.PD/GetOperator';
const REGION = '/pdpb.PD/GetRegion';
const RESOLVE = '/tikvpb.Tikv/KvResolveLock';
const BATCH = '/tikvpb.Tikv/BatchCommands';
const TABLE = 100;
const VERSION = 61n;
const START = 5n;

const scatter = (fields: Fields): Buffer => frame(encode('pdpb.ScatterRegionRequest', fields));
const context = (region: bigint): Fields => ({
  regionId: region,
  regionEpoch: { confVer: 1n, version: VERSION },
});
const resolve = (region: bigint): Fields => ({ context: context(region), startVersion: START });
const get = frame(getRequest(rowKey(70, 1)));

let mesh: Mesh;
/** Each test has regions of its own: what is learned stays. */
let region = 1000n;
let release = (): void => {};

/** Answers of PD's HTTP API are kept back until `release`. */
function holdLookups(): void {
  mesh.upstream.httpHold = new Promise((done) => (release = done));
}

/** A region of the tenant with this tag, or one that lies over the boundary to the next. */
function shown(id: bigint | string, tag = 1, over = false): string {
  const key = (row: number, of: number): string => memcomparable(rowKey(TABLE, row, of)).toString('hex');
  const bounds = `"start_key":"${key(1, tag)}","end_key":"${key(2, over ? tag + 1 : tag)}"`;
  return `{"id":${id},${bounds},"epoch":{"conf_ver":1,"version":${VERSION}}}`;
}

const idIn = (url: string): string => url.split('/').at(-1)!;
const alphas = (url: string): string => shown(idIn(url));

function received(path: string): Fields[] {
  const types: Record<string, string> = {
    [SCATTER]: 'pdpb.ScatterRegionRequest',
    [OPERATOR]: 'pdpb.GetOperatorRequest',
    [RESOLVE]: 'kvrpcpb.ResolveLockRequest',
  };
  return mesh.upstream.calls
    .filter((call) => call.path === path)
    .flatMap(({ messages }) => messages.map((message) => decode(types[path]!, message)));
}

/** Resolves when so many lookups have come to PD in all. */
async function lookups(count: number): Promise<void> {
  for (let i = 0; i < 500 && mesh.upstream.requests.length < count; i++) await sleep(10);
  expect(mesh.upstream.requests).toHaveLength(count);
}

const turnedAway = (): Promise<number> => mesh.stat(/tidbmesh_region_acts_turned_away_total$/);

beforeAll(async () => {
  mesh = await startMesh({}, true);
});
afterAll(() => mesh?.stop());
afterEach(() => {
  release();
  mesh.upstream.httpHold = Promise.resolve();
  mesh.upstream.httpStatus = 200;
  mesh.upstream.httpAnswer = alphas;
  mesh.upstream.calls.length = 0;
  mesh.upstream.requests.length = 0;
  region += 1000n;
});
beforeAll(() => {
  mesh.upstream.httpAnswer = alphas;
});

describe('a region that nobody knows yet', () => {
  test('is asked for once; the request waits and reaches PD as it was', async () => {
    const before = await turnedAway();
    holdLookups();
    const call = mesh.alpha.call(SCATTER, [scatter({ regionId: region, group: 'g' })]);
    await lookups(1);
    // Others on the same connection do not wait along.
    expect(await mesh.alpha.call(GET, [get])).toMatchObject({ status: 0 });
    expect(received(SCATTER).flatMap((fields) => fields)).toEqual([]);
    release();
    expect(await call).toMatchObject({ status: 0 });
    expect(received(SCATTER)).toMatchObject([{ regionId: region, group: '1:g' }]);

    const operator = frame(encode('pdpb.GetOperatorRequest', { regionId: region }));
    expect(await mesh.alpha.call(OPERATOR, [operator])).toMatchObject({ status: 0 });
    expect(received(OPERATOR)).toMatchObject([{ regionId: region }]);
    await lookups(1);
    expect(await turnedAway()).toBe(before);
  });

  test('many wait for one lookup', async () => {
    holdLookups();
    const calls = Array.from({ length: 20 }, () => mesh.alpha.call(SCATTER, [scatter({ regionId: region })]));
    await lookups(1);
    release();
    for (const { status } of await Promise.all(calls)) expect(status).toBe(0);
    expect(received(SCATTER).map(({ regionId }) => regionId)).toEqual(calls.map(() => region));
  });

  test('one by one or in lists of any length', async () => {
    const ids = Array.from({ length: 150 }, (_, i) => region + BigInt(i));
    const call = await mesh.alpha.call(SCATTER, [scatter({ regionId: ids[0]!, regionsId: ids })]);
    expect(call).toMatchObject({ status: 0 });
    expect(received(SCATTER)).toMatchObject([{ regionId: ids[0]!, regionsId: ids }]);
    await lookups(150);
  });

  test('one tenant alone cannot take all look-ups: its neighbour asks meanwhile', async () => {
    const neighbours = region + 900n;
    mesh.upstream.httpAnswer = (url) => shown(idIn(url), idIn(url) === String(neighbours) ? 2 : 1);
    holdLookups();
    const greedy = [0n, 100n, 200n, 300n, 400n].map((from) => {
      const regionsId = Array.from({ length: 64 }, (_, i) => region + from + BigInt(i));
      return mesh.alpha.call(SCATTER, [scatter({ regionsId })]);
    });
    await lookups(128);
    const call = mesh.beta.call(SCATTER, [scatter({ regionId: neighbours })]);
    await lookups(129);
    release();
    for (const { status } of [await call, ...(await Promise.all(greedy))]) expect(status).toBe(0);
    expect(received(SCATTER)).toContainEqual(expect.objectContaining({ regionId: neighbours }));
  });

  test('locks of a region are resolved in its version', async () => {
    const { status } = await mesh.alpha.call(RESOLVE, [
      frame(encode('kvrpcpb.ResolveLockRequest', resolve(region))),
    ]);
    expect(status).toBe(0);
    expect(received(RESOLVE)).toMatchObject([
      { context: { regionId: region, regionEpoch: { version: VERSION } } },
    ]);
  });

  test.each([1, 4, 5, 8])(
    'its request may come in pieces, cut behind %i bytes, and end later',
    async (cut) => {
      holdLookups();
      const whole = scatter({ regionId: region });
      const stream = mesh.alpha.open(SCATTER);
      stream.write(whole.subarray(0, cut));
      await sleep(20);
      stream.write(whole.subarray(cut));
      await lookups(1);
      stream.write(Buffer.alloc(0));
      release();
      // The answer is there before the request's end.
      await sleep(50);
      stream.end();
      for (let i = 0; i < 200 && !stream.closed; i++) await sleep(10);
      expect(stream.messages).toHaveLength(1);
      expect(received(SCATTER)).toMatchObject([{ regionId: region }]);
    },
  );

  test.each(['before', 'after'])('its request may end with trailers, %s the answer', async (when) => {
    if (when === 'before') holdLookups();
    const trailers = { 'x-late': '1' };
    const call = mesh.alpha.call(SCATTER, [scatter({ regionId: region })], { trailers });
    await lookups(1);
    await sleep(50);
    release();
    expect(await call).toMatchObject({ status: 0 });
    expect(received(SCATTER)).toMatchObject([{ regionId: region }]);
  });

  test('a second message behind it is not lost', async () => {
    const second = { regionId: region + 1n };
    await mesh.alpha.call(SCATTER, [Buffer.concat([scatter({ regionId: region }), scatter(second)])]);
    expect(received(SCATTER).map(({ regionId }) => regionId)[0]).toBe(region);
    expect(received(SCATTER)).toHaveLength(2);
  });
});

describe('a request that goes on as one that is turned away', () => {
  const expectTurnedAway = async (acts: number, run: () => Promise<unknown>): Promise<void> => {
    const before = await turnedAway();
    await run();
    expect((await turnedAway()) - before).toBe(acts);
  };

  test.each([
    ["a neighbour's", (url: string) => shown(idIn(url), 2)],
    ['one that lies over the boundary', (url: string) => shown(idIn(url), 1, true)],
    ['one of which PD says nothing', () => 'null'],
    ['one of which PD says nonsense', () => '{"id":'],
    ["another's than was asked for", () => shown(7n)],
  ])('%s', async (_, answer) => {
    mesh.upstream.httpAnswer = answer;
    await expectTurnedAway(1, async () => {
      expect(await mesh.alpha.call(SCATTER, [scatter({ regionId: region })])).toMatchObject({ status: 0 });
      expect(received(SCATTER)).toMatchObject([{ regionId: 0n }]);
    });
  });

  test('of a list the others go on', async () => {
    mesh.upstream.httpAnswer = (url) => (idIn(url) === String(region) ? shown(region, 2) : alphas(url));
    await mesh.alpha.call(SCATTER, [scatter({ regionsId: [region, region + 1n, region + 2n] })]);
    expect(received(SCATTER)).toMatchObject([{ regionsId: [region + 1n, region + 2n] }]);
  });

  test('PD does not answer in time', async () => {
    holdLookups();
    await expectTurnedAway(1, async () => {
      expect(await mesh.alpha.call(SCATTER, [scatter({ regionId: region })])).toMatchObject({ status: 0 });
      expect(received(SCATTER)).toMatchObject([{ regionId: 0n }]);
    });
  });

  test('in a shared stream: it does not wait', async () => {
    holdLookups();
    mesh.upstream.echo = (id) =>
      frame(encode('tikvpb.BatchCommandsResponse', { responses: [{}], requestIds: [id] }));
    await expectTurnedAway(1, async () => {
      const stream = mesh.alpha.open(BATCH);
      stream.write(
        frame(
          encode('tikvpb.BatchCommandsRequest', {
            requests: [{ cmd: { case: 'ResolveLock', value: resolve(region) } }],
            requestIds: [1n],
          }),
        ),
      );
      for (let i = 0; i < 200 && stream.messages.length === 0; i++) await sleep(10);
      expect(stream.messages).toHaveLength(1);
      stream.end();
    });
    const [batch] = mesh.upstream.calls.filter(({ path }) => path === BATCH);
    const { requests } = decode('tikvpb.BatchCommandsRequest', batch!.messages[0]!);
    expect(requests[0].cmd.value.context.regionEpoch.version).toBe(0n);
    mesh.upstream.echo = undefined;
  });
});

test('what is held is counted, and given back when the client goes away', async () => {
  holdLookups();
  const group = 'g'.repeat(20_000);
  const streams = Array.from({ length: 8 }, () => {
    const stream = mesh.alpha.open(SCATTER);
    stream.write(scatter({ regionId: region, group }));
    stream.end();
    return stream;
  });
  await lookups(1);
  // The gauge is set with the tick, once a second; after two a lookup counts as failed.
  const wanted = 8 * 20_000;
  let held = 0;
  for (let i = 0; i < 75 && held < wanted; i++) {
    await sleep(20);
    held = await mesh.stat(/tidbmesh_held_bytes$/);
  }
  expect(held).toBeGreaterThan(wanted);
  for (const stream of streams) stream.reset();
  await sleep(50);
  release();
  await sleep(100);
  expect(await mesh.alpha.call(SCATTER, [scatter({ regionId: region })])).toMatchObject({ status: 0 });
  expect(received(SCATTER)).toHaveLength(1);
  await ticked();
  expect(await mesh.stat(/tidbmesh_held_bytes$/)).toBe(0);
  expect(await mesh.stat(/tidbmesh_streams_active$/)).toBe(0);
});

test('a configuration that comes meanwhile does not hold them up', async () => {
  holdLookups();
  const call = mesh.alpha.call(SCATTER, [scatter({ regionId: region })]);
  await lookups(1);
  await mesh.configure({ ...standardPluginConfig(TENANTS), limits: { maxMessageBytes: 1 << 25 } });
  await sleep(500);
  release();
  expect(await call).toMatchObject({ status: 0 });
  expect(received(SCATTER)).toMatchObject([{ regionId: region }]);
});

describe('answers that pass', () => {
  const answerRegion = (id: bigint, tag: number): void => {
    const shownRegion = {
      id,
      startKey: memcomparable(rowKey(TABLE, 1, tag)),
      endKey: memcomparable(rowKey(TABLE, 2, tag)),
      regionEpoch: { confVer: 1n, version: VERSION },
    };
    const answer = frame(encode('pdpb.GetRegionResponse', { region: shownRegion }));
    mesh.upstream.answer = ({ path }) => ({ pieces: [path === REGION ? answer : frame(Buffer.alloc(0))] });
  };
  const request = frame(encode('pdpb.GetRegionRequest', { regionKey: memcomparable(rowKey(TABLE, 1)) }));

  test('say whose a region is: nobody asks for it', async () => {
    answerRegion(region, 1);
    expect(await mesh.alpha.call(REGION, [request])).toMatchObject({ status: 0 });
    expect(await mesh.alpha.call(SCATTER, [scatter({ regionId: region })])).toMatchObject({ status: 0 });
    expect(received(SCATTER)).toMatchObject([{ regionId: region }]);
    await lookups(0);
  });

  test("say nothing of a neighbour's", async () => {
    answerRegion(region, 2);
    mesh.upstream.httpAnswer = (url) => shown(idIn(url), 2);
    await mesh.alpha.call(REGION, [request]);
    await mesh.alpha.call(SCATTER, [scatter({ regionId: region })]);
    expect(received(SCATTER)).toMatchObject([{ regionId: 0n }]);
  });
});

// The last one: nothing waits until all workers have the former configuration again.
test('a move that ends meanwhile refuses what would act at the former place', async () => {
  const config = standardPluginConfig(TENANTS);
  const moved = (tenant: { name: string }): object =>
    tenant.name === 'alpha' ? { ...tenant, keyNumber: 99 } : tenant;
  holdLookups();
  const call = mesh.alpha.call(SCATTER, [scatter({ regionId: region })]);
  await lookups(1);
  await mesh.configure({ ...config, tenants: TENANTS.map(moved) });
  await sleep(500);
  release();
  expect(await call).toMatchObject({ status: 9, text: expect.stringContaining('TENANT_MOVES') });
  expect(received(SCATTER)).toEqual([]);
});
