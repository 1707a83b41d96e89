/** The manifests: current on the disk, applied as a whole, and never open. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { Judge } from '../../src-ts/config/judge.ts';
import { unserved } from '../../src-ts/config/served.ts';
import { configSources } from '../../src-ts/config/sources.ts';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import { subcommands } from '../../src-ts/docs/commands.ts';
import { clientSide } from '../../src-ts/manifests/client-side.ts';
import { SHOWN_PREFIXES } from '../../src-ts/manifests/example-parts.ts';
import { WITHOUT_CODE } from '../../src-ts/manifests/code.ts';
import { MeshFileError, readMeshFile, type MeshFile } from '../../src-ts/manifests/mesh-file.ts';
import { render } from '../../src-ts/manifests/render.ts';
import { alerts } from '../../src-ts/observability/alerts.ts';
import { dashboard } from '../../src-ts/observability/dashboard.ts';
import { VERSION } from '../../src-ts/version.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const FOLDER = join(ROOT, 'manifests');
const SOURCE = readFileSync(join(FOLDER, 'mesh.yaml'), 'utf8');
const V2 = readMeshFile(readFileSync(join(FOLDER, 'operator-v2/mesh.yaml'), 'utf8'));
const MESH = { storage: { namespace: 'storage', cluster: 'sl' }, pluginConfig: {} };
const FILES = [
  ...render(readMeshFile(SOURCE), WITHOUT_CODE),
  ...render(V2, WITHOUT_CODE, ['base', 'examples']).map(({ path, text }) => ({
    path: `operator-v2/${path}`,
    text,
  })),
];

interface Policy {
  kind: string;
  spec: {
    selector?: { matchLabels: Record<string, string> };
    workloadSelector?: { labels: Record<string, string> };
  };
}

describe('manifests/', () => {
  test.each(FILES.map(({ path, text }) => [path, text]))('%s is as mesh.yaml renders it', (path, text) => {
    expect(readFileSync(join(FOLDER, path), 'utf8')).toBe(text);
  });

  test('nothing fails open', () => {
    for (const { text } of FILES) expect(text).not.toMatch(/FAIL_OPEN|fail_open|failOpen: *true/);
  });

  test('each file says first what it is and what to edit, and is one object per document', () => {
    for (const { text } of FILES) {
      expect(text).toMatch(/^# .*\n(# .*\n)*# .*([Ee]dit)/);
      for (const document of parseAllDocuments(text)) {
        expect(document.errors).toEqual([]);
        expect(document.toJS()).toMatchObject({ apiVersion: expect.any(String), kind: expect.any(String) });
      }
    }
  });
});

describe('manifests/mover.yaml', () => {
  interface Mover {
    kind: string;
    metadata: { namespace: string; name: string };
    rules: { resources: string[]; verbs: string[] }[];
    spec: {
      replicas: number;
      strategy: object;
      template: {
        spec: {
          serviceAccountName: string;
          containers: { command: string[]; args: string[]; volumeMounts: { mountPath: string }[] }[];
          volumes: object[];
        };
      };
    };
  }
  const objects = parseAllDocuments(readFileSync(join(FOLDER, 'mover.yaml'), 'utf8')).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as Mover;
  });
  const one = (kind: string): Mover => objects.find((object) => object.kind === kind)!;

  test('may write all that its --apply applies, where the storage layer is', () => {
    const applied = FILES.filter(({ path }) => /^(base|envoyfilter)\//.test(path))
      .flatMap(({ text }) => parseAllDocuments(text).map((document) => document.toJS() as Mover))
      .filter(({ kind }) => kind !== 'Kustomization');
    const wanted = new Set(applied.map(({ kind }) => `${kind.toLowerCase()}s`.replace(/ys$/, 'ies')));
    const { rules } = one('Role');
    expect(new Set(rules.flatMap(({ resources }) => resources))).toEqual(wanted);
    for (const { verbs } of rules) expect(verbs).toEqual(['get', 'create', 'patch']);
    const { namespace } = readMeshFile(SOURCE).storage;
    for (const { metadata } of [...objects, ...applied]) expect(metadata.namespace).toBe(namespace);
  });

  test('is one worker, which keeps a file that it can write', () => {
    const { spec } = one('Deployment');
    expect(spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } });
    const { serviceAccountName, containers, volumes } = spec.template.spec;
    const [mover] = containers;
    expect([serviceAccountName, mover!.command]).toEqual([
      one('ServiceAccount').metadata.name,
      ['tidb-mesh', 'move', 'run'],
    ]);
    const [mount] = mover!.volumeMounts;
    expect(mover!.args).toContain(`--config=${mount!.mountPath}/mesh.yaml`);
    expect(volumes).toEqual([
      {
        name: 'mesh',
        persistentVolumeClaim: { claimName: one('PersistentVolumeClaim').metadata.name },
      },
    ]);
  });

  test('has options that `move run` knows', () => {
    const { command } = subcommands().find(({ path }) => path === 'move run')!;
    const known = command.options.map(({ long }) => long);
    const { args } = one('Deployment').spec.template.spec.containers[0]!;
    for (const arg of args) expect(known).toContain(arg.split('=')[0]);
    for (const needed of ['--config', '--apply', '--pd', '--envoy'])
      expect(args.some((arg) => arg.startsWith(`${needed}=`))).toBe(true);
  });
});

describe("the filter on the tenants' side", () => {
  test('each sidecar is told of its own tenant only, in a way that the filter takes', async () => {
    const text = FILES.find(({ path }) => path === 'clientside/filter.yaml')!.text;
    const configs = configSources(text).map((source) => source.text);
    const judge = await Judge.load();
    expect(configs.map((config) => judge.configure(config))).toEqual(['', '']);
    const tenants = configs.map((config) => (JSON.parse(config) as PluginConfig).tenants);
    expect(tenants).toEqual([[{ name: 'cluster1', number: 1 }], [{ name: 'cluster2', number: 2 }]]);
  });

  test('what the policy says of other tenants stays out of it', () => {
    const mesh = readMeshFile(SOURCE);
    const policy = { refuse: ['pdpb.PD/GetStore'], tenants: { cluster2: { refuse: ['etcdserverpb.KV/*'] } } };
    const made = clientSide({ ...mesh, pluginConfig: { ...mesh.pluginConfig, policy } }, WITHOUT_CODE);
    const found = made
      .flatMap((object) => configSources(JSON.stringify(object)))
      .map((source) => (JSON.parse(source.text) as PluginConfig).policy);
    expect(found).toEqual([{ refuse: policy.refuse }, policy]);
  });
});

describe('the version of Istio', () => {
  const mesh = (target?: string): MeshFile =>
    readMeshFile(JSON.stringify({ ...MESH, pluginConfig: { tenants: [{ name: 'a', number: 1 }] }, target }));
  const text = (target?: string): string =>
    render(mesh(target), WITHOUT_CODE)
      .map((file) => file.text)
      .join('');

  test.each([
    [undefined, false, false],
    ['istio-1.22', false, false],
    ['istio-1.23', false, false],
    ['istio-1.24', true, false],
    ['istio-1.29', true, false],
    ['istio-1.30', true, true],
    ['istio-1.31', true, true],
  ])('%s: API v1 is %s, TrafficExtension and FAIL_RELOAD are %s', (target, hasV1, isNew) => {
    const made = text(target);
    const betas = [
      /security.istio.io\/v1beta1/,
      /networking.istio.io\/v1beta1/,
      /telemetry.istio.io\/v1alpha1/,
    ];
    for (const beta of betas) expect(beta.test(made)).toBe(!hasV1);
    expect(made.includes('kind: TrafficExtension')).toBe(isNew);
    expect(made.includes('kind: WasmPlugin')).toBe(!isNew);
    expect(made.includes('failure_policy: FAIL_RELOAD')).toBe(isNew);
    expect(made.includes('failStrategy: FAIL_RELOAD')).toBe(isNew);
  });

  test.each([
    ['istio-1.29', 'trafficextension', 'target istio-1.29 does not know TrafficExtension'],
    ['istio-1.30', 'wasmplugin', 'TrafficExtension supersedes it in target istio-1.30'],
  ] as const)('%s: %s is refused', (target, part, why) => {
    expect(() => render(mesh(target), WITHOUT_CODE, [part])).toThrow(new RegExp(`^${part}: .*${why}`));
  });
});

describe('TiDB Operator v2', () => {
  test('no policy and no selector is for tenants as well', () => {
    for (const { path, text } of render(V2, WITHOUT_CODE, ['base', 'envoyfilter']))
      for (const object of parseAllDocuments(text).map((document) => document.toJS() as Policy)) {
        if (object.kind === 'Kustomization') continue;
        const labels = object.spec.selector?.matchLabels ?? object.spec.workloadSelector?.labels ?? {};
        expect([path, labels]).toEqual([
          path,
          expect.objectContaining({ 'pingcap.com/cluster': 'storage-layer' }),
        ]);
        const ofStorage =
          labels['pingcap.com/component'] !== 'tidb' || labels['pingcap.com/group'] === 'storage-layer';
        expect([path, ofStorage]).toEqual([path, true]);
      }
  });

  test('without rules the storage layer has one account, and every other account is the tenant of its name', () => {
    const { pluginConfig } = readMeshFile(JSON.stringify({ ...MESH, operator: 'v2' }));
    expect(pluginConfig.rules).toEqual([
      { principal: 'spiffe://cluster.local/ns/storage/sa/sl', system: true },
      { principal: 'spiffe://cluster.local/ns/storage/sa/{tenant}' },
    ]);
  });

  test.each([
    ['spiffe://cluster.local/ns/storage/sa/*'],
    ['spiffe://*'],
    ['spiffe://cluster.local/ns/storage/sa/cluster1'],
  ])('a rule that makes the tenants a part of the storage layer is an error: %s', (principal) => {
    const rules = [{ principal, system: true }, ...(V2.pluginConfig.rules ?? [])];
    const found = unserved({ ...V2, pluginConfig: { ...V2.pluginConfig, rules } });
    expect(found).toMatchObject([{ severity: 'error', path: 'rules[0].principal' }]);
    expect(found[0]!.text).toContain('makes tenant "cluster1" a system principal');
  });

  test("with v1, so is a tenant with the name of the storage layer's namespace, unless it runs elsewhere", () => {
    const read = (rules?: object[]): MeshFile => {
      const tenants = [
        { name: 'alpha', number: 1 },
        { name: MESH.storage.namespace, number: 2 },
      ];
      return readMeshFile(
        JSON.stringify({ ...MESH, pluginConfig: { tenants, ...(rules ? { rules } : {}) } }),
      );
    };
    const { namespace } = MESH.storage;
    expect(unserved(read())).toMatchObject([
      {
        severity: 'error',
        path: 'rules[0].principal',
        text: expect.stringContaining(`tenant "${namespace}"`),
      },
    ]);
    const [own, tenants] = [
      `spiffe://cluster.local/ns/${namespace}/sa/*`,
      'spiffe://cluster.local/ns/{tenant}/sa/*',
    ];
    const elsewhere = { principal: 'spiffe://cluster.local/ns/team/sa/*', tenant: namespace };
    expect(unserved(read([{ principal: own, system: true }, elsewhere, { principal: tenants }]))).toEqual([]);
  });

  test('its own mesh file has no such rule', () => {
    expect(unserved(V2)).toEqual([]);
  });

  test('the filter in the sidecars of the tenants is refused', () => {
    expect(() => render(V2, WITHOUT_CODE, ['clientside'])).toThrow(/^clientside: .*operator v2/);
  });
});

describe('the image of the filter', () => {
  const urlOf = (image: string): string[] =>
    render({ ...readMeshFile(SOURCE), image }, { base64: '', imageDigest: 'sha256:d' }, [
      'trafficextension',
    ]).flatMap(({ text }) => [...text.matchAll(/oci:[^"\n]*/g)].map(([url]) => url));
  test.each([
    ['host:5000/mesh', `oci://host:5000/mesh:${VERSION}@sha256:d`],
    ['host/mesh:mine', 'oci://host/mesh:mine@sha256:d'],
    ['host/mesh@sha256:e', 'oci://host/mesh@sha256:e'],
  ])('%s', (image, url) => {
    expect(urlOf(image)).toEqual([url, url]);
  });
});

