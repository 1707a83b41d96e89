/** A tenant of several storages in one mesh file: what each storage's filter is told of it, and what is refused. */
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { Judge } from '../../src-ts/config/judge.ts';
import { configSources } from '../../src-ts/config/sources.ts';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import { judgeFile, type Finding } from '../../src-ts/config/validate.ts';
import { readAnyMesh } from '../../src-ts/manifests/any-mesh.ts';
import { WITHOUT_CODE } from '../../src-ts/manifests/code.ts';
import { MeshFileError } from '../../src-ts/manifests/mesh-file.ts';
import { render } from '../../src-ts/manifests/render.ts';
import { kubernetesObjects } from '../../src-ts/standalone/kubernetes.ts';
import { readEnvoyMesh } from '../../src-ts/standalone/mesh.ts';
import { pluginConfigOf } from '../../src-ts/standalone/plugin-config.ts';
import { bootstrapOf } from '../../src-ts/standalone/render.ts';

const SYSTEM = { principal: 'spiffe://x/ns/storage/sa/*', system: true };
const BY_NAMESPACE = { principal: 'spiffe://x/ns/{tenant}/sa/*' };
/** The system rule matches it, too. */
const ENVOY_A = 'spiffe://x/ns/storage/sa/envoy-a';

const member = (host: string, port: number): object => ({
  advertise: `mesh-${host}.example.com:${port}`,
  server: `${host}.internal:${port + 10_000}`,
});
const storage = (name: string, port: number, more: object = {}): object => ({
  name,
  pd: [member(`pd-${name}`, port)],
  tikv: [member(`tikv-${name}`, port + 1)],
  ...more,
});
const STORAGES = [
  storage('a', 2379, { principal: ENVOY_A, clusterId: '7001' }),
  storage('b', 3379, { clusterId: '7002' }),
  storage('c', 4379),
];
const meshWith = (tenants: object[], more: object = {}): object => ({
  target: 'envoy',
  storages: STORAGES,
  pluginConfig: { tenants, rules: [SYSTEM, BY_NAMESPACE] },
  ...more,
});
const text = (...tenants: object[]): string => JSON.stringify(meshWith(tenants));
/** What the filters of the storages a, b and c are told. */
function configsOf(source: string): PluginConfig[] {
  const mesh = readEnvoyMesh(source);
  return mesh.storages.map((one) => pluginConfigOf(mesh, one));
}

const BETA = { name: 'beta', number: 1, storage: 'a' };
/** A filter takes no configuration without a tenant. */
const GAMMA = { name: 'gamma', number: 1, storage: 'c' };
/** It was at A what was there first, and runs on at B. */
const MOVED = {
  name: 'alpha',
  number: 7,
  storage: 'b',
  limits: { maxStreams: 50, etcdKeys: 100 },
  epochOffset: 4096,
  confVerOffset: 16,
  clusterId: { seen: '7001', own: '7002' },
  latestSeen: '450000000000000000',
  movedFrom: { storage: 'a', number: 0 },
};

async function errorsOf(source: string): Promise<Finding[]> {
  const judged = judgeFile(source, await Judge.load());
  return judged.flatMap(({ findings }) => findings).filter(({ severity }) => severity === 'error');
}

