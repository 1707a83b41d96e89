import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { top } from '../../src-ts/cli/commands/top.ts';
import { usage } from '../../src-ts/cli/commands/usage.ts';
import { setRequestUnits } from '../../src-ts/tenants/request-units.ts';
import type { Usage } from '../../src-ts/tenants/usage.ts';
import { Caller, type Answer } from '../e2e/support/caller.ts';
import { errorOf, inAll } from '../e2e/support/tenants.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import type { Fields } from '../harness/support/messages.ts';

/*
 * PD has one list of resource groups for the whole store: two stock TiDBs make theirs by the same name. Alpha's `default` is its own, beta
 * shares PD's.
 */
const TENANTS = [
  { name: 'alpha', number: 1, ownDefaultGroup: true },
  { name: 'beta', number: 2 },
];
const RATES: Record<string, number> = { alpha: 1000, beta: 2000 };
/** With the tenant's number and a colon in front, 32 bytes: the longest that PD keeps. */
const LONGEST = 'g'.repeat(30);
/** What a statement may take that is refused at once. */
const AT_ONCE = 5000;

let stack: Stack;
let pd: Endpoint;
const callers: Record<string, Caller> = {};

beforeAll(async () => {
  stack = await startStack({ tenants: TENANTS });
  pd = new Endpoint({ pd: stack.pd.directUrl });
  for (const { name } of stack.tenants) callers[name] = await Caller.of(stack, name);
});
afterAll(async () => {
  pd?.close();
  await stack?.stop();
});

interface PdGroup {
  name: string;
  r_u_settings: { r_u: { settings: { fill_rate: number } } };
}

/** PD's own view, past Envoy: rate by name. */
async function inPd(): Promise<Record<string, number>> {
  const answer = await fetch(`${stack.pd.directUrl}/resource-manager/api/v1/config/groups`);
  const groups = (await answer.json()) as PdGroup[];
  return Object.fromEntries(groups.map((group) => [group.name, group.r_u_settings.r_u.settings.fill_rate]));
}

/** information_schema's view of one tenant: rate by name. */
async function inSql(tenant: string): Promise<Record<string, string>> {
  const session = await stack.tidbs.get(tenant)!.connect();
  try {
    const rows = await session.query('SELECT name, ru_per_sec FROM information_schema.resource_groups');
    return Object.fromEntries(
      rows.map((row) => [String(row['name'] ?? row['NAME']), String(row['ru_per_sec'] ?? row['RU_PER_SEC'])]),
    );
  } finally {
    await session.close();
  }
}

