/** Replaces a file as a whole. */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from './errors.ts';

/** A reader sees the old file or the new one, never a part. */
export function replaceFile(file: string, text: string): void {
  // Containers have the same process ids, and may share the file.
  const next = `${file}.${randomUUID()}.new`;
  try {
    writeFileSync(next, text);
    renameSync(next, file);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
}

const LOOK_MS = 20;
/** A change takes milliseconds. Whoever has had the lock for so long has died in between. */
const DEAD_MS = 5000;

/** The text of a file; undefined when there is none. */
function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes a file with a text, unless there is one. */
function isMade(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/**
 * Changes a file that others change as well, on other hosts too: one after the other, by a lock file beside it. One that a process has left
 * which has died is taken away.
 * @param change gets the text as it is, and gives the new one; it may throw
 */
export async function changeFileAlone(file: string, change: (text: string) => string): Promise<void> {
  const lock = `${file}.lock`;
  const own = randomUUID();
  let seen: { readonly holder: string; readonly since: number } | undefined;
  while (!isMade(lock, own)) {
    const holder = textOf(lock);
    const now = performance.now();
    if (holder !== undefined && holder !== seen?.holder) seen = { holder, since: now };
    // By this clock: the host of the other one may have another.
    if (holder !== undefined && seen && now - seen.since > DEAD_MS && textOf(lock) === holder) rmSync(lock);
    else await sleep(LOOK_MS);
  }
  try {
    const before = readFileSync(file, 'utf8');
    const text = change(before);
    // Somebody without the lock: an editor, or Git.
    if (readFileSync(file, 'utf8') !== before || textOf(lock) !== own)
      throw new CommandError('REFUSED', `${file} has just been changed by somebody else`, 'try again');
    replaceFile(file, text);
  } finally {
    if (textOf(lock) === own) rmSync(lock, { force: true });
  }
}
