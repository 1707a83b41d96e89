/** Rates: what a tenant may send a second, who is delayed over it, and by what. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule, type SharedData } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const BATCH = '/tikvpb.Tikv/BatchCommands';
const GET = '/tikvpb.Tikv/KvGet';
const COMMIT = '/tikvpb.Tikv/KvCommit';
const RANGE = '/etcdserverpb.KV/Range';
const KEY = rowKey(100, 1);
const GETS: [string, Fields] = ['Get', { key: KEY, version: 5n }];

const config = (limits: object, more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name: 'alpha', number: 1, limits },
        { name: 'beta', number: 2 },
      ],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
      ...more,
    }),
  );
const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);
const ALPHA = caller('alpha');

beforeAll(buildModule);

/** A filter whose clock stands still, as one VM of an Envoy. */
function started(limits: object, shared: SharedData = new Map(), more: object = {}): HostedModule {
  const filter = new HostedModule(shared);
  filter.clock = 1_700_000_000_000;
  filter.configure(config(limits, more));
  return filter;
}

const batch = (...commands: [string, Fields][]): Uint8Array =>
  frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: commands.map(([name, value]) => ({ cmd: { case: name, value } })),
      requestIds: commands.map((_, i) => BigInt(i + 1)),
    }),
  );
const times = <T>(count: number, of: T): T[] => Array.from({ length: count }, () => of);

/** The commands of a batch as they go on: a delayed one is `Empty`. */
function sent(filter: HostedModule, context: number, ...commands: [string, Fields][]): string[] {
  expect(filter.request(context, batch(...commands))).toBe(true);
  const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
  return (requests as Fields[]).map(({ cmd }) => cmd.case as string);
}
const passed = (commands: string[]): number => commands.filter((name) => name !== 'Empty').length;

/** What the caller gets for its i-th request, which went on as an empty one. */
function answered(filter: HostedModule, context: number, id = 1): Fields {
  const answer = encode('tikvpb.BatchCommandsResponse', {
    responses: [{ cmd: { case: 'Empty', value: {} } }],
    requestIds: [BigInt(id)],
  });
  expect(filter.answer(context, frame(answer))).toBe(true);
  return decode('tikvpb.BatchCommandsResponse', filter.passed().subarray(5))['responses'][0].cmd as Fields;
}
const delayed = (filter: HostedModule, limit: string, tenant = 'alpha'): number =>
  filter.metric(`tenant=.=${tenant};.;limit=.=${limit};.;tidbmesh_tenant_delayed_total`);
/** Ticks that tell metrics are a second apart. */
function tell(filter: HostedModule): void {
  filter.clock += 1000;
  filter.tick();
}

