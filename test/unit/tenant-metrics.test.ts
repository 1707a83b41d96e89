/** What is counted of each tenant, and told to Envoy once a second. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode } from '../harness/support/messages.ts';

const GET = '/tikvpb.Tikv/KvGet';
const BATCH = '/tikvpb.Tikv/BatchCommands';
const KEY = rowKey(100, 1);

const config = (more: object = {}, tenants = ['alpha', 'beta']): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: tenants.map((name, i) => ({ name, number: i + 1 })),
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
      ...more,
    }),
  );
const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = 1_700_000_000_000;
  filter.configure(config());
});

/** A series of a tenant, as of the last tick. */
const series = (name: string, tenant = 'alpha', label = ''): number =>
  filter.metric(`tenant=.=${tenant};.;${label}tidbmesh_tenant_${name}`);
const requests = (kind: string, tenant = 'alpha'): number =>
  series('requests_total', tenant, `kind=.=${kind};.;`);
/** All series of a tenant. */
const seriesOf = (tenant: string): string[] =>
  filter.metricNames.filter((name) => name.startsWith(`tenant=.=${tenant};`));

function batch(...commands: [string, object][]): Uint8Array {
  return frame(
    encode('tikvpb.BatchCommandsRequest', {
      requests: commands.map(([name, value]) => ({ cmd: { case: name, value } })),
      requestIds: commands.map((_, i) => BigInt(i + 1)),
    }),
  );
}
const get: [string, object] = ['Get', { key: KEY, version: 5n }];
const put: [string, object] = ['Prewrite', { mutations: [{ key: KEY }], primaryLock: KEY, startVersion: 5n }];

describe('the oldest transaction', () => {
  const tells = (millisAgo: number, tenant = 'alpha'): void => {
    const value = Buffer.from(String(BigInt(filter.clock - millisAgo) << 18n));
    const message = encode('etcdserverpb.PutRequest', {
      key: Buffer.from('/tidb/server/minstartts/x'),
      value,
      lease: 7n,
    });
    const stream = filter.open(caller(tenant), callHeaders('/etcdserverpb.KV/Put'));
    filter.request(stream, frame(message));
    filter.close(stream);
  };
  const seconds = (tenant?: string): number => series('oldest_transaction_seconds', tenant);

  test('is the earliest that a TiDB told, and over when they are silent', () => {
    tells(3_600_000);
    tells(5000);
    tells(1000, 'beta');
    filter.tick();
    expect([seconds(), seconds('beta')]).toEqual([3600, 1]);
    filter.clock += 60_000;
    filter.tick();
    expect(seconds()).toBe(3600);
    filter.clock += 61_000;
    filter.tick();
    expect([seconds(), seconds('beta')]).toEqual([0, 0]);
  });

  test('is no older than the tenant may hold garbage collection back', () => {
    tells(30 * 86_400_000);
    filter.tick();
    expect(seconds()).toBe(86_400);
  });
});

describe('requests', () => {
  test('of a batch count by their kinds, however often the like was seen', () => {
    const stream = filter.open(caller('alpha'), callHeaders(BATCH));
    for (let i = 0; i < 40; i++) filter.request(stream, batch(get, get, put, get));
    filter.tick();
    expect([requests('read'), requests('write'), requests('scan')]).toEqual([120, 40, 0]);
    filter.request(stream, batch(get));
    expect(requests('read')).toBe(120);
    filter.tick();
    expect([requests('read'), requests('read', 'beta')]).toEqual([121, 0]);
  });

  test('alone count by their kinds, messages of a stream one by one, HTTP by call', () => {
    const call = (path: string, message: Uint8Array, times = 1): void => {
      const stream = filter.open(caller('alpha'), callHeaders(path));
      for (let i = 0; i < times; i++) filter.request(stream, frame(message));
      filter.close(stream);
    };
    call(GET, encode('kvrpcpb.GetRequest', get[1]));
    call('/pdpb.PD/Tso', encode('pdpb.TsoRequest', { count: 1 }), 3);
    call('/etcdserverpb.KV/Range', encode('etcdserverpb.RangeRequest', { key: Buffer.from('/tidb/x') }));
    call('/pdpb.PD/GetMembers', new Uint8Array());
    const version = [':path', '/pd/api/v1/version'] as const;
    filter.open(caller('alpha'), headerPairs([[':method', 'GET'], version, [':authority', 'pd']]));
    filter.tick();
    expect(['read', 'find', 'etcd', 'pd'].map((kind) => requests(kind))).toEqual([1, 4, 1, 1]);
  });
});

