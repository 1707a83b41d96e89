/**
 * `npm run test:versions`: runs test/versions, or test/clients, with each version of TiDB and PD, and writes the results to schema/versions.json. Names of
 * versions as arguments run these alone. Servers are built once; TiDB takes about ten minutes on two cores.
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { readVersions, VERSIONS_FILE, type Run } from '../../../src-ts/versions/versions.ts';
import { buildOtherVersion, prepare, REPOSITORY, type OtherVersion } from '../stack/builds.ts';
import { progressFor } from '../stack/progress.ts';

interface Wanted extends Pick<Run, 'program' | 'version' | 'module' | 'suite'> {
  /** Undefined: the tests' own server. */
  readonly other?: OtherVersion;
}

const TIDB = {
  requirement: 'github.com/pingcap/tidb',
  target: 'github.com/pingcap/tidb/cmd/tidb-server',
} as const;
const PD = {
  requirement: 'github.com/tikv/pd',
  target: 'github.com/tikv/pd/cmd/pd-server',
  tags: ['without_dashboard'],
} as const;
const OVERRIDES = { TiDB: 'TIDB_MESH_TIDB_SERVER', PD: 'TIDB_MESH_PD_SERVER' } as const;

/** Each beside the tests' own other servers. */
const MATRIX: readonly Wanted[] = [
  {
    program: 'PD',
    version: '6.6',
    module: 'v1.1.0-beta.0.20230203015356-248b3f0be132',
    // TiDB 8.5 needs a service that it has not: meta_storagepb.MetaStorage.
    suite: 'clients',
    other: {
      folder: 'pd-6.6',
      ...PD,
      linked: ['-X', 'github.com/tikv/pd/pkg/versioninfo.PDReleaseVersion=v6.6.0'],
    },
  },
  {
    program: 'TiDB',
    version: '7.5.0',
    module: 'v1.1.0-beta.0.20231124053542-069631e2ecfe',
    other: { folder: 'tidb-7.5', ...TIDB },
  },
  { program: 'TiDB', version: '8.5', module: 'v1.1.0-beta.0.20251126154744-e4e814fdc0af' },
  {
    program: 'TiDB',
    version: '8.5.6',
    module: 'v1.1.0-beta.0.20260413061245-ae18096e0237',
    other: {
      folder: 'tidb-8.5.6',
      ...TIDB,
      // It reads Go's maps by itself, and starts only where Go says that it is 1.25. Those of 1.26 have the same layout (Go's
      // internal/runtime/maps beside TiDB's pkg/util/hack/map_abi.go).
      linked: ['-X', 'runtime.buildVersion=go1.26-with-the-maps-of-go1.25'],
    },
  },
];

interface Report {
  readonly numPassedTests: number;
  readonly testResults: { assertionResults: { title: string; status: string }[] }[];
}

async function runTests(wanted: Wanted, scratch: string): Promise<Run> {
  const { program, version, module, other, suite } = wanted;
  const env = { ...process.env };
  if (other !== undefined)
    await progressFor().run([
      {
        title: `Build ${program} ${version}`,
        run: async (tell) => {
          env[OVERRIDES[program]] = await buildOtherVersion(other, tell);
        },
      },
    ]);
  const file = join(scratch, `${program}-${version}.json`);
  const long = suite === undefined ? [] : ['--long'];
  const args = ['test/harness/run/one.mjs', suite ?? 'versions', ...long, '--json', `--outputFile=${file}`];
  spawnSync(process.execPath, args, { cwd: REPOSITORY, stdio: 'inherit', env });
  const report = JSON.parse(await readFile(file, 'utf8')) as Report;
  const failed = report.testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'failed')
    .map(({ title }) => title);
  // A suite that does not even start has no tests.
  if (failed.length === 0 && report.numPassedTests === 0) failed.push('the servers did not start');
  const result = { passed: report.numPassedTests, failed };
  return {
    ...{ program, version, module, commit: commit(), date: today() },
    ...(suite === undefined ? {} : { suite }),
    ...result,
  };
}

function commit(): string {
  return spawnSync('git', ['rev-parse', '--short', 'HEAD'], {
    cwd: REPOSITORY,
    encoding: 'utf8',
  }).stdout.trim();
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

async function keep(run: Run): Promise<void> {
  const { checked, runs } = readVersions();
  const isSame = (other: Run): boolean => other.program === run.program && other.version === run.version;
  const others = runs.filter((other) => !isSame(other));
  const sorted = [...others, run].sort((a, b) => (a.program + a.version < b.program + b.version ? -1 : 1));
  const text = JSON.stringify({ checked, runs: sorted });
  await writeFile(VERSIONS_FILE, await format(text, { filepath: VERSIONS_FILE }));
}

const names = process.argv.slice(2);
const scratch = await mkdtemp(join(tmpdir(), 'tidb-mesh-versions-'));
try {
  await prepare(progressFor());
  for (const wanted of MATRIX) {
    if (names.length > 0 && !names.includes(wanted.version)) continue;
    const run = await runTests(wanted, scratch);
    await keep(run);
    console.log(`${run.program} ${run.version}: ${run.passed} passed, ${run.failed.length} failed`);
    if (run.failed.length > 0) process.exitCode = 1;
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
console.log('the results are in schema/versions.json; npm run docs shows them');
