import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { callGrpc, callHttp } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { callPlain, Caller, type Answer } from './support/caller.ts';
import { DAG_REQUEST, scanOf } from './support/dag.ts';
import { memcomparable, rowKey, tablePrefix } from '../harness/support/keys.ts';
import { encode, type Fields } from '../harness/support/messages.ts';
import { inAll, marker, only, tableIds } from './support/tenants.ts';

/*
 * alpha asks for what is beta's, with its own certificate and messages made by hand. Beside each refusal stands the same
 * request for its own row: it must answer, else the refusal would prove nothing.
 */
const HANDLE = 7;
const ALPHA = 1;
const BETA = 2;
const EVERYTHING = Buffer.of(0);
const NOTHING = Buffer.alloc(0);
const MAX_VERSION = (1n << 64n) - 1n;

let stack: Stack;
let alpha: Caller;
let beta: Caller;
let tableId: number;
/** Later than the rows. */
let now: bigint;

beforeAll(async () => {
  stack = await startStack();
  const ids = await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE iso');
    await session.query('CREATE TABLE iso.t (id BIGINT PRIMARY KEY, v VARCHAR(60))');
    await session.query('INSERT INTO iso.t VALUES (?, ?), (8, ?)', [HANDLE, marker(tenant), marker(tenant)]);
    return (await tableIds(session, 'iso'))['t']!;
  });
  tableId = ids['alpha']!;
  expect(ids['beta']).toBe(tableId);
  now = await timestamp('alpha');
  alpha = await Caller.of(stack, 'alpha');
  beta = await Caller.of(stack, 'beta');
});
afterAll(async () => {
  await stack?.stop();
});

async function timestamp(tenant: string): Promise<bigint> {
  const session = await stack.tidbs.get(tenant)!.connect();
  await session.query('BEGIN');
  const found = BigInt(only(await session.query('SELECT CAST(@@tidb_current_ts AS CHAR)')) as string);
  await session.query('COMMIT');
  await session.close();
  return found;
}

/** Not one byte of the other's row or physical keys is in it. */
function expectNothingOf(tenant: 'alpha' | 'beta', answer: Answer): void {
  const tag = tenant === 'alpha' ? ALPHA : BETA;
  for (const bytes of [answer.bytes, Buffer.from(answer.message)]) {
    expect(bytes.includes(marker(tenant))).toBe(false);
    expect(bytes.includes(tablePrefix(0, tag).subarray(0, 3))).toBe(false);
    expect(bytes.toString('latin1').toLowerCase()).not.toContain(
      `7480${tag.toString(16).padStart(2, '0')}0000`,
    );
  }
}

/** Why a request was refused: of a call by itself the call's status says it, inside a batch the request's own response. */
function refusalOf(answer: Answer): string {
  if (answer.status !== 'OK') {
    expect(answer.status).toBe('PERMISSION_DENIED');
    return answer.message;
  }
  const { error, errors, otherError } = answer.fields!;
  return String(error?.abort ?? errors?.[0]?.abort ?? otherError ?? error ?? 'not refused');
}

function expectRefused(answer: Answer): void {
  expect(refusalOf(answer)).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
  expectNothingOf('beta', answer);
}

/** Names of a unary method, its messages, and its request in BatchCommands. */
interface Method {
  unary: string;
  types: [string, string];
  command: string;
}

const GET: Method = { unary: 'KvGet', types: ['kvrpcpb.GetRequest', 'kvrpcpb.GetResponse'], command: 'Get' };
const SCAN: Method = {
  unary: 'KvScan',
  types: ['kvrpcpb.ScanRequest', 'kvrpcpb.ScanResponse'],
  command: 'Scan',
};
const BATCH_GET: Method = {
  unary: 'KvBatchGet',
  types: ['kvrpcpb.BatchGetRequest', 'kvrpcpb.BatchGetResponse'],
  command: 'BatchGet',
};
const SCAN_LOCK: Method = {
  unary: 'KvScanLock',
  types: ['kvrpcpb.ScanLockRequest', 'kvrpcpb.ScanLockResponse'],
  command: 'ScanLock',
};
const COPROCESSOR: Method = {
  unary: 'Coprocessor',
  types: ['coprocessor.Request', 'coprocessor.Response'],
  command: 'Coprocessor',
};

const ways = ['as a unary call', 'inside BatchCommands'] as const;

