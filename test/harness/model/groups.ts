/** What the filter must do with names of resource groups, and with where PD's meta storage keeps them, in terms of texts. */
import { Status } from '../../unit/filter.ts';

const SETTINGS = 'resource_group/settings/';
export const CONTROLLER = 'resource_group/controller';
const LONGEST = 32;

/** Undefined: another tenant's. */
export function storedGroup(tenant: number, name: string): string | undefined {
  if (name === '' || name === 'default') return name;
  if (tenant === 0) return /^[0-9]+:/.test(name) ? undefined : name;
  return `${tenant}:${name}`;
}

/** Undefined: another tenant's. */
export function clientGroup(tenant: number, stored: string): string | undefined {
  if (stored === '' || stored === 'default') return stored;
  if (tenant === 0) return /^[0-9]+:/.test(stored) ? undefined : stored;
  const [, number, name] = /^([0-9]+):(.+)$/s.exec(stored) ?? [];
  return number === String(tenant) && name !== 'default' ? name : undefined;
}

/** What stands against making, changing or deleting a group of this name. */
export function objectionToOwn(
  tenant: number,
  name: string,
  encoding: BufferEncoding = 'utf8',
): Status | undefined {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) return Status.GROUP_NAME;
  if (tenant === 0) return undefined;
  if (name === 'default') return Status.GROUP_SHARED;
  return Buffer.byteLength(`${tenant}:${name}`, encoding) > LONGEST ? Status.GROUP_NAME : undefined;
}

export function isGroupPath(path: string): boolean {
  return path.startsWith(SETTINGS) && path.length > SETTINGS.length;
}

/** What a request's path becomes; undefined: refused. */
export function storedPath(tenant: number, path: string, end: string): string | undefined {
  if (end !== '') return [path, end].every((x) => x.startsWith('resource_group/')) ? path : undefined;
  if (path === CONTROLLER) return path;
  if (!isGroupPath(path)) return undefined;
  const name = storedGroup(tenant, path.slice(SETTINGS.length));
  return name === undefined ? undefined : SETTINGS + name;
}

/** What a path in an answer becomes; undefined: it leaves the answer. */
export function clientPath(tenant: number, path: string): string | undefined {
  if (path === CONTROLLER) return path;
  if (!isGroupPath(path)) return undefined;
  const name = clientGroup(tenant, path.slice(SETTINGS.length));
  return name === undefined ? undefined : SETTINGS + name;
}
