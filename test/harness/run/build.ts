/**
 * Builds what one jest project needs of the filter, and nothing else: build.ts <project>. With `--some` not all of the project's tests
 * will run, and those that need a rare build compile it themselves.
 */
import { fuzzBuild } from '../../../fuzz/build.ts';
import {
  CHECK,
  ensureBuilt,
  RELEASE,
  TESTING,
  TRACED,
  WALKING,
  type Build,
} from '../../../src-ts/wasm/builds.ts';
import { tellBuilt } from '../../../src-ts/wasm/tell.ts';

const [project = 'unit', some] = process.argv.slice(2);
const only = TESTING[process.env['TIDB_MESH_TEST_BUILD'] as keyof typeof TESTING] as Build | undefined;
const testing = only === undefined ? [...Object.values(TESTING), WALKING] : [only];
const NEEDS: Record<string, readonly Build[]> = {
  unit: some === undefined ? [...testing, TRACED, CHECK, RELEASE] : testing,
  oracle: [...testing, RELEASE],
};

// The longest first: what is made of the fuzzer's build takes a while itself.
const fuzzer = project === 'unit' && some === undefined ? fuzzBuild() : undefined;
await Promise.all([fuzzer, ensureBuilt(NEEDS[project] ?? [RELEASE, CHECK], { onBuilt: tellBuilt })]);
