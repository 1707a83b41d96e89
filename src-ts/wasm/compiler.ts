/** The AssemblyScript compiler with packed literals and inlined functions, as a process of its own: its type declarations replace Node's `console`. */
import { readFile, writeFile } from 'node:fs/promises';
import { join, normalize, relative, resolve, sep } from 'node:path';
import { packLiterals } from '../texts/literals.ts';
import { decorateInline } from './inline.ts';
import { packData } from './pack-data.ts';

interface Compiler {
  main(
    args: readonly string[],
    options: {
      stdout: NodeJS.WritableStream;
      stderr: NodeJS.WritableStream;
      readFile: (name: string, folder: string) => Promise<string | null>;
      writeFile: (name: string, contents: string | Uint8Array, folder: string) => Promise<void>;
    },
  ): Promise<{ error: Error | null }>;
}

const COMPILER: string = 'assemblyscript/asc';
const { main } = (await import(COMPILER)) as Compiler;
const packed = packLiterals();
/** Not the compiler's: the wasm's data is packed. */
const PACK = '--pack';
const isPacked = process.argv.includes(PACK);
const args = process.argv.slice(2).filter((arg) => arg !== PACK);
const { error } = await main(args, {
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: async (name, folder) => {
    const path = normalize(relative('.', join(folder, name)))
      .split(sep)
      .join('/');
    const source = packed(path) ?? (await readFile(join(folder, name), 'utf8').catch(() => null));
    return source === null ? null : decorateInline(source);
  },
  writeFile: async (name, contents, folder) => {
    const out = typeof contents !== 'string' && isPacked ? packData(contents) : contents;
    await writeFile(resolve(folder, name), out);
  },
});
if (error) process.exitCode = 1;
