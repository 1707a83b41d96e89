/** The npm package: packed, installed into an empty folder, and used there as an operator uses it. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { VERSION } from '../../src-ts/version.ts';
import { RELEASE, ROOT } from '../../src-ts/wasm/builds.ts';

/** For npm, whose registry may be slow. */
const LIMIT_MS = 100_000;

interface Done {
  status: number;
  stdout: string;
  stderr: string;
}

let packed: string;
let folder: string;

function run(command: string, args: readonly string[], cwd = folder): Promise<Done> {
  const env = { ...process.env, NO_COLOR: '1' };
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env, timeout: LIMIT_MS }, (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}

const tidbMesh = (...args: string[]): Promise<Done> =>
  run(join(folder, 'node_modules', '.bin', 'tidb-mesh'), args);

beforeAll(async () => {
  packed = mkdtempSync(join(tmpdir(), 'tidb-mesh-packed-'));
  folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-installed-'));
  const pack = await run('npm', ['pack', '--pack-destination', packed], ROOT);
  expect({ ...pack, stdout: '' }).toMatchObject({ status: 0 });
  expect(readdirSync(packed)).toEqual([`tidb-mesh-${VERSION}.tgz`]);
  const tgz = join(packed, `tidb-mesh-${VERSION}.tgz`);
  const install = await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tgz]);
  expect(install).toMatchObject({ status: 0 });
}, 2 * LIMIT_MS);
afterAll(() => {
  for (const one of [packed, folder]) rmSync(one, { recursive: true, force: true });
});

const inPackage = (...path: string[]): string => join(folder, 'node_modules', 'tidb-mesh', ...path);

/** Paths of all files below a folder of the package. */
const filesBelow = (path: string): string[] =>
  readdirSync(inPackage(path), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(`${path}/${entry.name}`) : [`${path}/${entry.name}`],
  );

describe('what is in it', () => {
  test('the filter, the compiled command and pages; no sources and no tests', () => {
    expect(
      readFileSync(inPackage('build/release.wasm')).equals(readFileSync(join(ROOT, RELEASE.output))),
    ).toBe(true);
    const files = filesBelow('.');
    for (const file of ['./lib/cli/main.js', './README.md', './LICENSE', './docs/doctor.md'])
      expect(files).toContain(file);
    expect(files.filter((file) => /\.ts$|^\.\/(test|assembly|bench|fuzz|demo|proto)\//.test(file))).toEqual(
      [],
    );
  });

  test('what it imports are its dependencies, and they are all that is installed by it', () => {
    const { dependencies } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const imports = filesBelow('lib').flatMap((file) =>
      [
        ...readFileSync(inPackage(file), 'utf8').matchAll(
          /^(?:import|export|\}).* from ["']([^."'][^"']*)["']/gm,
        ),
      ].map(([, name = '']) => /^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? ''),
    );
    const bare = new Set(imports.filter((name) => !name.startsWith('node:')));
    expect([...bare].sort()).toEqual(Object.keys(dependencies).sort());
    expect(existsSync(join(folder, 'node_modules', 'typescript'))).toBe(false);
  });
});

describe('what says where it comes from', () => {
  test('the sums are those of the files', () => {
    const lines = readFileSync(inPackage('build', 'SHA256SUMS'), 'utf8').trim().split('\n');
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) {
      const [sum, path] = line.split('  ') as [string, string];
      expect([
        path,
        createHash('sha256')
          .update(readFileSync(inPackage(path)))
          .digest('hex'),
      ]).toEqual([path, sum]);
    }
  });

  test('the SBOM lists the dependencies, and the statement names the files', () => {
    const read = (path: string): unknown => JSON.parse(readFileSync(inPackage('build', path), 'utf8'));
    const { dependencies } = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    const { bomFormat, components } = read('sbom.cdx.json') as {
      bomFormat: string;
      components: { name: string; version: string }[];
    };
    expect(bomFormat).toBe('CycloneDX');
    const listed = new Map(components.map(({ name, version }) => [name, version]));
    for (const [name, version] of Object.entries(dependencies))
      expect([name, listed.get(name)]).toEqual([name, version]);
    expect(listed.has('typescript')).toBe(false);
    const { subject } = read('provenance.json') as { subject: { name: string }[] };
    expect(subject.map(({ name }) => name)).toContain('build/release.wasm');
  });
});

describe('in an empty folder', () => {
  const MESH = 'node_modules/tidb-mesh/manifests/mesh.yaml';

  test('tells its version, and teaches itself', async () => {
    expect(await tidbMesh('--version')).toEqual({ status: 0, stdout: `${VERSION}\n`, stderr: '' });
    expect((await tidbMesh('tenants', 'add', '--help')).stdout).toContain('Examples:');
  });

  test('validate', async () => {
    expect(await tidbMesh('validate', '--strict', MESH)).toEqual({
      status: 0,
      stdout: `✓ ${MESH}: mesh file: valid\n`,
      stderr: '',
    });
  });

  test('explain', async () => {
    const explain = (namespace: string): Promise<Done> =>
      tidbMesh('explain', '--config', MESH, '--principal', `spiffe://cluster.local/ns/${namespace}/sa/x`);
    expect(await explain('cluster1')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('tenant cluster1'),
    });
    expect(await explain('default')).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('refused: '),
    });
  });

  test('render, with the filter in it', async () => {
    expect(await tidbMesh('render', MESH, '--out', 'rendered')).toMatchObject({ status: 0, stderr: '' });
    const text = readFileSync(join(folder, 'rendered', 'envoyfilter', 'filter.yaml'), 'utf8');
    expect(text).toContain(readFileSync(join(ROOT, RELEASE.output)).toString('base64'));
    expect(await tidbMesh('render', MESH, '--out', 'rendered', '--check')).toMatchObject({ status: 0 });
  });

  test('oci', async () => {
    mkdirSync(join(folder, 'oci'));
    const { status, stdout } = await tidbMesh('oci', '--out', 'oci', '-o', 'json');
    expect(status).toBe(0);
    const { images, version } = JSON.parse(stdout) as { images: { digest: string }[]; version: string };
    expect([version, images.length]).toEqual([VERSION, 2]);
    for (const { digest } of images)
      expect(existsSync(join(folder, 'oci', 'blobs', 'sha256', digest.slice('sha256:'.length)))).toBe(true);
  });

  test('schema', async () => {
    const { stdout } = await tidbMesh('schema');
    expect(stdout).toBe(readFileSync(join(ROOT, 'schema', 'plugin-config.schema.json'), 'utf8'));
  });

  test('doctor, where nothing listens', async () => {
    expect(await tidbMesh('doctor', '--config', MESH, '--pd', 'http://127.0.0.1:1')).toEqual({
      status: 3,
      stdout: '',
      stderr: expect.stringMatching(
        /^error: .* no answer from 127\.0\.0\.1:1: .* \[UNREACHABLE\]\n {2}→ .+\n$/,
      ),
    });
  });
});
