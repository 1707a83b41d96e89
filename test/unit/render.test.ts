/** The manifests: current on the disk, applied as a whole, and never open. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { Judge } from '../../src-ts/config/judge.ts';
import { configSources } from '../../src-ts/config/sources.ts';
import type { PluginConfig } from '../../src-ts/config/types.ts';
import { clientSide } from '../../src-ts/manifests/client-side.ts';
import { WITHOUT_CODE } from '../../src-ts/manifests/code.ts';
import { MeshFileError, readMeshFile } from '../../src-ts/manifests/mesh-file.ts';
import { render } from '../../src-ts/manifests/render.ts';
import { VERSION } from '../../src-ts/version.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const FOLDER = join(ROOT, 'manifests');
const SOURCE = readFileSync(join(FOLDER, 'mesh.yaml'), 'utf8');
const FILES = render(readMeshFile(SOURCE), WITHOUT_CODE);

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

describe('the image of the filter', () => {
  const urlOf = (image: string): string[] =>
    render({ ...readMeshFile(SOURCE), image }, { base64: '', imageDigest: 'sha256:d' }, [
      'wasmplugin',
    ]).flatMap(({ text }) => [...text.matchAll(/oci:[^"\n]*/g)].map(([url]) => url));
  test.each([
    ['host:5000/mesh', `oci://host:5000/mesh:${VERSION}@sha256:d`],
    ['host/mesh:mine', 'oci://host/mesh:mine@sha256:d'],
    ['host/mesh@sha256:e', 'oci://host/mesh@sha256:e'],
  ])('%s', (image, url) => {
    expect(urlOf(image)).toEqual([url, url]);
  });
});

const MESH = { storage: { namespace: 'storage', cluster: 'sl' }, pluginConfig: {} };

describe('a mesh file that is refused', () => {
  const bad: [string, object, string][] = [
    [
      'an unknown field',
      { ...MESH, storrage: 1 },
      'storrage: unknown field; known here: storage, trustDomain, clusterDomain, alsoTrusted, image, pluginConfig',
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
      'an image with a scheme',
      { ...MESH, image: 'oci://a/b' },
      'image: must be an image like registry.example.com/tidb-mesh',
    ],
  ];
  test.each(bad)('%s', (_, mesh, line) => {
    expect(() => readMeshFile(JSON.stringify(mesh))).toThrow(new MeshFileError(line));
  });
});
