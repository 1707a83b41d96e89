import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tablePrefix } from '../support/keys.ts';
import type { Row } from '../stack/sql.ts';
import type { Tidb } from '../stack/tidb.ts';
import { TRUST_DOMAIN } from './control-plane.ts';
import { productManifests } from './manifests.ts';
import { pluginConfigFor, startMesh, type Member, type Mesh } from './mesh.ts';
import { list, operatorLabels, STORAGE } from './objects.ts';
import { callUnary, getHttp1, sendRaw, type GrpcOutcome, type Target } from './probe.ts';
import { PD_PEER_PORT, PD_PORT, STORE_PORT, STORE_STATUS_PORT } from './storage.ts';
import { eventually, meshSuite } from './suite.ts';

const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;
const VERSION = '/pd/api/v1/version';
const GET_MEMBERS = '/pdpb.PD/GetMembers';
const STORE_SAFE_TS = '/tikvpb.Tikv/GetStoreSafeTS';
/** All that a TLS client may offer: what Istio's own clients do, what others do, and nothing at all. */
const OFFERS: { offer: string; alpn?: string[] }[] = [
  { offer: 'nothing' },
  { offer: 'istio', alpn: ['istio'] },
  { offer: 'istio-peer-exchange and istio', alpn: ['istio-peer-exchange', 'istio'] },
  { offer: 'istio-http/1.1', alpn: ['istio-http/1.1'] },
  { offer: 'istio-h2', alpn: ['istio-h2'] },
  { offer: 'h2', alpn: ['h2'] },
  { offer: 'http/1.1', alpn: ['http/1.1'] },
  { offer: 'mysql', alpn: ['mysql'] },
];
/** Envoy agrees on these two, and then takes nothing else. */
const agreesOn = (protocol: string, alpn?: string[]): boolean => alpn?.includes(protocol) ?? false;

const principal = (namespace: string, account: string): string =>
  `spiffe://${TRUST_DOMAIN}/ns/${namespace}/sa/${account}`;

