/** The AssemblyScript compiler with packed literals and inlined functions, as a process of its own: its type declarations replace Node's `console`. */
import { readFile } from 'node:fs/promises';
import { join, normalize, relative, sep } from 'node:path';
import { packLiterals } from '../texts/literals.ts';
import { decorateInline } from './inline.ts';

interface Compiler {
  main(
    args: readonly string[],
    options: {
      stdout: NodeJS.WritableStream;
      stderr: NodeJS.WritableStream;
      readFile: (name: string, folder: string) => Promise<string | null>;
    },
  ): Promise<{ error: Error | null }>;
}

const COMPILER: string = 'assemblyscript/asc';
const { main } = (await import(COMPILER)) as Compiler;
const packed = packLiterals();
const { error } = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: async (name, folder) => {
    const path = normalize(relative('.', join(folder, name)))
      .split(sep)
      .join('/');
    const source = packed(path) ?? (await readFile(join(folder, name), 'utf8').catch(() => null));
    return source === null ? null : decorateInline(source);
  },
});
if (error) process.exitCode = 1;
