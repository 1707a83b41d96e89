/** A real Envoy takes what is rendered without Istio: the example, one with an agent for secrets, and several storages. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { readAnyMesh } from '../../src-ts/manifests/any-mesh.ts';
import { codeOf } from '../../src-ts/manifests/code.ts';
import { render } from '../../src-ts/manifests/render.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { prepare, type Binaries } from '../harness/stack/builds.ts';
import { createCerts, type CertFiles } from '../harness/stack/certs.ts';
import { silent } from '../harness/stack/progress.ts';

const run = promisify(execFile);

let binaries: Binaries;
let folder: string;
let certs: CertFiles;
let example: Record<string, unknown>;

beforeAll(async () => {
  binaries = await prepare(silent);
  folder = await mkdtemp(join(tmpdir(), 'tidb-mesh-standalone-'));
  certs = (await createCerts(join(folder, 'certs'))).server;
  const text = await readFile(join(ROOT, 'manifests/standalone/mesh.yaml'), 'utf8');
  example = {
    ...(parse(text) as object),
    folder,
    certificates: { ca: certs.ca, certificate: certs.cert, key: certs.key },
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Renders a mesh file and lets Envoy judge a storage's configuration. `change` works on its text. */
async function verdict(
  mesh: object,
  storage: string,
  change: (text: string) => string = (text) => text,
): Promise<string> {
  const code = codeOf(await readFile(binaries.wasm));
  for (const { path, text } of render(readAnyMesh(JSON.stringify(mesh)), code)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), path.endsWith('envoy.yaml') ? change(text) : text);
  }
  const config = join(folder, storage, 'envoy.yaml');
  const args = ['--mode', 'validate', '--config-path', config, '--log-level', 'error'];
  const { stdout, stderr } = await run(binaries.envoy, args, { timeout: 60_000 }).catch(
    (error: { stdout: string; stderr: string }) => error,
  );
  return stdout + stderr;
}

test('the example', async () => {
  expect(await verdict(example, 'main')).toContain("envoy.yaml' OK");
});

test('the example is refused with a value that Envoy does not know', async () => {
  const change = (text: string): string =>
    text.replace('require_client_certificate: true', 'require_client_certificate: perhaps');
  const found = await verdict(example, 'main', change);
  expect(found).toContain('perhaps');
  expect(found).not.toContain('OK');
});

test('secrets of an agent', async () => {
  const sds = {
    socket: '/run/agent.sock',
    certificate: 'spiffe://example.com/envoy',
    authority: 'spiffe://example.com',
  };
  expect(await verdict({ ...example, certificates: { sds }, accessLog: '/dev/null' }, 'main')).toContain(
    "envoy.yaml' OK",
  );
});

test('several storages, each with a configuration of its own, and a tenant that has moved', async () => {
  const [main] = example['storages'] as [object];
  const second = {
    name: 'second',
    admin: 9902,
    pd: [{ advertise: '[fd00::1]:3379', server: '[fd00::2]:3379' }],
    tikv: [{ advertise: '[fd00::1]:3380', server: 'tikv.example.com:3380' }],
  };
  const pluginConfig = {
    ...(example['pluginConfig'] as object),
    tenants: [
      { name: 'alpha', number: 1, storage: 'main' },
      { name: 'beta', number: 1, storage: 'second', movedFrom: { storage: 'main', number: 2 } },
    ],
  };
  const principal = 'spiffe://example.com/ns/storage/sa/envoy';
  const storages = [{ ...main, principal }, second];
  const mesh = { ...example, listen: '::', storages, pluginConfig };
  expect(await verdict(mesh, 'main')).toContain("envoy.yaml' OK");
  expect(await verdict(mesh, 'second')).toContain("envoy.yaml' OK");
});
