/**
 * One tenant floods, in each way that there is, while its neighbour works: the limit bites, all calls of the neighbour succeed, and the
 * memory of Envoy stays under the bound of docs/limits.md. PD, the store and Envoy are real. `npm run test:floods -- --long` floods longer.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller as Client } from '../e2e/support/caller.ts';
import { Caller, type OpenStream, type Outcome } from '../envoy/mesh.ts';
import { frame } from '../envoy/upstream.ts';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { startStack, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { memcomparable, rowKey, tablePrefix } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { ticked } from '../harness/support/tick.ts';

const IS_LONG = process.env['TIDB_MESH_LONG'] === '1';
/** How often each flood comes. */
const ROUNDS = IS_LONG ? 20 : 1;
const MIB = 2 ** 20;
const WORKERS = 2;

const LOUD = {
  requestsPerSecond: 50,
  maxStreams: 60,
  etcdWatches: 10,
  etcdKeys: 30,
  etcdLeases: 10,
  resourceGroups: 4,
  pdRecords: 6,
};
const RULY = { pdRequestsPerSecond: 5 };
const MESSAGE_BYTES = 2 * MIB;
const HELD_BYTES = 8 * MIB;
/**
 * As docs/limits.md names it: what the filter may hold of the tenant in each worker, twice, because memory grows by doublings and Envoy has
 * a copy; and for each stream a message in Envoy, and what its windows let in before.
 */
const MEMORY_BOUND = WORKERS * (2 * HELD_BYTES + LOUD.maxStreams * 2 * MESSAGE_BYTES);

const GET = '/tikvpb.Tikv/KvGet';
const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
const DELETE = '/etcdserverpb.KV/DeleteRange';
const WATCH = '/etcdserverpb.Watch/Watch';
const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const REVOKE = '/etcdserverpb.Lease/LeaseRevoke';
const ADD_GROUP = '/resource_manager.ResourceManager/AddResourceGroup';
const DELETE_GROUP = '/resource_manager.ResourceManager/DeleteResourceGroup';
const PERMITTED = 0;
const EXHAUSTED = 8;

let stack: Stack;
let certs: Record<'loud' | 'quiet' | 'ruly', CertFiles>;
/** The loud tenant at the store and at PD. */
let store: Caller;
let pd: Caller;
let quietStore: Caller;
let quietPd: Caller;
let get: Buffer;
let quietGet: Buffer;

const portOf = (address: string): number => Number(address.split(':')[1]);

beforeAll(async () => {
  stack = await startStack({
    startTidbs: false,
    concurrency: WORKERS,
    tenants: [
      { name: 'loud', number: 1 },
      { name: 'quiet', number: 2 },
      { name: 'ruly', number: 3 },
    ],
    pluginConfig: ({ tenants: [loud, quiet, ruly], ...standard }: PluginConfig) => ({
      ...standard,
      tenants: [{ ...loud, limits: LOUD }, quiet, { ...ruly, limits: RULY }],
      limits: { ...standard.limits, maxMessageBytes: MESSAGE_BYTES, heldBytesPerTenant: HELD_BYTES },
    }),
  });
  certs = {
    loud: await stack.certs.client(principalOf('loud')),
    quiet: await stack.certs.client(principalOf('quiet')),
    ruly: await stack.certs.client(principalOf('ruly')),
  };
  const at = (address: string, files: CertFiles): Caller => new Caller(portOf(address), files);
  store = at(stack.store.meshAddress, certs.loud);
  pd = at(stack.pd.meshAddress, certs.loud);
  quietStore = at(stack.store.meshAddress, certs.quiet);
  quietPd = at(stack.pd.meshAddress, certs.quiet);
  get = await getOf('loud');
  quietGet = await getOf('quiet');
});
afterAll(async () => {
  for (const caller of [store, pd, quietStore, quietPd]) caller?.close();
  await stack?.stop();
});

/** A point get of the tenant, as a frame. */
async function getOf(tenant: string): Promise<Buffer> {
  const key = rowKey(100, 1);
  const { context } = await (await Client.of(stack, tenant)).regionOf(key);
  return frame(encode('kvrpcpb.GetRequest', { context, key, version: 5n }));
}

