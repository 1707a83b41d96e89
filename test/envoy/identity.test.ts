/** Who is calling, through a real Envoy: peer metadata, forged headers, the node, and what others are told of the tenant. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { principalOf, TRUST_DOMAIN } from '../harness/stack/certs.ts';
import { rowKey } from '../harness/support/keys.ts';
import { GET, getRequest } from './messages.ts';
import { startMesh, TENANTS, type Around, type Caller, type Mesh, type Outcome } from './mesh.ts';
import { peerFilter, structOf } from './peer-filter.ts';
import { frame } from './upstream.ts';

/** The filter logs one conflict in so many milliseconds: assembly/streams/refuse.ts. */
const LOG_PAUSE = 5000;
const LABEL = 'tidb-mesh.io/tenant';
const NAMESPACES = `spiffe://${TRUST_DOMAIN}/ns/{tenant}/sa/*`;
const BY_PEER = [
  { principal: NAMESPACES, peer: { workload: '{tenant}-tidb', labels: { [LABEL]: '{tenant}' } } },
];
const request = [frame(getRequest(rowKey(70, 1)))];

/** Peer metadata as Istio's filter leaves it, and as a sidecar sends it. */
const inState = (name: string, label = name): Around => ({
  before: [peerFilter({ workload_name: `${name}-tidb`, labels: { [LABEL]: label } })],
});
const inHeader = (name: string, label = name): { 'x-envoy-peer-metadata': string } => ({
  'x-envoy-peer-metadata': Buffer.from(
    structOf({ WORKLOAD_NAME: `${name}-tidb`, LABELS: { [LABEL]: label } }),
  ).toString('base64'),
});

let mesh: Mesh;
afterEach(async () => {
  await mesh?.stop();
});

const start = async (
  rules: object[],
  around: Around = {},
  more: object = {},
  watched = false,
): Promise<void> => {
  mesh = await startMesh({ rules, ...more }, watched, around);
};

const call = (caller: Caller, headers: Record<string, string | string[]> = {}): Promise<Outcome> =>
  caller.call(GET, request, { headers });

const refused = (text: RegExp): object => ({ status: 7, text: expect.stringMatching(text) });

/** The tenants that reached the store, as it was told. */
const tenants = (): unknown[] => mesh.upstream.calls.map((one) => one.headers['x-tidb-mesh-tenant']);

async function accessLog(lines: number): Promise<Record<string, unknown>[]> {
  for (let i = 0; i < 200; i++) {
    const text = await readFile(join(dirname(mesh.logPath), 'envoy-access.log'), 'utf8');
    const found = text.split('\n').filter((line) => line !== '');
    if (found.length >= lines) return found.map((line) => JSON.parse(line) as Record<string, unknown>);
    await sleep(100);
  }
  throw new Error(`the access log has fewer than ${lines} lines`);
}

describe('peer metadata in filter state', () => {
  test('agrees with the principal or refuses; a certificate of its own is of no use', async () => {
    await start(BY_PEER, inState('alpha'));
    expect(await call(mesh.alpha)).toMatchObject({ status: 0 });
    expect(await call(mesh.beta)).toMatchObject(
      refused(/for peer\.workload of rules\[0\] "beta" is expected and "alpha-tidb" was found/),
    );
    expect(tenants()).toEqual(['alpha']);
    expect(await mesh.stat(/tidbmesh_identity_conflicts_total/)).toBe(1);
    const log = await readFile(mesh.logPath, 'utf8');
    expect(log).toMatch(
      /tidb-mesh\[IDENTITY_CONFLICT\]: .*principal spiffe:\/\/demo\.mesh\/ns\/beta\/sa\/tidb .*"beta" is expected and "alpha-tidb"/,
    );
  });

  test('a label of another tenant', async () => {
    await start(BY_PEER, inState('alpha', 'beta'));
    expect(await call(mesh.alpha)).toMatchObject(
      refused(/labels\["tidb-mesh\.io\/tenant"\] of rules\[\d\] "alpha" is expected and "beta" was found/),
    );
    expect(tenants()).toEqual([]);
  });

  test('must agree with the header', async () => {
    await start(BY_PEER, inState('alpha'));
    expect(await call(mesh.alpha, inHeader('alpha'))).toMatchObject({ status: 0 });
    expect(await call(mesh.alpha, inHeader('beta'))).toMatchObject(
      refused(/"alpha-tidb" is expected and "beta-tidb" was found/),
    );
    expect(tenants()).toEqual(['alpha']);
  });

  test('many conflicts are counted, and logged once in a while', async () => {
    await start(BY_PEER, inState('alpha'));
    const began = Date.now();
    for (let i = 0; i < 20; i++) await call(mesh.beta);
    const pauses = Math.ceil((Date.now() - began) / LOG_PAUSE);
    expect(await mesh.stat(/tidbmesh_identity_conflicts_total/)).toBe(20);
    const log = await readFile(mesh.logPath, 'utf8');
    expect(log.match(/is expected and/g)!.length).toBeLessThanOrEqual(1 + pauses);
    expect(pauses).toBeLessThan(15);
  });

  test('a stream lives on under a configuration that leaves its caller who it was', async () => {
    await start(BY_PEER, inState('alpha'), {}, true);
    mesh.upstream.echo = () => frame(Buffer.alloc(0));
    const open = mesh.alpha.open('/tikvpb.Tikv/BatchCommands');
    await sleep(300);
    await mesh.configure({
      tenants: [...TENANTS, { name: 'gamma', number: 3 }],
      rules: BY_PEER,
      limits: { drainTimeoutSeconds: 1 },
    });
    await sleep(4000);
    expect(open.closed).toBe(false);
    await mesh.configure({
      tenants: TENANTS,
      rules: [{ principal: NAMESPACES, peer: { workload: '{tenant}-pd' } }],
      limits: { drainTimeoutSeconds: 1 },
    });
    for (let i = 0; i < 100 && !open.closed; i++) await sleep(100);
    expect(open.closed).toBe(true);
  });
});