describe('a tenant that has moved', () => {
  const [a, b, c] = configsOf(text(MOVED, BETA));

  test('is handed over where it comes from, with what differs there', () => {
    expect(a!.tenants).toEqual([
      { name: 'alpha', number: 0, limits: { maxStreams: 50 }, servedBy: 'b' },
      { name: 'beta', number: 1 },
    ]);
  });

  test('is at the storage that serves it what its entry says, and nowhere else', () => {
    const { storage, movedFrom, ...entry } = MOVED;
    expect([storage, movedFrom.storage]).toEqual(['b', 'a']);
    expect(b!.tenants).toEqual([entry]);
    expect(c!.tenants).toEqual([]);
  });

  test("the other storage's Envoys may act for it there, before any rule makes them the storage layer's own", () => {
    expect(b!.rules).toEqual([{ principal: ENVOY_A, mayActFor: ['alpha'] }, SYSTEM, BY_NAMESPACE]);
    for (const other of [a, c]) expect(other!.rules).toEqual([SYSTEM, BY_NAMESPACE]);
  });

  test('the filters take it, and judge a call of those Envoys by that rule', async () => {
    const mesh = text(MOVED, BETA, GAMMA);
    expect(await errorsOf(mesh)).toEqual([]);
    const judge = await Judge.load();
    const resolved = configSources(mesh).map((source) => {
      expect(judge.configure(source.text)).toBe('');
      return judge.resolve({ principal: ENVOY_A });
    });
    expect(resolved).toMatchObject([
      { access: 'system' },
      { access: 'refused', refusal: expect.stringContaining('x-tidb-mesh-on-behalf') },
      { access: 'system' },
    ]);
  });

  test('has the number of its entry where nothing else is said', () => {
    const [there] = configsOf(text({ name: 'alpha', number: 7, storage: 'b', movedFrom: 'a' }));
    expect(there!.tenants).toEqual([{ name: 'alpha', number: 7, servedBy: 'b' }]);
  });

  test('several that moved to one storage are in one rule', () => {
    const moved = ['alpha', 'beta'].map((name, i) => ({ name, number: i + 1, storage: 'b', movedFrom: 'a' }));
    const [, there] = configsOf(text(...moved));
    expect(there!.rules![0]).toEqual({ principal: ENVOY_A, mayActFor: ['alpha', 'beta'] });
  });

  test('its policy and its own rules are at both', () => {
    const own = { principal: 'spiffe://x/ns/shop/sa/tidb', tenant: 'alpha' };
    const pluginConfig = {
      tenants: [MOVED, BETA],
      rules: [SYSTEM, own],
      policy: { tenants: { alpha: { refuse: ['pdpb.PD/GetStore'] } } },
    };
    const [there, here, nowhere] = configsOf(JSON.stringify(meshWith([], { pluginConfig })));
    for (const config of [there, here]) {
      expect(config!.rules).toContainEqual(own);
      expect(Object.keys(config!.policy!.tenants!)).toEqual(['alpha']);
    }
    expect(nowhere!.rules).toEqual([SYSTEM]);
    expect(nowhere!.policy!.tenants).toEqual({});
  });

  test('an error of the filter names the place in the file', async () => {
    const twice = await errorsOf(text({ ...MOVED, movedFrom: { storage: 'a', number: 1 } }, BETA, GAMMA));
    expect(twice).toMatchObject([{ path: expect.stringMatching(/^tenants\[1\]/) }]);
    expect(twice[0]!.text).toContain('tenants[0].movedFrom');
    const wrong = await errorsOf(text({ ...MOVED, movedFrom: { storage: 'a', keyNumber: 70_000 } }, GAMMA));
    expect(wrong).toMatchObject([{ path: 'tenants[0].movedFrom.keyNumber' }]);
  });
});

describe('a tenant that is to move', () => {
  const moving = { name: 'alpha', number: 0, storage: 'a', movesTo: { storage: 'b', number: 7 } };

  test('is closed where it goes, and nobody acts for it', () => {
    const [a, b] = configsOf(text(moving));
    expect(a!.tenants).toEqual([{ name: 'alpha', number: 0 }]);
    expect(b!.tenants).toEqual([{ name: 'alpha', number: 7, state: 'suspended' }]);
    expect(b!.rules).toEqual([SYSTEM, BY_NAMESPACE]);
  });

  test('has a phase at each of both', async () => {
    const final = { serial: 3, phase: 'final' };
    const mesh = text({ ...moving, move: final, movesTo: { ...moving.movesTo, move: final } }, GAMMA);
    for (const { tenants } of configsOf(mesh).slice(0, 2))
      expect(tenants).toMatchObject([{ name: 'alpha', move: final }]);
    expect(await errorsOf(mesh)).toEqual([]);
  });
});