test('bytes, rewrites, streams and held bytes', () => {
  const stream = filter.open(caller('alpha'), callHeaders(GET));
  const request = frame(encode('kvrpcpb.GetRequest', get[1]));
  filter.request(stream, request.subarray(0, 9));
  filter.tick();
  expect([series('streams_total'), series('streams_active')]).toEqual([1, 1]);
  expect(series('held_bytes')).toBeGreaterThan(0);
  filter.request(stream, request.subarray(9));
  filter.answerHeaders(stream);
  const answer = frame(encode('kvrpcpb.GetResponse', { notFound: true }));
  filter.answer(stream, answer);
  filter.close(stream);
  filter.tick();
  expect(series('request_bytes_total')).toBe(request.length);
  expect(series('response_bytes_total')).toBe(answer.length);
  expect(series('rewrites_total')).toBe(1);
  expect([series('streams_active'), series('held_bytes')]).toEqual([0, 0]);
});

test('refusals count by code: of calls, of requests of a batch, of callers without a tenant for nobody', () => {
  const stream = filter.open(caller('alpha'), callHeaders(BATCH));
  filter.request(stream, batch(['Get', { key: rowKey(70, 1, 9), version: 5n }], get));
  expect(() => filter.open(caller('alpha'), callHeaders('/pdpb.PD/StoreHeartbeat'))).toThrow();
  expect(() => filter.open(caller('nobody'), callHeaders(GET))).toThrow();
  filter.tick();
  const refused = (code: string): number => series('refused_total', 'alpha', `code=.=${code};.;`);
  expect([refused('KEY_OUTSIDE'), refused('NOT_FOR_TENANTS'), refused('UNKNOWN_TENANT')]).toEqual([1, 1, 0]);
  expect(filter.metric('code=.=UNKNOWN_TENANT;.;tidbmesh_refused')).toBe(1);
});

