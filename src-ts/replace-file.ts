/** Replaces a file as a whole. */
import { renameSync, writeFileSync } from 'node:fs';

/** A reader sees the old file or the new one, never a part. */
export function replaceFile(file: string, text: string): void {
  const next = `${file}.${process.pid}.new`;
  writeFileSync(next, text);
  renameSync(next, file);
}
