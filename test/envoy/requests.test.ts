import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../harness/stack/certs.ts';

import { memcomparable, rowKey } from '../harness/support/keys.ts';
import { GET, getRequest } from './messages.ts';
import { startMesh, type Mesh } from './mesh.ts';
import { frame } from './upstream.ts';

const good = frame(getRequest(rowKey(70, 1)));

let mesh: Mesh;
let alpha: CertFiles;
beforeAll(async () => {
  mesh = await startMesh();
  alpha = await mesh.certs.client(principalOf('alpha'));
});
afterAll(() => mesh?.stop());
afterEach(() => {
  mesh.upstream.calls.length = 0;
  mesh.upstream.requests.length = 0;
});

const http = (
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
) => callHttp(mesh.httpAddress, alpha, path, options);

describe('who calls', () => {
  test('a principal that no rule names is told its name and what to add', async () => {
    const stranger = mesh.caller(await mesh.certs.client('spiffe://elsewhere/ns/alpha/sa/tidb'));
    const outcome = await stranger.call(GET, [good]);
    expect(outcome.status).toBe(7);
    expect(outcome.text).toContain('principal spiffe://elsewhere/ns/alpha/sa/tidb');
    expect(outcome.text).toContain('add one to pluginConfig.rules');
    expect(mesh.upstream.calls).toHaveLength(0);
  });

  test('a captured name that is not in the tenants is refused', async () => {
    const stranger = mesh.caller(await mesh.certs.client(principalOf('gamma')));
    const outcome = await stranger.call(GET, [good]);
    expect(outcome).toMatchObject({ status: 7, text: expect.stringContaining('"gamma"') });
  });

  test('a system principal passes untouched, but for the headers', async () => {
    const system = mesh.caller(await mesh.certs.client(principalOf('storage')));
    expect(await system.call('/tikvpb.Tikv/Raft', [frame(Buffer.from([0x13]))])).toMatchObject({ status: 0 });
    expect(mesh.upstream.calls[0]?.messages).toEqual([Buffer.from([0x13])]);
  });
});

describe('what is called', () => {
  test.each([
    '/tikvpb.Tikv/Raft',
    '/tikvpb.Tikv/KvGC',
    '/pdpb.PD/StoreHeartbeat',
    '/no.Such/Method',
    '/etcdserverpb.Maintenance/Snapshot',
  ])('%s is not for tenants', async (path) => {
    const outcome = await mesh.alpha.call(path, [good]);
    expect(outcome.status).toBe(7);
    expect(outcome.text).toContain(path);
    expect(mesh.upstream.calls).toHaveLength(0);
  });

  test('a key goes on as the tenant’s own', async () => {
    expect(await mesh.alpha.call(GET, [good])).toMatchObject({ status: 0 });
    expect(mesh.upstream.calls[0]?.messages).toEqual([Buffer.from(getRequest(rowKey(70, 1, 1)))]);
  });

  test('a method without keys passes unread', async () => {
    expect(await mesh.alpha.call('/pdpb.PD/GetMembers', [frame(Buffer.from([0x13]))])).toMatchObject({
      status: 0,
    });
  });

  test('a method without keys takes short messages only', async () => {
    const long = frame(Buffer.alloc(64 * 1024));
    expect(await mesh.alpha.call('/pdpb.PD/GetMembers', [long])).toMatchObject({
      status: 8,
      text: expect.stringContaining('[TOO_LONG_UNREAD]'),
    });
  });

  test.each(['/pd/api/v1/operators', '/pd/api/v1/admin/reset-ts', '/v3/kv/range', '/debug/pprof/heap', '/'])(
    'HTTP %s is answered with 403 and a JSON text',
    async (path) => {
      const { status, body } = await http(path);
      expect(status).toBe(403);
      expect(JSON.parse(body)).toMatch(/^tidb-mesh\[[A-Z_]+\]: \/.*: ./);
      expect(mesh.upstream.requests).toHaveLength(0);
    },
  );

  test.each([
    '/pd//api/v1/stores',
    '/pd/./api/v1/stores',
    '/pd/../pd/api/v1/stores',
    '/pd/api/v1/%73tores',
    '/pd/api/v1/stores;x',
    '/pd\\api',
  ])('the odd path %s is refused, not normalised', async (path) => {
    const { status } = await http(path);
    expect(status).toBe(400);
    expect(mesh.upstream.requests).toHaveLength(0);
  });

  test.each<[string, string, Record<string, string>]>([
    ['grpc-web', GET, { 'content-type': 'application/grpc-web' }],
    ['gRPC with JSON', GET, { 'content-type': 'application/grpc+json' }],
    ['a query', `${GET}?x=1`, {}],
    ['a doubled slash', '//tikvpb.Tikv/KvGet', {}],
    ['another method', GET, { ':method': 'PUT' }],
  ])('gRPC with %s is refused', async (_name, path, headers) => {
    const outcome = await mesh.alpha.call(path, [good], { headers });
    // Envoy answers what looks like gRPC with a gRPC status.
    expect([outcome.httpStatus, outcome.status]).toEqual(outcome.httpStatus === 200 ? [200, 3] : [400, -1]);
    expect(mesh.upstream.calls).toHaveLength(0);
  });

  test('an upgrade is refused', async () => {
    const { status } = await http('/pd/api/v1/stores', {
      headers: { upgrade: 'websocket', connection: 'upgrade' },
    });
    expect(status).not.toBe(200);
    expect(mesh.upstream.requests).toHaveLength(0);
  });
});