describe('errors of the store', () => {
  const CLASSES = ['region', 'busy', 'lock', 'conflict', 'other'] as const;
  /** The numbers of errors, without those that are 0. */
  const errors = (tenant = 'alpha'): Record<string, number> => {
    filter.tick();
    const counts = CLASSES.map(
      (name) => [name, series('errors_total', tenant, `class=.=${name};.;`)] as const,
    );
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  };
  const locked = { primaryLock: rowKey(100, 1, 1), key: rowKey(100, 1, 1), lockVersion: 5n, lockTtl: 3000n };

  function answer(path: string, type: string, fields: object, tenant = 'alpha'): void {
    const stream = filter.open(caller(tenant), callHeaders(path));
    filter.answerHeaders(stream);
    filter.answer(stream, frame(encode(type, fields)));
    filter.close(stream);
  }
  const answerGet = (fields: object): void => answer(GET, 'kvrpcpb.GetResponse', fields);
  const answers = (...commands: [string, object][]): Uint8Array =>
    frame(
      encode('tikvpb.BatchCommandsResponse', {
        responses: commands.map(([name, value]) => ({ cmd: { case: name, value } })),
        requestIds: commands.map((_, i) => BigInt(i + 1)),
      }),
    );

  const REGION_ERRORS: [object, string][] = [
    [{ notLeader: { regionId: 5n } }, 'region'],
    [{ message: 'epoch not match', epochNotMatch: { currentRegions: [{ id: 5n }] } }, 'region'],
    [{ message: 'region 5 is missing', regionNotFound: { regionId: 5n } }, 'region'],
    [{ message: 'server is busy', serverIsBusy: { reason: 'too many', backoffMs: 9n } }, 'busy'],
    [{ message: 'no space', diskFull: { storeId: [1n] } }, 'busy'],
    [{ message: 'too large', raftEntryTooLarge: { regionId: 5n } }, 'other'],
    [{ message: 'anything else' }, 'other'],
  ];
  test.each(REGION_ERRORS)('a region error %j is of the class %s', (regionError, name) => {
    answerGet({ regionError });
    expect(errors()).toEqual({ [name]: 1 });
  });

  const KEY_ERRORS: [string, object, string][] = [
    ['a lock', { locked }, 'lock'],
    ['a write conflict', { conflict: { startTs: 5n } }, 'conflict'],
    [
      'a write conflict as older stores tell it',
      { retryable: 'again', conflict: { startTs: 5n } },
      'conflict',
    ],
    ['what makes a transaction begin again', { retryable: 'again' }, 'conflict'],
    ['a deadlock', { deadlock: { lockTs: 5n } }, 'conflict'],
    ['a key that is there', { alreadyExist: {} }, 'other'],
    ['an abort', { abort: 'no' }, 'other'],
  ];
  test.each(KEY_ERRORS)('%s', (_, error, name) => {
    answerGet({ error });
    expect(errors()).toEqual({ [name]: 1 });
  });

  test('count for each key, of the coprocessor and of RawKV, and for their own tenant', () => {
    answer('/tikvpb.Tikv/KvPrewrite', 'kvrpcpb.PrewriteResponse', {
      errors: [{ locked }, { locked }, { conflict: {} }],
    });
    answer('/tikvpb.Tikv/KvScan', 'kvrpcpb.ScanResponse', { pairs: [{ error: { locked } }, {}] });
    answer('/tikvpb.Tikv/Coprocessor', 'coprocessor.Response', { locked, execDetailsV2: {} });
    answer('/tikvpb.Tikv/Coprocessor', 'coprocessor.Response', { otherError: 'no', cacheLastVersion: 5n });
    answer('/tikvpb.Tikv/KvGet', 'kvrpcpb.GetResponse', { error: { locked } }, 'beta');
    expect(errors()).toEqual({ lock: 4, conflict: 1, other: 1 });
    expect(errors('beta')).toEqual({ lock: 1 });
  });

  test('an answer without an error counts nothing', () => {
    answerGet({ value: Buffer.from('x'), execDetailsV2: {} });
    answer('/tikvpb.Tikv/Coprocessor', 'coprocessor.Response', { data: Buffer.alloc(0), isCacheHit: true });
    expect(errors()).toEqual({});
  });

  test('count inside a batch, however often the like was seen', () => {
    const stream = filter.open(caller('alpha'), callHeaders(BATCH));
    filter.answerHeaders(stream);
    const good: [string, object] = ['Get', { value: Buffer.alloc(64) }];
    const moved: [string, object] = [
      'Get',
      { regionError: { notLeader: { regionId: 5n, leader: { id: 1n << 60n } } } },
    ];
    const busy: [string, object] = [
      'Coprocessor',
      { regionError: { serverIsBusy: { backoffMs: 1n << 60n, appliedIndex: 1n << 60n } } },
    ];
    const held: [string, object] = ['Get', { error: { locked } }];
    const scanned: [string, object] = ['Coprocessor', { locked }];
    for (let i = 0; i < 100; i++)
      filter.answer(stream, answers(good, held, moved, busy, scanned, held, good));
    expect(errors()).toEqual({ lock: 300, region: 100, busy: 100 });
  });

  test('a learned answer is not taken for one of its length with an error', () => {
    const stream = filter.open(caller('alpha'), callHeaders(BATCH));
    filter.answerHeaders(stream);
    const held: [string, object] = ['Get', { error: { locked } }];
    const length = encode('kvrpcpb.GetResponse', held[1]).length;
    const good: [string, object] = ['Get', { value: Buffer.alloc(length - 2) }];
    expect(answers(good).length).toBe(answers(held).length);
    for (let i = 0; i < 100; i++) filter.answer(stream, answers(good, good));
    for (let i = 0; i < 100; i++) filter.answer(stream, answers(good, held));
    expect(errors()).toEqual({ lock: 100 });
  });

  test('a refusal by the filter is none', () => {
    const stream = filter.open(caller('alpha'), callHeaders(BATCH));
    filter.request(stream, batch(['Get', { key: rowKey(70, 1, 9), version: 5n }]));
    filter.answerHeaders(stream);
    filter.answer(stream, answers(['Empty', {}]));
    expect(errors()).toEqual({});
  });
});

describe('series', () => {
  const use = (tenant: string): void => {
    const stream = filter.open(caller(tenant), callHeaders(GET));
    filter.request(stream, frame(encode('kvrpcpb.GetRequest', get[1])));
    filter.close(stream);
  };

  test('a tenant that was never seen has none', () => {
    use('alpha');
    filter.tick();
    expect(seriesOf('alpha').length).toBeGreaterThan(3);
    expect(seriesOf('beta')).toEqual([]);
  });

  test('go on when the configuration changes', () => {
    use('alpha');
    filter.configure(config({ limits: {} }));
    use('alpha');
    filter.tick();
    expect(requests('read')).toBe(2);
  });

  test('behind the first maxTenants of the list are one', () => {
    const tenants = ['alpha', 'beta', 'gamma', 'delta'];
    filter.configure(config({ observability: { maxTenants: 2 } }, tenants));
    for (const tenant of tenants) use(tenant);
    for (let i = 0; i < 2; i++) filter.tick();
    const reads = [...tenants, '_other'].map((tenant) => requests('read', tenant));
    expect(reads).toEqual([1, 1, 0, 0, 2]);
    expect([series('streams_total', '_other'), seriesOf('gamma')]).toEqual([2, []]);
  });

  test('are told by differences: a tick without requests tells nothing', () => {
    use('alpha');
    filter.tick();
    const told = filter.increments;
    filter.tick();
    expect(filter.increments).toBe(told);
  });
});