/** A message of etcd or PD, as a frame. */
const message = (type: string, fields: Fields): Buffer => frame(encode(type, fields));
const put = (key: string, value: Buffer = Buffer.from('v')): Buffer =>
  message('etcdserverpb.PutRequest', { key: Buffer.from(key), value });
const range = (key: string): Buffer => message('etcdserverpb.RangeRequest', { key: Buffer.from(key) });
const hexOf = (table: number): string => memcomparable(tablePrefix(table)).toString('hex');
const TABLE_RANGE = { start_key: hexOf(100), end_key: hexOf(101) };
/** A region label rule, as JSON. */
const labelRule = (i: number): string =>
  JSON.stringify({
    id: `schema/d/t${i}`,
    index: 0,
    labels: [{ key: 'merge_option', value: 'deny' }],
    rule_type: 'key-range',
    data: [TABLE_RANGE],
  });
const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
/** What a call came to, also one of PD's HTTP API. */
type Verdict = Pick<Outcome, 'status' | 'text'>;
const passed = (outcomes: readonly Verdict[]): number =>
  outcomes.filter(({ status }) => status === PERMITTED).length;
const refusals = (outcomes: readonly Verdict[], code: string): number =>
  outcomes.filter(({ status, text }) => status === EXHAUSTED && text.includes(`tidb-mesh[${code}]`)).length;

