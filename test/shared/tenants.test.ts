/** `tidb-mesh tenants` and `doctor` on a real PD: what they change, what they refuse, what they say. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { clusterId } from '../../src-ts/pd/timestamp.ts';
import { memcomparable } from '../../src-ts/tenants/tenant.ts';
import { Caller } from '../e2e/support/caller.ts';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { tablePrefix } from '../harness/support/keys.ts';
import { message, type Fields } from '../harness/support/messages.ts';
import { lockKey } from './support/lock.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const HOUR = 3_600_000;

interface Done {
  code: number;
  out: string;
  err: string;
}

let stack: Stack;
let pd: Endpoint;
let folder: string;
let operator: CertFiles;

/** Runs the command as a shell would. */
function command(...args: string[]): Promise<Done> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', 'src-ts/cli/main.ts', ...args],
      { cwd: ROOT, timeout: 120_000 },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

const tenants = (verb: string, ...args: string[]): Promise<Done> =>
  command('tenants', verb, ...args, '--pd', stack.pd.directUrl);
const doctor = (...args: string[]): Promise<Done> => command('doctor', '--pd', stack.pd.directUrl, ...args);

/** Where regions begin, of those that begin at a boundary of a table tenant. */
async function starts(): Promise<Set<string>> {
  const { regions } = (await pd.http('GET', '/pd/api/v1/regions')) as { regions: { start_key: string }[] };
  return new Set(regions.map((region) => region.start_key.toLowerCase()));
}

const boundary = (number: number): string => memcomparable(tablePrefix(0, number)).toString('hex');

async function ruleIds(): Promise<string[]> {
  const rules = (await pd.http('GET', '/pd/api/v1/config/region-label/rules')) as { id: string }[];
  return rules.map(({ id }) => id).filter((id) => id.startsWith('tidb-mesh/'));
}

/** Locks a key as beta's TiDB would, through the mesh; gives what commits it, wherever its region is by then. */
async function lock(handle: number): Promise<() => Promise<void>> {
  const caller = await Caller.of(stack, 'beta');
  const { key, startVersion } = await lockKey(caller, handle);
  return async () => {
    const done = await caller.store('KvCommit', ['kvrpcpb.CommitRequest', 'kvrpcpb.CommitResponse'], {
      context: (await caller.regionOf(key)).context,
      startVersion,
      keys: [key],
      commitVersion: startVersion + 1n,
    });
    expect(done.status).toBe('OK');
    expect([done.fields?.['regionError'], done.fields?.['error']]).toEqual([undefined, undefined]);
  };
}

/** Commits the transaction that stays open until its tenant is emptied. */
let commit: () => Promise<void>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidb-mesh-cli-'));
  stack = await startStack({ startTidbs: false, boundaries: false });
  pd = new Endpoint({ pd: stack.pd.directUrl });
  operator = await stack.certs.client(principalOf('storage', 'operator'));
});
afterAll(async () => {
  pd.close();
  await stack.stop();
  await rm(folder, { recursive: true });
});

