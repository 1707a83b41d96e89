/**
 * Compiles the filter and its test builds with the AssemblyScript compiler. A record beside each output holds the digests of all inputs.
 * A build is current while none of them has changed, whatever the files' times say.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Tell } from '../tell.ts';
import { VERSION } from '../version.ts';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Missing in the npm package, which holds the builds instead. */
const SOURCES = join(ROOT, 'assembly');

/** A wasm to build: its entry, the asconfig target and the output, relative to the project. */
export interface Build {
  readonly name: string;
  readonly args: readonly string[];
  readonly output: string;
}

const filter = (target: string, output: string, ...more: string[]): Build => ({
  name: `filter (${target})`,
  args: [
    'assembly/entries/filter.ts',
    '--target',
    target,
    '--outFile',
    output,
    '--use',
    'abort=assembly/host/abort/abort',
    ...more,
  ],
  output,
});

const testing = (kind: string, target = kind, ...more: string[]): Build => {
  const output = `build/testing.${kind}.wasm`;
  return {
    name: `test build (${kind})`,
    args: ['assembly/entries/testing.ts', '--target', target, '--outFile', output, ...more],
    output,
  };
};

/** The filter that users run. */
export const RELEASE = filter('release', 'build/release.wasm');

/** The filter with names, a source map and its text, for a debugger. No test needs it. */
export const DEBUG = filter('debug', 'build/debug.wasm', '--sourceMap', '--textFile', 'build/debug.wat');

/** The code that judges configurations and callers, for the command line. */
export const CHECK: Build = {
  name: 'check build',
  args: ['assembly/entries/check.ts', '--target', 'release', '--outFile', 'build/check.wasm'],
  output: 'build/check.wasm',
};

/** The filter's pure parts with more exports, for tests and benchmarks. */
export const TESTING = {
  release: testing('release'),
  debug: testing('debug'),
} as const;

/** The test build without the fast path: it walks every message. See assembly/rewrite/fast-path/fast-path.ts. */
export const WALKING = testing('walking', 'release', '--use', 'WITHOUT_FAST_PATH=1');

/** The test build on AssemblyScript's traced runtime, which reports each call of its allocator. */
export const TRACED = testing('traced', 'release', '--use', 'ASC_RTRACE=1');

/** What `npm run asbuild` compiles. */
export const BUILDS: readonly Build[] = [RELEASE, CHECK, TESTING.release, TESTING.debug];

/** Inputs of a build: digests by path from the project's root. null for a file that was looked for and does not exist. */
export type Inputs = Record<string, string | null>;

interface BuildRecord {
  /** Digest of the arguments, the version, the compiler and all that runs before it. */
  readonly command: string;
  readonly inputs: Inputs;
}

/** How many compilers run at a time. Each keeps a core busy and needs half a gigabyte. */
const AT_A_TIME = 2;
const COMPILER = join(ROOT, 'src-ts', 'wasm', 'compiler.ts');
/** Files that change what the compiler makes of the same sources. */
const TOOLS = ['src-ts/wasm', 'asconfig.json', 'node_modules/assemblyscript/package.json'];
const run = promisify(execFile);

let running = 0;
const waiting: (() => void)[] = [];

/** Waits for a free place, and frees it for the next in the queue. */
async function inTurn(work: () => Promise<void>): Promise<void> {
  if (running >= AT_A_TIME) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

export function digestOf(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex').slice(0, 16);
}

function digestOfFile(path: string): string | null {
  try {
    return digestOf(readFileSync(join(ROOT, path)));
  } catch {
    return null;
  }
}

function filesOf(path: string): string[] {
  try {
    return readdirSync(join(ROOT, path)).map((name) => `${path}/${name}`);
  } catch {
    return [path];
  }
}

const tools = (): string[] => TOOLS.flatMap(filesOf).map((path) => digestOfFile(path) ?? '');

const commandOf = (build: Build): string => digestOf(JSON.stringify([build.args, VERSION, tools()]));

const recordOf = (build: Build): string => join(ROOT, `${build.output}.inputs.json`);

/** True when the output exists and was made from the inputs as they are now. */
export function isCurrent(build: Build): boolean {
  if (!existsSync(join(ROOT, build.output)) || !existsSync(recordOf(build))) return false;
  try {
    const { command, inputs } = JSON.parse(readFileSync(recordOf(build), 'utf8')) as BuildRecord;
    return (
      command === commandOf(build) &&
      Object.entries(inputs).every(([path, digest]) => digestOfFile(path) === digest)
    );
  } catch {
    return false;
  }
}

/** Compiles one output. Throws with the compiler's own text. */
async function compile(build: Build): Promise<void> {
  const record = recordOf(build);
  const inputs = `${record}.${process.pid}`;
  const command = commandOf(build);
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  try {
    const args = ['--import', 'tsx', COMPILER, '--inputs', inputs, ...build.args];
    await run(process.execPath, args, { cwd: ROOT, maxBuffer: 1 << 26 });
    const read = JSON.parse(readFileSync(inputs, 'utf8')) as Inputs;
    writeFileSync(inputs, JSON.stringify({ command, inputs: read } satisfies BuildRecord));
    renameSync(inputs, record);
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`${build.name} does not compile\n${stderr ?? String(error)}`, { cause: error });
  } finally {
    rmSync(inputs, { force: true });
  }
}

/** The bytes of a build, compiled first where it is missing or older than its sources. A packed command has no sources. */
export async function readBuilt(build: Build, tell: Tell = () => undefined): Promise<Buffer<ArrayBuffer>> {
  if (existsSync(SOURCES) && !isCurrent(build)) {
    tell('compiling the filter, once');
    await ensureBuilt([build]);
  }
  return readFileSync(join(ROOT, build.output));
}

interface Options {
  /** True to compile current builds too. */
  readonly force?: boolean;
  /** Called for each build that was compiled. */
  readonly onBuilt?: (build: Build, seconds: number) => void;
}

/** Compiles the builds that are not current. Throws with the compiler's own text. */
export async function ensureBuilt(
  builds: readonly Build[],
  { force = false, onBuilt = () => undefined }: Options = {},
): Promise<void> {
  const stale = builds.filter((build) => force || !isCurrent(build));
  const each = stale.map((build) =>
    inTurn(async () => {
      const start = performance.now();
      await compile(build);
      onBuilt(build, (performance.now() - start) / 1000);
    }),
  );
  await Promise.all(each);
}
