import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { compatImage } from '../../src-ts/oci/image.ts';
import { readBuilt, RELEASE } from '../../src-ts/wasm/builds.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { registryOf } from '../harness/support/registry.ts';
import { TRUST_DOMAIN } from './control-plane.ts';
import { CHECKED_IN } from './manifests.ts';
import { pluginConfigFor, startMesh, SYSTEM_ACCOUNT, type Member, type Mesh } from './mesh.ts';
import { namespaceObject, operatorLabels, STORAGE } from './objects.ts';
import { NO_CRDS, operatorCrds } from './operator-crds.ts';
import { callUnary, getHttp1, sendRaw, type GrpcOutcome, type Target } from './probe.ts';
import { fillTable, tableTags } from './rows.ts';
import { PD_PEER_PORT, PD_PORT, STORE_PORT, STORE_STATUS_PORT } from './storage.ts';
import { eventually, expectNoFindings, expectValid, meshSuite } from './suite.ts';

const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;
const VERSION = '/pd/api/v1/version';
/** Answered to the storage layer only. */
const OPERATORS = '/pd/api/v1/operators';
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
  let systemTidb: Member & { tidb: Tidb };

  beforeAll(async () => {
    mesh = await startMesh();
    await mesh.addAccount('mallory', 'tidb');
    const started: Promise<unknown>[] = mesh.tenants.map(async ({ name }) =>
      tidbs.set(name, await mesh.startTidb(name)),
    );
    started.push(mesh.startSystemTidb().then((made) => (systemTidb = made)));
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
    const filled = [];
    for (const tenant of mesh.tenants)
      filled.push(await fillTable(mesh, tidbs.get(tenant.name)!.tidb, tenant));
    const [alpha, beta] = filled;
    expect(alpha!.tableId).toBe(beta!.tableId);
    expect(filled.map(({ rows, stored }) => ({ rows, stored }))).toEqual([
      {
        rows: [
          { id: 1, v: 'alpha' },
          { id: 2, v: 'alpha-2' },
        ],
        stored: 6,
      },
      {
        rows: [
          { id: 1, v: 'beta' },
          { id: 2, v: 'beta-2' },
        ],
        stored: 6,
      },
    ]);
    // What bears no tenant's number is the storage layer's own.
    expect(await tableTags(mesh)).toEqual(['748000', '748001', '748002']);
  });

  test("the storage layer's own TiDB leads the collection of garbage, and knows since when every tenant reads", async () => {
    const session = await systemTidb.tidb.connect();
    const leader = await eventually(
      () =>
        session.query(
          "SELECT variable_value AS is_led_by FROM mysql.tidb WHERE variable_name = 'tikv_gc_leader_desc'",
        ),
      (rows) => rows.length > 0,
      60_000,
    );
    expect(leader[0]!['is_led_by']).toContain(`pid:${systemTidb.tidb.pid},`);
    await session.close();
    // TiDB writes its key twice a minute or so; a tenant's name stands before the rest.
    const found = await eventually(
      () => etcdKeys('/tidb/server/minstartts/'),
      (keys) => ['alpha:', 'beta:', ''].every((start) => keys.some((key) => owner(key) === start)),
      120_000,
    );
    expect(new Set(found.map(owner))).toEqual(new Set(['alpha:', 'beta:', '']));
  });

  test('every request came over mTLS from a workload that is known by its certificate', async () => {
    for (const member of [mesh.pd, mesh.store]) {
      const served = await eventually(
        () => member.sidecar.accessLog().filter((entry) => entry.cluster?.startsWith('inbound|')),
        (entries) => entries.some((entry) => entry.principal === principal('beta', 'tidb')),
      );
      const callers = new Set(served.map((entry) => entry.principal));
      callers.delete(principal(STORAGE.namespace, 'storage'));
      expect(callers.delete(principal(STORAGE.namespace, SYSTEM_ACCOUNT))).toBe(true);
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

  test("Istio's bootstrap makes the tenant and the kind labels of the filter's metrics", () => {
    const store = mesh.store.sidecar.admin('stats/prometheus');
    for (const tenant of ['alpha', 'beta'])
      for (const kind of ['read', 'write'])
        expect(
          store
            .split('\n')
            .some(
              (line) =>
                line.startsWith('tidbmesh_tenant_requests_total{') &&
                line.includes(`tenant="${tenant}"`) &&
                line.includes(`kind="${kind}"`),
            ),
        ).toBe(true);
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

  test('headers with bytes that do not belong there make nobody another', async () => {
    // An answer of PD that is for the storage layer only: the probe works.
    const asked: [Member, string][] = [
      [mallory, VERSION],
      [tidbs.get('alpha')!, OPERATORS],
    ];
    for (const [, path] of asked)
      expect(await getHttp1(target(mesh.pd, PD_PORT, mesh.store), path)).toMatch(/^HTTP\/1.1 200 /);
    for (const lines of oddHeaders(principal(STORAGE.namespace, 'storage')))
      for (const [as, path] of asked) {
        const request = `GET ${path} HTTP/1.1\r\nhost: pd\r\nconnection: close\r\n${lines}\r\n\r\n`;
        const { answer } = await sendRaw(target(mesh.pd, PD_PORT, as), Buffer.from(request, 'latin1'));
        // Envoy refuses what is malformed, the filter the rest.
        expect([lines, answer.toString('latin1')]).toEqual([
          lines,
          expect.stringMatching(
            /^(HTTP\/1\.1 (400|431) [^]*|HTTP\/1\.1 403 [^]*tidb-mesh\[[A-Z_]+\]: [^]*)$/,
          ),
        ]);
        expect(answer.toString('latin1')).not.toContain('HTTP/1.1 200');
      }
    for (const member of [mesh.pd, mesh.store])
      expect(member.sidecar.log()).not.toContain('Function: proxy_on');
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
        expect(await getHttp1(by(mallory), VERSION)).toMatch(/^HTTP\/1.1 403 .*tidb-mesh\[[A-Z_]+\]: /s);
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
    const files = ['access', 'ports', 'pd-protocols'].map((name) => ['base', name] as const);
    const rest = [
      ['envoyfilter', 'filter'],
      ['trafficextension', 'filter'],
      ['observability', 'telemetry'],
    ] as const;
    for (const [part, name] of [...files, ...rest]) {
      const file = join(mesh.manifests.folder(part), `${name}.yaml`);
      await expectValid(mesh.controlPlane, file);
    }
    await expectNoFindings(mesh.controlPlane, STORAGE.namespace);
  });

  test.each(['envoyfilter', 'trafficextension'] as const)(
    'the overlay %s builds, with all of the base in it',
    async (overlay) => {
      const built = await mesh.controlPlane.kubectl(['kustomize', mesh.manifests.folder(overlay)]);
      const kinds = parseAllDocuments(built).map((document) => String(document.get('kind')));
      const filters = { envoyfilter: 'EnvoyFilter', trafficextension: 'TrafficExtension' };
      expect(kinds.filter((kind) => kind === 'AuthorizationPolicy')).toHaveLength(2);
      expect(kinds.filter((kind) => kind === 'PeerAuthentication')).toHaveLength(1);
      expect(kinds.filter((kind) => kind === 'Sidecar')).toHaveLength(2);
      // What lets PD's port speak both protocols is an EnvoyFilter too.
      expect(kinds.filter((kind) => kind === 'EnvoyFilter')).toHaveLength(overlay === 'envoyfilter' ? 3 : 1);
      expect(kinds.filter((kind) => kind === filters[overlay]).length).toBeGreaterThanOrEqual(2);
    },
  );

  test("the manifests of the repository, without the filter's code, are refused", async () => {
    const { status, stderr } = await mesh.controlPlane.tryKubectl([
      ...['apply', '--server-side', '--force-conflicts', '--dry-run=server'],
      ...['-k', join(CHECKED_IN, 'envoyfilter')],
    ]);
    expect(status).not.toBe(0);
    // One for PD, one for TiKV.
    expect(stderr.match(/denied the request: .*illegal base64 data/g)).toHaveLength(2);
  });

  test('the failure policy arrives in Envoy', () => {
    for (const member of [mesh.pd, mesh.store])
      expect(member.sidecar.admin('config_dump')).toMatch(/"failure_policy": "FAIL_RELOAD"/);
  });

  const crds = operatorCrds();
  const testWithCrds = crds === undefined ? test.skip : test;
  const withCrds = (title: string): string => (crds === undefined ? `${title} (${NO_CRDS})` : title);

  testWithCrds(withCrds("TiDB Operator's own types take the examples"), async () => {
    const { kubectl, tryKubectl } = mesh.controlPlane;
    const apply = ['apply', '--server-side', '--force-conflicts'];
    const v2 = 'operator-v2/examples/operator-v2';
    await kubectl([...apply, ...crds!.flatMap((file) => ['-f', file])]);
    await kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    // A dry run makes no namespace, and no object without one.
    await mesh.apply(...['cluster1', 'cluster2'].map(namespaceObject));
    await kubectl([...apply, '-f', join(CHECKED_IN, v2, 'accounts.yaml')]);

    const folders = ['examples/v8.5', 'examples/v5.2.1', v2].map((folder) => join(CHECKED_IN, folder));
    const dryRun = [...apply, '--dry-run=server', '--validate=strict'];
    const taken = await Promise.all(folders.map((folder) => tryKubectl([...dryRun, '-f', folder])));
    for (const { status, stderr } of taken) expect([status, stderr]).toEqual([0, '']);

    // The types are asked: they refuse a field that they do not know. So is the policy about accounts, some time after it is made.
    const tenant = readFileSync(join(CHECKED_IN, v2, 'cluster1.yaml'), 'utf8');
    const group = await tryKubectl([...dryRun, '-f', '-'], tenant.replace('replicas:', 'replikas:'));
    expect(group.stderr).toMatch(
      /replikas.* unknown field|unknown field .*replikas|replikas: field not declared/,
    );
    const cluster = readFileSync(join(CHECKED_IN, 'examples/v8.5/cluster1.yaml'), 'utf8');
    const other = await tryKubectl([...dryRun, '-f', '-'], cluster.replace('replicas: 2', 'replicas: two'));
    expect(other.stderr).toMatch(/replicas/);
    const forged = tenant.replace('serviceAccountName: cluster1', 'serviceAccountName: cluster2');
    await eventually(
      () => tryKubectl([...dryRun, '-f', '-'], forged),
      ({ stderr }) => stderr.includes('serviceAccountName must be the name of the group'),
    );
  });

  // The last one: while the filters change places, nobody maps the keys of the TiDBs.
  test('a TrafficExtension brings the filter from a registry, and it decides as before', async () => {
    const image = compatImage(await readBuilt(RELEASE));
    const registry = registryOf('tidb-mesh', [image]);
    let fetched = 0;
    registry.on('request', ({ method, url }: IncomingMessage, response: ServerResponse) => {
      if (method === 'GET' && url?.endsWith(image.blobs.at(-1)!.digest))
        response.on('finish', () => fetched++);
    });
    await new Promise<void>((ready) => registry.listen(0, mesh.network.gateway, ready));
    try {
      const { port } = registry.address() as AddressInfo;
      const where = `${mesh.network.gateway}:${port}/tidb-mesh`;
      await mesh.manifests.render(pluginConfigFor(mesh.tenants), where);
      const { kubectl } = mesh.controlPlane;
      await kubectl(['delete', 'envoyfilter', '-n', STORAGE.namespace, 'tidb-mesh-pd', 'tidb-mesh-tikv']);
      await mesh.manifests.apply('trafficextension');
      // The registry is in this process, so nothing may block it meanwhile.
      await eventually(
        () => fetched,
        (count) => count >= 2,
        120_000,
      );
      const members = [
        [mesh.pd, PD_PORT, 'pd', GET_MEMBERS],
        [mesh.store, STORE_PORT, 'tikv', STORE_SAFE_TS],
      ] as const;
      for (const [member, filtered, component, method] of members) {
        const filters = await eventually(
          () => inboundChains(member).find((chain) => chain.port === filtered)?.filters ?? [],
          (names) => names.some((name) => name.includes(`tidb-mesh-${component}`)),
          60_000,
        );
        expect(filters).not.toContain('tidb-mesh');
        const by = (as: Member): Promise<GrpcOutcome> =>
          callUnary(target(member, filtered, as, ['h2']), method);
        await eventually(
          () => by(tidbs.get('alpha')!),
          ({ status }) => status === 0,
          60_000,
        );
        const refused = await by(mallory);
        expectRefused(refused);
        expect(refused.message).toContain(principal('mallory', 'tidb'));
      }
    } finally {
      registry.close();
    }
  });

  /** Keys under this one in PD's etcd, as they lie there. */
  async function etcdKeys(prefix: string): Promise<string[]> {
    const end = Buffer.from(prefix);
    end[end.length - 1]!++;
    const response = await fetch(`${mesh.pd.directUrl}/v3/kv/range`, {
      method: 'POST',
      body: JSON.stringify({
        key: Buffer.from(prefix).toString('base64'),
        range_end: end.toString('base64'),
        keys_only: true,
      }),
    });
    const { kvs } = (await response.json()) as { kvs?: { key: string }[] };
    return (kvs ?? []).map(({ key }) => Buffer.from(key, 'base64').toString().slice(prefix.length));
  }

  function ports(): [Member, number][] {
    return [
      [mesh.pd, PD_PORT],
      [mesh.pd, PD_PEER_PORT],
      [mesh.store, STORE_PORT],
      [mesh.store, STORE_STATUS_PORT],
    ];
  }
});

/** `alpha:` of a key of that tenant, nothing of one of the storage layer. */
function owner(key: string): string {
  return /^[^:]*:/.exec(key)?.[0] ?? '';
}

/** Header lines of one who wants to be taken for another, or to upset the parser, each as bytes (latin1). */
function oddHeaders(wanted: string): string[] {
  const claim = `x-forwarded-client-cert: URI=${wanted}`;
  return [
    `${claim}\r\n${claim}`,
    `a: b\r\n ${claim}`,
    `a: b\n${claim}`,
    `a: b\r${claim}`,
    `a: b\0${claim}`,
    `x-forwarded-client-cert : URI=${wanted}`,
    `x-forwarded-client-cert\0: URI=${wanted}`,
    `: ${wanted}`,
    `x-envoy-peer-metadata: \xff\xfe\xc0\x80\x7f`,
    `x-envoy-peer-metadata-id: ${'\xf0\x9f\x92\xa9'.repeat(500)}`,
    'x-tidb-mesh-tenant: alpha\xa0',
    `x-tidb-mesh-tenant: ${'a'.repeat(100_000)}`,
    `\xffx-tidb-mesh-tenant: alpha`,
    'x-envoy-original-path: /pd/api/v1/ping\r\nx-envoy-original-dst-host: 127.0.0.1:2379',
    'pd-forwarded-host: 127.0.0.1:2379\r\nx-forwarded-host: \x01\x02',
    // A second request behind the first one's body, whichever of the two lengths somebody believes.
    `content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET ${VERSION} HTTP/1.1\r\nhost: pd`,
    `transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\nGET ${VERSION} HTTP/1.1\r\nhost: pd`,
  ];
}

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
  expect(call.message).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
  expect(call.body).toHaveLength(0);
}
