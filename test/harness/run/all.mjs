/** `npm test`: everything there is, quick parts first. The last line counts the tests: "N passed, N failed". */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackages, jestArguments, ROOT } from './setup.mjs';

ensurePackages();

const scratch = mkdtempSync(join(tmpdir(), 'tidb-mesh-test-'));
const totals = { passed: 0, failed: 0, skipped: 0 };
const rows = [];

/** Runs one command; a step without tests of its own counts as one. */
function step(title, command, args, count) {
  console.log(`\n== ${title}`);
  const start = Date.now();
  const { status } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: process.env,
  });
  const result = count?.() ?? { passed: status === 0 ? 1 : 0, failed: 0, skipped: 0 };
  if (status !== 0 && result.failed === 0) result.failed = 1;
  for (const key of Object.keys(totals)) totals[key] += result[key];
  rows.push([title, result, (Date.now() - start) / 1000]);
}

/** One jest project; reads the counts from jest's own report. */
function jest(project, title) {
  const report = join(scratch, `${project}.json`);
  const args = [...jestArguments(project), '--json', `--outputFile=${report}`];
  step(title, process.execPath, args, () => {
    try {
      const found = JSON.parse(readFileSync(report, 'utf8'));
      // A test file that does not even load counts as a failure, though jest counts no test in it.
      const broken = found.testResults.filter(
        (file) => file.status === 'failed' && file.assertionResults.length === 0,
      ).length;
      return {
        passed: found.numPassedTests,
        failed: found.numFailedTests + broken,
        skipped: found.numPendingTests,
      };
    } catch {
      return { passed: 0, failed: 1, skipped: 0 };
    }
  });
}

const npm = (script) => ['run', '--silent', script];

step('types', 'npm', npm('typecheck'));
step('lint and format', 'npm', npm('lint'));
step('build the filter', 'npm', npm('asbuild'));
jest('unit', 'unit');
step('install the servers', process.execPath, ['--import', 'tsx', 'test/harness/run/install.ts']);
step('checks in Go', 'go', ['-C', 'test/harness/servers/tidb', 'test', './...']);
jest('oracle', 'oracles');
jest('envoy', 'envoy');
jest('e2e', 'real servers');
jest('shared', 'what tenants share');
step('install Istio', process.execPath, ['--import', 'tsx', 'test/harness/run/install.ts', 'mesh']);
jest('mesh', 'a mesh');
step('demo', process.execPath, ['--import', 'tsx', 'demo/main.ts', '--once']);

rmSync(scratch, { recursive: true, force: true });
console.log('');
for (const [title, { passed, failed, skipped }, seconds] of rows)
  console.log(
    `${title.padEnd(22)} ${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed ${String(skipped).padStart(4)} skipped ${seconds.toFixed(0).padStart(6)} s`,
  );
process.exitCode = totals.failed === 0 ? 0 : 1;
console.log(
  `${totals.passed} passed, ${totals.failed} failed${totals.skipped > 0 ? `, ${totals.skipped} skipped` : ''}`,
);