describe('Envoy', () => {
  const mesh = readEnvoyMesh(text(MOVED));
  const made = mesh.storages.map((one) => bootstrapOf(mesh, one));

  test('of a storage with a principal knows where each other one is, and of one without does not', () => {
    const clusters = made.map(({ static_resources: { clusters: all } }) =>
      all.filter(({ name }) => name.startsWith('storage_')),
    );
    expect(clusters[0]!.map(({ name }) => name)).toEqual([
      'storage_b_grpc',
      'storage_b_http',
      'storage_c_grpc',
      'storage_c_http',
    ]);
    expect(clusters.slice(1)).toEqual([[], []]);
    const hosts = [...JSON.stringify(clusters[0]).matchAll(/"address":"([^"]+)"/g)].map(([, host]) => host);
    expect(hosts).toEqual(['b', 'b', 'c', 'c'].map((name) => `mesh-pd-${name}.example.com`));
  });

  test('tells each server which storage serves the call', () => {
    interface Route {
      match: { prefix: string };
      route: { cluster: string };
      request_headers_to_add: [{ header: { key: string; value: string }; append_action: string }];
    }
    const routesOf = (listener: number): Route[] => {
      const [manager] = made[0]!.static_resources.listeners[listener]!.filter_chains[0]!.filters;
      const config = manager!.typed_config['route_config'] as { virtual_hosts: { routes: Route[] }[] };
      return config.virtual_hosts.flatMap(({ routes }) => routes);
    };
    const told = (routes: Route[]): string[] =>
      routes.map((one) => {
        const [{ header, append_action: action }] = one.request_headers_to_add;
        expect([header.key, action]).toEqual(['x-tidb-mesh-storage', 'OVERWRITE_IF_EXISTS_OR_ADD']);
        return `${one.match.prefix} ${one.route.cluster} ${header.value}`;
      });
    expect(told(routesOf(0))).toEqual([
      '/.tidb-mesh/b/ storage_b_grpc b',
      '/.tidb-mesh/b/ storage_b_http b',
      '/.tidb-mesh/c/ storage_c_grpc c',
      '/.tidb-mesh/c/ storage_c_http c',
      '/ pd_0_grpc a',
      '/ pd_0_http a',
    ]);
    expect(told(routesOf(1))).toEqual(['/ tikv_0 a']);
  });

  test('may reach the others in Kubernetes', () => {
    const ports = mesh.storages.map((one) => {
      const policy = kubernetesObjects(mesh, one).find(({ kind }) => kind === 'NetworkPolicy');
      const { egress } = policy!['spec'] as { egress: [{ ports: { port: number }[] }] };
      return egress[0].ports.map(({ port }) => port);
    });
    expect(ports[0]).toEqual([12379, 12380, 3379, 4379, 53, 53]);
    expect(ports[1]).toEqual([13379, 13380, 53, 53]);
  });
});

describe('a mesh file that is refused', () => {
  const at = 'pluginConfig.tenants[0]';
  const alpha = { name: 'alpha', number: 1, storage: 'b' };
  const withStorages = (...storages: object[]): object => meshWith([alpha], { storages });
  const withRules = (...rules: object[]): object =>
    meshWith([MOVED], { pluginConfig: { tenants: [MOVED], rules } });
  const bad: [string, object, string][] = [
    [
      'a tenant from an unknown storage',
      meshWith([{ ...alpha, movedFrom: 'd' }]),
      `${at}.movedFrom: "d" is not in storages; known here: a, b, c`,
    ],
    [
      'a tenant to an unknown storage',
      meshWith([{ ...alpha, movesTo: { storage: 'd' } }]),
      `${at}.movesTo.storage: "d" is not in storages; known here: a, b, c`,
    ],
    [
      'a side without a storage',
      meshWith([{ ...alpha, movedFrom: { number: 2 } }]),
      `${at}.movedFrom: says no storage`,
    ],
    ['a side that is a number', meshWith([{ ...alpha, movedFrom: 7 }]), `${at}.movedFrom: must be a mapping`],
    [
      'a side with a name of its own',
      meshWith([{ ...alpha, movedFrom: { storage: 'a', name: 'x' } }]),
      `${at}.movedFrom.name: unknown field; known here: storage, number, state, limits, keyspace, prefix, ownDefaultGroup, keyNumber, epochOffset, confVerOffset, clusterId, latestSeen, readableSince, move`,
    ],
    [
      'a tenant from where it is',
      meshWith([{ ...alpha, movedFrom: 'b' }]),
      `${at}.movedFrom: storage "b" serves the tenant: name another one`,
    ],
    [
      'a tenant that goes back and comes from there',
      meshWith([{ ...alpha, movedFrom: 'a', movesTo: 'a' }]),
      `${at}.movesTo: storage "a" is its movedFrom: name another one`,
    ],
    [
      'a tenant that two storages serve',
      meshWith([alpha, { ...alpha, storage: 'c' }]),
      'pluginConfig.tenants[1]: tenant "alpha" is served by two storages, "b" and "c"',
    ],
    [
      'a tenant that is open where it moves to',
      meshWith([{ ...alpha, movesTo: { storage: 'a', state: 'active' } }]),
      `${at}.movesTo.state: is suspended until the tenant has moved: leave it out`,
    ],
    [
      'a tenant that moves to what was there first',
      meshWith([{ ...alpha, movesTo: { storage: 'a', number: 0 } }]),
      `${at}.movesTo: has number 0, which is for what was there first and is always open: add a number`,
    ],
    [
      'a hand-over by hand',
      meshWith([{ ...alpha, servedBy: 'c' }]),
      `${at}.servedBy: follows from "movedFrom": write storage: c and movedFrom: <the other>`,
    ],
    [
      'a rule for it by hand',
      withRules({ principal: ENVOY_A, mayActFor: ['alpha'] }),
      'pluginConfig.rules[0].mayActFor: follows from movedFrom and storages[].principal: leave the rule out',
    ],
    [
      'Envoys that nobody knows',
      meshWith([{ ...alpha, storage: 'a', movedFrom: 'b' }]),
      'storages[1].principal: is missing: storage "a" serves its tenant "alpha", and must know its Envoys by it',
    ],
    [
      "Envoys with a tenant's certificate",
      withRules({ principal: ENVOY_A, tenant: 'alpha' }, SYSTEM),
      'storages[0].principal: is tenant "alpha" by rules[0]: give the Envoys certificates of their own',
    ],
    [
      'Envoys with the certificate of a tenant that a rule captures',
      meshWith([MOVED, { ...BETA, name: 'a' }], {
        pluginConfig: {
          tenants: [MOVED, { ...BETA, name: 'a' }],
          rules: [{ principal: 'spiffe://x/ns/storage/sa/envoy-{tenant}' }],
        },
      }),
      'storages[0].principal: is tenant "a" by rules[0]: give the Envoys certificates of their own',
    ],
    [
      'Envoys in any namespace',
      withStorages(storage('b', 3379, { principal: 'spiffe://x/ns/*/sa/envoy' })),
      'storages[0].principal: has * before its last part: name the Envoys, for they may act for tenants',
    ],
    [
      'Envoys without a scheme',
      withStorages(storage('b', 3379, { principal: 'ns/storage' })),
      'storages[0].principal: must be a principal like spiffe://example.com/ns/proxies/sa/first',
    ],
    [
      'a cluster id that YAML has rounded',
      withStorages(storage('b', 3379, { clusterId: 7001 })),
      "storages[0].clusterId: must be the id of PD's cluster, in quotes",
    ],
    [
      'two storages with one cluster',
      withStorages(storage('b', 3379, { clusterId: '7' }), storage('c', 4379, { clusterId: '7' })),
      'storages[1].clusterId: storages[0] has it, too: they would be one PD',
    ],
    [
      "a cluster id that is not the storage's",
      meshWith([{ ...MOVED, clusterId: { seen: '7001', own: '7003' } }]),
      `${at}.clusterId.own: is 7003, and storages[1].clusterId is 7002: PD of "b" has one id`,
    ],
    [
      'two cluster ids of one storage',
      meshWith([
        { ...alpha, storage: 'c', clusterId: { seen: '1', own: '2' } },
        { ...alpha, name: 'beta', storage: 'c', clusterId: { seen: '1', own: '3' } },
      ]),
      `pluginConfig.tenants[1].clusterId.own: is 3, and ${at}.clusterId.own is 2: PD of "c" has one id`,
    ],
  ];
  test.each(bad)('%s', (_, mesh, line) => {
    expect(() => readEnvoyMesh(JSON.stringify(mesh))).toThrow(new MeshFileError(line));
  });
});

