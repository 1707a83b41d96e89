/** Limits by count: watches, keys and leases in etcd, and resource groups. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const PUT = '/etcdserverpb.KV/Put';
const TXN = '/etcdserverpb.KV/Txn';
const DELETE = '/etcdserverpb.KV/DeleteRange';
const GRANT = '/etcdserverpb.Lease/LeaseGrant';
const REVOKE = '/etcdserverpb.Lease/LeaseRevoke';
const WATCH = '/etcdserverpb.Watch/Watch';
const ADD_GROUP = '/resource_manager.ResourceManager/AddResourceGroup';
const MODIFY_GROUP = '/resource_manager.ResourceManager/ModifyResourceGroup';

const config = (limits: object, more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name: 'alpha', number: 1, limits },
        { name: 'beta', number: 2 },
      ],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
      pd: { cluster: 'pd' },
      ...more,
    }),
  );
const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);

beforeAll(buildModule);

function started(limits: object, more: object = {}): HostedModule {
  const filter = new HostedModule();
  filter.clock = 1_700_000_000_000;
  filter.reachesPd = true;
  filter.configure(config(limits, more));
  return filter;
}

/** Ticks that ask PD are a second apart. */
function second(filter: HostedModule, times = 1): void {
  for (let i = 0; i < times; i++) {
    filter.clock += 1000;
    filter.tick();
  }
}

/** Makes a unary call. Gives '' or the refusal's text. */
function call(filter: HostedModule, path: string, type: string, fields: Fields, tenant = 'alpha'): string {
  const { context, goesOn } = filter.tryOpen(caller(tenant), callHeaders(path));
  const passes = goesOn && filter.request(context, frame(encode(type, fields)));
  filter.close(context);
  return passes ? '' : filter.refusal;
}
const put = (filter: HostedModule, key = 'k', tenant?: string): string =>
  call(filter, PUT, 'etcdserverpb.PutRequest', { key: Buffer.from(key), value: Buffer.from('v') }, tenant);
const grant = (filter: HostedModule, tenant?: string): string =>
  call(filter, GRANT, 'etcdserverpb.LeaseGrantRequest', { TTL: 60n }, tenant);
const GROUP = {
  group: { name: 'g', mode: 1, rUSettings: { rU: { settings: { fillRate: 5n } } } },
};
const addGroup = (filter: HostedModule, path = ADD_GROUP): string =>
  call(filter, path, 'resource_manager.PutResourceGroupRequest', GROUP);

/** The question of this path that was sent last, and its answer. */
const KV = '/v3/kv/txn';
const LEASES = '/v3/lease/leases';
function asked(filter: HostedModule, path: string): { token: number; body: string } | undefined {
  return filter.calls.findLast((one) => one.path === path);
}
const counts = (...numbers: number[]): string =>
  JSON.stringify({
    header: { cluster_id: '1', revision: '7' },
    succeeded: true,
    responses: numbers.map((count) => ({
      response_range: { header: { revision: '7' }, ...(count === 0 ? {} : { count: String(count) }) },
    })),
  });
/** Leases as etcd lists them: signed numbers. */
const leaseId = (tenant: number, id: bigint): string =>
  BigInt.asIntN(64, (1n << 63n) | (BigInt(tenant) << 48n) | id).toString();
const leases = (...ids: string[]): string =>
  JSON.stringify({ header: { revision: '7' }, leases: ids.map((ID) => ({ ID })) });

function answer(filter: HostedModule, path: string, text?: string): void {
  filter.answerCall(asked(filter, path)!.token, text);
}

