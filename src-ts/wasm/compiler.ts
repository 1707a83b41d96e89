/** The AssemblyScript compiler that inlines what docstrings mark, as a process of its own: its type declarations replace Node's `console`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
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
const { error } = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: async (name, folder) => {
    const source = await readFile(join(folder, name), 'utf8').catch(() => null);
    return source === null ? null : decorateInline(source);
  },
});
if (error) process.exitCode = 1;