describe('headers', () => {
  const forged = {
    'pd-forwarded-host': 'http://127.0.0.1:1',
    'tikv-forwarded-host': '127.0.0.1:1',
    'x-caller-id': 'a count of its own',
    component: 'a count of its own',
    'x-envoy-original-path': '/x',
    'x-tidb-mesh-tenant': 'beta',
  };

  test.each(['alpha', 'storage'])('what %s forges does not go through', async (namespace) => {
    const caller = mesh.caller(await mesh.certs.client(principalOf(namespace)));
    expect(await caller.call(GET, [good], { headers: forged })).toMatchObject({ status: 0 });
    const headers = mesh.upstream.calls[0]?.headers ?? {};
    expect(headers['pd-forwarded-host']).toBeUndefined();
    expect(headers['tikv-forwarded-host']).toBeUndefined();
    expect(headers['x-caller-id']).toBeUndefined();
    expect(headers['component']).toBeUndefined();
    expect(headers['x-envoy-original-path']).toBeUndefined();
    expect(headers['x-tidb-mesh-tenant']).toBe(namespace === 'alpha' ? 'alpha' : undefined);
  });
});

describe('HTTP', () => {
  const hexOf = (table: number, tenant: number): string => {
    const raw = Buffer.alloc(9);
    raw.write('t', 0);
    raw.writeUInt16BE(0x8000 + tenant, 1);
    raw.writeUIntBE(table, 3, 6);
    // Two groups of PD's memcomparable form: eight bytes and FF, the last byte and padding.
    return Buffer.concat([
      raw.subarray(0, 8),
      Buffer.from([0xff]),
      raw.subarray(8),
      Buffer.alloc(7),
      Buffer.from([0xf8]),
    ])
      .toString('hex')
      .toUpperCase();
  };

  test("a region's keys are mapped, a neighbour's region is not shown", async () => {
    mesh.upstream.httpAnswer = JSON.stringify({ id: 8, start_key: hexOf(70, 1), end_key: hexOf(71, 1) });
    const own = await http('/pd/api/v1/region/id/8');
    expect(JSON.parse(own.body)).toEqual({ id: 8, start_key: hexOf(70, 0), end_key: hexOf(71, 0) });
    mesh.upstream.httpAnswer = JSON.stringify({ id: 9, start_key: hexOf(70, 2), end_key: hexOf(71, 2) });
    expect((await http('/pd/api/v1/region/id/9')).body).toBe('null');
  });

  test('a list of all regions asks for the tenant’s range only', async () => {
    mesh.upstream.httpAnswer = '{"count":0,"regions":[]}';
    await http('/pd/api/v1/regions');
    const url = new URL(mesh.upstream.requests[0]?.url ?? '', 'http://pd');
    expect(url.pathname).toBe('/pd/api/v1/regions/key');
    expect([...url.searchParams.keys()].sort()).toEqual(['end_key', 'key', 'limit']);
    expect(mesh.upstream.requests[0]?.url).toContain('key=%74%80%01%00');
    expect(mesh.upstream.requests[0]?.url).toContain('end_key=%74%80%02%00');
  });

  test.each(['start_key=%7', 'start_key=%zz', 'start_key=a&start_key=b'])(
    'the bad query %s is refused',
    async (query) => {
      const { status, body } = await http(`/pd/api/v1/stats/region?${query}`);
      expect(status).toBe(400);
      expect(body).toMatch(/range of keys/);
      expect(mesh.upstream.requests).toHaveLength(0);
    },
  );

  test('region label rules go on as the tenant’s own; what could reach others is refused', async () => {
    const path = '/pd/api/v1/config/region-label';
    const patch = (body: string) => http(`${path}/rules`, { method: 'PATCH', body });
    expect(await patch('{"sets":[],"deletes":["schema/d/t"]}')).toMatchObject({ status: 200 });
    expect(mesh.upstream.requests[0]?.body).toBe('{"sets":[],"deletes":["tidb-mesh:alpha:schema/d/t"]}');
    const rule = (id: string): string =>
      JSON.stringify({
        id,
        index: 0,
        labels: [{ key: 'schedule', value: 'deny' }],
        rule_type: 'key-range',
        data: [{ start_key: '', end_key: '' }],
      });
    expect((await http(`${path}/rule`, { method: 'POST', body: rule('x') })).status).toBe(200);
    expect(mesh.upstream.requests[1]?.body).toContain('"id":"tidb-mesh:alpha:x"');
    expect((await http(`${path}/rule`, { method: 'POST', body: rule('../x') })).status).toBe(403);
    expect((await http(`${path}/rule`, { method: 'POST', body: '{' })).status).toBe(400);
    expect(mesh.upstream.requests).toHaveLength(2);
  });

  test('a key in the path is mapped, one that the tenant cannot have into its last region', async () => {
    const escaped = (key: Uint8Array): string =>
      [...memcomparable(key)].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('');
    const path = '/pd/api/v1/region/key/';
    expect((await http(`${path}${escaped(rowKey(100, 1))}`)).status).toBe(200);
    expect(mesh.upstream.requests[0]?.url).toBe(`${path}${escaped(rowKey(100, 1, 1)).toUpperCase()}`);
    expect((await http(`${path}${escaped(rowKey(100, 1, 2))}`)).status).toBe(200);
    expect(mesh.upstream.requests[1]?.url).toContain(`${path}%74%80%01%FF%FF%FF%FF%FF%FF`);
    for (const bad of ['%zz', '74%2', 'a/b', '%74?format=hex'])
      expect([400, 403]).toContain((await http(`${path}${bad}`)).status);
    expect(mesh.upstream.requests).toHaveLength(2);
  });

  test('TiFlash’s group is answered as set, and goes nowhere', async () => {
    const { status, body } = await http('/pd/api/v1/config/rule_group/tiflash');
    expect([status, JSON.parse(body)]).toEqual([200, { id: 'tiflash', index: 120, override: false }]);
    expect(mesh.upstream.requests).toHaveLength(0);
  });
});