describe('keys in etcd', () => {
  test('are refused at the limit, by what was put since the last count', () => {
    const filter = started({ etcdKeys: 3 });
    for (let i = 0; i < 3; i++) expect(put(filter)).toBe('');
    expect(put(filter)).toMatch(/^tidb-mesh\[TOO_MANY_ETCD_KEYS\]: .*limits\.etcdKeys/);
    expect(put(filter, 'k', 'beta')).toBe('');
  });

  test('are counted by PD a second later: its own range, its start timestamps, its groups', () => {
    const filter = started({ etcdKeys: 3 });
    for (let i = 0; i < 3; i++) put(filter);
    second(filter);
    const { success } = JSON.parse(asked(filter, KV)!.body) as {
      success: { request_range: { key: string; range_end: string; count_only: boolean } }[];
    };
    expect(
      success.map(({ request_range: { key, range_end, count_only } }) => [
        Buffer.from(key, 'base64').toString(),
        Buffer.from(range_end, 'base64').toString(),
        count_only,
      ]),
    ).toEqual([
      ['/tidb-mesh/alpha:', '/tidb-mesh/alpha;', true],
      ['/tidb/server/minstartts/alpha:', '/tidb/server/minstartts/alpha;', true],
      ['resource_group/settings/1:', 'resource_group/settings/1;', true],
    ]);
    expect(asked(filter, LEASES)).toBeUndefined();
    // The three puts were of two keys.
    answer(filter, KV, counts(1, 1, 0));
    expect(put(filter)).toBe('');
    expect(put(filter)).toMatch(/TOO_MANY_ETCD_KEYS/);
  });

  test('that were deleted leave room within a second', () => {
    const filter = started({ etcdKeys: 2 });
    put(filter);
    second(filter);
    answer(filter, KV, counts(2, 0, 0));
    expect(put(filter)).toMatch(/TOO_MANY_ETCD_KEYS/);
    const fields = { key: Buffer.from('k') };
    expect(call(filter, DELETE, 'etcdserverpb.DeleteRangeRequest', fields)).toBe('');
    second(filter);
    answer(filter, KV, counts(1, 0, 0));
    expect(put(filter)).toBe('');
  });

  test('of a transaction count one by one; one that puts nothing goes on at the limit', () => {
    const filter = started({ etcdKeys: 2 });
    const txn = (...cases: string[]): string =>
      call(filter, TXN, 'etcdserverpb.TxnRequest', {
        success: cases.map((name, i) => ({
          request: { case: name, value: { key: Buffer.from(`k${i}`) } },
        })),
      });
    expect(txn('requestPut', 'requestPut')).toBe('');
    expect(txn('requestPut')).toMatch(/TOO_MANY_ETCD_KEYS/);
    expect(txn('requestRange', 'requestDeleteRange')).toBe('');
  });

  test('put while a question is on its way are added to its answer', () => {
    const filter = started({ etcdKeys: 5 });
    put(filter);
    second(filter);
    put(filter);
    put(filter);
    answer(filter, KV, counts(2, 0, 0));
    expect(put(filter)).toBe('');
    expect(put(filter)).toMatch(/TOO_MANY_ETCD_KEYS/);
  });

  test.each([
    ['no answer', undefined],
    ['an error', '{"error":"etcdserver: no leader","code":14}'],
    ['something else', '{"responses":[{"response_range":{"count":"0"}}]}'],
  ])('stay as they were known after %s, and PD is asked again', (_, text) => {
    const filter = started({ etcdKeys: 1 });
    put(filter);
    second(filter);
    const before = filter.calls.length;
    answer(filter, KV, text);
    expect(put(filter)).toMatch(/TOO_MANY_ETCD_KEYS/);
    expect(filter.metric('tidbmesh_holdings_lookups_failed_total')).toBe(1);
    second(filter);
    expect(filter.calls.length).toBeGreaterThan(before);
    answer(filter, KV, counts(0, 0, 0));
    expect(put(filter)).toBe('');
  });

  test('whose question is lost are asked for again', () => {
    const filter = started({ etcdKeys: 1 });
    put(filter);
    second(filter, 3);
    expect(filter.calls).toHaveLength(1);
    second(filter, 4);
    expect(filter.calls).toHaveLength(2);
  });
});

test('leases are told from those of other tenants, and the limit frees itself when they expire', () => {
  const filter = started({ etcdLeases: 2 });
  expect([grant(filter), grant(filter)]).toEqual(['', '']);
  expect(grant(filter)).toMatch(/^tidb-mesh\[TOO_MANY_LEASES\]: .*limits\.etcdLeases/);
  expect(grant(filter, 'beta')).toBe('');
  expect(call(filter, REVOKE, 'etcdserverpb.LeaseRevokeRequest', { ID: 5n })).toBe('');
  second(filter);
  expect(asked(filter, KV)).toBeUndefined();
  const others = [leaseId(2, 9n), leaseId(2, 1n), '7587862094473568774', leaseId(257, 3n)];
  answer(filter, LEASES, leases(leaseId(1, 0xffff_ffff_ffffn), ...others));
  expect([grant(filter), grant(filter)]).toEqual(['', expect.stringMatching(/TOO_MANY_LEASES/)]);
  second(filter);
  answer(filter, LEASES, leases(...others));
  expect([grant(filter), grant(filter)]).toEqual(['', '']);
});