meshSuite('two tenants in a mesh', () => {
  let mesh: Mesh;
  const tidbs = new Map<string, Member & { tidb: Tidb }>();
  /** A workload with a valid certificate of its own, and the labels of alpha's TiDB. */
  let mallory: Member;

  beforeAll(async () => {
    mesh = await startMesh();
    await mesh.addAccount('mallory', 'tidb');
    const started = mesh.tenants.map(async ({ name }) => tidbs.set(name, await mesh.startTidb(name)));
    mallory = await mesh.startPod({
      name: 'mallory-0',
      namespace: 'mallory',
      serviceAccount: 'tidb',
      labels: operatorLabels('alpha', 'tidb'),
    });
    await Promise.all(started);
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  const target = (to: Member, port: number, as?: Member, alpn?: string[]): Target => ({
    host: to.pod.ip,
    port,
    ...(as ? { certs: as.sidecar.certs } : {}),
    ...(alpn ? { alpn } : {}),
  });

  test('each runs its own SQL, and every row lies in its own part of the store', async () => {
    const rows: Record<string, Row[]> = {};
    const ids = new Set<number>();
    for (const { name, number } of mesh.tenants) {
      const session = await tidbs.get(name)!.tidb.connect();
      await session.query('CREATE DATABASE m');
      await session.query('CREATE TABLE m.t (id INT PRIMARY KEY, v VARCHAR(20), KEY (v))');
      await session.query('INSERT INTO m.t VALUES (1, ?), (2, ?)', [name, `${name}-2`]);
      await session.query('ALTER TABLE m.t ADD INDEX later (v, id)');
      await session.query('ADMIN CHECK TABLE m.t');
      rows[name] = await session.query('SELECT * FROM m.t ORDER BY id');
      const [row] = await session.query(
        "SELECT TIDB_TABLE_ID AS id FROM information_schema.tables WHERE TABLE_SCHEMA = 'm'",
      );
      const id = Number(row!['id']);
      ids.add(id);
      const prefix = tablePrefix(id, number);
      const end = Buffer.from(prefix);
      end[end.length - 1]!++;
      const stored = await mesh.store.inspect.keys(prefix, end);
      // Two rows and two entries in each of two indexes.
      expect(stored).toHaveLength(6);
      await session.close();
    }
    expect(ids.size).toBe(1);
    expect(rows).toEqual({
      alpha: [
        { id: 1, v: 'alpha' },
        { id: 2, v: 'alpha-2' },
      ],
      beta: [
        { id: 1, v: 'beta' },
        { id: 2, v: 'beta-2' },
      ],
    });
    const all = await mesh.store.inspect.keys(Buffer.alloc(0), Buffer.alloc(0), 100_000);
    const tags = new Set(all.map(({ key }) => key.subarray(0, 3).toString('hex')));
    expect([...tags].sort()).toEqual(['748001', '748002']);
  });

  test('every request came over mTLS from a workload that is known by its certificate', async () => {
    for (const member of [mesh.pd, mesh.store]) {
      const served = await eventually(
        () => member.sidecar.accessLog().filter((entry) => entry.cluster?.startsWith('inbound|')),
        (entries) => entries.some((entry) => entry.principal === principal('beta', 'tidb')),
      );
      const callers = new Set(served.map((entry) => entry.principal));
      callers.delete(principal(STORAGE.namespace, 'storage'));
      expect([...callers].sort()).toEqual([principal('alpha', 'tidb'), principal('beta', 'tidb')]);
    }
  });

  test('both sidecars of the storage layer have the filter, loaded and in one listener only', () => {
    for (const [member, port] of [
      [mesh.pd, PD_PORT],
      [mesh.store, STORE_PORT],
    ] as const) {
      const chains = inboundChains(member).filter((chain) => chain.port === port);
      expect(chains).toHaveLength(1);
      expect(chains[0]!.filters).toContain('tidb-mesh');
      expect(chains[0]!.filters.at(-1)).toBe('envoy.filters.http.router');
      const loaded = member.sidecar.stats(/extension_config_discovery.*tidb-mesh.*config_reload$/);
      expect([...loaded.values()].some((count) => count > 0)).toBe(true);
    }
  });

  test('a workload that is no tenant is refused by name, whatever labels it has', async () => {
    const call = await callUnary(target(mesh.pd, PD_PORT, mallory, ['h2']), GET_MEMBERS);
    expectRefused(call);
    expect(call.message).toContain(principal('mallory', 'tidb'));
  });

  test('metadata headers of another workload do not help', async () => {
    const forged = {
      'x-envoy-peer-metadata-id': `sidecar~${tidbs.get('alpha')!.pod.ip}~alpha-tidb-0.alpha~alpha.svc.cluster.local`,
      'x-envoy-peer-metadata': Buffer.from('\n\x12\n\tNAMESPACE\x12\x05\x1a\x03xyz').toString('base64'),
      'x-tidb-mesh-tenant': 'alpha',
      'x-forwarded-client-cert': `URI=${principal('alpha', 'tidb')}`,
    };
    const call = await callUnary(
      target(mesh.pd, PD_PORT, mallory, ['h2']),
      GET_MEMBERS,
      Buffer.alloc(0),
      forged,
    );
    expectRefused(call);
    expect(call.message).toContain(principal('mallory', 'tidb'));
  });

  test('without a certificate no port answers', async () => {
    for (const [member, port] of ports()) {
      expect(await getHttp1(target(member, port), VERSION)).toBe('');
      expect((await callUnary(target(member, port), GET_MEMBERS)).status).toBe(-1);
      expect((await sendRaw(target(member, port), Buffer.from('\x00\x01\x02raw'))).answer).toHaveLength(0);
    }
  });

  /*
   * Each probe is made twice: by a system principal, which must reach the server, else the probe would prove nothing,
   * and by mallory, who must not.
   */
  test.each(OFFERS)(
    'PD is not reached round the filter by a handshake that offers $offer',
    async ({ alpn }) => {
      const by = (as: Member): Target => target(mesh.pd, PD_PORT, as, alpn);
      if (!agreesOn('h2', alpn)) {
        expect(await getHttp1(by(mesh.store), VERSION)).toMatch(/^HTTP\/1.1 200 .*"version"/s);
        expect(await getHttp1(by(mallory), VERSION)).toMatch(/^HTTP\/1.1 403 .*tidb-mesh: /s);
      }
      if (!agreesOn('http/1.1', alpn)) {
        expect((await callUnary(by(mesh.store), GET_MEMBERS)).status).toBe(0);
        expectRefused(await callUnary(by(mallory), GET_MEMBERS));
      }
    },
  );

  test.each(OFFERS.filter(({ alpn }) => !agreesOn('http/1.1', alpn)))(
    'the store is not reached round it by a handshake that offers $offer',
    async ({ alpn }) => {
      const by = (as: Member): Target => target(mesh.store, STORE_PORT, as, alpn);
      expect((await callUnary(by(mesh.pd), STORE_SAFE_TS)).status).toBe(0);
      expectRefused(await callUnary(by(mallory), STORE_SAFE_TS));
    },
  );

  test.each(OFFERS.filter(({ alpn }) => !agreesOn('h2', alpn)))(
    'the other ports are closed to a handshake that offers $offer',
    async ({ alpn }) => {
      for (const [member, port, path, sign] of [
        [mesh.pd, PD_PEER_PORT, '/version', 'etcdserver'],
        [mesh.store, STORE_STATUS_PORT, '/config', 'coprocessor'],
      ] as const) {
        const own = member === mesh.pd ? mesh.store : mesh.pd;
        expect(await getHttp1(target(member, port, own, alpn), path)).toContain(sign);
        for (const stranger of [mallory, tidbs.get('alpha')!])
          expect(await getHttp1(target(member, port, stranger, alpn), path)).not.toContain(sign);
      }
    },
  );

  test.each(OFFERS)(
    'no byte of no protocol goes through behind a handshake that offers $offer',
    async ({ alpn }) => {
      const bytes = Buffer.from(
        '\x16\x00\x00\x00\x0a5.7.25\x00 neither HTTP nor TLS \xff\xfe\r\n\r\n',
        'latin1',
      );
      for (const [member, port] of ports()) {
        const before = bytesPassedThrough(member);
        const { answer } = await sendRaw(target(member, port, mallory, alpn), bytes);
        // Envoy's own words, for a malformed request: an HTTP/1.1 status, HTTP/2's SETTINGS and GOAWAY, or none.
        expect(answer.toString('latin1')).toMatch(/^(|HTTP\/1\.1 40[03] .*|\x00\x00.\x04.*)$/s);
        expect(answer.toString('latin1')).not.toMatch(/etcd|coprocessor/);
        expect(bytesPassedThrough(member)).toBe(before);
      }
    },
  );

  test("Istio's own tools find nothing wrong with the manifests", async () => {
    const file = join(mesh.run.data, 'manifests.json');
    await writeFile(
      file,
      JSON.stringify(list(productManifests(mesh.binaries.wasm, pluginConfigFor(mesh.tenants)))),
    );
    const validated = await mesh.controlPlane.istioctl(['validate', '-f', file]);
    expect(validated).toEqual({ status: 0, stdout: '', stderr: `"${file}" is valid\n` });
    const analyzed = await mesh.controlPlane.istioctl(['analyze', '-n', STORAGE.namespace, '--output=json']);
    const found = JSON.parse(analyzed.stdout || '[]') as { level: string; origin: string; message: string }[];
    expect(found.filter(({ level }) => level !== 'Info')).toEqual([]);
  });

  function ports(): [Member, number][] {
    return [
      [mesh.pd, PD_PORT],
      [mesh.pd, PD_PEER_PORT],
      [mesh.store, STORE_PORT],
      [mesh.store, STORE_STATUS_PORT],
    ];
  }
});

interface Chain {
  port: number | undefined;
  /** HTTP filters; those of the network where there are none. */
  filters: string[];
}

interface NamedFilter {
  name: string;
  typed_config?: { http_filters?: { name: string }[] };
}

function inboundChains(member: Member): Chain[] {
  const dump = JSON.parse(member.sidecar.admin('config_dump?resource=dynamic_listeners')) as {
    configs: {
      name: string;
      active_state: {
        listener: {
          filter_chains: { filter_chain_match?: { destination_port?: number }; filters: NamedFilter[] }[];
        };
      };
    }[];
  };
  const inbound = dump.configs.find(({ name }) => name === 'virtualInbound')!;
  return inbound.active_state.listener.filter_chains.map((chain) => ({
    port: chain.filter_chain_match?.destination_port,
    filters: chain.filters.flatMap(
      ({ name, typed_config }) => typed_config?.http_filters?.map((filter) => filter.name) ?? [name],
    ),
  }));
}

/** Bytes that the sidecar sent on to ports for which it has no chain of their own. */
function bytesPassedThrough(member: Member): number {
  const counts = member.sidecar.stats(/^cluster\.InboundPassthroughClusterIpv4\.upstream_cx_tx_bytes_total$/);
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

function expectRefused(call: GrpcOutcome): void {
  expect([PERMISSION_DENIED, UNAUTHENTICATED]).toContain(call.status);
  expect(call.message).toMatch(/^tidb-mesh: /);
  expect(call.body).toHaveLength(0);
}
