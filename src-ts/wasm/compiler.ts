/**
 * Runs the AssemblyScript compiler. Inlines the functions that docstrings mark, and writes the version. It is a process of its own,
 * because its type declarations replace Node's `console`.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join, normalize, relative, resolve, sep } from 'node:path';
import { digestOf, type Inputs } from './builds.ts';
import { decorateInline } from './inline.ts';
import { withVersion } from './version.ts';

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
/** Our own option: the file for the digests of what was read. */
const INPUTS = '--inputs';
const args = process.argv.slice(2);
const at = args.indexOf(INPUTS);
const [, inputsFile] = at < 0 ? [] : args.splice(at, 2);
const inputs: Inputs = {};

const { error } = await main(args, {
  stdout: process.stdout,
  stderr: process.stderr,
  readFile: async (name, folder) => {
    const source = await readFile(join(folder, name), 'utf8').catch(() => null);
    const path = normalize(relative('.', join(folder, name)))
      .split(sep)
      .join('/');
    inputs[path] = source === null ? null : digestOf(source);
    return source === null ? null : withVersion(decorateInline(source));
  },
  writeFile: async (name, contents, folder) => {
    // Write by renaming, so that a concurrent reader never sees a partial file.
    const path = resolve(folder, name);
    await writeFile(`${path}.${process.pid}`, contents);
    await rename(`${path}.${process.pid}`, path);
  },
});
if (inputsFile !== undefined) await writeFile(inputsFile, JSON.stringify(inputs));
if (error) process.exitCode = 1;
