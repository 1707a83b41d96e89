/** The packages of package-lock.json: what `npm ci` installs, to the byte. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../wasm/builds.ts';

export const LOCK = join(ROOT, 'package-lock.json');

export interface Locked {
  readonly name: string;
  readonly version: string;
  /** As the package itself says it, an SPDX expression. */
  readonly licence: string;
  /** True for what the published command needs; false for what builds and tests it. */
  readonly isRuntime: boolean;
  /** Where it comes from, and the digest that npm holds it against; undefined where the lock file has none. */
  readonly source: string | undefined;
  readonly integrity: string | undefined;
}

interface Entry {
  readonly version: string;
  readonly license?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

const FOLDER = 'node_modules/';

/** All packages but the project itself, in the order of their names. */
export function lockedPackages(): Locked[] {
  const { packages } = JSON.parse(readFileSync(LOCK, 'utf8')) as { packages: Record<string, Entry> };
  return Object.entries(packages)
    .filter(([path]) => path !== '')
    .map(([path, entry]) => ({
      name: path.slice(path.lastIndexOf(FOLDER) + FOLDER.length),
      version: entry.version,
      licence: entry.license?.trim() ?? '',
      isRuntime: entry.dev !== true && entry.devOptional !== true,
      source: entry.resolved,
      integrity: entry.integrity,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.version < b.version ? -1 : 1));
}