describe('with Istio', () => {
  const layers = (first: object = {}): object[] => [
    {
      name: 'a',
      namespace: 'storage-a',
      cluster: 'sl',
      principal: 'spiffe://td/ns/storage-a/sa/sl',
      ...first,
    },
    { name: 'b', namespace: 'storage-b', cluster: 'sl' },
  ];
  const istio = (tenants: object[], more: object = {}): object => ({
    target: 'istio-1.31',
    trustDomain: 'td',
    storages: layers(),
    pluginConfig: { tenants },
    ...more,
  });
  const tenants = [MOVED, BETA];
  const source = JSON.stringify(istio(tenants));
  const files = render(readAnyMesh(source), WITHOUT_CODE);
  const fileAt = (path: string): string => files.find((one) => one.path === path)!.text;

  test('each storage layer has a folder with its own objects', () => {
    const folders = new Set(files.map(({ path }) => path.split('/').slice(0, 2).join('/')));
    const parts = ['base', 'envoyfilter', 'trafficextension', 'observability'];
    expect([...folders]).toEqual(['a', 'b'].flatMap((name) => parts.map((part) => `${name}/${part}`)));
    for (const [own, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const)
      for (const { path, text: content } of files.filter((one) => one.path.startsWith(`${own}/`)))
        if (!path.endsWith('hand-over.yaml'))
          expect(content).not.toMatch(new RegExp(`namespace: storage-${other}|sl-pd\\.storage-${other}`));
  });

  test('the filters are told what those without Istio are, and reach their own PD', async () => {
    const [a, b] = configSources(source).map((one) => JSON.parse(one.text) as PluginConfig);
    const [withoutA, withoutB] = configsOf(text(...tenants));
    expect([a!.tenants, b!.tenants]).toEqual([withoutA!.tenants, withoutB!.tenants]);
    expect([a!.pd!.cluster, b!.pd!.cluster]).toEqual(
      ['a', 'b'].map((name) => `outbound|2379||sl-pd.storage-${name}.svc.cluster.local`),
    );
    expect(a!.rules).toEqual([
      { principal: 'spiffe://td/ns/storage-a/sa/*', system: true },
      { principal: 'spiffe://td/ns/{tenant}/sa/*' },
    ]);
    expect(b!.rules).toEqual([
      { principal: 'spiffe://td/ns/storage-a/sa/sl', mayActFor: ['alpha'] },
      { principal: 'spiffe://td/ns/storage-b/sa/*', system: true },
      { principal: 'spiffe://td/ns/{tenant}/sa/*' },
    ]);
    expect(await errorsOf(source)).toEqual([]);
  });

  test("a route of A's PD leads to B's, in both protocols", () => {
    expect(files.map(({ path }) => path).filter((path) => path.endsWith('hand-over.yaml'))).toEqual([
      'a/base/hand-over.yaml',
    ]);
    expect(fileAt('a/base/kustomization.yaml')).toContain('- hand-over.yaml');
    const filter = parse(fileAt('a/base/hand-over.yaml')) as {
      metadata: object;
      spec: { configPatches: [{ match: object; patch: object }, { match: object; patch: object }] };
    };
    expect(filter.metadata).toEqual({ namespace: 'storage-a', name: 'tidb-mesh-pd-hand-over' });
    const [route, cluster] = filter.spec.configPatches;
    const name = 'outbound|2379||sl-pd.storage-b.svc.cluster.local';
    expect(route).toMatchObject({
      match: { context: 'SIDECAR_INBOUND', routeConfiguration: { portNumber: 2379 } },
      patch: {
        operation: 'INSERT_FIRST',
        value: { match: { prefix: '/.tidb-mesh/b/' }, route: { cluster: name, prefix_rewrite: '/' } },
      },
    });
    expect(cluster.match).toEqual({ context: 'SIDECAR_OUTBOUND', cluster: { name } });
    expect(JSON.stringify(cluster.patch)).toContain('use_downstream_protocol_config');
  });

  test('what no rule serves is told with its place in the file', async () => {
    const rules = [SYSTEM, { principal: 'spiffe://td/ns/alpha/sa/*', tenant: 'alpha' }];
    const found = await errorsOf(JSON.stringify(istio(tenants, { pluginConfig: { tenants, rules } })));
    expect(found.map((one) => one.text)).toContain(
      'tenants[1]: no rule matches a workload of tenant "beta" in the trust domain "td"',
    );
  });

  test.each([
    ['no storage', { storages: [] }, 'storages: must be a list with at least one element'],
    ['storage beside storages', { storage: {} }, 'storage: is one of "storages": leave it out'],
    [
      'a storage without a namespace',
      { storages: [{ name: 'a' }] },
      'storages[0].namespace: must be the name of a namespace',
    ],
    [
      'two in one namespace',
      { storages: layers({ namespace: 'storage-b' }) },
      'storages[1].namespace: storages[0] is in "storage-b", too',
    ],
    [
      'a field of a storage without Istio',
      { storages: layers({ pd: [] }) },
      'storages[0].pd: unknown field; known here: name, principal, clusterId, namespace, cluster',
    ],
    [
      'an unknown storage',
      { pluginConfig: { tenants: [{ ...BETA, storage: 'c' }] } },
      'pluginConfig.tenants[0].storage: "c" is not in storages; known here: a, b',
    ],
    [
      'a tenant without a storage',
      { pluginConfig: { tenants: [{ name: 'beta', number: 1 }] } },
      'pluginConfig.tenants[0]: says no storage: add storage: a or b',
    ],
    [
      'callers without a certificate',
      { pluginConfig: { tenants, rules: [BY_NAMESPACE], requirePrincipal: false } },
      'pluginConfig.requirePrincipal: must stay true: in front of PD and TiKV nobody is believed',
    ],
    [
      'TiDB Operator v2',
      { operator: 'v2' },
      `operator: v2 has a layer's tenants in its namespace: write a mesh file for each, with "storage"`,
    ],
  ])('%s is refused', (_, more, line) => {
    expect(() => readAnyMesh(JSON.stringify(istio(tenants, more)))).toThrow(new MeshFileError(line));
  });

  test.each(['clientside', 'examples'] as const)('the part %s is refused', (part) => {
    expect(() => render(readAnyMesh(source), WITHOUT_CODE, [part])).toThrow(
      new MeshFileError(
        `${part}: is for a tenant of one storage layer; render it from a mesh file with "storage"`,
      ),
    );
  });
});
