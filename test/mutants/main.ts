/** `npm run test:mutants`: see --help. */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { Command } from 'commander';
import { buildArguments, jestArguments } from '../harness/run/setup.mjs';
import { copyProject, mutate } from './copy.ts';
import { MUTANTS, type Suite } from './mutants.ts';

interface Verdict {
  readonly isCaught: boolean;
  readonly by: string;
}

interface Options {
  only: string;
  project?: string;
  control?: true;
  list?: true;
}

const HELP = `
What it does
  Copies the project into a temporary folder, breaks the filter there in one place, compiles it, and runs the tests that claim to see
  it. Each mutant is undone before the next one. The project itself is not changed.
  ${MUTANTS.length} mutants; projects: ${[...new Set(MUTANTS.flatMap(({ caughtBy }) => caughtBy.map(({ project }) => project)))].join(', ')}.

What it needs
  The servers of the projects that run: see "Set up" in CONTRIBUTING.md. A mutant and a suite take half a minute to two minutes.

Exit codes
  0  every mutant that was run is seen by every suite that claims to see it
  1  one was not seen, did not compile, or its tests did not run

Examples
  npm run test:mutants -- --list                      the mutants, and who claims to see them
  npm run test:mutants -- --project unit              needs no servers
  npm run test:mutants -- --only lease --project hostile
  npm run test:mutants -- --project envoy --control   shows first that the tests pass on the filter as it is
`;

const values = new Command('npm run test:mutants --')
  .description(
    'Breaks the filter in one place after the other. Fails where the suites that claim to see it do not.',
  )
  .option('--only <text>', 'the mutants whose name contains this', '')
  .option('--project <name>', 'the suites of this jest project')
  .option('--control', 'first run the suites on the filter as it is: they must pass')
  .option('--list', 'print the mutants and the suites, and run nothing')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows what there is)')
  .parse()
  .opts<Options>();

/** One build shows what is broken, and is compiled in a third of the time of all. */
const ENV = { ...process.env, TIDB_MESH_TEST_BUILD: 'debug' };

/** Runs a script of the copy. Returns whether it succeeded, and the end of what it wrote. */
function run(folder: string, args: readonly string[]): { isOk: boolean; said: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: folder,
    env: ENV,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  return { isOk: status === 0, said: `${stdout}\n${stderr}`.slice(-2000) };
}

interface Report {
  readonly testResults: readonly {
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const titleOf = ({ project, file, tests }: Suite): string =>
  [
    project,
    file.split('/').at(-1)!.replace('.test', ''),
    ...(tests === undefined ? [] : [`(${tests})`]),
  ].join(' ');

/** Without what installs packages: the copy shares them with the project. */
function judge(folder: string, suite: Suite): Verdict {
  const { project, file, tests } = suite;
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const some = tests === undefined ? [] : ['--testNamePattern', tests];
  const { said } = run(folder, [
    ...jestArguments(project),
    file,
    ...some,
    '--json',
    `--outputFile=${report}`,
  ]);
  let found: Report;
  try {
    found = JSON.parse(readFileSync(report, 'utf8')) as Report;
  } catch {
    throw new Error(`${titleOf(suite)} did not run:\n${said}`);
  }
  const results = found.testResults.flatMap(({ assertionResults }) => assertionResults);
  const failed = results.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName);
  if (failed.length === 0 && !results.some(({ status }) => status === 'passed'))
    throw new Error(`${titleOf(suite)} has run no test:\n${said}`);
  const [first = 'nothing'] = failed;
  return {
    isCaught: failed.length > 0,
    by: failed.length > 1 ? `${first} (and ${failed.length - 1})` : first,
  };
}

/** The mutants that are asked for, with the suites that are. */
const mutants = MUTANTS.filter(({ name }) => name.includes(values.only)).flatMap((mutant) => {
  const caughtBy = mutant.caughtBy.filter(({ project }) => project === (values.project ?? project));
  return caughtBy.length > 0 ? [{ ...mutant, caughtBy }] : [];
});
if (mutants.length === 0) {
  process.stderr.write('no mutant has such a name and such a project; --list shows all\n');
  process.exit(1);
}
if (values.list) {
  for (const { name, caughtBy } of mutants) console.log(`${name}: ${caughtBy.map(titleOf).join(', ')}`);
  process.exit();
}

const folder = copyProject();
// What is optimized takes three times as long to compile, and does the same.
mutate(folder, [
  {
    file: 'src-ts/wasm/builds.ts',
    from: "filter('release', 'build/release.wasm')",
    to: "filter('debug', 'build/release.wasm')",
  },
]);
const table = new Table({ head: ['mutant', 'suite', 'caught by'], wordWrap: true, colWidths: [34, 24, 60] });
let lived = 0;
try {
  if (values.control)
    for (const suite of new Set(mutants.flatMap(({ caughtBy }) => caughtBy)))
      if (judge(folder, suite).isCaught) throw new Error(`${titleOf(suite)} fails on the filter as it is`);
  for (const { name, edits, caughtBy } of mutants) {
    const undo = mutate(folder, edits);
    const isSchema = edits.some(({ file }) => file.startsWith('proto/'));
    const made = isSchema
      ? run(folder, ['--import', 'tsx', 'src-ts/schema/main.ts'])
      : { isOk: true, said: '' };
    if (!made.isOk) throw new Error(`${name}: no wire table\n${made.said}`);
    for (const suite of caughtBy) {
      const began = Date.now();
      const built = run(folder, buildArguments(suite.builds ?? suite.project, true));
      if (!built.isOk) throw new Error(`${name} does not compile\n${built.said}`);
      const { isCaught, by } = judge(folder, suite);
      if (!isCaught) lived++;
      const title = titleOf(suite);
      table.push([name, title, isCaught ? by : 'NOBODY']);
      const seconds = Math.round((Date.now() - began) / 1000);
      console.log(`${name}, ${title}: ${isCaught ? `caught by ${by}` : 'NOT CAUGHT'} [${seconds} s]`);
    }
    undo();
    if (isSchema) run(folder, ['--import', 'tsx', 'src-ts/schema/main.ts']);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(table.toString());
console.log(lived === 0 ? `${mutants.length} mutants, none lives` : `${lived} times a mutant was not caught`);
process.exitCode = lived === 0 ? 0 : 1;
