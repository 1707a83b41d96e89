/** `npm pack` runs this first: it compiles what the package holds, the command to lib/ and the filter to build/. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CHECK, ensureBuilt, RELEASE, ROOT } from './wasm/builds.ts';

const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');

rmSync(join(ROOT, 'lib'), { recursive: true, force: true });
await ensureBuilt([RELEASE, CHECK]);
execFileSync(process.execPath, [TSC, '-p', 'tsconfig.package.json'], { cwd: ROOT, stdio: 'inherit' });
