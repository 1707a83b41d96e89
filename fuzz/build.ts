/** The instrumented test build, compiled when a source is newer. */
import { execFile } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Build, ensureBuilt, ROOT } from '../src-ts/wasm/builds.ts';
import { instrument } from './instrument.ts';
import { PROGRAM } from './layout.ts';

const PLAIN_TEXT = 'build/testing.plain.wat';
/** With names and as a text, above the memory that the instrumented build keeps its books in. */
export const PLAIN: Build = {
  name: 'test build (text)',
  args: [
    'assembly/entries/testing.ts',
    '--target',
    'debug',
    '--memoryBase',
    String(PROGRAM),
    '--outFile',
    'build/testing.plain.wasm',
    '--textFile',
    PLAIN_TEXT,
  ],
  output: PLAIN_TEXT,
};
const TEXT = 'build/testing.fuzz.wat';
const OUTPUT = 'build/testing.fuzz.wasm';
const FACTS = 'build/testing.fuzz.json';

/** A constant of the filter: [from, to) in its memory. */
export interface Constant {
  readonly from: number;
  readonly to: number;
}

export interface FuzzBuild {
  readonly code: Uint8Array<ArrayBuffer>;
  readonly blocks: number;
  readonly functions: readonly { readonly name: string; readonly from: number }[];
  readonly heapBase: number;
  readonly constants: readonly Constant[];
}

const run = promisify(execFile);

function isNewer(path: string, than: string): boolean {
  try {
    return statSync(path).mtimeMs >= statSync(than).mtimeMs;
  } catch {
    return false;
  }
}

/** The data segments of a module's text. Those of zeros only are room for results. */
function constantsOf(wat: string): Constant[] {
  const segments = wat.matchAll(/^ \(data \S+ \(i32\.const (\d+)\) "((?:[^"\\]|\\.)*)"\)$/gm);
  return [...segments].flatMap(([, at, content = '']) => {
    const from = Number(at);
    const bytes = content.replace(/\\(?:[0-9a-f]{2}|.)/g, '.').length;
    return /^(\\00)*$/.test(content) ? [] : [{ from, to: from + bytes }];
  });
}

/** Builds what is not current. Throws with the compiler's own text. */
export async function fuzzBuild(): Promise<FuzzBuild> {
  const plain = join(ROOT, PLAIN_TEXT);
  const output = join(ROOT, OUTPUT);
  const facts = join(ROOT, FACTS);
  await ensureBuilt([PLAIN]);
  const own = ['instrument.ts', 'layout.ts', 'build.ts'].map((name) => join(ROOT, 'fuzz', name));
  if (![plain, ...own].every((source) => isNewer(facts, source))) {
    const wat = readFileSync(plain, 'utf8');
    const { text, blocks, functions } = instrument(wat);
    writeFileSync(join(ROOT, TEXT), text);
    // The assembler that comes with the AssemblyScript compiler.
    const assembler = createRequire(import.meta.url).resolve('binaryen/bin/wasm-as');
    await run(process.execPath, [assembler, join(ROOT, TEXT), '-o', output, '-all', '-g'], {
      maxBuffer: 1 << 26,
    });
    const heapBase = Number(/\$~lib\/memory\/__heap_base i32 \(i32\.const (\d+)\)/.exec(wat)?.[1]);
    writeFileSync(facts, JSON.stringify({ blocks, functions, heapBase, constants: constantsOf(wat) }));
  }
  return {
    code: new Uint8Array(readFileSync(output)),
    ...(JSON.parse(readFileSync(facts, 'utf8')) as Omit<FuzzBuild, 'code'>),
  };
}