function send(caller: Caller, way: (typeof ways)[number], method: Method, fields: Fields): Promise<Answer> {
  return way === ways[0]
    ? caller.store(method.unary, method.types, fields)
    : caller.batch(method.command, fields);
}

describe.each(ways)('keys of the store, asked for %s', (way) => {
  const own = () => rowKey(tableId, HANDLE);
  const foreign = () => rowKey(tableId, HANDLE, BETA);

  test('Get: the own row; the same bytes give each tenant its own', async () => {
    for (const [caller, tenant] of [
      [alpha, 'alpha'],
      [beta, 'beta'],
    ] as const) {
      const { context } = await caller.regionOf(own());
      const answer = await send(caller, way, GET, { context, key: own(), version: now });
      expect(Buffer.from(answer.fields?.['value'] as Uint8Array).includes(marker(tenant))).toBe(true);
      expectNothingOf(tenant === 'alpha' ? 'beta' : 'alpha', answer);
    }
  });

  test("Get: the other's physical key, and any key outside of the own space, is refused", async () => {
    const { context } = await alpha.regionOf(own());
    for (const key of [foreign(), rowKey(tableId, HANDLE, ALPHA), Buffer.from('u'), Buffer.from('z')]) {
      const answer = await send(alpha, way, GET, { context, key, version: now });
      expectRefused(answer);
    }
  });

  test('BatchGet: one foreign key among own ones spoils the request', async () => {
    const { context } = await alpha.regionOf(own());
    const good = await send(alpha, way, BATCH_GET, {
      context,
      keys: [own(), rowKey(tableId, 8)],
      version: now,
    });
    const pairs = good.fields!['pairs'] as Fields[];
    expect(pairs.map((pair) => Buffer.from(pair['key'] as Uint8Array).toString('hex')).sort()).toEqual(
      [own(), rowKey(tableId, 8)].map((key) => key.toString('hex')),
    );
    expect(good.bytes.includes(marker('alpha'))).toBe(true);
    expectRefused(await send(alpha, way, BATCH_GET, { context, keys: [own(), foreign()], version: now }));
  });

  test('Scan: a range of everything gives own keys only, forwards and backwards', async () => {
    let seen = 0;
    for (const region of await alpha.regions()) {
      for (const reverse of [false, true]) {
        const answer = await send(alpha, way, SCAN, {
          context: region.context,
          startKey: reverse ? region.end : region.start,
          endKey: reverse ? region.start : region.end,
          reverse,
          limit: 100_000,
          version: now,
        });
        const pairs = answer.fields!['pairs'] as Fields[];
        for (const pair of pairs) {
          const key = Buffer.from(pair['key'] as Uint8Array);
          if (key[0] === 0x74) expect(key.readUInt16BE(1)).toBe(0x8000);
          else expect(key[0]).toBe(0x6d);
          if (key.equals(own())) seen++;
        }
        expectNothingOf('beta', answer);
      }
    }
    expect(seen).toBe(2);
  });

  test("Scan: the other's physical range is empty", async () => {
    for (const region of await alpha.regions()) {
      for (const [startKey, endKey] of [
        [tablePrefix(tableId, BETA), tablePrefix(tableId + 1, BETA)],
        [tablePrefix(0, BETA), NOTHING],
        [Buffer.from('t\x80\x01', 'latin1'), NOTHING],
      ]) {
        const answer = await send(alpha, way, SCAN, {
          context: region.context,
          startKey,
          endKey,
          limit: 1000,
          version: now,
        });
        expectNothingOf('beta', answer);
        expect(answer.fields?.['pairs'] ?? []).toEqual([]);
      }
    }
  });

  test("Coprocessor: the own table's rows; of the other's range nothing", async () => {
    const ask = (start: Buffer, end: Buffer, context: Fields): Promise<Answer> =>
      send(alpha, way, COPROCESSOR, {
        context,
        tp: DAG_REQUEST,
        data: scanOf(tableId, 2),
        ranges: [{ start, end }],
        startTs: now,
      });
    const { context } = await alpha.regionOf(own());
    const answer = await ask(tablePrefix(tableId), tablePrefix(tableId + 1), context);
    expect(Buffer.from(answer.fields!['data'] as Uint8Array).includes(marker('alpha'))).toBe(true);
    expectNothingOf('beta', answer);
    for (const [start, end] of [
      [tablePrefix(tableId, BETA), tablePrefix(tableId + 1, BETA)],
      [tablePrefix(tableId), tablePrefix(tableId + 1, BETA)],
      [tablePrefix(0, BETA), tablePrefix(0, BETA + 1)],
    ] as const)
      expectNothingOf('beta', await ask(start, end, context));
  });

  test("ScanLock: own locks only, though the other's lie in the same region", async () => {
    const key = rowKey(tableId, 4711);
    const locked = new Map<Caller, bigint>();
    for (const [caller, tenant] of [
      [alpha, 'alpha'],
      [beta, 'beta'],
    ] as const) {
      const startVersion = await timestamp(tenant);
      const { context } = await caller.regionOf(key);
      // The embedded store takes well-formed rows only: this one is a copy.
      const row = await caller.store(GET.unary, GET.types, { context, key: own(), version: now });
      const answer = await caller.store(
        'KvPrewrite',
        ['kvrpcpb.PrewriteRequest', 'kvrpcpb.PrewriteResponse'],
        {
          context,
          mutations: [{ op: 0, key, value: row.fields!['value'] as Uint8Array }],
          primaryLock: key,
          startVersion,
          lockTtl: 60_000n,
        },
      );
      expect(answer.fields).toMatchObject({ errors: [] });
      locked.set(caller, startVersion);
    }
    try {
      for (const [caller, other] of [
        [alpha, 'beta'],
        [beta, 'alpha'],
      ] as const) {
        let found: Fields[] = [];
        for (const region of await caller.regions()) {
          const answer = await send(caller, way, SCAN_LOCK, {
            context: region.context,
            maxVersion: MAX_VERSION,
            startKey: region.start,
            endKey: region.end,
            limit: 1000,
          });
          expectNothingOf(other, answer);
          found = found.concat((answer.fields?.['locks'] as Fields[] | undefined) ?? []);
        }
        expect(found.map((lock) => lock['lockVersion'] as bigint)).toEqual([locked.get(caller)]);
        expect(Buffer.from(found[0]!['key'] as Uint8Array)).toEqual(key);
        expect(Buffer.from(found[0]!['primaryLock'] as Uint8Array)).toEqual(key);
      }
    } finally {
      for (const [caller, startVersion] of locked) {
        const { context } = await caller.regionOf(key);
        await caller.store(
          'KvBatchRollback',
          ['kvrpcpb.BatchRollbackRequest', 'kvrpcpb.BatchRollbackResponse'],
          {
            context,
            keys: [key],
            startVersion,
          },
        );
      }
    }
  });
});

