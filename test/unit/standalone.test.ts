/** The mesh file without Istio: what is rendered from it, and what is refused. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { Judge } from '../../src-ts/config/judge.ts';
import { configSources } from '../../src-ts/config/sources.ts';
import { judgeFile } from '../../src-ts/config/validate.ts';
import { readAnyMesh } from '../../src-ts/manifests/any-mesh.ts';
import { WITHOUT_CODE } from '../../src-ts/manifests/code.ts';
import { MeshFileError } from '../../src-ts/manifests/mesh-file.ts';
import { render } from '../../src-ts/manifests/render.ts';
import type { Bootstrap, Cluster } from '../../src-ts/standalone/bootstrap.ts';
import { readEnvoyMesh, type EnvoyMesh } from '../../src-ts/standalone/mesh.ts';
import { pluginConfigOf } from '../../src-ts/standalone/plugin-config.ts';
import { bootstrapOf } from '../../src-ts/standalone/render.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const FOLDER = join(ROOT, 'manifests/standalone');
const SOURCE = readFileSync(join(FOLDER, 'mesh.yaml'), 'utf8');
const FILES = render(readAnyMesh(SOURCE), WITHOUT_CODE);

const SYSTEM = { principal: 'spiffe://x/ns/storage/sa/*', system: true };
const BY_NAMESPACE = { principal: 'spiffe://x/ns/{tenant}/sa/*' };

const member = (host: string, port: number): object => ({
  advertise: `mesh.example.com:${port}`,
  server: `${host}:${port + 10_000}`,
});
const storage = (name: string, port: number): Record<string, unknown> => ({
  name,
  pd: [member(`pd-${name}`, port)],
  tikv: [member(`tikv-${name}`, port + 1)],
});
const config = (tenants: object[], rules: object[] = [SYSTEM, BY_NAMESPACE]): object => ({ tenants, rules });
const ONE = {
  target: 'envoy',
  storages: [storage('a', 2379)],
  pluginConfig: config([{ name: 'alpha', number: 1 }]),
};
const TENANTS = [
  { name: 'alpha', number: 1, storage: 'a' },
  { name: 'beta', number: 1, storage: 'b' },
  { name: 'gamma', number: 2, storage: 'b' },
];
const TWO = {
  target: 'envoy',
  storages: [storage('a', 2379), storage('b', 3379)],
  pluginConfig: config(TENANTS),
};
const read = (mesh: object): EnvoyMesh => readEnvoyMesh(JSON.stringify(mesh));

describe('manifests/standalone/', () => {
  test.each(FILES.map(({ path, text }) => [path, text]))('%s is as mesh.yaml renders it', (path, text) => {
    expect(readFileSync(join(FOLDER, path), 'utf8')).toBe(text);
  });

  test('nothing fails open, and every file says what it is and what to edit', () => {
    for (const { text } of FILES) {
      expect(text).not.toMatch(/FAIL_OPEN|fail_open/);
      expect(text).toMatch(/^# .*\n# .*[Ee]dit/);
    }
  });

  test('validate takes the mesh file and the rendered filter', async () => {
    const judge = await Judge.load();
    const filter = FILES.find(({ path }) => path === 'main/filter.yaml')!.text;
    expect(judgeFile(SOURCE, judge)).toEqual([{ kind: 'mesh file, storage main', findings: [] }]);
    expect(judgeFile(filter, judge)).toEqual([{ kind: 'filter of Envoy', findings: [] }]);
  });
});

describe("Envoy's configuration", () => {
  interface TlsContext {
    require_client_certificate?: boolean;
    common_tls_context: {
      combined_validation_context?: object;
      validation_context_sds_secret_config?: object;
    };
  }
  const made = bootstrapOf(readEnvoyMesh(SOURCE), readEnvoyMesh(SOURCE).storages[0]!);
  const { listeners, clusters } = made.static_resources;

  test('each PD and each TiKV has a listener with one chain: mTLS, the filter, the router', () => {
    expect(listeners.map(({ name }) => name)).toEqual(['pd_0', 'pd_1', 'pd_2', 'tikv_0', 'tikv_1', 'tikv_2']);
    for (const { filter_chains: chains } of listeners) {
      expect(chains).toHaveLength(1);
      const socket = chains[0]!.transport_socket as { name: string; typed_config: TlsContext };
      expect(socket.name).toBe('envoy.transport_sockets.tls');
      expect(socket.typed_config.require_client_certificate).toBe(true);
      expect(socket.typed_config.common_tls_context.validation_context_sds_secret_config).toBeDefined();
      const filters = chains[0]!.filters[0]!.typed_config.http_filters.map(({ name }) => name);
      expect(filters).toEqual(['tidb-mesh', 'envoy.filters.http.router']);
    }
  });

  test('every server must show a certificate with its own host', () => {
    for (const cluster of clusters) {
      const text = JSON.stringify(cluster);
      const hosts = [...text.matchAll(/"address":"([^"]+)"/g)].map(([, host]) => host);
      expect([cluster.name, hosts.length]).toEqual([
        cluster.name,
        /^pd_(http|\d_grpc)$/.test(cluster.name) ? 3 : 1,
      ]);
      for (const host of hosts) expect(text).toContain(`"san_type":"DNS","matcher":{"exact":"${host}"}`);
      expect(text.split('transport_sockets.tls.v3.UpstreamTlsContext')).toHaveLength(hosts.length + 1);
    }
  });

  test('calls to a PD that does not answer go to the others; a single one is always called', () => {
    const of = ({ static_resources: { clusters: all } }: Bootstrap): Cluster[] =>
      all.filter(({ name }) => name.endsWith('_grpc'));
    for (const [i, one] of of(made).entries()) {
      expect(one).toMatchObject({
        name: `pd_${i}_grpc`,
        health_checks: [{ grpc_health_check: {} }],
        common_lb_config: { healthy_panic_threshold: { value: 0 } },
      });
      const { endpoints } = one['load_assignment'] as { endpoints: object[] };
      const hosts = endpoints.map((group) =>
        [...JSON.stringify(group).matchAll(/"address":"pd-(\d)/g)].map(([, pd]) => Number(pd)),
      );
      expect(hosts).toEqual([[i], [0, 1, 2].filter((other) => other !== i)]);
    }
    const mesh = read(ONE);
    const single = of(bootstrapOf(mesh, mesh.storages[0]!));
    expect(single.map(({ health_checks: checks }) => checks)).toEqual([undefined]);
  });

  test('the admin interface is on the loopback address', () => {
    expect(made['admin']).toEqual({
      address: { socket_address: { address: '127.0.0.1', port_value: 9901 } },
    });
  });

  test('an agent can deliver the secrets', () => {
    const sds = { socket: '/run/spire/agent.sock', certificate: 'spiffe://x/envoy', authority: 'spiffe://x' };
    const mesh = read({ ...ONE, certificates: { sds } });
    const bootstrap: Bootstrap = bootstrapOf(mesh, mesh.storages[0]!);
    expect(bootstrap.static_resources.clusters.at(-1)).toMatchObject({ name: 'secrets' });
    expect(render(mesh, WITHOUT_CODE, ['envoy']).map(({ path }) => path)).toEqual([
      'a/envoy.yaml',
      'a/filter.yaml',
    ]);
    const text = JSON.stringify(bootstrap);
    for (const name of [sds.certificate, sds.authority, sds.socket]) expect(text).toContain(`"${name}"`);
  });
});

describe('several storages', () => {
  const [a, b] = ['a', 'b'].map((name) =>
    pluginConfigOf(
      read(TWO),
      read(TWO).storages.find((one) => one.name === name)!,
    ),
  );

  test('each has its own tenants, and the field that places them is gone', () => {
    expect(a!.tenants).toEqual([{ name: 'alpha', number: 1 }]);
    expect(b!.tenants).toEqual([
      { name: 'beta', number: 1 },
      { name: 'gamma', number: 2 },
    ]);
  });

  test('no Envoy knows a server of the other storage; metrics and log name its own', () => {
    for (const [own, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const text = FILES_OF_TWO.filter(({ path }) => path.startsWith(`${own}/`))
        .map((file) => file.text)
        .join('');
      expect(text).toContain(`pd-${own}`);
      expect(text).not.toMatch(new RegExp(`(pd|tikv)-${other}\\b`));
      const envoy = parse(FILES_OF_TWO.find(({ path }) => path === `${own}/envoy.yaml`)!.text) as {
        stats_config: { stats_tags: object[] };
      };
      expect(envoy.stats_config.stats_tags).toContainEqual({ tag_name: 'storage', fixed_value: own });
      expect(text).toContain(`storage: ${own}`);
    }
  });
  const FILES_OF_TWO = render(read(TWO), WITHOUT_CODE);

  test('rules and policies of tenants elsewhere are left out, and dryRun stays with tenant 0', () => {
    const mesh = read({
      ...TWO,
      pluginConfig: {
        tenants: [
          { name: 'alpha', number: 1, storage: 'a' },
          { name: 'beta', number: 0, storage: 'b' },
        ],
        rules: [
          SYSTEM,
          { principal: 'spiffe://x/ns/one/sa/s', tenant: 'alpha' },
          { principal: 'spiffe://x/ns/two/sa/s', tenant: 'beta' },
        ],
        policy: { tenants: { alpha: { refuse: ['pdpb.PD/GetStore'] }, beta: { refuse: ['pdpb.PD/Tso'] } } },
        dryRun: true,
      },
    });
    const [first, second] = mesh.storages.map((one) => pluginConfigOf(mesh, one));
    expect(first!.rules!.map(({ tenant }) => tenant)).toEqual([undefined, 'alpha']);
    expect(second!.rules!.map(({ tenant }) => tenant)).toEqual([undefined, 'beta']);
    expect([first!.policy, second!.policy].map((one) => Object.keys(one!.tenants!))).toEqual([
      ['alpha'],
      ['beta'],
    ]);
    expect([first!.dryRun, second!.dryRun]).toEqual([undefined, true]);
  });

  test('a line of the filter counts tenants and rules as the file does', async () => {
    const tenants = [...TENANTS, { name: 'delta', number: 2, storage: 'b' }];
    const text = JSON.stringify({ ...TWO, pluginConfig: config(tenants) });
    const findings = judgeFile(text, await Judge.load()).flatMap((one) => one.findings);
    expect(findings).toMatchObject([{ severity: 'error', path: expect.stringMatching(/^tenants\[3\]/) }]);
    expect(findings[0]!.text).toContain('tenants[2]');
  });

  test('each is a configuration of its own', () => {
    expect(configSources(JSON.stringify(TWO)).map(({ kind }) => kind)).toEqual([
      'mesh file, storage a',
      'mesh file, storage b',
    ]);
  });
});

describe('a rule for a tenant of another storage', () => {
  const withRules = (...rules: object[]): EnvoyMesh =>
    read({ ...TWO, pluginConfig: config(TENANTS, [SYSTEM, ...rules]) });
  const exact = { principal: 'spiffe://x/ns/beta/sa/tidb', tenant: 'alpha' };
  const refusal =
    'pluginConfig.rules[1].principal: tenant "alpha" is not in storage "b", where rules[2] would give its callers another tenant: make the two patterns differ';

  test.each([
    ['captures a tenant of this storage', BY_NAMESPACE],
    ['names one', { principal: 'spiffe://x/ns/beta/sa/*', tenant: 'beta' }],
    ['makes it the storage layer', { principal: 'spiffe://x/ns/*/sa/tidb', system: true }],
  ])('is refused where a later rule %s', (_, later) => {
    const mesh = withRules(exact, later);
    expect(() => pluginConfigOf(mesh, mesh.storages[1]!)).toThrow(new MeshFileError(refusal));
    expect(() => pluginConfigOf(mesh, mesh.storages[0]!)).not.toThrow();
  });

  test.each([
    ['a namespace that no tenant has', { ...exact, principal: 'spiffe://x/ns/legacy/sa/tidb' }, BY_NAMESPACE],
    ['another account', exact, { principal: 'spiffe://x/ns/beta/sa/db', tenant: 'beta' }],
    ['more parts', exact, { principal: 'spiffe://x/ns/beta/sa/tidb/{tenant}' }],
  ])('is left out where the later rule has %s', (_, rule, later) => {
    const mesh = withRules(rule, later);
    expect(pluginConfigOf(mesh, mesh.storages[1]!).rules).toEqual([SYSTEM, later]);
  });
});

