/** Files as a command meets them. */
import { readFileSync } from 'node:fs';
import { EXIT, Refusal } from './outcome.ts';

/** The text of a file, or of the standard input for `-`. Refuses with one line. */
export function readText(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new Refusal(`${path}: cannot be read: ${(error as Error).message}`, EXIT.usage);
  }
}