describe('the header alone', () => {
  test('forged by a workload with its own certificate: it stays who its certificate says', async () => {
    await start(BY_PEER);
    expect(await call(mesh.alpha, inHeader('alpha'))).toMatchObject({ status: 0 });
    expect(await call(mesh.alpha, inHeader('beta'))).toMatchObject(
      refused(/"alpha" is expected and "beta-tidb" was found/),
    );
    const both = [inHeader('alpha'), inHeader('beta')].map((one) => one['x-envoy-peer-metadata']);
    expect(await call(mesh.alpha, { 'x-envoy-peer-metadata': both })).toMatchObject(
      refused(/disagrees|cannot be read/),
    );
    expect(await call(mesh.alpha, { 'x-envoy-peer-metadata': '%%%' })).toMatchObject(
      refused(/cannot be read/),
    );
    expect(await call(mesh.alpha)).toMatchObject(refused(/asks .* for peer\.workload, which is not known/));
    expect(tenants()).toEqual(['alpha']);
  });

  test('where rules ask for the principal only, it changes nothing', async () => {
    await start([{ principal: NAMESPACES }]);
    expect(await call(mesh.alpha, inHeader('beta'))).toMatchObject({ status: 0 });
    expect(tenants()).toEqual(['alpha']);
  });

  test.each([
    ['a label with control characters', 'beta\r\nx-tidb-mesh-tenant: beta'],
    ['a label with quotes', '"beta"\\'],
    ['a label with no UTF-8', 'bétà'],
    ['a label of 8 KB', 'b'.repeat(8192)],
  ])('%s goes nowhere', async (_name, label) => {
    await start(BY_PEER);
    expect(await call(mesh.alpha, inHeader('alpha', label))).toMatchObject(refused(/^[\x20-\x7e]{1,1024}$/));
    expect(tenants()).toEqual([]);
    const log = await readFile(mesh.logPath, 'utf8');
    const line = log.split('\n').find((one) => one.includes('disagrees'))!;
    expect(line).toMatch(
      /for peer\.labels\["tidb-mesh\.io\/tenant"\] of rules\[0\] "\{tenant\}" is expected and "[^"\\]{1,80}" was found/,
    );
    expect(log).not.toMatch(/^x-tidb-mesh-tenant/m);
  });
});

describe('the principal', () => {
  test('absent: refused, whatever the headers say', async () => {
    await start(BY_PEER);
    const nobody = mesh.caller(mesh.certs.server);
    expect(await call(nobody, inHeader('alpha'))).toMatchObject(
      refused(/^tidb-mesh\[[A-Z_]+\]: the caller has no principal/),
    );
    expect(tenants()).toEqual([]);
  });

  test('without rules its namespace is the tenant, in cluster.local', async () => {
    mesh = await startMesh({ rules: undefined });
    const files = await mesh.certs.client('spiffe://cluster.local/ns/beta/sa/tidb');
    expect(await call(mesh.caller(files))).toMatchObject({ status: 0 });
    expect(await call(mesh.alpha)).toMatchObject(refused(/no rule matches /));
    expect(tenants()).toEqual(['beta']);
  });

  test('the node speaks for callers where no principal is required', async () => {
    const node = {
      metadata: { WORKLOAD_NAME: 'beta-tidb', NAMESPACE: 'databases', LABELS: { [LABEL]: 'beta' } },
    };
    const rules = [
      { node: { workload: '{tenant}-tidb', namespace: 'databases', labels: { [LABEL]: '{tenant}' } } },
    ];
    await start(rules, { node }, { requirePrincipal: false });
    expect(await call(mesh.caller(mesh.certs.server))).toMatchObject({ status: 0, text: '' });
    expect(tenants()).toEqual(['beta']);
  });
});

describe('what others are told', () => {
  test('the tenant is in the access log, from filter state; of a caller that is refused there is none', async () => {
    await start([
      { principal: `spiffe://${TRUST_DOMAIN}/ns/storage/sa/*`, system: true },
      { principal: NAMESPACES },
    ]);
    const stranger = mesh.caller(await mesh.certs.client(principalOf('gamma')));
    const system = mesh.caller(await mesh.certs.client(principalOf('storage')));
    expect(await call(mesh.alpha)).toMatchObject({ status: 0 });
    expect(await call(mesh.beta, { 'x-tidb-mesh-tenant': 'alpha' })).toMatchObject({ status: 0 });
    expect(await call(stranger, { 'x-tidb-mesh-tenant': 'alpha' })).toMatchObject({ status: 7 });
    expect(await call(system, { 'x-tidb-mesh-tenant': 'alpha' })).toMatchObject({ status: 0 });
    const log = await accessLog(4);
    const tenantOf = (namespace: string): unknown =>
      log.find((line) => line['principal'] === principalOf(namespace))?.['tenant'];
    expect(['alpha', 'beta', 'gamma', 'storage'].map(tenantOf)).toEqual(['alpha', 'beta', null, null]);
    expect(tenants()).toEqual(['alpha', 'beta', undefined]);
  });
});