const residentBytes = (): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${stack.envoy!.pid}/status`, 'utf8'))?.[1]) * 1024;

const SHOWN_FAILURES = 3;

interface Watched {
  readonly calls: number;
  /** The first calls that failed. */
  readonly failed: Outcome[];
  readonly milliseconds: number[];
  /** The most that Envoy grew by. */
  readonly grown: number;
}

/** Floods while the neighbour calls the store and PD again and again. */
async function beside(flood: () => Promise<void>): Promise<Watched> {
  const before = residentBytes();
  const seen = { calls: 0, failed: [] as Outcome[], milliseconds: [] as number[], grown: 0 };
  let goesOn = true;
  const neighbour = (async () => {
    while (goesOn) {
      for (const call of [() => quietStore.call(GET, [quietGet]), () => quietPd.call(RANGE, [range('/x')])]) {
        const start = performance.now();
        const outcome = await call();
        seen.milliseconds.push(performance.now() - start);
        seen.calls++;
        // A few say what is wrong. A neighbour that is cut off fails thousands of times, and jest would compare them all.
        if (outcome.status !== PERMITTED && seen.failed.length < SHOWN_FAILURES) seen.failed.push(outcome);
      }
      seen.grown = Math.max(seen.grown, residentBytes() - before);
      await sleep(5);
    }
  })();
  try {
    for (let round = 0; round < ROUNDS; round++) await flood();
  } finally {
    goesOn = false;
    await neighbour;
  }
  return seen;
}

const report: string[] = [];
afterAll(() => {
  if (IS_LONG) console.log(['the neighbour beside each flood:', ...report].join('\n'));
});

/** Floods, and expects that the neighbour had no failure and that Envoy kept to its bound. */
async function expectNoHarm(name: string, flood: () => Promise<void>): Promise<void> {
  const { calls, failed, milliseconds, grown } = await beside(flood);
  milliseconds.sort((a, b) => a - b);
  const at = (share: number): string =>
    (milliseconds[Math.floor(share * (milliseconds.length - 1))] ?? 0).toFixed(1);
  report.push(
    `${name.padEnd(18)} ${calls} calls, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; Envoy grew by ${(grown / MIB).toFixed(0)} MiB`,
  );
  expect(calls).toBeGreaterThan(0);
  expect(failed).toEqual([]);
  expect(grown).toBeLessThan(MEMORY_BOUND);
}

/** Adds more once PD has counted, until that is refused. */
async function fill(code: string, add: (i: number) => Promise<Verdict>): Promise<void> {
  await ticked();
  for (let i = 0; i < 100; i++) if (refusals([await add(i)], code) === 1) return;
  throw new Error(`never refused with ${code}`);
}

/** Tries until it succeeds: room that is freed is known after a second or two. */
async function untilPermitted(attempt: () => Promise<Verdict>): Promise<void> {
  let last: Verdict | undefined;
  for (let i = 0; i < 100; i++) {
    last = await attempt();
    if (last.status === PERMITTED) return;
    await sleep(200);
  }
  throw new Error(`still refused: ${last?.text ?? ''}`);
}

async function metric(name: RegExp): Promise<number> {
  await ticked();
  return [...(await stack.envoy!.stats(name)).values()].reduce((sum, value) => sum + value, 0);
}

/** How many keys PD's etcd has below a prefix, past the filter. */
async function countIn(prefix: string): Promise<number> {
  const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  const answer = await fetch(`${stack.pd.directUrl}/v3/kv/range`, {
    method: 'POST',
    body: JSON.stringify({ key: btoa(prefix), range_end: btoa(end), count_only: true }),
  });
  return Number(((await answer.json()) as { count?: string }).count ?? 0);
}

describe('what passes through Envoy', () => {
  test('messages: requestsPerSecond delays them', async () => {
    await expectNoHarm('messages', async () => {
      const outcomes = await Promise.all(times(LOUD.maxStreams, () => flood(3)));
      expect(outcomes.flat().every(({ status }) => status === PERMITTED)).toBe(true);
    });
    expect(
      await metric(/tenant=\.=loud;\.;limit=\.=requestsPerSecond;\.;tidbmesh_tenant_delayed_total/),
    ).toBeGreaterThan(0);
    expect(await metric(/tenant=\.=loud;\.;tidbmesh_tenant_delayed_milliseconds_total/)).toBeGreaterThan(0);

    async function flood(count: number): Promise<Outcome[]> {
      const outcomes: Outcome[] = [];
      for (let i = 0; i < count; i++) outcomes.push(await store.call(GET, [get]));
      return outcomes;
    }
  });

  test('streams: maxStreams refuses them', async () => {
    await expectNoHarm('streams', async () => {
      const open = times(LOUD.maxStreams, () => pd.open(WATCH));
      // All of one connection: one worker has them. The first ones are there before the others.
      await untilRefused(pd);
      const outcomes = await Promise.all(times(40, () => pd.call(RANGE, [range('/x')])));
      expect(refusals(outcomes, 'TOO_MANY_STREAMS')).toBe(40);
      for (const stream of open) stream.reset();
    });
    await untilPermitted(() => pd.call(RANGE, [range('/x')]));

    async function untilRefused(caller: Caller): Promise<void> {
      for (let i = 0; i < 100; i++) {
        if ((await caller.call(RANGE, [range('/x')])).status === EXHAUSTED) return;
        await sleep(50);
      }
      throw new Error('the streams are not open');
    }
  });

  test('frames of a gigabyte: maxMessageBytes refuses them by their header', async () => {
    await expectNoHarm('frames', async () => {
      const giant = frame(Buffer.alloc(64 * 1024), 0, 2 ** 30);
      const outcomes = await Promise.all(times(30, () => store.call(GET, [giant], { open: true })));
      expect(refusals(outcomes, 'TOO_LONG')).toBe(30);
    });
    await untilPermitted(() => store.call(GET, [get]));
  });

  test('frames that do not end: heldBytesPerTenant refuses them', async () => {
    await expectNoHarm('unfinished frames', async () => {
      const head = frame(Buffer.alloc(MIB), 0, MESSAGE_BYTES - 5);
      const streams = times(24, () => store.open(GET));
      for (const stream of streams) stream.write(head);
      // What fits is held, and the other streams end.
      const open = (): number => streams.filter(({ closed }) => !closed).length;
      for (let i = 0; i < 200 && open() > (WORKERS * HELD_BYTES) / MIB; i++) await sleep(50);
      expect(open()).toBeLessThanOrEqual((WORKERS * HELD_BYTES) / MIB);
      for (const stream of streams) stream.reset();
    });
    expect(
      await metric(/tenant=\.=loud;\.;code=\.=HELD_TOO_MUCH;\.;tidbmesh_tenant_refused_total/),
    ).toBeGreaterThan(0);
    expect(await metric(/tenant=\.=loud;\.;tidbmesh_tenant_held_bytes/)).toBe(0);
    await untilPermitted(() => store.call(GET, [get]));
  });

  test('answers that are not read: maxStreams and the windows of HTTP/2 bound them', async () => {
    await untilPermitted(() => pd.call(PUT, [put('big', Buffer.alloc(MIB))]));
    await expectNoHarm('slow reads', async () => {
      const session = await connected(stack.pd.meshAddress, certs.loud);
      const slow: ClientHttp2Stream[] = [];
      for (let i = 0; i < LOUD.maxStreams - 2; i++) {
        const { stream, answered } = unread(session, RANGE, range('big'));
        slow.push(stream);
        // The filter holds an answer until it is whole: not all of them at once.
        await answered;
      }
      expect(slow.filter(({ closed }) => closed).map(({ rstCode }) => rstCode)).toEqual([]);
      session.destroy();
    });
    await pd.call(DELETE, [message('etcdserverpb.DeleteRangeRequest', { key: Buffer.from('big') })]);
  });
});

/** An HTTP/2 connection of its own. */
function connected(address: string, files: CertFiles): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connect(`https://localhost:${portOf(address)}`, {
      ca: readFileSync(files.ca),
      cert: readFileSync(files.cert),
      key: readFileSync(files.key),
      lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    session.once('connect', () => resolve(session));
    session.on('error', reject);
  });
}