describe('a limit of open streams', () => {
  const open = (tenant = 'alpha'): number => filter.open(caller(tenant), callHeaders(GET));
  const TOO_MANY =
    /^tidb-mesh\[TOO_MANY_STREAMS\]: \/tikvpb\.Tikv\/KvGet: the tenant has as many open streams as /;

  test('refuses the next one, and counts none that was refused', () => {
    filter.configure(config({ limits: { maxStreamsPerTenant: 2 } }));
    const first = open();
    open();
    for (let i = 0; i < 15; i++) expect(() => open()).toThrow(TOO_MANY);
    open('beta');
    filter.close(first);
    open();
    expect(() => open()).toThrow(TOO_MANY);
    filter.tick();
    expect(series('streams_active')).toBe(2);
    expect(series('refused_total', 'alpha', 'code=.=TOO_MANY_STREAMS;.;')).toBe(16);
  });

  test('of a tenant counts before that of all; a new configuration counts at once', () => {
    const tenants = [
      { name: 'alpha', number: 1, limits: { maxStreams: 3 } },
      { name: 'beta', number: 2 },
    ];
    filter.configure(config({ tenants, limits: { maxStreamsPerTenant: 1 } }));
    for (let i = 0; i < 3; i++) open();
    expect(() => open()).toThrow(TOO_MANY);
    open('beta');
    expect(() => open('beta')).toThrow(TOO_MANY);
    filter.supersede(config());
    open();
    filter.supersede(config({ limits: { maxStreamsPerTenant: 4 } }));
    expect(() => open()).toThrow(TOO_MANY);
  });
});

