/** `npm test`: everything there is, quick parts first. The last line counts the tests: "N passed, N failed". */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSignalled, runCommand, runNode } from './child.mjs';
import { buildArguments, ensurePackages, jestArguments } from './setup.mjs';

await ensurePackages();

const scratch = mkdtempSync(join(tmpdir(), 'tidb-mesh-test-'));
const totals = { passed: 0, failed: 0, skipped: 0 };
const rows = [];

/** Runs one command, or Node without one; a step without tests of its own counts as one. A signal ends them all. */
async function step(title, command, args, count, later = false) {
  console.log(`\n== ${title}${later ? ', beside what follows' : ''}`);
  const start = Date.now();
  const options = { stdin: 'ignore', later };
  const status = await (command ? runCommand(command, args, options) : runNode(args, options));
  if (isSignalled()) process.exit(status || 1);
  const result = count?.() ?? { passed: status === 0 ? 1 : 0, failed: 0, skipped: 0 };
  if (status !== 0 && result.failed === 0) result.failed = 1;
  for (const key of Object.keys(totals)) totals[key] += result[key];
  rows.push([title, result, (Date.now() - start) / 1000]);
}

/** One jest project; reads the counts from jest's own report. */
async function jest(project, title, later = false) {
  const report = join(scratch, `${project}.json`);
  const args = [...jestArguments(project), '--json', `--outputFile=${report}`];
  const count = () => {
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
  };
  await step(title, undefined, args, count, later);
}

const npm = (script) => ['run', '--silent', script];

await step('types', 'npm', npm('typecheck'));
await step('lint and format', 'npm', npm('lint'));
await step('build the filter', undefined, buildArguments('unit'));
await jest('unit', 'unit');
await jest('package', 'the npm package');
await step('install the servers', undefined, ['--import', 'tsx', 'test/harness/run/install.ts']);
await step('checks in Go', 'go', ['-C', 'test/harness/servers/tidb', 'test', './...']);
await jest('oracle', 'oracles');
await jest('envoy', 'envoy');
// Rounds of garbage collection are minutes apart, and need next to no processor time.
const gc = jest('gc', 'garbage collection', true);
await jest('hostile', 'hostile tenants');
await jest('e2e', 'real servers');
await jest('shared', 'what tenants share');
await jest('move', 'moving a tenant');
await jest('clients', 'clients of TiKV');
await jest('ha', 'lost leaders of PD');
await jest('faults', 'faults with a ledger');
await gc;
await step('install Istio', undefined, ['--import', 'tsx', 'test/harness/run/install.ts', 'mesh']);
await jest('mesh', 'a mesh');
await step('demo', undefined, ['--import', 'tsx', 'demo/main.ts', '--once']);

rmSync(scratch, { recursive: true, force: true });
console.log('');
for (const [title, { passed, failed, skipped }, seconds] of rows)
  console.log(
    `${title.padEnd(22)} ${String(passed).padStart(5)} passed ${String(failed).padStart(4)} failed ${String(skipped).padStart(4)} skipped ${seconds.toFixed(0).padStart(6)} s`,
  );
process.exitCode = totals.failed === 0 ? 0 : 1;
if (totals.skipped > 0) console.log(`${totals.skipped} skipped: their titles say why`);
console.log(`${totals.passed} passed, ${totals.failed} failed`);
