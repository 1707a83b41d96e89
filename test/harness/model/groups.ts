/** What the filter must do with names of resource groups, and with where PD's meta storage keeps them, in terms of texts. */
import { Status } from '../../unit/filter.ts';

const SETTINGS = 'resource_group/settings/';
export const CONTROLLER = 'resource_group/controller';
/** Ranges that may be read: all groups, and what the controller is told. */
const WHOLE = [
  ['resource_group/settings', 'resource_group/settingt'],
  [CONTROLLER, 'resource_group/controlles'],
] as const;
export const LONGEST = 32;

export interface GroupOwner {
  readonly number: number;
  readonly ownDefaultGroup?: boolean;
}

/** Undefined: another tenant's. */
export function storedGroup({ number, ownDefaultGroup }: GroupOwner, name: string): string | undefined {
  if (name === '' || (name === 'default' && !ownDefaultGroup)) return name;
  if (number === 0) return /^[0-9]+:/.test(name) ? undefined : name;
  return `${number}:${name}`;
}

/** Undefined: another tenant's. */
export function clientGroup(owner: GroupOwner, stored: string): string | undefined {
  if (stored === '') return stored;
  if (stored === 'default') return owner.ownDefaultGroup ? undefined : stored;
  if (owner.number === 0) return /^[0-9]+:/.test(stored) ? undefined : stored;
  const [, number, name] = /^([0-9]+):(.+)$/s.exec(stored) ?? [];
  return number === String(owner.number) && (name !== 'default' || owner.ownDefaultGroup) ? name : undefined;
}

/** The same for a name that only refers to a group: PD's `default` stays. */
export function clientReference(owner: GroupOwner, stored: string): string | undefined {
  return stored === 'default' ? stored : clientGroup(owner, stored);
}

/** What stands against making, changing or deleting a group of this name. */
export function objectionToOwn(
  { number }: GroupOwner,
  name: string,
  encoding: BufferEncoding = 'utf8',
): Status | undefined {
  if (name === '' || name === '.' || name === '..' || name.includes('/')) return Status.GROUP_NAME;
  if (number === 0) return undefined;
  if (name === 'default') return Status.GROUP_DEFAULT;
  return Buffer.byteLength(`${number}:${name}`, encoding) > LONGEST ? Status.GROUP_NAME : undefined;
}

export function isGroupPath(path: string): boolean {
  return path.startsWith(SETTINGS) && path.length > SETTINGS.length;
}

/** What a request's path becomes; undefined: refused. */
export function storedPath(owner: GroupOwner, path: string, end: string): string | undefined {
  if (end !== '') return WHOLE.some(([from, to]) => path === from && end === to) ? path : undefined;
  if (path === CONTROLLER) return path;
  if (!isGroupPath(path)) return undefined;
  const name = storedGroup(owner, path.slice(SETTINGS.length));
  return name === undefined ? undefined : SETTINGS + name;
}

/** What a path in an answer becomes; undefined: it leaves the answer. */
export function clientPath(owner: GroupOwner, path: string): string | undefined {
  if (path === CONTROLLER) return path;
  if (!isGroupPath(path)) return undefined;
  const name = clientGroup(owner, path.slice(SETTINGS.length));
  return name === undefined ? undefined : SETTINGS + name;
}
