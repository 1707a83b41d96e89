/**
 * `npm run test:mutants`: breaks the filter in one place after the other, and runs the suites that claim to see it. Fails if one does not.
 * `-- --only TEXT` takes the mutants whose name contains it, `-- --project NAME` the suites of one jest project; `-- --control` first runs
 * the suites on the filter as it is.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { buildArguments, jestArguments } from '../harness/run/setup.mjs';
import { copyProject, mutate } from './copy.ts';
import { MUTANTS, type Suite } from './mutants.ts';

interface Verdict {
  readonly isCaught: boolean;
  readonly by: string;
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    project: { type: 'string' },
    control: { type: 'boolean', default: false },
  },
});

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

const folder = copyProject();
// What is optimized takes three times as long to compile, and does the same.
mutate(folder, [
  {
    file: 'src-ts/wasm/builds.ts',
    from: "filter('release', 'build/release.wasm')",
    to: "filter('debug', 'build/release.wasm')",
  },
]);
const mutants = MUTANTS.filter(({ name }) => name.includes(values.only)).flatMap((mutant) => {
  const caughtBy = mutant.caughtBy.filter(({ project }) => project === (values.project ?? project));
  return caughtBy.length > 0 ? [{ ...mutant, caughtBy }] : [];
});
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