test('a list of leases beyond 4 MiB is not read: those of others use up no limit, and PD is asked again', () => {
  const filter = started({ etcdLeases: 1 });
  expect(grant(filter)).toBe('');
  second(filter);
  expect(grant(filter)).toMatch(/TOO_MANY_LEASES/);
  answer(filter, LEASES, leases() + ' '.repeat(4 << 20));
  expect([grant(filter), grant(filter)]).toEqual(['', expect.stringMatching(/TOO_MANY_LEASES/)]);
  expect(filter.metric('tidbmesh_holdings_lookups_failed_total')).toBe(1);
  second(filter);
  answer(filter, LEASES, leases().padEnd(4 << 20));
  expect(grant(filter)).toBe('');
});

describe('records of PD', () => {
  const RULES = '/pd/api/v1/config/placement-rule?partial=true';
  const GROUP = '/pd/api/v1/config/rule_group';
  const LABELS = '/pd/api/v1/config/region-label/rules';
  const [start_key, end_key] = ['', ''];
  const rule = (id: string): object => ({
    group_id: 'TiDB_DDL_1',
    id,
    start_key,
    end_key,
    role: 'voter',
    count: 3,
  });
  const bundle = (...ids: string[]): string =>
    JSON.stringify([{ group_id: 'TiDB_DDL_1', group_index: 40, group_override: true, rules: ids.map(rule) }]);
  /** What TiDB sends for a table that has no policy any more. */
  const removed = JSON.stringify([
    { group_id: 'TiDB_DDL_1', group_index: 0, group_override: false, rules: null },
  ]);
  const patch = (...ids: string[]): string =>
    JSON.stringify({
      sets: ids.map((id) => ({
        id,
        labels: [{ key: 'merge_option', value: 'deny' }],
        rule_type: 'key-range',
        data: [{ start_key, end_key }],
      })),
      deletes: ['schema/a/b'],
    });

  /** Sends JSON to PD's HTTP API. Gives '' or the refusal's text. */
  function send(filter: HostedModule, method: string, path: string, body: string, tenant = 'alpha'): string {
    const headers = headerPairs([
      [':method', method],
      [':scheme', 'https'],
      [':path', path],
      [':authority', 'pd:2379'],
      ['content-type', 'application/json'],
    ]);
    const { context, goesOn } = filter.tryOpen(caller(tenant), headers);
    const passes = goesOn && filter.request(context, Buffer.from(body), true);
    filter.close(context);
    return passes ? '' : filter.refusal;
  }
  const keep = (filter: HostedModule, ttl = 60n): string =>
    call(filter, '/pdpb.PD/UpdateServiceGCSafePoint', 'pdpb.UpdateServiceGCSafePointRequest', {
      serviceId: Buffer.from('dumpling-1'),
      TTL: ttl,
      safePoint: BigInt(filter.clock) << 18n,
    });

  /** With PD's cluster known. */
  function knowing(limits: object): HostedModule {
    const filter = started(limits);
    second(filter);
    const id = Buffer.alloc(8);
    id.writeBigUInt64BE(77n);
    filter.answerCall(
      filter.timeCalls.at(-1)!.token,
      JSON.stringify({ kvs: [{ value: id.toString('base64') }] }),
    );
    return filter;
  }

  test('are placement rules, label rules and service safe points, each one in a body', () => {
    const filter = knowing({ pdRecords: 6 });
    // The group of a bundle is one, too.
    expect(send(filter, 'POST', RULES, bundle('a', 'b'))).toBe('');
    expect(send(filter, 'PATCH', LABELS, patch('x', 'y'))).toBe('');
    // None of two where there is room for one.
    expect(send(filter, 'POST', RULES, bundle('c', 'd'))).toMatch(/TOO_MANY_RECORDS.*limits\.pdRecords/);
    expect(keep(filter)).toBe('');
    expect(keep(filter)).toMatch(/TOO_MANY_RECORDS/);
    expect(send(filter, 'PATCH', LABELS, patch('x'))).toMatch(/TOO_MANY_RECORDS/);
    expect(send(filter, 'POST', RULES, bundle('a'), 'beta')).toBe('');
  });

  test('are groups of rules, too', () => {
    const filter = knowing({ pdRecords: 1 });
    const group = JSON.stringify({ id: 'g', index: 1 });
    expect(send(filter, 'POST', GROUP, group)).toBe('');
    expect(send(filter, 'POST', GROUP, group)).toMatch(/TOO_MANY_RECORDS/);
    // PD keeps no group that has neither.
    expect(send(filter, 'POST', GROUP, JSON.stringify({ id: 'g', index: 0, override: false }))).toBe('');
  });

  test.each([
    ['an index', { group_index: 1 }],
    ['an index above all', { group_index: 120, group_override: false }],
    ['an override', { group_index: 0, group_override: true }],
    ['both', { group_override: true, group_index: 1 }],
  ])('are groups of a bundle without rules that have %s', (_, members) => {
    const filter = knowing({ pdRecords: 2 });
    const post = (id: string): string =>
      send(filter, 'POST', RULES, JSON.stringify([{ group_id: id, ...members, rules: [] }]));
    expect([post('a'), post('b')]).toEqual(['', '']);
    expect(post('c')).toMatch(/TOO_MANY_RECORDS/);
    expect(send(filter, 'POST', RULES, removed)).toBe('');
  });

  test('may be removed at the limit', () => {
    const filter = knowing({ pdRecords: 1 });
    expect(keep(filter)).toBe('');
    expect(send(filter, 'POST', RULES, removed)).toBe('');
    expect(send(filter, 'PATCH', LABELS, patch())).toBe('');
    expect(keep(filter, 0n)).toBe('');
  });

  test("are counted by PD, below its cluster's id", () => {
    const filter = knowing({ pdRecords: 5 });
    for (const id of ['a', 'b', 'c']) send(filter, 'POST', RULES, bundle(id));
    second(filter);
    const { success } = JSON.parse(asked(filter, KV)!.body) as {
      success: { request_range: { key: string; range_end: string } }[];
    };
    const hex = Buffer.from('tidb-mesh:alpha:').toString('hex');
    expect(
      success
        .slice(3)
        .map(({ request_range: { key, range_end } }) => [
          Buffer.from(key, 'base64').toString(),
          Buffer.from(range_end, 'base64').toString(),
        ]),
    ).toEqual([
      [`/pd/77/rules/${hex}`, `/pd/77/rules/${hex.slice(0, -1)}b`],
      ['/pd/77/rule_group/tidb-mesh:alpha:', '/pd/77/rule_group/tidb-mesh:alpha;'],
      ['/pd/77/region_label/tidb-mesh:alpha:', '/pd/77/region_label/tidb-mesh:alpha;'],
      ['/pd/77/gc/safe_point/service/tidb-mesh:alpha:', '/pd/77/gc/safe_point/service/tidb-mesh:alpha;'],
    ]);
    answer(filter, KV, counts(50, 50, 50, 1, 0, 0, 1));
    expect(send(filter, 'POST', RULES, bundle('d'))).toBe('');
    expect(send(filter, 'POST', RULES, bundle('e'))).toMatch(/TOO_MANY_RECORDS/);
  });

  test("count by themselves while PD's cluster is not known, or its answer is short", () => {
    const filter = started({ pdRecords: 4 });
    for (const id of ['a', 'b']) expect(send(filter, 'POST', RULES, bundle(id))).toBe('');
    second(filter);
    expect(asked(filter, KV)).toBeUndefined();
    expect(send(filter, 'POST', RULES, bundle('c'))).toMatch(/TOO_MANY_RECORDS/);
    const known = knowing({ pdRecords: 1 });
    expect(keep(known)).toBe('');
    second(known);
    answer(known, KV, counts(0, 0, 0));
    expect(keep(known)).toMatch(/TOO_MANY_RECORDS/);
  });
});

