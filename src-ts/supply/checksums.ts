/** SHA-256 sums of files, in the form that `sha256sum --check` reads. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../wasm/builds.ts';

export interface Sum {
  /** From the project's root. */
  readonly path: string;
  readonly sha256: string;
}

export function sha256Of(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex');
}

export function sumsOf(paths: readonly string[]): Sum[] {
  return paths.map((path) => ({ path, sha256: sha256Of(readFileSync(join(ROOT, path))) }));
}

export function checksums(sums: readonly Sum[]): string {
  return sums.map(({ path, sha256 }) => `${sha256}  ${path}\n`).join('');
}
