/** What every command of the project needs first: the npm packages of the lock file. Uses nothing but Node itself. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './child.mjs';
import { ROOT } from './root.mjs';

export { ROOT };

/** What Node needs to run one jest project; further arguments for jest may follow. */
export const jestArguments = (project) => [
  '--import',
  new URL('jest-signals.mjs', import.meta.url).href,
  '--experimental-vm-modules',
  '--disable-warning=ExperimentalWarning',
  'node_modules/jest/bin/jest.js',
  '--selectProjects',
  project,
  // Tests that start servers take turns; the others use both cores of a small machine.
  ...(project === 'unit' ? ['--maxWorkers=2'] : ['--runInBand']),
  '--forceExit',
];

/** What Node needs to build a project's part of the filter; `some`: not all of its tests will run. */
export const buildArguments = (project, some = false) => [
  '--import',
  'tsx',
  'test/harness/run/build.ts',
  project,
  ...(some ? ['--some'] : []),
];

const MIN_NODE = 20;

/** Installs the packages when they are missing or older than the lock file. Exits with a reason when that fails. */
export async function ensurePackages() {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < MIN_NODE) {
    console.error(`Node ${MIN_NODE} or newer is needed; this is ${process.version}.`);
    process.exit(1);
  }
  const installed = join(ROOT, 'node_modules', '.package-lock.json');
  const lock = join(ROOT, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  const start = Date.now();
  console.log('  ...  Install the npm packages');
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  if ((await runCommand('npm', args)) !== 0) {
    console.error('npm ci failed; see its messages above.');
    process.exit(1);
  }
  console.log(`  ok   Install the npm packages [${((Date.now() - start) / 1000).toFixed(1)}s]`);
}