describe('writes', () => {
  test("the other's row cannot be written: Prewrite, PessimisticLock and ranges to delete", async () => {
    const { context } = await alpha.regionOf(rowKey(tableId, HANDLE));
    const foreign = rowKey(tableId, HANDLE, BETA);
    const startVersion = await timestamp('alpha');
    expectRefused(
      await alpha.store('KvPrewrite', ['kvrpcpb.PrewriteRequest', 'kvrpcpb.PrewriteResponse'], {
        context,
        mutations: [{ op: 1, key: foreign }],
        primaryLock: foreign,
        startVersion,
        lockTtl: 3000n,
      }),
    );
    expectRefused(
      await alpha.store(
        'KvPessimisticLock',
        ['kvrpcpb.PessimisticLockRequest', 'kvrpcpb.PessimisticLockResponse'],
        {
          context,
          mutations: [{ op: 5, key: foreign }],
          primaryLock: foreign,
          startVersion,
          forUpdateTs: startVersion,
          lockTtl: 3000n,
        },
      ),
    );
    const destroyed = await alpha.store(
      'UnsafeDestroyRange',
      ['kvrpcpb.UnsafeDestroyRangeRequest', 'kvrpcpb.UnsafeDestroyRangeResponse'],
      { context, startKey: tablePrefix(tableId, BETA), endKey: tablePrefix(tableId + 1, BETA) },
    );
    expectNothingOf('beta', destroyed);
    const session = await stack.tidbs.get('beta')!.connect('iso');
    await session.query('UPDATE t SET v = v WHERE id = ?', [HANDLE]);
    expect(only(await session.query('SELECT v FROM t WHERE id = ?', [HANDLE]))).toBe(marker('beta'));
    await session.close();
  });

  test('RawKV is refused: the key space is for transactions', async () => {
    const answer = await alpha.store('RawGet', ['kvrpcpb.RawGetRequest', 'kvrpcpb.RawGetResponse'], {
      key: rowKey(tableId, HANDLE),
    });
    expect(refusalOf(answer)).toMatch(/mode "raw"/);
  });

  test.each([
    'RawBatchScan',
    'KvGC',
    'MvccGetByStartTs',
    'PhysicalScanLock',
    'BroadcastTxnStatus',
    'Raft',
    'NoSuchMethod',
  ])('%s is refused with a reason', async (method) => {
    const certs = await stack.certs.client(principalOf('alpha'));
    const answer = await callGrpc(stack.store.meshAddress, certs, `/tikvpb.Tikv/${method}`);
    expect(answer.status).toBe('PERMISSION_DENIED');
    expect(answer.message).toContain(method);
  });
});

