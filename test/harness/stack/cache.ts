import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processIdentity, isAlive, type ProcessIdentity } from './identity.ts';

/** Folder that outlives a clone: what was installed and built, and the runs' own folders. */
export function cacheRoot(): string {
  const own = process.env['TIDB_MESH_CACHE'];
  if (own) return own;
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(base, 'tidb-mesh');
}

/** Short digest of strings and buffers, for keys of cache entries. */
export function digest(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 12);
}

/** Digest of every file below a folder, names included. Absent folders count as empty. */
export async function digestOfTree(folder: string): Promise<string> {
  const found = existsSync(folder) ? await readdir(folder, { recursive: true, withFileTypes: true }) : [];
  const files = found
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const parts: (string | Uint8Array)[] = [];
  for (const file of files) parts.push(file.slice(folder.length), await readFile(file));
  return digest(...parts);
}

export interface CacheEntry {
  /** What it is, for example `pd-server`. */
  name: string;
  /** Version and digests: another key is another entry. */
  key: string;
}

export function entryPath(entry: CacheEntry): string {
  return join(cacheRoot(), 'built', `${entry.name}-${entry.key}`);
}

/**
 * The entry's folder, filled by `fill` if it was not there. `fill` works in a temporary folder that is renamed when it
 * has succeeded, so a folder under its final name is always whole. A second process waits for the first one's result.
 */
export async function cached(
  entry: CacheEntry,
  fill: (folder: string) => Promise<void>,
  onWait: (holder: ProcessIdentity) => void = () => {},
): Promise<string> {
  const path = entryPath(entry);
  if (existsSync(path)) return path;
  const release = await lock(`${path}.lock`, onWait);
  try {
    if (existsSync(path)) return path;
    const folder = `${path}.tmp`;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await fill(folder);
    await rename(folder, path);
    return path;
  } finally {
    await release();
  }
}

/** Takes a lock file that names its holder; one whose holder has died is broken. Returns the release. */
export async function lock(
  path: string,
  onWait: (holder: ProcessIdentity) => void = () => {},
): Promise<() => Promise<void>> {
  await mkdir(join(path, '..'), { recursive: true });
  let told = false;
  for (;;) {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(JSON.stringify(processIdentity(process.pid)));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readHolder(path);
    if (holder === undefined || !isAlive(holder)) {
      // An empty file may be one that is being written this moment: look twice before breaking it.
      await sleep(200);
      const again = await readHolder(path);
      if (again === undefined || !isAlive(again)) await rm(path, { force: true });
      continue;
    }
    if (!told) onWait(holder);
    told = true;
    await sleep(500);
  }
}

async function readHolder(path: string): Promise<ProcessIdentity | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined;
  }
}