describe('two TiDBs with a group of one name', () => {
  beforeAll(async () => {
    await inAll(stack, async (session, tenant) => {
      await session.query(`CREATE RESOURCE GROUP app RU_PER_SEC = ${RATES[tenant]}`);
      await session.query(`CREATE RESOURCE GROUP only_${tenant} RU_PER_SEC = 77 PRIORITY = HIGH`);
      await session.query(`CREATE RESOURCE GROUP ${LONGEST} RU_PER_SEC = 5`);
      await session.query('CREATE DATABASE work');
      await session.query('CREATE TABLE work.t (id BIGINT PRIMARY KEY, v VARCHAR(64))');
    });
  });

  test('each sees its own, PD has both', async () => {
    const own = await inAll(stack, (_, tenant) => inSql(tenant));
    for (const [tenant, rate] of Object.entries(RATES))
      expect(own[tenant]).toEqual({
        default: 'UNLIMITED',
        app: String(rate),
        [`only_${tenant}`]: '77',
        [LONGEST]: '5',
      });
    expect(await inPd()).toMatchObject({
      '1:app': 1000,
      '2:app': 2000,
      '1:only_alpha': 77,
      '2:only_beta': 77,
      [`1:${LONGEST}`]: 5,
      [`2:${LONGEST}`]: 5,
    });
    // PD's `default`, and one for each tenant, which beta's configuration does not use.
    expect(Object.keys(await inPd())).toHaveLength(9);
  });

  test('statements run under it, and draw from the bucket of their own tenant', async () => {
    await inAll(stack, async (session) => {
      await session.query('SET RESOURCE GROUP app');
      expect(await session.query('SELECT CURRENT_RESOURCE_GROUP() AS g')).toEqual([{ g: 'app' }]);
      for (let id = 0; id < 50; id++) await session.query('INSERT INTO work.t VALUES (?, ?)', [id, 'x']);
      const [row] = await session.query('SELECT /*+ RESOURCE_GROUP(app) */ COUNT(*) AS n FROM work.t');
      expect(Number(row!['n'])).toBe(50);
    });
    const used = async (): Promise<string[]> => {
      const text = await (await fetch(`${stack.pd.directUrl}/metrics`)).text();
      return [
        ...text.matchAll(/resource_manager_resource_unit_write_request_unit_sum\{[^}]*?name="([^"]+)"/g),
      ].map((found) => found[1]!);
    };
    let names: string[] = [];
    // TiDB reports what was used when it has used enough, or after some seconds.
    for (let i = 0; i < 60 && !['1:app', '2:app'].every((name) => names.includes(name)); i++) {
      await sleep(500);
      names = await used();
    }
    expect(names).toEqual(expect.arrayContaining(['1:app', '2:app']));
    expect(names).not.toContain('app');
  });
  test('a change reaches the tenant whose it is', async () => {
    await inAll(stack, async (session, tenant) => {
      if (tenant === 'alpha') await session.query('ALTER RESOURCE GROUP app RU_PER_SEC = 1234 BURSTABLE');
    });
    expect(await inPd()).toMatchObject({ '1:app': 1234, '2:app': 2000 });
    expect((await inSql('beta'))['app']).toBe('2000');
    expect((await inSql('alpha'))['app']).toBe('1234');
  });

  test('a query that breaks its limit is ended, in its own tenant', async () => {
    await inAll(stack, async (session, tenant) => {
      await session.query(
        "CREATE RESOURCE GROUP tight RU_PER_SEC = 10000 QUERY_LIMIT = (EXEC_ELAPSED = '200ms', ACTION = KILL)",
      );
      if (tenant === 'beta')
        await session.query('ALTER RESOURCE GROUP tight RU_PER_SEC = 10000 QUERY_LIMIT = NULL');
    });
    await sleep(1000);
    const outcome = await inAll(stack, async (session) => {
      try {
        await session.query('SELECT /*+ RESOURCE_GROUP(tight) */ SLEEP(2), COUNT(*) FROM work.t');
        return 'done';
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(outcome).toEqual({ alpha: expect.stringMatching(/runaway/i), beta: 'done' });
  });

  test('CALIBRATE RESOURCE reads what PD says of request units', async () => {
    const said = await inAll(stack, async (session) => {
      try {
        return JSON.stringify(await session.query('CALIBRATE RESOURCE'));
      } catch (error) {
        return (error as Error).message;
      }
    });
    // The embedded store has no metric of its processors; what is asked of PD before that is answered.
    for (const answer of Object.values(said)) expect(answer).toMatch(/QUOTA|cpu/i);
  });

  test('dropping it in one tenant leaves the other its own', async () => {
    await inAll(stack, async (session, tenant) => {
      if (tenant === 'alpha') await session.query('DROP RESOURCE GROUP app');
    });
    const pd = await inPd();
    expect(pd['1:app']).toBeUndefined();
    expect(pd['2:app']).toBe(2000);
    expect((await inSql('beta'))['app']).toBe('2000');
    expect(await inSql('alpha')).not.toHaveProperty('app');
    await inAll(stack, async (session, tenant) => {
      if (tenant !== 'beta') return;
      await session.query('SET RESOURCE GROUP app');
      await session.query("INSERT INTO work.t VALUES (1000, 'after')");
    });
  });

  test('no tenant changes `default`, and the error comes at once', async () => {
    await inAll(stack, async (session) => {
      const start = Date.now();
      const { message } = await errorOf(session.query('ALTER RESOURCE GROUP default RU_PER_SEC = 10'));
      expect(message).toMatch(/sets the resource group `default`/);
      expect(Date.now() - start).toBeLessThan(AT_ONCE);
    });
    const rates = await inPd();
    for (const name of ['default', '1:default', '2:default'])
      expect([name, rates[name]]).toEqual([name, 2 ** 31 - 1]);
    // What was refused leaves nothing behind.
    for (const tenant of ['alpha', 'beta']) expect((await inSql(tenant))['default']).toBe('UNLIMITED');
  });

  test('an external timestamp is one for all: a clear error at once', async () => {
    await inAll(stack, async (session) => {
      const start = Date.now();
      const { message } = await errorOf(
        session.query(`SET GLOBAL tidb_external_ts = ${(BigInt(Date.now()) - 10_000n) << 18n}`),
      );
      expect(message).toMatch(/ask its owner/);
      expect(Date.now() - start).toBeLessThan(AT_ONCE);
    });
  });

  test('a name too long for PD waits with a reason, and ADMIN CANCEL ends it', async () => {
    await inAll(stack, async (session, tenant) => {
      const other = await stack.tidbs.get(tenant)!.connect();
      try {
        const failed = errorOf(session.query(`CREATE RESOURCE GROUP ${LONGEST}g RU_PER_SEC = 5`));
        let job: unknown;
        for (let i = 0; i < 40 && job === undefined; i++) {
          await sleep(250);
          const jobs = await other.query("ADMIN SHOW DDL JOBS WHERE job_type = 'create resource group'");
          job = jobs.find((row) => !/synced|cancelled/.test(String(row['STATE'])))?.['JOB_ID'];
        }
        await other.query(`ADMIN CANCEL DDL JOBS ${String(job)}`);
        const { message } = await failed;
        expect(message).toMatch(/32 bytes|ancel/);
      } finally {
        await other.close();
      }
    });
    expect(Object.keys(await inPd()).filter((name) => name.includes(`${LONGEST}g`))).toEqual([]);
  });
});

describe("a limit of a tenant's `default`", () => {
  /** Request units a second. A row takes more, one for each KiB. */
  const LIMIT = 50;
  const ROW_BYTES = 65_536;
  const SESSIONS = 2;
  const SECONDS = 3;
  /** TiDB learns of a limit with its next tokens, which it asks for every 5 s, or 20 s when it uses little. */
  const MOST_ROUNDS = 20;

  type Rows = Record<string, number>;

  /** Rows that each tenant writes beside the other in the same time. */
  async function round(): Promise<Rows> {
    const end = Date.now() + SECONDS * 1000;
    const one = async (tenant: string): Promise<number> => {
      const session = await stack.tidbs.get(tenant)!.connect('work');
      let rows = 0;
      try {
        for (; Date.now() < end; rows++)
          await session.query(`INSERT INTO loads (v) VALUES (REPEAT('x', ${ROW_BYTES}))`);
      } catch (error) {
        // Who waits too long for request units is told so.
        expect((error as Error).message).toMatch(/resource group quota/);
      }
      await session.close();
      return rows;
    };
    const done = stack.tenants.map(async ({ name }): Promise<[string, number]> => {
      const all = await Promise.all(Array.from({ length: SESSIONS }, () => one(name)));
      return [name, all.reduce((sum, rows) => sum + rows, 0)];
    });
    return Object.fromEntries(await Promise.all(done));
  }

  /** Lets both write until the outcome is as wanted. Gives the last one. */
  async function until(isWanted: (rows: Rows) => boolean): Promise<Rows> {
    let rows = await round();
    for (let i = 1; i < MOST_ROUNDS && !isWanted(rows); i++) rows = await round();
    return rows;
  }
  const isHeldBack = (rows: Rows): boolean => 2 * rows['alpha']! < rows['beta']!;

  async function underGroups(): Promise<Record<string, number>> {
    const { resourceGroups } = await stack.store.inspect.stats();
    return resourceGroups as Record<string, number>;
  }

  test('TiDB holds back the tenant that has it, and not the other', async () => {
    await inAll(stack, (session) =>
      session.query('CREATE TABLE work.loads (id BIGINT AUTO_RANDOM PRIMARY KEY, v MEDIUMBLOB)'),
    );
    expect(await setRequestUnits(pd, 1, { ru: LIMIT, priority: 'low' })).toEqual({
      ru: LIMIT,
      burst: false,
      priority: 'low',
    });
    // The other's limit is not in use: its configuration shares PD's `default`.
    await setRequestUnits(pd, 2, { ru: 1 });
    for (let i = 0; i < 40 && (await inSql('alpha'))['default'] !== String(LIMIT); i++) await sleep(250);
    expect((await inSql('alpha'))['default']).toBe(String(LIMIT));
    expect((await inSql('beta'))['default']).toBe('UNLIMITED');
    const before = await underGroups();
    const rows = await until(isHeldBack);
    expect(isHeldBack(rows)).toBe(true);
    const after = await underGroups();
    const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
    // At the store each request names the group that PD has.
    expect(grown('1:default')).toBeGreaterThanOrEqual(rows['alpha']!);
    expect(grown('default')).toBeGreaterThanOrEqual(rows['beta']!);
    expect(Object.keys(after)).not.toContain('2:default');
  });

  test('PD counts what the tenant uses under its own name', async () => {
    const text = await (await fetch(`${stack.pd.directUrl}/metrics`)).text();
    const used =
      /resource_manager_resource_unit_write_request_unit_sum\{[^}]*?name="1:default"[^}]*\} (\S+)/.exec(text);
    expect(Number(used?.[1])).toBeGreaterThan(0);
  });

  test('`usage` and `top` tell what it uses from what tenants share', async () => {
    const options = { pd: stack.pd.directUrl };
    const tell = (): void => undefined;
    const { value, text } = await usage.run({ options, args: [], tell });
    const { tenants, shared } = value as Usage;
    const alpha = tenants.find(({ name }) => name === 'alpha');
    const beta = tenants.find(({ name }) => name === 'beta');
    for (const counters of [alpha, shared]) {
      expect(counters?.requestUnits).toBeGreaterThan(0);
      expect(counters?.writeRequests).toBeGreaterThan(0);
      expect(counters?.writtenBytes).toBeGreaterThan(0);
    }
    // Beta has used groups of its own only in tests above, and its `default` not at all.
    expect(beta?.requestUnits).toBeLessThan(shared.requestUnits);
    expect(text).toMatch(/^alpha +\d+\.\d/m);
    const operator = await stack.certs.client(principalOf('storage', 'operator'));
    const mesh = `https://${stack.pd.meshAddress}`;
    const through = { ...operator, pd: mesh, serverName: 'localhost', envoy: [mesh] };
    const live = await top.run({
      options: { ...through, once: true, interval: 1, sort: 'ru', output: 'json' },
      args: [],
      tell,
    });
    expect(Date.parse((live.value as Usage).at)).toBeGreaterThan(Date.parse((live.value as Usage).since!));
    expect(live.text).toMatch(/^beta +\d+\.\d.* active +\d+\.\d/m);
    const total = (await usage.run({ options: { ...through, csv: true }, args: [], tell })).value as Usage;
    for (const { mesh: counted } of total.tenants) expect(counted?.requests).toBeGreaterThan(0);
    // PD itself has no filter.
    await expect(
      usage.run({ options: { ...options, envoy: [stack.pd.directUrl] }, args: [], tell }),
    ).rejects.toThrow(/no filter answers/);
  });

  test('without the limit it is not held back any more', async () => {
    await setRequestUnits(pd, 1, { ru: 'unlimited', priority: 'medium' });
    for (let i = 0; i < 40 && (await inSql('alpha'))['default'] !== 'UNLIMITED'; i++) await sleep(250);
    expect(isHeldBack(await until((rows) => !isHeldBack(rows)))).toBe(false);
  });
});