describe('PD', () => {
  test('ScanRegions shows the own space only, from the empty key to the empty key', async () => {
    for (const caller of [alpha, beta]) {
      const regions = await caller.regions();
      expect(regions.length).toBeGreaterThan(0);
      expect(regions[0]!.start).toHaveLength(0);
      expect(regions.at(-1)!.end).toHaveLength(0);
      for (const region of regions)
        for (const bound of [region.start, region.end])
          if (bound.length > 2 && bound[0] === 0x74) expect(bound.readUInt16BE(1)).toBe(0x8000);
    }
  });

  /** Where both tenants lie in one region, each sees it as the own one, without its true bounds. */
  const expectOwnRegions = async (answer: Answer, regions: Fields[]): Promise<void> => {
    expectNothingOf('beta', answer);
    const own = new Set((await alpha.regions()).map((region) => region.id));
    for (const { region } of regions) expect(own).toContain(region.id);
  };

  test("ScanRegions of the other's physical range shows no region of the other's", async () => {
    const answer = await alpha.pd('ScanRegions', {
      header: await alpha.header(),
      startKey: memcomparable(tablePrefix(0, BETA)),
      endKey: memcomparable(tablePrefix(0, BETA + 1)),
      limit: 100,
    });
    await expectOwnRegions(answer, (answer.fields?.['regions'] as Fields[] | undefined) ?? []);
  });

  test("GetRegion of the other's physical key shows no region of the other's", async () => {
    const answer = await alpha.pd('GetRegion', {
      header: await alpha.header(),
      regionKey: memcomparable(rowKey(tableId, HANDLE, BETA)),
    });
    await expectOwnRegions(answer, answer.fields?.['region'] ? [answer.fields] : []);
  });

  test('HTTP: regions are the own ones; administration is refused', async () => {
    const certs = await stack.certs.client(principalOf('alpha'));
    const regions = await callHttp(stack.pd.meshAddress, certs, '/pd/api/v1/regions');
    expect(regions.status).toBe(200);
    const listed = JSON.parse(regions.body) as {
      count: number;
      regions: { start_key: string; end_key: string }[];
    };
    expect(listed.regions.length).toBeGreaterThan(0);
    for (const region of listed.regions)
      for (const key of [region.start_key, region.end_key]) expect(key).not.toMatch(/^7480(?!00)/i);
    for (const [method, path] of [
      ['POST', '/pd/api/v1/config'],
      ['GET', '/pd/api/v1/hotspot/regions/read'],
      ['DELETE', '/pd/api/v1/store/1'],
      ['GET', '/pd/api/v1/regions/key/../../config'],
      ['POST', '/v3/kv/range'],
      ['GET', '/debug/pprof/heap'],
    ] as const) {
      const answer = await callHttp(stack.pd.meshAddress, certs, path, { method });
      expect({ path, refused: answer.status === 403 || answer.status === 400 }).toEqual({
        path,
        refused: true,
      });
    }
  });
});