describe('latency', () => {
  const BUCKETS = Array.from({ length: 14 }, (_, i) => (2 ** (8 + i) / 1000).toFixed(3));
  const bucket = (le: string, tenant?: string): number =>
    series('request_milliseconds_bucket', tenant, `le=.=${le};.;`);
  /** Requests in each bucket by itself, without those that are 0, as of now. */
  function measured(tenant = 'alpha'): Record<string, number> {
    filter.tick();
    const all = [...BUCKETS, '+Inf'];
    const counts = all.map((le, i) => [le, bucket(le, tenant) - (i === 0 ? 0 : bucket(all[i - 1]!, tenant))]);
    return Object.fromEntries(counts.filter(([, count]) => count !== 0)) as Record<string, number>;
  }
  const sumAndCount = (tenant?: string): [number, number] => [
    series('request_milliseconds_sum', tenant),
    series('request_milliseconds_count', tenant),
  ];
  const request = (...ids: number[]): Uint8Array =>
    frame(
      encode('tikvpb.BatchCommandsRequest', {
        requests: ids.map(() => ({ cmd: { case: 'Get', value: { key: KEY, version: 5n } } })),
        requestIds: ids.map(BigInt),
      }),
    );
  /** As TiKV writes it: one by one. */
  function answer(...ids: number[]): Uint8Array {
    const responses = encode('tikvpb.BatchCommandsResponse', {
      responses: ids.map(() => ({ cmd: { case: 'Get', value: { notFound: true } } })),
    });
    const numbers = ids.flatMap((id) => {
      const packed = encode('tikvpb.BatchCommandsResponse', { requestIds: [BigInt(id)] });
      return [0x10, ...packed.subarray(2)];
    });
    return frame(Buffer.concat([responses, Buffer.from(numbers)]));
  }
  function batchStream(tenant = 'alpha'): number {
    const stream = filter.open(caller(tenant), callHeaders(BATCH));
    filter.answerHeaders(stream);
    return stream;
  }
  const on = { observability: { latency: true } };
  beforeEach(() => filter.configure(config(on)));

  test('of requests in a batch is from the request to the answer with its id', () => {
    const stream = batchStream();
    filter.request(stream, request(1, 2, 3));
    filter.clock += 10;
    filter.request(stream, request(4));
    filter.answer(stream, answer(2));
    filter.clock += 20;
    filter.answer(stream, answer(3, 1));
    expect(measured()).toEqual({ '16.384': 1, '32.768': 2 });
    expect(sumAndCount()).toEqual([70, 3]);
    filter.clock += 1970;
    filter.answer(stream, answer(4));
    // An id that is not open measures nothing.
    filter.answer(stream, answer(4));
    filter.answer(stream, answer(9));
    expect(measured()).toEqual({ '16.384': 1, '32.768': 2, '2097.152': 1 });
    expect(sumAndCount()).toEqual([70 + 1990, 4]);
  });

  test.each([
    [0, '0.256'],
    [1, '1.024'],
    [2, '2.048'],
    [2097, '2097.152'],
    [2098, '+Inf'],
    [3_600_000, '+Inf'],
  ])('%s ms lie in the bucket %s, and Prometheus has all buckets', (milliseconds, le) => {
    const stream = batchStream();
    filter.request(stream, request(7));
    filter.clock += milliseconds;
    filter.answer(stream, answer(7));
    expect(measured()).toEqual({ [le]: 1 });
    expect(sumAndCount()).toEqual([milliseconds, 1]);
    const names = seriesOf('alpha').filter((name) => name.includes('milliseconds_bucket'));
    expect(names).toHaveLength(BUCKETS.length + 1);
  });

  test('of a unary call is that of the call; other streams are not measured', () => {
    for (const [path, type] of [
      [GET, 'kvrpcpb.GetRequest'],
      ['/pdpb.PD/Tso', 'pdpb.TsoRequest'],
    ] as const) {
      const stream = filter.open(caller('alpha'), callHeaders(path));
      filter.request(stream, frame(encode(type, type === 'kvrpcpb.GetRequest' ? get[1] : { count: 1 })));
      filter.answerHeaders(stream);
      filter.clock += 5;
      filter.answerTrailers(stream);
      filter.close(stream);
    }
    expect(measured()).toEqual({ '8.192': 1 });
  });

  test('of thousands that are open at once is measured, of more not', () => {
    const stream = batchStream();
    const ids = Array.from({ length: 4100 }, (_, i) => i + 1);
    for (let i = 0; i < ids.length; i += 100) filter.request(stream, request(...ids.slice(i, i + 100)));
    filter.clock += 3;
    for (let i = 0; i < ids.length; i += 100) filter.answer(stream, answer(...ids.slice(i, i + 100)));
    // The last four have taken the places of the first four.
    expect(measured()).toEqual({ '4.096': 4096 });
  });

  test('has an end of its memory, and gives it back', () => {
    // Two ids of one place make a table as large as it may be: 64 KiB, of 16 MiB.
    const [both, first] = [request(1, 4097), answer(1)];
    const wide = (): number => {
      const stream = batchStream();
      filter.request(stream, both);
      return stream;
    };
    const streams = Array.from({ length: 700 }, wide);
    const bytes = filter.memoryBytes;
    for (const stream of streams) filter.close(stream);
    for (let i = 0; i < 300; i++) filter.close(wide());
    expect(filter.memoryBytes).toBe(bytes);
    // The memory doubles when it grows.
    expect(bytes).toBeLessThan(40 * 2 ** 20);
    // There is room again.
    const stream = batchStream();
    filter.request(stream, request(1, 33));
    filter.answer(stream, first);
    expect(Object.values(measured())).toEqual([1]);
  });

  test('of tenants without series of their own is told as one, and cumulates', () => {
    filter.configure(config({ observability: { latency: true, maxTenants: 1 } }, ['alpha', 'beta', 'gamma']));
    for (const tenant of ['alpha', 'beta', 'gamma']) {
      const stream = batchStream(tenant);
      filter.request(stream, request(1));
      filter.clock += 4;
      filter.answer(stream, answer(1));
    }
    expect([measured(), measured('beta'), measured('_other')]).toEqual([{ '4.096': 1 }, {}, { '4.096': 2 }]);
    expect(sumAndCount('_other')).toEqual([8, 2]);
  });

  test('is not measured by default', () => {
    filter.configure(config());
    const stream = batchStream();
    filter.request(stream, request(1));
    filter.answer(stream, answer(1));
    filter.tick();
    expect(seriesOf('alpha').filter((name) => name.includes('milliseconds'))).toEqual([]);
  });
});
