/** A copy of the project in which the filter can be broken. */
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import type { Edit } from './mutants.ts';

/** What is big, and not changed by anybody. */
const LINKED = 'node_modules';
const LEFT_OUT = [LINKED, '.git'];

/** Copies the project, with what it has built, into a new folder. */
export function copyProject(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-mutant-'));
  cpSync(ROOT, folder, {
    recursive: true,
    preserveTimestamps: true,
    filter: (path) => !LEFT_OUT.includes(basename(path)),
  });
  symlinkSync(join(ROOT, LINKED), join(folder, LINKED));
  return folder;
}

/**
 * The file's content after the edit.
 * @throws Error where the text does not stand there exactly once
 */
export function edited(folder: string, { file, from, to }: Edit): string {
  const content = readFileSync(join(folder, file), 'utf8');
  const parts = content.split(from);
  if (parts.length !== 2) throw new Error(`${file}: ${parts.length - 1} times, not once: ${from}`);
  return parts.join(to);
}

/** Makes the edits. Returns what undoes them. */
export function mutate(folder: string, edits: readonly Edit[]): () => void {
  const before = new Map(edits.map(({ file }) => [file, readFileSync(join(folder, file))]));
  for (const edit of edits) writeFileSync(join(folder, edit.file), edited(folder, edit));
  return () => {
    for (const [file, content] of before) writeFileSync(join(folder, file), content);
  };
}