describe('etcd', () => {
  const key = Buffer.from('/e2e/key');

  test('Range over everything gives what is the own', async () => {
    const ports = [...stack.tidbs].map(([name, tidb]) => [name, tidb.mysqlPort] as const);
    for (const [caller, name] of [
      [alpha, 'alpha'],
      [beta, 'beta'],
    ] as const) {
      const answer = await caller.etcd('KV/Range', { key: EVERYTHING, rangeEnd: EVERYTHING });
      const kvs = answer.fields!['kvs'] as Fields[];
      const names = kvs.map((kv) => Buffer.from(kv['key'] as Uint8Array).toString());
      expect(names.some((text) => text.startsWith('/tidb/server/info/'))).toBe(true);
      // As TiDB wrote them: neither PD's own keys nor any with a tenant in front.
      for (const text of names) expect(text).toMatch(/^(\/tidb\/|tidb\/|\/topology\/|\/tiflash\/|\/e2e\/)/);
      for (const [tenant, port] of ports)
        expect(answer.bytes.includes(`"listening_port":${port}`)).toBe(tenant === name);
    }
  });

  test('a key of the same name is another one in each tenant, for Put, Range, Txn and DeleteRange', async () => {
    for (const caller of [alpha, beta])
      await caller.etcd('KV/Put', { key, value: Buffer.from(marker(caller.tenant)) });
    for (const [caller, other] of [
      [alpha, 'beta'],
      [beta, 'alpha'],
    ] as const) {
      const got = await caller.etcd('KV/Range', { key });
      expect(Buffer.from(got.fields!['kvs'][0].value as Uint8Array).toString()).toBe(marker(caller.tenant));
      expectNothingOf(other, got);
      const txn = await caller.etcd('KV/Txn', {
        compare: [
          {
            result: 0,
            target: 3,
            key,
            targetUnion: { case: 'value', value: Buffer.from(marker(caller.tenant)) },
          },
        ],
        success: [{ request: { case: 'requestRange', value: { key: EVERYTHING, rangeEnd: EVERYTHING } } }],
        failure: [],
      });
      expect(txn.fields!['succeeded']).toBe(true);
      expect(txn.bytes.includes(marker(caller.tenant))).toBe(true);
      expectNothingOf(other, txn);
    }
    const deleted = await alpha.etcd('KV/DeleteRange', {
      key: Buffer.from('/e2e/'),
      rangeEnd: EVERYTHING,
      prevKv: true,
    });
    expectNothingOf('beta', deleted);
    expect((await alpha.etcd('KV/Range', { key })).fields!['kvs']).toEqual([]);
    expect((await beta.etcd('KV/Range', { key })).fields!['kvs']).toHaveLength(1);
  });

  test("PD's own keys do not exist for a tenant", async () => {
    for (const text of ['/pd', '/pd/', 'beta', '/beta', '/tidb-mesh'])
      expect(
        (
          await alpha.etcd('KV/Range', {
            key: Buffer.from(text),
            rangeEnd: Buffer.from(`${text}\xff`, 'latin1'),
          })
        ).fields?.['kvs'] ?? [],
      ).toEqual([]);
  });

  test('a watch over everything hears own changes only', async () => {
    const from = (await alpha.etcd('KV/Range', { key })).fields!['header'].revision as bigint;
    await beta.etcd('KV/Put', { key, value: Buffer.from(marker('beta')) });
    await alpha.etcd('KV/Put', { key, value: Buffer.from(marker('alpha')) });
    const heard = await alpha.etcdStream(
      'Watch/Watch',
      {
        requestUnion: {
          case: 'createRequest',
          value: { key: Buffer.from('/e2e/'), rangeEnd: Buffer.from('/e2e0'), startRevision: from + 1n },
        },
      },
      (fields) => (fields['events'] as Fields[]).length > 0,
    );
    expect(heard.bytes.includes(marker('alpha'))).toBe(true);
    expectNothingOf('beta', heard);
  });

  test("the other's lease can be neither seen, kept alive nor revoked", async () => {
    const granted = (await beta.etcd('Lease/LeaseGrant', { TTL: 300n })).fields!;
    const lease = granted['ID'] as bigint;
    const leased = Buffer.from('/e2e/leased');
    expect(granted['TTL']).toBe(300n);
    expect((await beta.etcd('KV/Put', { key: leased, value: Buffer.from('x'), lease })).code).toBe(0);
    const timeToLive = async (caller: Caller): Promise<bigint> =>
      ((await caller.etcd('Lease/LeaseTimeToLive', { ID: lease, keys: true })).fields?.['TTL'] as
        bigint | undefined) ?? -1n;

    expect(await timeToLive(beta)).toBeGreaterThan(290n);
    expect(await timeToLive(alpha)).toBeLessThanOrEqual(0n);
    expect((await alpha.etcd('Lease/LeaseRevoke', { ID: lease })).code).not.toBe(0);
    const kept = await alpha.etcdStream('Lease/LeaseKeepAlive', { ID: lease });
    expect((kept.fields?.['TTL'] as bigint | undefined) ?? 0n).toBe(0n);
    expect((await alpha.etcd('KV/Put', { key: leased, value: Buffer.from('x'), lease })).code).not.toBe(0);

    expect(await timeToLive(beta)).toBeGreaterThan(290n);
    expect((await beta.etcd('KV/Range', { key: leased })).fields!['kvs']).toHaveLength(1);
    const own = await beta.etcdStream('Lease/LeaseKeepAlive', { ID: lease });
    expect(own.fields).toMatchObject({ ID: lease, TTL: 300n });
    expect((await beta.etcd('Lease/LeaseRevoke', { ID: lease })).code).toBe(0);
    expect((await beta.etcd('KV/Range', { key: leased })).fields!['kvs']).toEqual([]);
  });

  test.each([
    'Maintenance/Snapshot',
    'Maintenance/Defragment',
    'Cluster/MemberAdd',
    'Auth/AuthEnable',
    'KV/Compact',
    'Lease/LeaseLeases',
  ])('%s is refused', async (method) => {
    const certs = await stack.certs.client(principalOf('alpha'));
    const answer = await callGrpc(stack.pd.meshAddress, certs, `/etcdserverpb.${method}`);
    expect(answer.status).toBe('PERMISSION_DENIED');
  });
});

