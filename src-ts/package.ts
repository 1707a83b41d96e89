/**
 * `npm pack` runs this first: it compiles what the package holds, the command to lib/ and the filter to build/, and writes what they are
 * made of beside them.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checksums, sumsOf } from './supply/checksums.ts';
import { provenance } from './supply/provenance.ts';
import { sbom } from './supply/sbom.ts';
import { CHECK, ensureBuilt, RELEASE, ROOT } from './wasm/builds.ts';

const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');

rmSync(join(ROOT, 'lib'), { recursive: true, force: true });
await ensureBuilt([RELEASE, CHECK]);
execFileSync(process.execPath, [TSC, '-p', 'tsconfig.package.json'], { cwd: ROOT, stdio: 'inherit' });

const SBOM = 'build/sbom.cdx.json';
const write = (path: string, text: string): void => writeFileSync(join(ROOT, path), text);
write(SBOM, sbom());
const sums = sumsOf([
  RELEASE.output,
  CHECK.output,
  'manifests/mesh.yaml',
  'schema/plugin-config.schema.json',
  SBOM,
]);
write('build/SHA256SUMS', checksums(sums));
write('build/provenance.json', `${JSON.stringify(provenance(sums), null, 2)}\n`);
