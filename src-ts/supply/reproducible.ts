/** `npm run reproducible`: compiles the filter in two folders with different names, and compares the bytes. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CHECK, RELEASE, ROOT } from '../wasm/builds.ts';
import { sha256Of } from './checksums.ts';

const run = promisify(execFile);
/** All that a build reads. */
const SOURCES = ['assembly', 'src-ts', 'proto', 'asconfig.json', 'package.json', 'tsconfig.json'];
const BUILDS = [RELEASE, CHECK];

/** Copies the sources into this folder and compiles them there. Gives the sums of the builds. */
async function buildIn(folder: string): Promise<string[]> {
  mkdirSync(join(folder, 'build'), { recursive: true });
  for (const source of SOURCES) cpSync(join(ROOT, source), join(folder, source), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const sums: string[] = [];
  for (const { args, output } of BUILDS) {
    await run(process.execPath, ['--import', 'tsx', 'src-ts/wasm/compiler.ts', ...args], {
      cwd: folder,
      maxBuffer: 1 << 26,
    });
    sums.push(sha256Of(readFileSync(join(folder, output))));
  }
  return sums;
}

const scratch = mkdtempSync(join(tmpdir(), 'tidb-mesh-reproducible-'));
try {
  const one = await buildIn(join(scratch, 'a'));
  const other = await buildIn(join(scratch, 'another folder', 'with a longer name'));
  for (const [i, { output }] of BUILDS.entries()) {
    const isSame = one[i] === other[i];
    console.log(`${output}: ${isSame ? 'the same' : 'DIFFERENT'} in two folders, sha256 ${one[i]}`);
    if (!isSame) process.exitCode = 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