/** A call of which the first bytes of the answer are read, and no more. */
function unread(
  session: ClientHttp2Session,
  path: string,
  body: Buffer,
): { stream: ClientHttp2Stream; answered: Promise<void> } {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  stream.end(body);
  return { stream, answered: new Promise((resolve) => stream.once('readable', () => resolve())) };
}

describe('what PD keeps', () => {
  let watching: OpenStream[] = [];
  afterEach(() => {
    for (const stream of watching) stream.reset();
    watching = [];
  });

  test('watches: etcdWatches ends each further one, and the others go on', async () => {
    const create = (key: string): Buffer =>
      message('etcdserverpb.WatchRequest', {
        requestUnion: { case: 'createRequest', value: { key: Buffer.from(key) } },
      });
    const told = (stream: OpenStream): Fields[] =>
      stream.messages.map((bytes) => decode('etcdserverpb.WatchResponse', bytes));
    await expectNoHarm('watches', async () => {
      const stream = pd.open(WATCH);
      watching.push(stream);
      for (let i = 0; i < 40; i++) stream.write(create(`watched/${i}`));
      for (let i = 0; i < 200 && stream.messages.length < 40; i++) await sleep(20);
      const answers = told(stream);
      const refused = answers.filter(({ canceled }) => canceled as boolean);
      expect([answers.length, refused.length]).toEqual([40, 40 - LOUD.etcdWatches]);
      for (const { cancelReason } of refused)
        expect(cancelReason).toMatch(/^tidb-mesh\[TOO_MANY_WATCHES\]: .*limits\.etcdWatches/);
      // One that was there goes on; one that is cancelled makes room for another.
      expect(await pd.call(PUT, [put('watched/0')])).toMatchObject({ status: PERMITTED });
      for (let i = 0; i < 200 && stream.messages.length < 41; i++) await sleep(20);
      expect(told(stream)[40]!.events).toHaveLength(1);
      const { watchId } = answers.find(({ canceled }) => !(canceled as boolean))!;
      stream.write(
        message('etcdserverpb.WatchRequest', {
          requestUnion: { case: 'cancelRequest', value: { watchId: watchId as bigint } },
        }),
      );
      for (let i = 0; i < 200 && stream.messages.length < 42; i++) await sleep(20);
      stream.write(create('watched/again'));
      for (let i = 0; i < 200 && stream.messages.length < 43; i++) await sleep(20);
      expect(told(stream)[42]).toMatchObject({ created: true, canceled: false });
      stream.reset();
    });
    await pd.call(DELETE, [message('etcdserverpb.DeleteRangeRequest', { key: Buffer.from('watched/0') })]);
  });

  test('keys: etcdKeys refuses puts until some are deleted', async () => {
    await expectNoHarm('keys', async () => {
      const outcomes = await Promise.all(times(55, (i) => pd.call(PUT, [put(`key/${i}`)])));
      expect(refusals(outcomes, 'TOO_MANY_ETCD_KEYS')).toBe(outcomes.length - passed(outcomes));
      expect(await countIn('/tidb-mesh/loud:')).toBeLessThanOrEqual(WORKERS * LOUD.etcdKeys);
      await fill('TOO_MANY_ETCD_KEYS', (i) => pd.call(PUT, [put(`key/more/${i}`)]));
      // Known by PD's count: what was put does not matter any more.
      await ticked();
      expect(refusals([await pd.call(PUT, [put('key/0')])], 'TOO_MANY_ETCD_KEYS')).toBe(1);
      expect(await countIn('/tidb-mesh/loud:')).toBeLessThanOrEqual(WORKERS * LOUD.etcdKeys);
      const all = { key: Buffer.from('key/'), rangeEnd: Buffer.from('key0') };
      await pd.call(DELETE, [message('etcdserverpb.DeleteRangeRequest', all)]);
      await untilPermitted(() => pd.call(PUT, [put('key/again')]));
    });
    expect(await metric(/tenant=\.=loud;\.;limit=\.=etcdKeys;\.;tidbmesh_tenant_holdings/)).toBeGreaterThan(
      0,
    );
  });

  test('leases: etcdLeases refuses grants until some are revoked', async () => {
    let granted: bigint[] = [];
    const grant = async (): Promise<Outcome> => {
      const outcome = await pd.call(GRANT, [message('etcdserverpb.LeaseGrantRequest', { TTL: 600n })]);
      if (outcome.status === PERMITTED)
        granted.push(decode('etcdserverpb.LeaseGrantResponse', outcome.messages[0]!)['ID'] as bigint);
      return outcome;
    };
    const revoke = async (): Promise<void> => {
      for (const ID of granted) await pd.call(REVOKE, [message('etcdserverpb.LeaseRevokeRequest', { ID })]);
      granted = [];
    };
    await expectNoHarm('leases', async () => {
      const outcomes = await Promise.all(times(25, grant));
      const refused = refusals(outcomes, 'TOO_MANY_LEASES');
      expect(refused).toBe(outcomes.length - passed(outcomes));
      expect(refused).toBeGreaterThanOrEqual(25 - WORKERS * LOUD.etcdLeases);
      await fill('TOO_MANY_LEASES', grant);
      expect(granted.length).toBeLessThanOrEqual(WORKERS * LOUD.etcdLeases);
      await revoke();
      await untilPermitted(grant);
      await revoke();
    });
  });

  test('resource groups: resourceGroups refuses them until some are dropped', async () => {
    const add = (name: string): Promise<Outcome> =>
      pd.call(ADD_GROUP, [
        message('resource_manager.PutResourceGroupRequest', {
          group: { name, mode: 1, rUSettings: { rU: { settings: { fillRate: 5n } } } },
        }),
      ]);
    const drop = (name: string): Promise<Outcome> =>
      pd.call(DELETE_GROUP, [
        message('resource_manager.DeleteResourceGroupRequest', { resourceGroupName: name }),
      ]);
    await expectNoHarm('resource groups', async () => {
      const outcomes = await Promise.all(times(12, (i) => add(`g${i}`)));
      const refused = refusals(outcomes, 'TOO_MANY_GROUPS');
      expect(refused).toBe(outcomes.length - passed(outcomes));
      expect(refused).toBeGreaterThanOrEqual(12 - WORKERS * LOUD.resourceGroups);
      await fill('TOO_MANY_GROUPS', (i) => add(`more${i}`));
      expect(await countIn('resource_group/settings/1:')).toBeLessThanOrEqual(WORKERS * LOUD.resourceGroups);
      for (let i = 0; i < 12; i++) await Promise.all([drop(`g${i}`), drop(`more${i}`)]);
      await untilPermitted(() => add('again'));
      await drop('again');
    });
  });

  test('records: pdRecords refuses rules and service safe points until some are removed', async () => {
    const [, id = ''] = /"id":\s*(\d+)/.exec(
      await (await fetch(`${stack.pd.directUrl}/pd/api/v1/cluster`)).text(),
    )!;
    const records = async (): Promise<number> => {
      const name = 'tidb-mesh:loud:';
      const below = [
        `rules/${Buffer.from(name).toString('hex')}`,
        `region_label/${name}`,
        `gc/safe_point/service/${name}`,
      ];
      const found = await Promise.all(below.map((path) => countIn(`/pd/${id}/${path}`)));
      return found.reduce((sum, one) => sum + one);
    };
    const send = async (method: string, path: string, body?: string): Promise<Verdict> => {
      const headers = { 'content-type': 'application/json' };
      const options = body === undefined ? { method } : { method, headers, body };
      const answer = await callHttp(stack.pd.meshAddress, certs.loud, `/pd/api/v1/config/${path}`, options);
      const status = { 200: PERMITTED, 429: EXHAUSTED }[answer.status] ?? answer.status;
      return { status, text: answer.body };
    };
    const label = (i: number): Promise<Verdict> => send('POST', 'region-label/rule', labelRule(i));
    const place = (i: number): Promise<Verdict> =>
      send(
        'POST',
        'rule',
        JSON.stringify({ group_id: 'g', id: `r${i}`, ...TABLE_RANGE, role: 'voter', count: 1 }),
      );
    const keep = (i: number, TTL = 600n): Promise<Verdict> =>
      pd.call('/pdpb.PD/UpdateServiceGCSafePoint', [
        message('pdpb.UpdateServiceGCSafePointRequest', {
          header: { clusterId: BigInt(id) },
          serviceId: Buffer.from(`dump-${i}`),
          TTL,
          safePoint: BigInt(Date.now()) << 18n,
        }),
      ]);
    await expectNoHarm('records', async () => {
      const kinds = [label, place, keep];
      const outcomes = await Promise.all(times(18, (i) => kinds[i % 3]!(i)));
      const refused = refusals(outcomes, 'TOO_MANY_RECORDS');
      expect(refused).toBe(outcomes.length - passed(outcomes));
      expect(refused).toBeGreaterThanOrEqual(18 - WORKERS * LOUD.pdRecords);
      await fill('TOO_MANY_RECORDS', label);
      expect(await records()).toBeLessThanOrEqual(WORKERS * LOUD.pdRecords);
      // Known by PD's count: what was added does not matter any more.
      await ticked();
      expect(refusals([await keep(0)], 'TOO_MANY_RECORDS')).toBe(1);
      for (let i = 0; i < 100 && (await records()) > 0; i++) {
        await send('DELETE', `region-label/rule/${encodeURIComponent(`schema/d/t${i}`)}`);
        await send('DELETE', `rule/g/r${i}`);
        await keep(i, 0n);
      }
      expect(await records()).toBe(0);
      await untilPermitted(() => label(0));
      await send('DELETE', `region-label/rule/${encodeURIComponent('schema/d/t0')}`);
    });
  });

  test('rules: pdRequestsPerSecond holds them back', async () => {
    await expectNoHarm('rules', async () => {
      const answers = await Promise.all(
        times(80, (i) =>
          callHttp(stack.pd.meshAddress, certs.ruly, '/pd/api/v1/config/region-label/rule', {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: labelRule(i),
          }),
        ),
      );
      const refused = answers.filter(({ status, body }) => status === 429 && body.includes('OVER_RATE'));
      expect(refused.length).toBeGreaterThan(0);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(answers.length - refused.length);
      // The rate's second, and the time that calls wait.
      await sleep(1000);
    });
    expect(
      await metric(/tenant=\.=ruly;\.;limit=\.=pdRequestsPerSecond;\.;tidbmesh_tenant_delayed_total/),
    ).toBeGreaterThan(0);
  });
});