test('resource groups are counted when they are added, not when they are changed', () => {
  const filter = started({ resourceGroups: 1 });
  expect(addGroup(filter)).toBe('');
  expect(addGroup(filter)).toMatch(
    /^tidb-mesh\[TOO_MANY_GROUPS\]: \/resource_manager\..*limits\.resourceGroups/,
  );
  expect(addGroup(filter, MODIFY_GROUP)).toBe('');
  second(filter);
  answer(filter, KV, counts(500, 500, 0));
  expect(addGroup(filter)).toBe('');
});

describe('questions', () => {
  test('are not asked for tenants without a limit, and rarely while nothing is added', () => {
    const without = started({});
    put(without);
    second(without, 30);
    expect(without.calls).toEqual([]);
    const filter = started({ etcdKeys: 9, etcdLeases: 9 });
    second(filter, 5);
    expect(filter.calls).toEqual([]);
    put(filter);
    second(filter);
    answer(filter, KV, counts(1, 0, 0));
    answer(filter, LEASES, leases());
    second(filter, 9);
    expect(filter.calls).toHaveLength(2);
    second(filter, 2);
    expect(filter.calls).toHaveLength(4);
  });

  test('of many tenants are asked in turn, 32 at a time', () => {
    const tenants = Array.from({ length: 50 }, (_, i) => ({
      name: `t${i}`,
      number: i + 1,
      limits: { etcdKeys: 1, etcdLeases: 1 },
    }));
    const filter = started({}, { tenants });
    for (const { name } of tenants) put(filter, 'k', name);
    const askedFor = (): Set<string> =>
      new Set(
        filter.calls
          .filter(({ path }) => path === KV)
          .map(({ body }) => Buffer.from(/"key":"([^"]*)"/.exec(body)![1]!, 'base64').toString()),
      );
    second(filter);
    expect([filter.calls.length, askedFor().size]).toEqual([64, 32]);
    for (const { token } of filter.calls) filter.answerCall(token);
    second(filter);
    expect([filter.calls.length, askedFor().size]).toEqual([128, 50]);
  });

  test('follow the configuration in force; a limit for all tenants does not hold for tenant 0', () => {
    const tenants = [
      { name: 'alpha', number: 1, limits: { etcdKeys: 2 } },
      { name: 'beta', number: 0 },
    ];
    const filter = started({}, { tenants, limits: { etcdKeysPerTenant: 1 } });
    expect([put(filter), put(filter), put(filter)]).toEqual(['', '', expect.stringMatching(/TOO_MANY/)]);
    for (let i = 0; i < 5; i++) expect(put(filter, 'k', 'beta')).toBe('');
    filter.configure(config({}));
    for (let i = 0; i < 5; i++) expect(put(filter)).toBe('');
  });

  test('tell their answers in the status and as metrics', () => {
    const filter = started({ etcdKeys: 9, etcdLeases: 9, resourceGroups: 9 });
    put(filter);
    second(filter);
    answer(filter, KV, counts(3, 1, 2));
    answer(filter, LEASES, leases(leaseId(1, 1n)));
    const gauge = (limit: string): number =>
      filter.metric(`tenant=.=alpha;.;limit=.=${limit};.;tidbmesh_tenant_holdings`);
    expect([gauge('etcdKeys'), gauge('resourceGroups'), gauge('etcdLeases')]).toEqual([4, 2, 1]);
  });
});