describe('who is calling', () => {
  const get = async (principal: string | undefined, metadata: Record<string, string> = {}) => {
    const { context } = await alpha.regionOf(rowKey(tableId, HANDLE));
    const certs = await stack.certs.client(principal ?? principalOf('alpha'));
    const message = encode('kvrpcpb.GetRequest', { context, key: rowKey(tableId, HANDLE), version: now });
    return callGrpc(
      stack.store.meshAddress,
      principal === undefined ? { ca: certs.ca } : certs,
      '/tikvpb.Tikv/KvGet',
      message,
      { metadata, deadline: 5000 },
    );
  };

  test('a certificate that a rule names gets the row', async () => {
    const answer = await get(principalOf('alpha', 'anything'));
    expect(answer.status).toBe('OK');
    expect(answer.body!.includes(marker('alpha'))).toBe(true);
  });

  test.each([
    ['a namespace that is no tenant', 'spiffe://demo.mesh/ns/gamma/sa/tidb', /"name": "gamma"/],
    ['another trust domain', 'spiffe://elsewhere.example/ns/alpha/sa/tidb', /pluginConfig\.rules/],
    ['a path in front of the right one', 'spiffe://demo.mesh/x/ns/alpha/sa/tidb', /pluginConfig\.rules/],
    ['no service account', 'spiffe://demo.mesh/ns/alpha', /pluginConfig\.rules/],
  ])('a certificate with %s is refused, and told what to add', async (_title, principal, hint) => {
    const answer = await get(principal);
    expect(answer.status).toBe('PERMISSION_DENIED');
    expect(answer.message).toContain(principal);
    expect(answer.message).toMatch(hint);
    expect(answer.body).toBeUndefined();
    const http = await callHttp(
      stack.pd.meshAddress,
      await stack.certs.client(principal),
      '/pd/api/v1/stores',
    );
    expect(http.status).toBe(403);
    expect(http.body).toContain(principal);
  });

  test('without a certificate there is no connection', async () => {
    expect(['UNAVAILABLE', 'DEADLINE_EXCEEDED']).toContain((await get(undefined)).status);
  });

  test('a tenant header from outside changes nothing', async () => {
    const answer = await get(principalOf('alpha'), {
      'x-tidb-mesh-tenant': 'beta',
      'x-forwarded-client-cert': `URI=${principalOf('beta')}`,
      'x-envoy-peer-metadata-id': 'beta',
    });
    expect(answer.status).toBe('OK');
    expect(answer.body!.includes(marker('alpha'))).toBe(true);
    expect(answer.body!.includes(marker('beta'))).toBe(false);
  });

  test('forwarding headers never arrive: PD would dial whatever they name', async () => {
    // Nobody listens there; PD itself, asked directly, tries and fails.
    const metadata = { 'pd-forwarded-host': 'http://127.0.0.1:1' };
    const direct = new URL(stack.pd.directUrl).host;
    const fields = { header: await alpha.header(), regionKey: memcomparable(rowKey(tableId, HANDLE)) };
    const message = encode('pdpb.GetRegionRequest', fields);
    expect(await callPlain(direct, '/pdpb.PD/GetRegion', message, {})).toBe('OK');
    expect(await callPlain(direct, '/pdpb.PD/GetRegion', message, metadata)).not.toBe('OK');
    const viaMesh = await alpha.pd('GetRegion', fields, metadata);
    expect(viaMesh.status).toBe('OK');
  });
});
