/** Where the packages come from, and what they allow. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { checksums, sumsOf } from '../../src-ts/supply/checksums.ts';
import { isPermissive } from '../../src-ts/supply/licences.ts';
import { lockedPackages } from '../../src-ts/supply/lock.ts';
import { sbom } from '../../src-ts/supply/sbom.ts';
import { provenance } from '../../src-ts/supply/provenance.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const PATHS = ['package.json', 'LICENSE'];

test('every package is locked by a digest, and comes from a registry', () => {
  const packages = lockedPackages();
  expect(packages.length).toBeGreaterThan(100);
  for (const { name, integrity, source } of packages) {
    expect({ name, integrity }).toEqual({ name, integrity: expect.stringMatching(/^sha512-/) });
    // The registry is the installer's own: the digest says what it must serve.
    expect({ name, source }).toEqual({ name, source: undefined });
  }
});

test('what comes with the command is under permissive licences', () => {
  const runtime = lockedPackages().filter(({ isRuntime }) => isRuntime);
  expect(runtime.length).toBeGreaterThan(10);
  expect(runtime.filter((one) => !isPermissive(one))).toEqual([]);
  for (const licence of ['GPL-3.0', 'MPL-2.0', 'MIT OR GPL-2.0', 'MIT AND LGPL-2.1', ''])
    expect(isPermissive({ ...runtime[0]!, licence })).toBe(false);
});

test('every dependency has an exact version', () => {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  ) as Record<string, Record<string, string>>;
  for (const version of Object.values({ ...dependencies, ...devDependencies }))
    expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/);
});

test('sums and the statement name the files as they are', () => {
  const sums = sumsOf(PATHS);
  const wanted = PATHS.map((path) =>
    createHash('sha256')
      .update(readFileSync(join(ROOT, path)))
      .digest('hex'),
  );
  expect(checksums(sums)).toBe(PATHS.map((path, i) => `${wanted[i]}  ${path}\n`).join(''));
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  expect(provenance(sums)).toMatchObject({
    subject: PATHS.map((name, i) => ({ name, digest: { sha256: wanted[i] } })),
    predicate: {
      buildDefinition: {
        resolvedDependencies: expect.arrayContaining([
          { uri: 'package-lock.json', digest: { sha256: lock } },
        ]),
      },
    },
  });
});

test('the SBOM lists what comes with the command, and nothing else', () => {
  const { components } = JSON.parse(sbom()) as { components: { name: string; version: string }[] };
  const listed = new Set(components.map(({ name, version }) => `${name} ${version}`));
  const runtime = lockedPackages().filter(({ isRuntime }) => isRuntime);
  expect(listed).toEqual(new Set(runtime.map(({ name, version }) => `${name} ${version}`)));
});
