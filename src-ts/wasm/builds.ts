/** Compiles the filter and its test build with the AssemblyScript compiler, when a source is newer than the output. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** One wasm that is built: its entry, the asconfig target and the output, relative to the project. */
export interface Build {
  readonly name: string;
  readonly args: readonly string[];
  readonly output: string;
}

const filter = (target: string, output: string): Build => ({
  name: `filter (${target})`,
  args: [
    'assembly/entries/filter.ts',
    '--target',
    target,
    '--outFile',
    output,
    '--use',
    'abort=assembly/host/abort/abort',
  ],
  output,
});

const testing = (target: string, output: string): Build => ({
  name: `test build (${target})`,
  args: ['assembly/entries/testing.ts', '--target', target, '--outFile', output],
  output,
});

/** The filter that users run. */
export const RELEASE = filter('release', 'build/release.wasm');

/** The filter's judgement of configurations and callers, for the command line. */
export const CHECK: Build = {
  name: 'check build',
  args: ['assembly/entries/check.ts', '--target', 'release', '--outFile', 'build/check.wasm'],
  output: 'build/check.wasm',
};

export const BUILDS: readonly Build[] = [
  RELEASE,
  CHECK,
  filter('debug', 'build/debug.wasm'),
  testing('release', 'build/testing.release.wasm'),
  testing('debug', 'build/testing.debug.wasm'),
];

function newest(folder: string): number {
  let time = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    time = Math.max(time, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return time;
}

/** True when the output is there and no source is newer. */
export function isCurrent(build: Build): boolean {
  const output = join(ROOT, build.output);
  if (!existsSync(output)) return false;
  const folders = ['assembly', 'src-ts/wasm'].map((folder) => newest(join(ROOT, folder)));
  const sources = Math.max(...folders, statSync(join(ROOT, 'asconfig.json')).mtimeMs);
  return statSync(output).mtimeMs >= sources;
}

const COMPILER = join(ROOT, 'src-ts', 'wasm', 'compiler.ts');
const run = promisify(execFile);

/** Compiles one output. Throws with the compiler's own text. */
export async function compile(build: Build): Promise<void> {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  try {
    await run(process.execPath, ['--import', 'tsx', COMPILER, ...build.args], {
      cwd: ROOT,
      maxBuffer: 1 << 26,
    });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`${build.name} does not compile\n${stderr ?? String(error)}`, { cause: error });
  }
}