test.each([
  ['istio-1.29', 'wasmplugin'],
  ['istio-1.31', 'trafficextension'],
] as const)('%s: a registry may ask for a login', (target, part) => {
  const { imagePullSecret } = readMeshFile(JSON.stringify({ ...MESH, imagePullSecret: 'registry-login' }));
  const made = (more: object): string =>
    render({ ...readMeshFile(SOURCE), target, ...more }, WITHOUT_CODE, [part])
      .map(({ text }) => text)
      .join('');
  // For PD and for TiKV.
  expect(made({ imagePullSecret }).match(/imagePullSecret: registry-login/g)).toHaveLength(2);
  expect(made({})).not.toContain('imagePullSecret');
});

describe('a mesh file that is refused', () => {
  const bad: [string, object, string][] = [
    [
      'an unknown field',
      { ...MESH, storrage: 1 },
      'storrage: unknown field; known here: target, operator, storage, trustDomain, clusterDomain, alsoTrusted, image, imagePullSecret, pluginConfig',
    ],
    [
      'certificates with Istio',
      { ...MESH, certificates: {} },
      'certificates: is for "target: envoy", without Istio; with Istio, leave it out: Istio\'s control plane makes the certificates',
    ],
    [
      'a version of Istio that is not known',
      { ...MESH, target: 'istio-1.99' },
      'target: must be envoy, or a version of Istio from istio-1.22 to istio-1.31, written like that',
    ],
    [
      'a version of Istio that is a number, as YAML reads 1.30',
      { ...MESH, target: 1.3 },
      'target: must be envoy, or a version of Istio from istio-1.22 to istio-1.31, written like that',
    ],
    [
      'an operator that is not known',
      { ...MESH, operator: 'v3' },
      'operator: must be a major version of TiDB Operator: v1 or v2',
    ],
    ['no storage', { pluginConfig: {} }, 'storage: must be a mapping'],
    [
      'a namespace in capitals',
      { ...MESH, storage: { namespace: 'A', cluster: 'b' } },
      'storage.namespace: must be the name of a namespace',
    ],
    [
      'no pluginConfig',
      { storage: MESH.storage },
      'pluginConfig: is missing: who may call, and which tenant they are',
    ],
    [
      'a pd of its own',
      { ...MESH, pluginConfig: { pd: {} } },
      'pluginConfig.pd: follows from "storage": leave it out here',
    ],
    [
      'everybody trusted',
      { ...MESH, alsoTrusted: ['*'] },
      'alsoTrusted[0]: must be a principal like cluster.local/ns/monitoring/sa/prometheus',
    ],
    [
      'a secret that is no name',
      { ...MESH, imagePullSecret: 'Registry Login' },
      'imagePullSecret: must be the name of a Secret',
    ],
    [
      'an image with a scheme',
      { ...MESH, image: 'oci://a/b' },
      'image: must be an image like registry.example.com/tidb-mesh',
    ],
  ];
  test.each(bad)('%s', (_, mesh, line) => {
    expect(() => readMeshFile(JSON.stringify(mesh))).toThrow(new MeshFileError(line));
  });
});

test("alerts and dashboard ask for metrics of Envoy that Istio shows, or the storage layer's annotation", () => {
  // istio pkg/bootstrap/config.go requiredEnvoyStatsMatcherInclusionPrefixes
  const shown = [
    'cluster_manager',
    'listener_manager',
    'server',
    'cluster_xds-grpc',
    'wasm',
    ...SHOWN_PREFIXES,
  ];
  const asked = JSON.stringify([alerts(MESH.storage).map(({ expr }) => expr), dashboard()]);
  const names = [...new Set([...asked.matchAll(/\benvoy_(\w+)/g)].map(([, name]) => name!))];
  expect(names.length).toBeGreaterThan(3);
  expect(names.filter((name) => !shown.some((prefix) => name.startsWith(prefix)))).toEqual([]);
});
