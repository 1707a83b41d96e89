import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';
import { startStack, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { memcomparable, tablePrefix } from '../harness/support/keys.ts';

/* PD's HTTP API with a real PD behind: calls that name another tenant's things, bodies that cannot be read, and connections that end early. */
const V1 = '/pd/api/v1';
const LIMIT = 16 * 1024;

const hexOf = (table: number, tag = 0): string => memcomparable(tablePrefix(table, tag)).toString('hex');
const rule = (group_id: string, more: object = {}): object => ({
  group_id,
  id: 'r',
  start_key: hexOf(100),
  end_key: hexOf(101),
  role: 'voter',
  count: 1,
  ...more,
});
const bundle = (group_id: string): object => ({
  group_id,
  group_index: 40,
  group_override: true,
  rules: [rule(group_id)],
});
const label = (id: string, more: object = {}): object => ({
  id,
  index: 0,
  labels: [{ key: 'merge_option', value: 'deny' }],
  rule_type: 'key-range',
  data: [{ start_key: hexOf(100), end_key: hexOf(101) }],
  ...more,
});

let stack: Stack;
let certs: Record<string, CertFiles>;

beforeAll(async () => {
  stack = await startStack({
    startTidbs: false,
    pluginConfig: (standard: PluginConfig) => ({
      ...standard,
      limits: { ...standard.limits, maxMessageBytes: LIMIT },
    }),
  });
  certs = {
    alpha: await stack.certs.client(principalOf('alpha')),
    beta: await stack.certs.client(principalOf('beta')),
  };
  const made = [
    await call('beta', 'POST', 'config/placement-rule?partial=true', [bundle('TiDB_DDL_100')]),
    await call('beta', 'POST', 'config/region-label/rule', label('schema/d/t')),
    await call('beta', 'POST', 'config/rule_group', { id: 'g', index: 7 }),
  ];
  expect(made.map(({ status }) => status)).toEqual([200, 200, 200]);
});
afterAll(async () => {
  await stack?.stop();
});

function call(
  tenant: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: string }> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return callHttp(stack.pd.meshAddress, certs[tenant]!, path.startsWith('/') ? path : `${V1}/${path}`, {
    method,
    // Node frames the body of a GET by its length only.
    ...(body === undefined
      ? {}
      : { body: text, headers: { 'content-length': String(Buffer.byteLength(text)) } }),
  });
}

/** All rules that PD has. */
async function rules(): Promise<unknown> {
  const all = ['config/placement-rule', 'config/rule_groups', 'config/region-label/rules'].map(
    async (path) => {
      const list = (await (await fetch(`${stack.pd.directUrl}${V1}/${path}`)).json()) as object[];
      return list.map((item) => JSON.stringify(item)).toSorted();
    },
  );
  return Promise.all(all);
}

let before: unknown;
beforeEach(async () => {
  before = await rules();
});