describe('add', () => {
  test('a tenant gets the lowest free number, and regions begin at its boundaries', async () => {
    const added = await tenants('add', 'alpha');
    expect(added).toMatchObject({ code: 0 });
    expect(added.out).toContain('alpha is added with number 1');
    expect(added.out).toContain('{ "name": "alpha", "number": 1, "ownDefaultGroup": true }');
    const found = await starts();
    expect([found.has(boundary(1)), found.has(boundary(2))]).toEqual([true, true]);
    expect(await ruleIds()).toEqual(['tidb-mesh/alpha']);
  });

  test('again: nothing changes', async () => {
    for (const more of [[], ['--number', '1']]) {
      const again = await tenants('add', 'alpha', ...more);
      expect(again).toMatchObject({ code: 0 });
      expect(again.out).toContain('alpha is there already, with number 1');
    }
    expect(await ruleIds()).toEqual(['tidb-mesh/alpha']);
  });

  test.each<[string, string[], number, RegExp]>([
    ['the same name with another number', ['alpha', '--number', '2'], 1, /alpha has number 1 .*already/],
    ['the same number with another name', ['gamma', '--number', '1'], 1, /number 1 is tenant alpha's/],
    ['a number too large', ['gamma', '--number', '32767'], 2, /1 to 32766/],
    ['a bad name', ['Gamma'], 2, /a-z, 0-9 and -/],
    ['no name', [], 2, /no tenant is named/],
    ['--all without a file', ['--all'], 2, /--config/],
  ])('%s is refused, and nothing changes', async (_, args, code, reason) => {
    const done = await tenants('add', ...args);
    expect({ code: done.code, said: reason.test(done.err) }).toEqual({ code, said: true });
    expect(await ruleIds()).toEqual(['tidb-mesh/alpha']);
  });

  test('a range that holds a lock only is not empty: its number is neither found nor given', async () => {
    commit = await lock(1);
    const refused = await tenants('add', 'beta', '--number', '2');
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/would not begin empty: 1 keys in the store/);
    const gamma = await tenants('add', 'gamma', '--json');
    expect(gamma.code).toBe(0);
    expect(JSON.parse(gamma.out)).toEqual({
      tenants: [{ name: 'gamma', number: 3, isNew: true, skippedNumbers: [2] }],
      failed: [],
    });
  });

  test('with its data, when the operator says that it is its own', async () => {
    const added = await tenants('add', 'beta', '--number', '2', '--with-data');
    expect(added).toMatchObject({ code: 0 });
    expect((await starts()).has(boundary(3))).toBe(true);
  });

  test('every tenant of a pluginConfig, the keys that are there already and keyspaces among them', async () => {
    const config = join(folder, 'config.json');
    const all = [
      { name: 'legacy', number: 0 },
      { name: 'alpha', number: 1 },
      { name: 'spaced', number: 9, keyspace: { id: 7, mode: 'txn' } },
      { name: 'clash', number: 3 },
    ];
    await writeFile(config, JSON.stringify({ tenants: all, rules: [] }));
    // The store holds no keyspaces, so it cannot be asked for one's keys.
    const done = await tenants('add', '--all', '--config', config, '--with-data');
    expect(done.code).toBe(1);
    expect(done.out.match(/is (?:added|there already)/g)).toHaveLength(3);
    expect(done.err).toMatch(/number 3 is tenant gamma's/);
    const found = await starts();
    for (const end of ['78000007', '78000008'])
      expect([end, found.has(memcomparable(Buffer.from(end, 'hex')).toString('hex'))]).toEqual([end, true]);
  });

  test('as a system principal through the mesh, too; as a tenant it is refused', async () => {
    const through = (certs: CertFiles): Promise<Done> =>
      command(
        ...['tenants', 'add', 'delta', '--pd', `https://${stack.pd.meshAddress}`],
        ...['--cert', certs.cert, '--key', certs.key, '--ca', certs.ca, '--server-name', 'localhost'],
      );
    const done = await through(operator);
    expect({ code: done.code, err: done.err }).toMatchObject({ code: 0 });
    const tenant = await through(await stack.certs.client(principalOf('alpha', 'prober')));
    expect(tenant.code).toBe(1);
  });
});

describe('list', () => {
  test('one line for each, by number', async () => {
    const { code, out } = await tenants('list', '--json');
    expect(code).toBe(0);
    const listed = JSON.parse(out) as {
      name: string;
      number: number;
      keySpace: string;
      boundaries: string;
      regions: number;
    }[];
    expect(listed.map(({ name, number }) => [name, number])).toEqual([
      ['legacy', 0],
      ['alpha', 1],
      ['beta', 2],
      ['gamma', 3],
      ['delta', 4],
      ['spaced', 9],
    ]);
    for (const { name, boundaries, regions } of listed)
      expect({ name, boundaries, some: regions > 0 }).toEqual({ name, boundaries: 'ok', some: true });
    expect(listed.at(-1)?.keySpace).toBe('keyspace 7 (txn)');
    const text = await tenants('list');
    expect(text.out).toMatch(/^NAME +NUMBER +KEY RANGE/);
    expect(text.out).toMatch(/ETCD KEYS +LEASES +GROUPS +LIMIT /);
    expect(text.out).toMatch(/^beta +2 +table keys/m);
  });
});

/** What PD keeps for tables and users: attributes and placement by beta's own calls, a resource group as the filter names it. */
async function keepRules(): Promise<void> {
  const certs = await stack.certs.client(principalOf('beta'));
  const range = [100, 101].map((id) => memcomparable(tablePrefix(id)).toString('hex'));
  const post = async (path: string, body: object): Promise<void> => {
    const done = await callHttp(stack.pd.meshAddress, certs, `/pd/api/v1/config/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(done).toMatchObject({ status: 200 });
  };
  await post('region-label/rule', {
    id: 'schema/shop/t',
    labels: [{ key: 'merge_option', value: 'deny' }],
    rule_type: 'key-range',
    data: [{ start_key: range[0], end_key: range[1] }],
  });
  const rule = { group_id: 'TiDB_DDL_100', id: 'all', role: 'voter', count: 1 };
  await post('placement-rule/TiDB_DDL_100', {
    group_id: 'TiDB_DDL_100',
    group_index: 40,
    rules: [{ ...rule, start_key: range[0], end_key: range[1] }],
  });
  await pd.http('POST', '/resource-manager/api/v1/config/group', {
    body: { name: '2:app', mode: 1, r_u_settings: { r_u: { settings: { fill_rate: 100 } } } },
  });
}

describe('set', () => {
  const group = async (number: number): Promise<unknown> => {
    const groups = (await pd.http('GET', '/resource-manager/api/v1/config/groups')) as {
      name: string;
      priority: number;
      r_u_settings: { r_u: { settings: { fill_rate: number; burst_limit: number } } };
    }[];
    const found = groups.find(({ name }) => name === `${number}:default`);
    const { fill_rate: rate, burst_limit: burst } = found?.r_u_settings.r_u.settings ?? {};
    return found && [rate, burst, found.priority];
  };
  const NONE = [2 ** 31 - 1, -1, 8];

  test('a tenant begins without a limit, and gets one with a priority', async () => {
    expect(await group(1)).toEqual(NONE);
    const set = await tenants('set', 'alpha', '--ru', '2000', '--priority', 'low');
    expect([set.code, set.out]).toEqual([0, expect.stringMatching(/^alpha: 2000 RU\/s, priority low$/m)]);
    expect(await group(1)).toEqual([2000, 2000, 1]);
    const burst = await tenants('set', 'alpha', '--burst', '-o', 'json');
    expect(JSON.parse(burst.out)).toEqual({
      name: 'alpha',
      number: 1,
      limits: { ru: 2000, burst: true, priority: 'low' },
    });
    expect(await group(1)).toEqual([2000, -1, 1]);
    expect((await tenants('list')).out).toMatch(/^alpha .* 2000 RU\/s and more, priority low /m);
    // Adding it again makes only what is missing.
    await tenants('add', 'alpha');
    expect(await group(1)).toEqual([2000, -1, 1]);
    await pd.http('DELETE', '/resource-manager/api/v1/config/group/1:default');
    await tenants('add', 'alpha');
    expect(await group(1)).toEqual(NONE);
  });

  test.each<[string, string[], number, RegExp]>([
    ['0', ['alpha', '--ru', '0'], 2, /0: it must be a whole number from 1 to 2147483646/],
    ['a negative rate', ['alpha', '--ru', '-5'], 2, /-5: it must be a whole number/],
    ['a rate too large', ['alpha', '--ru', '2147483647'], 2, /from 1 to 2147483646/],
    ['a word', ['alpha', '--ru', 'much'], 2, /much: it must be a whole number/],
    ['another priority', ['alpha', '--priority', 'urgent'], 2, /low, medium, high/],
    ['an unknown tenant', ['alhpa', '--ru', '5'], 1, /there is no tenant alhpa .*did you mean alpha\?/s],
    ['tenant 0', ['legacy', '--ru', '5'], 1, /tenant 0 has PD's `default`/],
  ])('%s is refused, and nothing changes', async (_, args, code, reason) => {
    const done = await tenants('set', ...args);
    expect([done.code, done.err]).toEqual([code, expect.stringMatching(reason)]);
    expect(await group(1)).toEqual(NONE);
  });
});

describe('remove', () => {
  test('is refused while there is something, with counts and without keys; nothing changes', async () => {
    await (
      await lock(2)
    )();
    const caller = await Caller.of(stack, 'beta');
    const put = await caller.etcd('KV/Put', {
      key: Buffer.from('/tidb/ddl/secret-name'),
      value: Buffer.from('x'),
    });
    expect(put.status).toBe('OK');
    await keepRules();
    const refused = await tenants('remove', 'beta');
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/2 keys in the store/);
    expect(refused.err).toMatch(/1 keys in PD's etcd/);
    for (const what of ['region label rules', 'placement rules', 'resource groups'])
      expect(refused.err).toMatch(new RegExp(`1 ${what}`));
    expect(refused.err).not.toContain('secret-name');
    expect(await ruleIds()).toContain('tidb-mesh/beta');
  });

  test('empty destroys nothing without the name, and nothing of tenant 0', async () => {
    const asked = await tenants('empty', 'beta');
    expect(asked).toMatchObject({
      code: 2,
      err: expect.stringContaining(`in cluster ${await clusterId(pd)}`),
    });
    expect((await tenants('empty', 'beta', '--confirm', 'gamma')).code).toBe(2);
    expect((await tenants('empty', 'legacy', '--confirm', 'legacy')).err).toMatch(/there before the mesh/);
    await commit();
    expect((await tenants('remove', 'beta')).err).toMatch(/2 keys in the store/);
  });

  test('empty with the name destroys all of it, what is locked as well', async () => {
    await lock(3);
    const emptied = await tenants('empty', 'beta', '--confirm', 'beta');
    expect(`${emptied.code} ${emptied.err.replace(/^….*\n/gm, '')}`).toBe('0 ');
    expect(emptied.out).toMatch(/1 keys in PD's etcd are destroyed, and 3 of its rules/);
    expect((await tenants('remove', 'beta')).out).toMatch(/beta is removed/);
    expect((await tenants('add', 'beta')).code).toBe(0);
  });

  test('an empty one goes, and again changes nothing; its number is free for another', async () => {
    const removed = await tenants('remove', 'delta');
    expect(`${removed.code} ${removed.out}${removed.err}`).toMatch(/^0 .*delta is removed/);
    expect(await ruleIds()).not.toContain('tidb-mesh/delta');
    const again = await tenants('remove', 'delta');
    expect({ code: again.code, out: again.out }).toMatchObject({
      code: 0,
      out: expect.stringMatching(/there is no tenant delta/),
    });
    const epsilon = await tenants('add', 'epsilon', '--json');
    expect(JSON.parse(epsilon.out)).toMatchObject({ tenants: [{ name: 'epsilon', number: 4 }] });
  });
});

describe('doctor', () => {
  test('names who holds garbage collection back, and for how long', async () => {
    const old = BigInt(Date.now() - 30 * HOUR) << 18n;
    const header = { clusterId: await clusterId(pd) };
    const call = (path: string, name: string, fields: Fields): Promise<unknown> =>
      pd.grpc({ path, request: message(`${name}Request`), answer: message(`${name}Response`) }, fields);
    const hold = (serviceId: string, safePoint: bigint): Promise<unknown> =>
      call('/pdpb.PD/UpdateServiceGCSafePoint', 'pdpb.UpdateServiceGCSafePoint', {
        header,
        serviceId: Buffer.from(serviceId),
        TTL: 3600n,
        safePoint,
      });
    await hold('tidb-mesh:alpha:br-7', old);
    await call('/etcdserverpb.KV/Put', 'etcdserverpb.Put', {
      key: Buffer.from('/tidb/server/minstartts/gamma:c0ffee'),
      value: Buffer.from(String(BigInt(Date.now() - 5 * HOUR) << 18n)),
    });
    const { code, out } = await doctor();
    expect(code).toBe(1);
    expect(out).toMatch(/WRONG {4}holds garbage collection back: service br-7 of tenant alpha, 30 h back/);
    expect(out).toMatch(/tidb-mesh%3Aalpha%3Abr-7/);
    expect(out).toMatch(/oldest transaction of TiDB c0ffee of tenant gamma, 5 h old; its entry has no lease/);
    expect(out).toMatch(/ok {7}PD .*store/);
    expect(out).toMatch(/regions are split at all boundaries/);
    const long = await doctor('--max-age', '40h', '--json');
    const findings = JSON.parse(long.out) as { level: string; what: string }[];
    expect(findings.find(({ what }) => what.includes('br-7'))?.level).toBe('ok');
    const { out: listed } = await tenants('list');
    expect(listed).toMatch(/^alpha .*service br-7, 30 h$/m);
  });

  test('knows when the first round of garbage collection is due', async () => {
    const judged = async (code: string): Promise<string | undefined> => {
      const findings = JSON.parse((await doctor('--json')).out) as { code: string; level: string }[];
      return findings.find((finding) => finding.code === code)?.level;
    };
    const started = (ago: number): Promise<unknown> =>
      pd.grpc(
        {
          path: '/etcdserverpb.KV/Put',
          request: message('etcdserverpb.PutRequest'),
          answer: message('etcdserverpb.PutResponse'),
        },
        {
          key: Buffer.from('/tidb/server/info/own'),
          value: Buffer.from(JSON.stringify({ start_timestamp: Math.floor((Date.now() - ago) / 1000) })),
        },
      );
    // The storage layer is minutes old, and none of its own TiDBs has come yet.
    expect(await judged('GC_NO_COLLECTOR')).toBe('warning');
    await started(0);
    expect([await judged('GC_NO_COLLECTOR'), await judged('GC_FIRST_ROUND')]).toEqual([undefined, 'ok']);
    await started(HOUR);
    expect(await judged('GC_FIRST_ROUND')).toBe('wrong');
  });

  test('lists versions, and says which of them were tested', async () => {
    const info = { ip: '10.0.0.7', listening_port: 4000, version: '8.0.11-TiDB-v6.5.3' };
    await pd.grpc(
      {
        path: '/etcdserverpb.KV/Put',
        request: message('etcdserverpb.PutRequest'),
        answer: message('etcdserverpb.PutResponse'),
      },
      {
        key: Buffer.from('/tidb-mesh/alpha:/tidb/server/info/one'),
        value: Buffer.from(JSON.stringify(info)),
      },
    );
    const { code, out } = await doctor('--versions');
    expect(code).toBe(0);
    expect(out).toMatch(/^TiDB Mesh +\d/m);
    expect(out).toMatch(/^PD +v8\.5\.0/m);
    expect(out).toMatch(/^store \d+ .* checked against 8\.5$/m);
    expect(out).toMatch(
      /^TiDB 10\.0\.0\.7:4000 of tenant alpha +8\.0\.11-TiDB-v6\.5\.3 +checked against 6\.5$/m,
    );
    const rows = JSON.parse((await doctor('--versions', '--json')).out) as { known: string }[];
    expect(rows.map(({ known }) => known)).toContain('mesh');
  });

  test('says where the pluginConfig and PD differ', async () => {
    const config = join(folder, 'other.json');
    await writeFile(
      config,
      JSON.stringify({
        tenants: [
          { name: 'alpha', number: 8 },
          { name: 'new', number: 20 },
        ],
      }),
    );
    const { code, out } = await doctor('--config', config);
    expect(code).toBe(1);
    expect(out).toMatch(/differ: tenant alpha has number 1/);
    expect(out).toMatch(/new is in the pluginConfig, but PD does not know it/);
    expect(out).toMatch(/PD knows gamma, which the pluginConfig does not list/);
  });

  test('sees two tenants on one number and a boundary inside of a region', async () => {
    const set = (id: string, start: Buffer, end: Buffer): Promise<unknown> =>
      pd.http('POST', '/pd/api/v1/config/region-label/rule', {
        body: {
          id,
          labels: [{ key: 'tidb-mesh-tenant', value: id }],
          rule_type: 'key-range',
          data: [{ start_key: start.toString('hex'), end_key: end.toString('hex') }],
        },
      });
    await set('tidb-mesh/twin', memcomparable(tablePrefix(0, 1)), memcomparable(tablePrefix(0, 2)));
    // Nobody can have such boundaries: they do not split while PD's schedulers are halted.
    await pd.http('POST', '/pd/api/v1/config', { body: { 'schedule.halt-scheduling': 'true' } });
    await set('tidb-mesh/late', memcomparable(tablePrefix(0, 900)), memcomparable(tablePrefix(0, 901)));
    const { code, out } = await doctor();
    expect(code).toBe(1);
    expect(out).toMatch(/alpha and twin both have number 1|twin and alpha both have number 1/);
    expect(out).toMatch(/region \d+ spans the first boundary of late/);
  });
});