describe('requests of a batch', () => {
  test('over the rate are answered with a region error, and go on when time has passed', () => {
    const filter = started({ requestsPerSecond: 100 });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.answerHeaders(stream);
    expect(passed(sent(filter, stream, ...times(130, GETS)))).toBe(100);
    const { case: command, value } = answered(filter, stream, 130);
    expect(command).toBe('Get');
    expect(value.regionError.maxTimestampNotSynced).toBeDefined();
    expect(value.regionError.message).toMatch(/^tidb-mesh\[OVER_RATE\]: .*limits\.requestsPerSecond/);
    filter.clock += 100;
    expect(passed(sent(filter, stream, ...times(130, GETS)))).toBe(10);
    filter.clock += 60_000;
    expect(passed(sent(filter, stream, ...times(130, GETS)))).toBe(100);
    tell(filter);
    expect(delayed(filter, 'requestsPerSecond')).toBe(30 + 120 + 30);
    expect(filter.metric('tenant=.=alpha;.;code=.=OVER_RATE;.;tidbmesh_tenant_refused_total')).toBe(0);
  });

  test('that end a transaction always go on, and those behind them wait for them', () => {
    const filter = started({ requestsPerSecond: 10 });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const commit: [string, Fields] = ['Commit', { keys: [KEY], startVersion: 5n, commitVersion: 6n }];
    const others: [string, Fields][] = [
      ['BatchRollback', { keys: [KEY], startVersion: 5n }],
      ['TxnHeartBeat', { primaryLock: KEY, startVersion: 5n }],
      ['ResolveLock', { startVersion: 5n, keys: [KEY] }],
      ['GetHealthFeedback', {}],
    ];
    expect(passed(sent(filter, stream, ...times(16, commit), ...others))).toBe(20);
    filter.clock += 500;
    expect(passed(sent(filter, stream, GETS))).toBe(0);
    filter.clock += 700;
    expect(passed(sent(filter, stream, ...times(5, GETS)))).toBe(2);
  });

  test.each<[string, Fields]>([
    ['Scan', { startKey: KEY, version: 5n }],
    ['BatchGet', { keys: [KEY], version: 5n }],
    ['Coprocessor', { tp: 104n }],
    ['Prewrite', { mutations: [{ key: KEY }], primaryLock: KEY, startVersion: 5n }],
    ['PessimisticLock', { mutations: [{ op: 5, key: KEY }], primaryLock: KEY, startVersion: 5n }],
  ])('%s takes the region error', (name, fields) => {
    const filter = started({ requestsPerSecond: 1 });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.answerHeaders(stream);
    expect(sent(filter, stream, GETS, [name, fields])).toEqual(['Get', 'Empty']);
    const { case: command, value } = answered(filter, stream, 2);
    expect([command, value.regionError.maxTimestampNotSynced]).toEqual([name, expect.anything()]);
  });

  test('that wait for long are told that the store is busy', () => {
    const filter = started({ requestsPerSecond: 10 });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.answerHeaders(stream);
    const flood = (): void => {
      for (let i = 0; i < 40; i++) {
        filter.clock += 50;
        sent(filter, stream, ...times(20, GETS));
        for (let id = 1; id <= 20; id++) answered(filter, stream, id);
      }
    };
    flood();
    sent(filter, stream, ...times(5, GETS));
    expect(answered(filter, stream, 5).value.regionError.serverIsBusy).toBeDefined();
    filter.clock += 3000;
    sent(filter, stream, ...times(5, GETS));
    filter.clock += 3000;
    sent(filter, stream, ...times(14, GETS));
    expect(answered(filter, stream, 14).value.regionError).toMatchObject({
      maxTimestampNotSynced: expect.anything(),
    });
  });

  test('wait for bytes that have gone through, both ways, for ten seconds at most', () => {
    const filter = started({ bytesPerSecond: 10_000 });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.answerHeaders(stream);
    expect(sent(filter, stream, GETS)).toEqual(['Get']);
    const answer = encode('tikvpb.BatchCommandsResponse', {
      responses: [{ cmd: { case: 'Get', value: { value: Buffer.alloc(500_000) } } }],
      requestIds: [1n],
    });
    filter.answer(stream, frame(answer));
    filter.clock += 8000;
    expect(sent(filter, stream, GETS)).toEqual(['Empty']);
    for (let i = 0; i < 11; i++) {
      filter.clock += 1000;
      sent(filter, stream, GETS);
    }
    expect(sent(filter, stream, GETS)).toEqual(['Get']);
    tell(filter);
    expect(delayed(filter, 'bytesPerSecond')).toBeGreaterThan(3);
    expect(delayed(filter, 'requestsPerSecond')).toBe(0);
  });

  test('share one rate among all VMs of an Envoy', () => {
    const shared: SharedData = new Map();
    const filters = times(3, 0).map(() => started({ requestsPerSecond: 90 }, shared));
    const streams = filters.map((filter) => filter.open(ALPHA, callHeaders(BATCH)));
    let count = 0;
    for (let i = 0; i < 100; i++)
      for (const [n, filter] of filters.entries()) {
        filter.clock += 10;
        // The third VM has hardly any work.
        if (n < 2 || i % 50 === 0) count += passed(sent(filter, streams[n]!, ...times(10, GETS)));
      }
    // What was there, and what a second has given. Each VM may round up.
    expect(count).toBeGreaterThan(170);
    expect(count).toBeLessThanOrEqual(180 + filters.length);
  });

  test('that are few and long leave the other VMs what a second gives', () => {
    const shared: SharedData = new Map();
    const [one, two] = [1, 2].map(() => started({ requestsPerSecond: 10 }, shared));
    const long: [string, Fields] = ['Get', { key: Buffer.concat([KEY, Buffer.alloc(5000)]), version: 5n }];
    const [first, second] = [one!, two!].map((filter) => filter.open(ALPHA, callHeaders(BATCH)));
    for (let i = 0; i < 5; i++) {
      expect(sent(one!, first!, long)).toEqual(['Get']);
      one!.clock += 1000;
    }
    two!.clock = one!.clock;
    expect(passed(sent(one!, first!, long))).toBe(1);
    expect(passed(sent(two!, second!, ...times(20, GETS)))).toBeGreaterThan(7);
  });

  test('of a neighbour are not delayed; a new configuration counts for open streams', () => {
    const filter = started({ requestsPerSecond: 1 });
    const [alpha, beta] = [ALPHA, caller('beta')].map((who) => filter.open(who, callHeaders(BATCH)));
    expect(passed(sent(filter, alpha!, ...times(50, GETS)))).toBe(1);
    expect(passed(sent(filter, beta!, ...times(50, GETS)))).toBe(50);
    filter.supersede(config({}, { limits: { requestsPerSecondPerTenant: 20 } }));
    filter.clock += 1000;
    expect(passed(sent(filter, beta!, ...times(50, GETS)))).toBe(20);
    filter.clock += 1000;
    expect(passed(sent(filter, alpha!, ...times(50, GETS)))).toBe(20);
    filter.supersede(config({}));
    expect(passed(sent(filter, alpha!, ...times(50, GETS)))).toBe(50);
  });
});