describe('a tenant with bad intentions', () => {
  const MANAGER = 'resource_manager.ResourceManager';
  const call = (
    tenant: string,
    method: string,
    request: string,
    response: string,
    fields: Fields,
  ): Promise<Answer> =>
    callers[tenant]!.pdService(
      `${MANAGER}/${method}`,
      [`resource_manager.${request}`, `resource_manager.${response}`],
      fields,
    );
  const settings = { mode: 1, rUSettings: { rU: { settings: { fillRate: 1n } } } };
  const put = (method: string, group: Fields | undefined): Promise<Answer> =>
    call('alpha', method, 'PutResourceGroupRequest', 'PutResourceGroupResponse', group ? { group } : {});

  test.each(['2:app', 'app', 'only_beta', '2:only_beta'])(
    'naming %s reaches no group of another',
    async (name) => {
      const before = await inPd();
      const got = await call(
        'alpha',
        'GetResourceGroup',
        'GetResourceGroupRequest',
        'GetResourceGroupResponse',
        {
          resourceGroupName: name,
        },
      );
      expect(got.status).not.toBe('OK');
      await put('ModifyResourceGroup', { name, ...settings });
      await call(
        'alpha',
        'DeleteResourceGroup',
        'DeleteResourceGroupRequest',
        'DeleteResourceGroupResponse',
        {
          resourceGroupName: name,
        },
      );
      expect(await inPd()).toEqual(before);
    },
  );

  test.each(['../settings/2:app', 'x/../../settings/2:app', '/', 'a/b'])('%s is no name', async (name) => {
    const before = await inPd();
    expect((await put('AddResourceGroup', { name, ...settings })).status).toBe('INVALID_ARGUMENT');
    expect(await inPd()).toEqual(before);
  });

  test('what would stop PD does not reach it', async () => {
    for (const method of ['AddResourceGroup', 'ModifyResourceGroup'])
      for (const group of [
        undefined,
        { name: 'bad' },
        { name: 'bad', mode: 2 },
        { ...settings, name: 'bad', mode: 0 },
        { name: 'bad', mode: 1 },
        { name: 'bad', mode: 1, rUSettings: {} },
        { name: 'bad', mode: 1, rUSettings: { rU: {} } },
      ])
        expect((await put(method, group)).status).toBe('INVALID_ARGUMENT');
    expect(Object.keys(await inPd())).toContain('default');
  });

  test('lists and the meta storage show its own groups and the default', async () => {
    const listed = await call(
      'alpha',
      'ListResourceGroups',
      'ListResourceGroupsRequest',
      'ListResourceGroupsResponse',
      {},
    );
    const names = (listed.fields!['groups'] as Fields[]).map((group) => group['name'] as string).sort();
    expect(names).toEqual(['default', LONGEST, 'only_alpha', 'tight']);
    const get = (key: string, rangeEnd = ''): Promise<Answer> =>
      callers['alpha']!.pdService(
        'meta_storagepb.MetaStorage/Get',
        ['meta_storagepb.GetRequest', 'meta_storagepb.GetResponse'],
        {
          key: Buffer.from(key),
          rangeEnd: Buffer.from(rangeEnd),
        },
      );
    const keys = (answer: Answer): string[] =>
      (answer.fields!['kvs'] as Fields[]).map((kv) => Buffer.from(kv['key'] as Uint8Array).toString()).sort();
    const all = await get('resource_group/settings', 'resource_group/settingt');
    expect(keys(all)).toEqual(names.map((name) => `resource_group/settings/${name}`));
    expect(all.bytes.toString('latin1')).not.toMatch(/2:|1:|only_beta/);
    expect(all.fields!['count']).toBe(0n);
    expect(all.fields!['more']).toBe(false);
    expect(keys(await get('resource_group/controller', 'resource_group/controlles'))).toEqual([
      'resource_group/controller',
    ]);
    expect(keys(await get('resource_group/settings/only_alpha'))).toEqual([
      'resource_group/settings/only_alpha',
    ]);
    expect(keys(await get('resource_group/settings/2:app'))).toEqual([]);
    for (const [key, end] of [
      ['resource_group/states/2:app', ''],
      ['/pd', '\0'],
      ['resource_group/', '\0'],
      ['', 'resource_group/z'],
      ['resource_group/', 'resource_group/zzz'],
      ['resource_group/settings/2:', 'resource_group/settings/2;'],
      ['resource_group/settings', 'resource_group/settings/5'],
    ])
      expect((await get(key!, end)).status).toBe('PERMISSION_DENIED');
  });

  test('a watch tells of its own groups', async () => {
    const watch = callers['alpha']!.pdStream(
      'meta_storagepb.MetaStorage/Watch',
      ['meta_storagepb.WatchRequest', 'meta_storagepb.WatchResponse'],
      {
        key: Buffer.from('resource_group/settings'),
        rangeEnd: Buffer.from('resource_group/settingt'),
        prevKv: true,
      },
      (answer) => (answer['events'] as Fields[]).length > 0,
    );
    await sleep(1000);
    await inAll(stack, async (session, tenant) => {
      if (tenant === 'beta') await session.query('CREATE RESOURCE GROUP watched RU_PER_SEC = 3');
    });
    await inAll(stack, async (session, tenant) => {
      if (tenant === 'alpha') await session.query('CREATE RESOURCE GROUP watched RU_PER_SEC = 4');
    });
    const answer = await watch;
    const [event] = answer.fields!['events'] as Fields[];
    expect(Buffer.from(event!['kv'].key as Uint8Array).toString()).toBe('resource_group/settings/watched');
    expect(answer.bytes.toString('latin1')).not.toMatch(/[12]:watched/);
  });

  test("another's bucket gives no tokens", async () => {
    const ask = (name: string): Fields => ({
      resourceGroupName: name,
      request: { case: 'ruItems', value: { requestRU: [{ type: 0, value: 10 }] } },
    });
    const answer = await callers['alpha']!.pdStream(
      `${MANAGER}/AcquireTokenBuckets`,
      ['resource_manager.TokenBucketsRequest', 'resource_manager.TokenBucketsResponse'],
      {
        requests: ['2:app', 'only_beta', 'only_alpha', 'default'].map(ask),
        targetRequestPeriodMs: 1000n,
        clientUniqueId: 1n,
      },
    );
    expect((answer.fields!['responses'] as Fields[]).map((r) => r['resourceGroupName'] as string)).toEqual([
      'only_alpha',
      'default',
    ]);
  });

  test('more timestamps than a client ever wants are refused', async () => {
    const header = await callers['alpha']!.header();
    const tso = (count: number): Promise<Answer> =>
      callers['alpha']!.pdStream('pdpb.PD/Tso', ['pdpb.TsoRequest', 'pdpb.TsoResponse'], { header, count });
    expect((await tso(10_000)).fields!['count']).toBe(10_000);
    expect((await tso(16_385)).status).toBe('INVALID_ARGUMENT');
    expect((await tso(2 ** 32 - 1)).status).toBe('INVALID_ARGUMENT');
  });
});