describe('a mesh file that is refused', () => {
  const [a] = ONE.storages as [Record<string, unknown>];
  const withStorage = (more: object): object => ({ ...ONE, storages: [{ ...a, ...more }] });
  const withPd = (...pd: object[]): object => withStorage({ pd });
  const pd = { advertise: 'mesh.example.com:2379', server: 'pd-a:12379' };
  const NO_PLAINTEXT =
    'there is no plaintext: the certificate alone identifies a caller, so TLS is always on';
  const bad: [string, object, string][] = [
    [
      'an unknown field',
      { ...ONE, lissten: 1 },
      'lissten: unknown field; known here: target, folder, listen, accessLog, namespace, certificates, limits, storages, pluginConfig',
    ],
    ['no storage', { ...ONE, storages: [] }, 'storages: must be a list with at least one element'],
    [
      'two listeners on one port',
      withPd(pd, { ...pd, server: 'pd-b:12379' }),
      'storages[0].pd[1].advertise: port 2379 is taken by storages[0].pd[0].advertise: give each its own',
    ],
    [
      'a listener on the port of the admin interface',
      withStorage({ admin: 2379 }),
      'storages[0].pd[0].advertise: port 2379 is taken by storages[0].admin: give each its own',
    ],
    [
      'an advertised address that is no listener',
      { ...withPd({ ...pd, advertise: '10.0.0.1:2379' }), listen: '10.0.0.2' },
      'storages[0].pd[0].advertise: 10.0.0.1:2379 is no listener: Envoy listens on 10.0.0.2 only',
    ],
    [
      'an advertised address that nobody can call',
      withPd({ ...pd, advertise: '0.0.0.0:2379' }),
      'storages[0].pd[0].advertise: "0.0.0.0" is no address that a client can call',
    ],
    [
      'a server that is the listener',
      withPd({ ...pd, server: pd.advertise }),
      'storages[0].pd[0].server: is the advertised address itself: Envoy would call itself',
    ],
    [
      "a server on a listener's port of the same machine",
      withPd({ ...pd, server: '127.0.0.1:2380' }),
      'storages[0].pd[0].server: 127.0.0.1:2380 is taken by storages[0].tikv[0].advertise: give the server another port',
    ],
    [
      'an address with a scheme',
      withPd({ ...pd, server: 'http://pd:2379' }),
      'storages[0].pd[0].server: must be an address like pd-0.example.com:2379, without a scheme',
    ],
    [
      'a port that does not exist',
      withPd({ ...pd, server: 'pd:65536' }),
      'storages[0].pd[0].server: must be an address like pd-0.example.com:2379, without a scheme',
    ],
    ['plaintext to a server', withPd({ ...pd, tls: false }), `storages[0].pd[0].tls: ${NO_PLAINTEXT}`],
    ['plaintext for clients', { ...ONE, certificates: false }, `certificates: ${NO_PLAINTEXT}`],
    [
      'certificates in two folders',
      { ...ONE, certificates: { key: '/keys/tls.key' } },
      'certificates: must be in one folder, which Envoy watches',
    ],
    [
      'certificates from files and from an agent',
      { ...ONE, certificates: { sds: {}, ca: '/a/b' } },
      'certificates: come from files or from "sds", not from both',
    ],
    [
      'no rules',
      { ...ONE, pluginConfig: { tenants: [] } },
      'pluginConfig.rules: is missing: without Istio, no certificate says by itself whose it is',
    ],
    [
      'callers without a certificate',
      { ...ONE, pluginConfig: { ...ONE.pluginConfig, requirePrincipal: false } },
      'pluginConfig.requirePrincipal: must stay true: in front of PD and TiKV nobody is believed',
    ],
    [
      'a pd of its own',
      { ...ONE, pluginConfig: { ...ONE.pluginConfig, pd: {} } },
      'pluginConfig.pd: follows from "storages": leave it out here',
    ],
    [
      'two storages of one name',
      { ...TWO, storages: [storage('a', 2379), storage('a', 3379)] },
      'storages[1].name: storages[0] is called "a", too',
    ],
    [
      'two storages with one PD',
      { ...TWO, storages: [a, { ...storage('b', 3379), pd: [{ ...pd, advertise: 'mesh:3379' }] }] },
      'storages[1].pd[0].server: pd-a:12379 belongs to storages[0].pd[0]',
    ],
    [
      'an unknown storage',
      { ...TWO, pluginConfig: config([{ name: 'alpha', number: 1, storage: 'c' }]) },
      'pluginConfig.tenants[0].storage: "c" is not in storages; known here: a, b',
    ],
    [
      'a tenant without a storage',
      { ...TWO, pluginConfig: config([{ name: 'alpha', number: 1 }]) },
      'pluginConfig.tenants[0]: says no storage: add storage: a or b',
    ],
    [
      'a tenant that two storages serve',
      {
        ...TWO,
        pluginConfig: config([
          { name: 'alpha', number: 1, storage: 'a' },
          { name: 'alpha', number: 1, storage: 'b' },
        ]),
      },
      'pluginConfig.tenants[1]: tenant "alpha" is served by two storages, "a" and "b"',
    ],
    [
      'a tenant that is no mapping',
      { ...ONE, pluginConfig: { tenants: [null], rules: [SYSTEM] } },
      'pluginConfig.tenants[0]: must be a mapping',
    ],
    [
      'a principal that is a number',
      { ...ONE, pluginConfig: { tenants: [], rules: [{ principal: 1 }] } },
      'pluginConfig.rules[0].principal: must be a text',
    ],
    [
      'a limit that is no number',
      { ...ONE, limits: { connections: '5' } },
      'limits.connections: must be a whole number from 1 to 1000000',
    ],
  ];
  test.each(bad)('%s', (_, mesh, line) => {
    expect(() => read(mesh)).toThrow(new MeshFileError(line));
  });

  test.each([
    ['a part of Istio', ONE, 'base', 'base: needs Istio'],
    ['Envoy alone, with Istio', undefined, 'envoy', 'envoy: is for an Envoy without Istio'],
  ] as const)('%s', (_, mesh, part, line) => {
    const source = mesh ? JSON.stringify(mesh) : readFileSync(join(ROOT, 'manifests/mesh.yaml'), 'utf8');
    expect(() => render(readAnyMesh(source), WITHOUT_CODE, [part])).toThrow(new RegExp(`^${line}`));
  });

  test.each([
    ['no system rule', [BY_NAMESPACE], 'no system rule'],
    [
      'a tenant without a rule',
      [SYSTEM, { principal: 'spiffe://x/y', tenant: 'beta' }],
      'no rule makes a caller tenant "alpha"',
    ],
    [
      'a principal without a scheme',
      [SYSTEM, { principal: 'ns/{tenant}' }],
      'a principal begins with spiffe://',
    ],
  ])('validate says: %s', async (_, rules, line) => {
    const tenants = [
      { name: 'alpha', number: 1 },
      { name: 'beta', number: 2 },
    ];
    const text = JSON.stringify({ ...ONE, pluginConfig: config(tenants, rules) });
    const found = judgeFile(text, await Judge.load()).flatMap((one) => one.findings);
    expect(found.filter(({ severity }) => severity === 'error').map((one) => one.text)).toContainEqual(
      expect.stringContaining(line),
    );
  });
});