test('a tenant without a rate asks for no time; one under its rate a few times a second', () => {
  const ask = (limits: object): number => {
    const filter = started(limits);
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    sent(filter, stream, GETS);
    const before = filter.questions;
    for (let i = 0; i < 1000; i++) {
      filter.clock++;
      sent(filter, stream, GETS);
    }
    return filter.questions - before;
  };
  expect(ask({})).toBe(0);
  const asked = ask({ requestsPerSecond: 10_000 });
  expect(asked).toBeGreaterThan(0);
  expect(asked).toBeLessThan(100);
});

describe('other calls', () => {
  const open = (filter: HostedModule, path: string, tenant = ALPHA): { context: number; goesOn: boolean } =>
    filter.tryOpen(tenant, callHeaders(path));

  test('over the rate wait for their turn, in order', () => {
    const filter = started({ requestsPerSecond: 10 });
    expect(filter.tickPeriod).toBe(100);
    for (let i = 0; i < 10; i++) expect(open(filter, GET).goesOn).toBe(true);
    const waiting = times(3, 0).map(() => open(filter, GET));
    expect(waiting.map(({ goesOn }) => goesOn)).toEqual([false, false, false]);
    expect(filter.refusal).toBe('');
    expect([open(filter, COMMIT).goesOn, open(filter, GET, caller('beta')).goesOn]).toEqual([true, true]);
    filter.tick();
    expect(filter.continued).toEqual([]);
    filter.close(waiting[1]!.context);
    // The commit is paid first.
    filter.clock += 200;
    filter.tick();
    expect(filter.continued).toEqual([waiting[0]!.context]);
    filter.clock += 100;
    filter.tick();
    expect(filter.continued).toEqual([waiting[0]!.context, waiting[2]!.context]);
    expect(filter.request(waiting[2]!.context, frame(encode('kvrpcpb.GetRequest', GETS[1])))).toBe(true);
    tell(filter);
    expect(delayed(filter, 'requestsPerSecond')).toBe(3);
  });

  test('of PD have a rate of their own; timestamps and health have none', () => {
    const filter = started({ pdRequestsPerSecond: 2 });
    expect([open(filter, RANGE).goesOn, open(filter, '/pdpb.PD/GetRegion').goesOn]).toEqual([true, true]);
    expect(open(filter, RANGE).goesOn).toBe(false);
    for (const path of ['/pdpb.PD/Tso', '/grpc.health.v1.Health/Check', '/tikvpb.Tikv/IsAlive', GET])
      expect([path, open(filter, path).goesOn]).toEqual([path, true]);
    tell(filter);
    expect(filter.continued).toHaveLength(1);
    expect(delayed(filter, 'pdRequestsPerSecond')).toBe(1);
  });

  test('of PD wait for its rate, whatever they are for', () => {
    const filter = started({ pdRequestsPerSecond: 1 });
    const add = '/resource_manager.ResourceManager/AddResourceGroup';
    expect([open(filter, add).goesOn, open(filter, add).goesOn]).toEqual([true, false]);
    tell(filter);
    expect(filter.continued).toHaveLength(1);
    const rule = headerPairs([
      [':method', 'POST'],
      [':path', '/pd/api/v1/config/region-label/rule'],
      ['content-type', 'application/json'],
    ]);
    expect(filter.tryOpen(ALPHA, rule).goesOn).toBe(false);
    tell(filter);
    expect(delayed(filter, 'pdRequestsPerSecond')).toBe(2);
    expect(delayed(filter, 'requestsPerSecond')).toBe(0);
    expect(filter.metric('tenant=.=alpha;.;tidbmesh_tenant_delayed_milliseconds_total')).toBeGreaterThan(0);
  });

  test('that have waited for too long are refused, and so are those behind too many', () => {
    const filter = started({ pdRequestsPerSecond: 1 });
    open(filter, RANGE);
    for (let i = 0; i < 256; i++) open(filter, RANGE);
    expect([filter.refusal, open(filter, RANGE).goesOn]).toEqual(['', false]);
    expect(filter.refusal).toMatch(/^tidb-mesh\[OVER_RATE\]: .*limits\.pdRequestsPerSecond/);
    filter.refusal = '';
    filter.clock += 1400;
    filter.tick();
    expect([filter.continued.length, filter.refusal]).toEqual([1, '']);
    filter.clock += 200;
    filter.tick();
    expect(filter.refusal).toMatch(/^tidb-mesh\[OVER_RATE\]: /);
    // A tick ends a few streams, and the next one follows at once.
    expect(filter.tickPeriod).toBe(1);
    while (filter.tickPeriod === 1) filter.tick();
    filter.clock += 2000;
    // Nobody waits any more.
    expect(open(filter, RANGE).goesOn).toBe(true);
  });

  test('of one tenant do not keep those of another waiting', () => {
    const tenants = [
      { name: 'alpha', number: 1, limits: { requestsPerSecond: 1 } },
      { name: 'beta', number: 2, limits: { requestsPerSecond: 10 } },
    ];
    const filter = started({}, new Map(), { tenants });
    for (let i = 0; i < 40; i++) open(filter, GET);
    for (let i = 0; i < 10; i++) expect(open(filter, GET, caller('beta')).goesOn).toBe(true);
    const { context, goesOn } = open(filter, GET, caller('beta'));
    expect(goesOn).toBe(false);
    filter.clock += 200;
    filter.tick();
    // One of those of the other tenant goes on as well.
    expect([filter.continued.length, filter.tickPeriod]).toEqual([2, 100]);
    expect(filter.continued).toContain(context);
  });

  test('go on when the limit has gone', () => {
    const filter = started({ requestsPerSecond: 1 });
    open(filter, GET);
    const { context, goesOn } = open(filter, GET);
    expect(goesOn).toBe(false);
    filter.supersede(config({}));
    filter.tick();
    expect(filter.continued).toEqual([context]);
  });
});