describe('watches', () => {
  const create = (key: string, end = ''): Uint8Array =>
    frame(
      encode('etcdserverpb.WatchRequest', {
        requestUnion: {
          case: 'createRequest',
          value: { key: Buffer.from(key), rangeEnd: Buffer.from(end) },
        },
      }),
    );
  const told = (fields: Fields): Uint8Array => frame(encode('etcdserverpb.WatchResponse', fields));
  const created = (watchId: bigint): Uint8Array => told({ watchId, created: true });
  const canceled = (watchId: bigint): Uint8Array => told({ watchId, canceled: true });
  const EMPTY = told({
    watchId: -1n,
    created: true,
    canceled: true,
    cancelReason: 'mvcc: watcher range is empty',
  });

  function opened(filter: HostedModule): number {
    const stream = filter.open(caller('alpha'), callHeaders(WATCH));
    filter.answerHeaders(stream);
    return stream;
  }
  /** The range that goes on. */
  function sent(filter: HostedModule, stream: number, piece: Uint8Array): string[] {
    expect(filter.request(stream, piece)).toBe(true);
    const { requestUnion } = decode('etcdserverpb.WatchRequest', filter.passed().subarray(5));
    const { key, rangeEnd } = (requestUnion as { value: Fields }).value;
    return [Buffer.from(key as Uint8Array), Buffer.from(rangeEnd as Uint8Array)].map(String);
  }
  const open = (filter: HostedModule, stream: number, id: bigint): void => {
    expect(sent(filter, stream, create(`w${id}`))[1]).toBe('');
    filter.answer(stream, created(id));
  };
  const REFUSED = ['/tidb-mesh/alpha:x', '/tidb-mesh/alpha:x'];

  test('are 10,000 on one stream at most, also without a limit', () => {
    const filter = started({});
    const stream = opened(filter);
    for (let id = 0n; id < 10_000n; id++) {
      expect(filter.request(stream, create('w'))).toBe(true);
      filter.answer(stream, created(id));
    }
    expect(sent(filter, stream, create('x'))).toEqual(REFUSED);
    filter.answer(stream, EMPTY);
    expect(decode('etcdserverpb.WatchResponse', filter.passed().subarray(5))['cancelReason']).toMatch(
      /^tidb-mesh\[TOO_MANY_WATCHES\]: .*10000 on one stream/,
    );
    expect(sent(filter, opened(filter), create('x'))).not.toEqual(REFUSED);
    filter.answer(stream, canceled(7n));
    expect(sent(filter, stream, create('x'))).not.toEqual(REFUSED);
  });

  test.each([
    ['a key', create('x')],
    ['a range', create('x', 'z')],
    ['an open range', create('x', '\0')],
  ])('beyond the limit go on with an empty range: %s', (_, piece) => {
    const filter = started({ etcdWatches: 2 });
    const stream = opened(filter);
    open(filter, stream, 1n);
    expect(sent(filter, stream, piece)[1]).not.toBe(REFUSED[1]);
    expect(sent(filter, stream, piece)).toEqual(REFUSED);
    filter.answer(stream, created(2n));
    filter.answer(stream, EMPTY);
    expect(decode('etcdserverpb.WatchResponse', filter.passed().subarray(5))['cancelReason']).toMatch(
      /^tidb-mesh\[TOO_MANY_WATCHES\]: .*limits\.etcdWatches/,
    );
    second(filter);
    expect(filter.metric('tenant=.=alpha;.;code=.=TOO_MANY_WATCHES;.;tidbmesh_tenant_refused_total')).toBe(1);
    expect(filter.metric('tenant=.=alpha;.;tidbmesh_tenant_etcd_watches')).toBe(2);
  });

  test('count over all streams of the tenant, and end with their stream', () => {
    const filter = started({ etcdWatches: 3 });
    const [one, two] = [opened(filter), opened(filter)];
    open(filter, one, 1n);
    open(filter, one, 2n);
    open(filter, two, 1n);
    expect(sent(filter, two, create('x'))).toEqual(REFUSED);
    filter.close(one);
    open(filter, two, 2n);
    open(filter, two, 3n);
    expect(sent(filter, two, create('x'))).toEqual(REFUSED);
    filter.close(two);
    second(filter);
    expect(filter.metric('tenant=.=alpha;.;tidbmesh_tenant_etcd_watches')).toBe(0);
  });

  test('are counted once, however often etcd says that they have ended', () => {
    const filter = started({ etcdWatches: 2 });
    const stream = opened(filter);
    open(filter, stream, 1n);
    open(filter, stream, 2n);
    for (let i = 0; i < 3; i++) filter.answer(stream, canceled(1n));
    filter.answer(stream, canceled(77n));
    filter.answer(stream, told({ watchId: 2n, created: false, canceled: false }));
    open(filter, stream, 3n);
    expect(sent(filter, stream, create('x'))).toEqual(REFUSED);
  });

  test('that etcd itself refuses do not count, and keep its reason', () => {
    const filter = started({ etcdWatches: 1 });
    const stream = opened(filter);
    expect(sent(filter, stream, create('x', 'a'))[1]).toBe('/tidb-mesh/alpha:a');
    filter.answer(stream, EMPTY);
    expect(decode('etcdserverpb.WatchResponse', filter.passed().subarray(5))['cancelReason']).toBe(
      'mvcc: watcher range is empty',
    );
    open(filter, stream, 1n);
  });

  test('are counted without a limit, too, so that one counts when it comes', () => {
    const filter = started({});
    const stream = opened(filter);
    open(filter, stream, 1n);
    filter.supersede(config({ etcdWatches: 1 }));
    expect(sent(filter, stream, create('x'))).toEqual(REFUSED);
  });
});