describe('another tenant’s rules', () => {
  test.each([
    ['config/placement-rule', '[]'],
    ['config/rules', '[]'],
    ['config/rule_groups', '[]'],
    ['config/region-label/rules', '[]'],
    ['config/rules/group/TiDB_DDL_100', 'null'],
    ['config/rules/group/tidb-mesh:beta:TiDB_DDL_100', 'null'],
  ])('%s shows none', async (path, wanted) => {
    const { status, body } = await call('alpha', 'GET', path);
    expect([status, JSON.stringify(JSON.parse(body))]).toEqual([200, wanted]);
    expect(JSON.parse((await call('beta', 'GET', 'config/region-label/rules')).body)).toHaveLength(1);
  });

  test('asked for by name they are not there', async () => {
    const asked = await call('alpha', 'GET', 'config/placement-rule/TiDB_DDL_100');
    expect(JSON.parse(asked.body)).toMatchObject({ group_id: 'TiDB_DDL_100', rules: null });
    expect((await call('alpha', 'GET', 'config/rule/TiDB_DDL_100/r')).status).toBe(404);
    expect((await call('alpha', 'GET', 'config/rule_group/g')).status).toBe(404);
    expect((await call('alpha', 'GET', 'config/region-label/rule/schema%2Fd%2Ft')).status).toBe(404);
    const ids = await call('alpha', 'GET', 'config/region-label/rules/ids', [
      'schema/d/t',
      'tidb-mesh:beta:schema/d/t',
      'tidb-mesh/beta',
    ]);
    expect(JSON.parse(ids.body)).toEqual([]);
    const own = await call('beta', 'GET', 'config/region-label/rules/ids', ['schema/d/t']);
    expect(JSON.parse(own.body)).toEqual([label('schema/d/t')]);
    expect(JSON.parse((await call('beta', 'GET', 'config/region-label/rule/schema%2Fd%2Ft')).body)).toEqual(
      label('schema/d/t'),
    );
  });

  test('deleting them deletes nothing', async () => {
    for (const path of [
      'config/placement-rule/TiDB_DDL_100',
      'config/placement-rule/tidb-mesh:beta:TiDB_DDL_100',
      'config/placement-rule/.%2A?regexp',
      'config/placement-rule/x?regexp=true',
      'config/rule/TiDB_DDL_100/r',
      'config/rule/pd/default',
      'config/rule_group/g',
      'config/region-label/rule/schema%2Fd%2Ft',
      'config/region-label/rule/tidb-mesh%2Fbeta',
      'config/region-label/rule/tidb-mesh%3Abeta%3Aschema%2Fd%2Ft',
      'config/region-label/rule/..%2Fbeta',
    ])
      await call('alpha', 'DELETE', path);
    await call('alpha', 'PATCH', 'config/region-label/rules', {
      deletes: ['schema/d/t', 'tidb-mesh:beta:schema/d/t', 'tidb-mesh/beta', '../beta:schema/d/t'],
    });
    await call('alpha', 'POST', 'config/rules/batch', [
      rule('TiDB_DDL_100', { action: 'del', delete_by_id_prefix: true, id: '' }),
    ]);
    await call('alpha', 'POST', 'config/placement-rule?partial=true', [
      { group_id: 'TiDB_DDL_100', group_index: 0, group_override: false, rules: null },
    ]);
    // Without `partial` PD replaces what all have.
    expect((await call('alpha', 'POST', 'config/placement-rule', [])).status).toBe(403);
    expect((await call('alpha', 'POST', 'config/rules', [])).status).toBe(403);
    const [bundles, groups, labels] = (await rules()) as string[][];
    const [bundlesBefore, groupsBefore, labelsBefore] = before as string[][];
    const foreign = (list: string[] = []): string[] =>
      list.filter((item) => !item.includes('tidb-mesh:alpha:'));
    expect(foreign(bundles)).toEqual(bundlesBefore);
    expect(foreign(groups)).toEqual(groupsBefore);
    expect(labels).toEqual(labelsBefore);
  });

  test('ranges of another’s keys become empty or one’s own, never another’s', async () => {
    const far = { start_key: hexOf(100, 2), end_key: hexOf(101, 2) };
    const tries = [
      await call('alpha', 'POST', 'config/rule', rule('x', far)),
      await call('alpha', 'POST', 'config/region-label/rule', label('x', { data: [far] })),
    ];
    expect(tries.map(({ status }) => status)).toEqual([400, 400]);
    const open = { start_key: '', end_key: '' };
    expect((await call('alpha', 'POST', 'config/rule', rule('all', open))).status).toBe(200);
    expect(
      (await call('alpha', 'POST', 'config/region-label/rule', label('all', { data: [open] }))).status,
    ).toBe(200);
    const stored = JSON.stringify(await rules());
    expect(stored).toContain('tidb-mesh:alpha:all');
    const own = [hexOf(0, 1), hexOf(0, 2)];
    const shown = JSON.parse((await call('alpha', 'GET', 'config/rule/all/r')).body) as typeof far;
    expect([shown.start_key, shown.end_key]).toEqual(['', '']);
    const direct = await fetch(`${stack.pd.directUrl}${V1}/config/rule/tidb-mesh:alpha:all/r`);
    const real = (await direct.json()) as typeof far;
    expect([real.start_key, real.end_key]).toEqual(own);
    await call('alpha', 'DELETE', 'config/rule/all/r');
    await call('alpha', 'DELETE', 'config/region-label/rule/all');
    expect(JSON.stringify(await rules())).not.toContain(':all');
  });
});

test.each([
  ['POST', 'config', '{"max-replicas":1}'],
  ['POST', 'schedulers', '{"name":"scatter-range","start_key":"","end_key":""}'],
  ['DELETE', 'schedulers/balance-region-scheduler', undefined],
  ['POST', 'operators', '{"name":"split-region","region_id":2}'],
  ['GET', 'operators/2', undefined],
  ['DELETE', 'store/1', undefined],
  ['POST', 'admin/reset-ts', '{"tso":"1"}'],
  ['DELETE', 'admin/cache/regions', undefined],
  ['DELETE', 'gc/safepoint/gc_worker', undefined],
  ['GET', 'gc/safepoint', undefined],
  ['GET', 'hotspot/regions/write', undefined],
  ['GET', 'regions/writeflow?limit=3', undefined],
  ['POST', 'regions/split', '{"split_keys":[]}'],
  ['GET', 'region/id/2/labels', undefined],
  ['GET', 'debug/pprof/heap', undefined],
  ['GET', '/pd/api/v2/keyspaces', undefined],
  ['POST', '/v3/kv/range', '{}'],
  ['GET', '/metrics', undefined],
  ['GET', '/swagger/index.html', undefined],
])('%s %s: 403, with a JSON text that says why', async (method, path, body) => {
  const answer = await call('alpha', method, path, body);
  expect(answer.status).toBe(403);
  expect(JSON.parse(answer.body)).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
  expect(await rules()).toEqual(before);
});

