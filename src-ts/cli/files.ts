/** Reads files for commands. */
import { readFileSync } from 'node:fs';
import { EXIT, Refusal } from './outcome.ts';

/** Reads a file, or the standard input for `-`. Refuses with one line when it cannot. */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new Refusal(`${path}: cannot be read: ${(error as Error).message}`, EXIT.usage);
  }
}