describe('messages on a stream', () => {
  const TOKENS = '/resource_manager.ResourceManager/AcquireTokenBuckets';
  const token = frame(encode('resource_manager.TokenBucketsRequest', { targetRequestPeriodMs: 5000n }));
  const keepAlive = frame(encode('etcdserverpb.LeaseKeepAliveRequest', { ID: 5n }));
  const isOpen = (filter: HostedModule): boolean => filter.tryOpen(ALPHA, callHeaders(RANGE)).goesOn;

  test.each([
    ['for tokens', TOKENS, token],
    ['that renew leases', '/etcdserverpb.Lease/LeaseKeepAlive', keepAlive],
  ])('%s count one by one, and end it when ten seconds are owed', (_, path, message) => {
    const filter = started({ pdRequestsPerSecond: 10 });
    const stream = filter.open(ALPHA, callHeaders(path));
    // The first counted when the stream opened.
    for (let i = 0; i < 9; i++) expect(filter.request(stream, message)).toBe(true);
    expect(isOpen(filter)).toBe(true);
    expect(filter.request(stream, message)).toBe(true);
    expect(isOpen(filter)).toBe(false);
    for (let i = 0; i < 9; i++) expect(filter.request(stream, Buffer.concat(times(10, message)))).toBe(true);
    expect(filter.request(stream, Buffer.concat(times(8, message)))).toBe(true);
    expect(filter.request(stream, message)).toBe(false);
    expect(filter.refusal).toMatch(/^tidb-mesh\[OVER_RATE\]: /);
    // What is owed is paid with time.
    let seconds = 0;
    for (; !isOpen(filter) && seconds < 20; seconds++) {
      filter.clock += 1000;
      filter.tick();
    }
    expect(seconds).toBeGreaterThan(8);
    expect(seconds).toBeLessThan(15);
  });

  test('with timestamps, or without a limit, do not count', () => {
    const tso = frame(encode('pdpb.TsoRequest', { count: 1 }));
    for (const [limits, path, message] of [
      [{ pdRequestsPerSecond: 1 }, '/pdpb.PD/Tso', tso],
      [{ requestsPerSecond: 1 }, TOKENS, token],
      [{}, TOKENS, token],
    ] as const) {
      const filter = started(limits);
      const stream = filter.open(ALPHA, callHeaders(path));
      for (let i = 0; i < 100; i++) expect(filter.request(stream, message)).toBe(true);
      expect(isOpen(filter)).toBe(true);
    }
  });

  test('count from when a limit comes', () => {
    const filter = started({});
    const stream = filter.open(ALPHA, callHeaders(TOKENS));
    for (let i = 0; i < 100; i++) expect(filter.request(stream, token)).toBe(true);
    filter.supersede(config({ pdRequestsPerSecond: 2 }));
    expect(filter.request(stream, Buffer.concat(times(20, token)))).toBe(true);
    const passed = times(4, token).findIndex((message) => !filter.request(stream, message));
    // One was free, and two were there at the beginning.
    expect(passed).toBe(2);
  });
});