describe('bodies', () => {
  const BUNDLES = 'config/placement-rule?partial=true';
  const good = JSON.stringify([bundle('TiDB_DDL_7')]);

  test.each<[string, string, number]>([
    ['malformed JSON', good.slice(0, -1), 400],
    ['nothing', '', 400],
    ['something behind', `${good}x`, 400],
    ['a second value', `${good}[]`, 400],
    ['hex of an odd length', good.replace(hexOf(100), hexOf(100).slice(1)), 400],
    ['a member twice', good.replace('"role"', '"start_key":"","role"'), 403],
    ['a member in another case', good.replace('"end_key"', '"End_Key"'), 403],
    ['more than maxMessageBytes', `${good.slice(0, -1)}${' '.repeat(LIMIT)}]`, 413],
  ])('%s', async (_, body, wanted) => {
    const answer = await call('alpha', 'POST', BUNDLES, body);
    expect(answer.status).toBe(wanted);
    // Nothing comes past the filter as it came: PD itself says what it lacks.
    if (body !== '') expect(JSON.parse(answer.body)).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
    expect(await rules()).toEqual(before);
  });

  function open(): Promise<TLSSocket> {
    const { ca, cert, key } = certs.alpha!;
    const [host, port] = stack.pd.meshAddress.split(':');
    return new Promise((resolve, reject) => {
      const socket = connect(
        {
          host: host!,
          port: Number(port),
          ca: readFileSync(ca),
          cert: readFileSync(cert),
          key: readFileSync(key),
          servername: 'localhost',
          ALPNProtocols: ['http/1.1'],
        },
        () => resolve(socket),
      );
      socket.on('error', reject);
    });
  }

  const head = (path: string, ...lines: string[]): string =>
    [`POST ${V1}/${path} HTTP/1.1`, 'host: pd', ...lines, '', ''].join('\r\n');

  test.each([
    [
      'a whole body, but not as long as it was said',
      head(BUNDLES, `content-length: ${good.length + 1}`) + good,
    ],
    ['a body cut short', head(BUNDLES, `content-length: ${good.length}`) + good.slice(0, -2)],
    [
      'a chunk without an end',
      `${head(BUNDLES, 'transfer-encoding: chunked')}${good.length.toString(16)}\r\n${good}\r\n`,
    ],
  ])('a connection that ends early applies nothing: %s', async (_, bytes) => {
    const socket = await open();
    socket.write(bytes);
    await sleep(300);
    socket.destroy();
    await sleep(700);
    expect(await rules()).toEqual(before);
  });

  test('chunked, kept alive and pipelined: every answer in its place', async () => {
    const socket = await open();
    const chunks = [good.slice(0, 9), good.slice(9, 50), good.slice(50)].map(
      (part) => `${part.length.toString(16)}\r\n${part}\r\n`,
    );
    const get = (path: string): string => `GET ${V1}/${path} HTTP/1.1\r\nhost: pd\r\n\r\n`;
    let seen = '';
    socket.on('data', (part: Buffer) => (seen += part.toString()));
    socket.write(
      `${head(BUNDLES, 'transfer-encoding: chunked')}${chunks.join('')}0\r\n\r\n` +
        get('config/placement-rule/TiDB_DDL_7') +
        get('version') +
        `${head(BUNDLES, 'content-length: 3')}[1]`,
    );
    for (let i = 0; i < 100 && !/tidb-mesh\[[A-Z_]+\]: /.test(seen); i++) await sleep(50);
    socket.destroy();
    const statuses = [...seen.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status));
    expect(statuses).toEqual([200, 200, 200, 400]);
    expect(seen).toContain('"TiDB_DDL_7"');
    expect(seen).toContain('"version"');
    expect(seen).not.toMatch(/alpha|beta/);
    expect((await call('alpha', 'DELETE', 'config/placement-rule/TiDB_DDL_7')).status).toBe(200);
    expect(await rules()).toEqual(before);
  });
});
