/** A tenant as the pluginConfig has it, and where its keys lie in the store. The filter's side of it is assembly/keys/space.ts. */

import type { TenantLimitsConfig } from '../config/types.ts';

export type State = 'active' | 'read-only' | 'suspended';
export type Mode = 'txn' | 'raw';

export interface Tenant {
  readonly name: string;
  /** 1 to 32766; 0 for the keys that are there already. */
  readonly number: number;
  /** The number in its table keys, if they have moved. */
  readonly keyNumber?: number;
  readonly keyspace?: { readonly id: number; readonly mode: Mode };
  readonly prefix?: ({ readonly text: string } | { readonly hex: string }) & { readonly mode: Mode };
  /** What a move has left (move/place.ts): it belongs to the place as the number in the keys does. */
  readonly epochOffset?: number;
  readonly readableSince?: string;
  /** What a move from another storage layer has left. Its clients know that layer wherever its keys are in this one. */
  readonly confVerOffset?: number;
  readonly clusterId?: { readonly seen: string; readonly own: string };
  readonly latestSeen?: string;
  /** The storage layer that serves it, where that is not the one of the configuration. */
  readonly servedBy?: string;
  /** It is being moved, as the configuration says. */
  readonly move?: object;
  /** 'active' without it. */
  readonly state?: State;
  readonly limits?: TenantLimitsConfig;
  /** The resource group `default` is the tenant's own. */
  readonly ownDefaultGroup?: boolean;
}

/** Where a tenant's keys lie. */
export interface KeySpace {
  /** The keys themselves, as the store has them: [start, end). An empty start is the store's first key. */
  readonly start: Buffer;
  readonly end: Buffer;
  readonly mode: Mode;
  /** PD has region boundaries in memcomparable form; for RawKV of API V1 it has the keys as they are. */
  readonly memcomparable: boolean;
  /** Set for a keyspace of API V2. */
  readonly keyspaceId: number | undefined;
  /** In words. */
  readonly text: string;
}

export const MAX_NUMBER = 32766;
export const MAX_KEYSPACE = 0xffffff;
const MAX_PREFIX_BYTES = 128;
const SIGN_BIT = 0x8000;
const TXN_KEYSPACE = 0x78;
const RAW_KEYSPACE = 0x72;
const GROUP = 8;
const NAME = /^[a-z0-9-]{1,63}$/;

/** What is wrong with a name, or undefined. */
export function nameError(name: string): string | undefined {
  return NAME.test(name) ? undefined : `"${name}" is no tenant's name: it must be 1 to 63 of a-z, 0-9 and -`;
}

/** What is wrong with a tenant's number, or undefined. */
export function numberError(number: unknown): string | undefined {
  if (Number.isInteger(number) && (number as number) >= 0 && (number as number) <= MAX_NUMBER)
    return undefined;
  return `${String(number)} is no tenant's number: it must be a whole number from 1 to ${MAX_NUMBER}, or 0 for the keys that are there already`;
}

/** Groups of 8 bytes, padded with zeros, each with a marker of FF less the padding. */
export function memcomparable(key: Uint8Array): Buffer {
  const groups: Buffer[] = [];
  for (let at = 0; at <= key.length; at += GROUP) {
    const group = Buffer.alloc(GROUP + 1);
    const part = key.subarray(at, at + GROUP);
    group.set(part);
    group[GROUP] = 0xff - (GROUP - part.length);
    groups.push(group);
  }
  return Buffer.concat(groups);
}

/** The key that was encoded; undefined when these bytes are not in that form. */
export function fromMemcomparable(bytes: Uint8Array): Buffer | undefined {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += GROUP + 1) {
    const padding = 0xff - (bytes[at + GROUP] ?? 0);
    if (padding > GROUP) return undefined;
    parts.push(bytes.subarray(at, at + GROUP - padding));
  }
  const key = Buffer.concat(parts);
  return memcomparable(key).equals(bytes) ? key : undefined;
}

/** `t` with the tenant's number over the sign bit, and table id 0. */
function tableBoundary(number: number): Buffer {
  const key = Buffer.alloc(9);
  key[0] = 0x74;
  key.writeUInt16BE(SIGN_BIT + number, 1);
  return key;
}

/** The first key behind all that begin with these bytes. */
function behind(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (length > 1 && prefix[length - 1] === 0xff) length--;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

function keyspaceSpace(id: number, mode: Mode): KeySpace {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(id);
  prefix[0] = mode === 'raw' ? RAW_KEYSPACE : TXN_KEYSPACE;
  // Four bytes, as TiKV's own client has it: that of the last keyspace is the next letter and zeros.
  const end = Buffer.alloc(4);
  end.writeUInt32BE(prefix.readUInt32BE() + 1);
  const text = `keyspace ${id} (${mode})`;
  return { start: prefix, end, mode, memcomparable: true, keyspaceId: id, text };
}

function prefixSpace(prefix: Buffer, mode: Mode): KeySpace {
  const text = `prefix ${prefix.toString('hex')} (${mode})`;
  return {
    start: prefix,
    end: behind(prefix),
    mode,
    memcomparable: mode === 'txn',
    keyspaceId: undefined,
    text,
  };
}

/** Where this tenant's keys lie. */
export function spaceOf(tenant: Tenant): KeySpace {
  const { number, keyNumber, keyspace, prefix } = tenant;
  if (keyspace) return keyspaceSpace(keyspace.id, keyspace.mode);
  if (prefix)
    return prefixSpace(
      'text' in prefix ? Buffer.from(prefix.text) : Buffer.from(prefix.hex, 'hex'),
      prefix.mode,
    );
  const place = keyNumber ?? number;
  return {
    start: place === 0 ? Buffer.alloc(0) : tableBoundary(place),
    end: tableBoundary(place + 1),
    mode: 'txn',
    memcomparable: true,
    keyspaceId: undefined,
    text: place === 0 ? 'all keys below t 80 01' : 'table keys',
  };
}

/** A key of the space in PD's form. */
export function pdKey(space: KeySpace, key: Buffer): Buffer {
  return space.memcomparable && key.length > 0 ? memcomparable(key) : key;
}

/** True when two key spaces have a boundary in PD's form between the other's; empty starts are the store's. */
export function overlaps(a: KeySpace, b: KeySpace): boolean {
  const before = (end: Buffer, start: Buffer): boolean => Buffer.compare(end, start) <= 0;
  return !before(pdKey(a, a.end), pdKey(b, b.start)) && !before(pdKey(b, b.end), pdKey(a, a.start));
}

function isDigits(value: unknown): boolean {
  return typeof value === 'string' && /^\d+$/.test(value);
}

/** What the filter would refuse in a tenant's settings, or undefined. `where` names the place. */
function settingError(value: Record<string, unknown>, where: string): string | undefined {
  const mode = (setting: Record<string, unknown>): boolean =>
    setting['mode'] === 'txn' || setting['mode'] === 'raw';
  const { number, keyNumber, keyspace, prefix, readableSince } = value;
  for (const name of ['epochOffset', 'confVerOffset']) {
    const offset = value[name];
    if (offset !== undefined && !(Number.isInteger(offset) && (offset as number) >= 0))
      return `${where}.${name}: must be a whole number from 0`;
  }
  for (const name of ['readableSince', 'latestSeen'])
    if (value[name] !== undefined && !isDigits(value[name]))
      return `${where}.${name}: must be a timestamp of PD as a text of digits`;
  const { seen, own } = (value['clusterId'] ?? {}) as Record<string, unknown>;
  if (value['clusterId'] !== undefined && !(isDigits(seen) && isDigits(own)))
    return `${where}.clusterId: must have "seen" and "own", ids of clusters as texts of digits`;
  if (keyspace !== undefined && prefix !== undefined) return `${where}: has a keyspace and a prefix`;
  if (keyNumber !== undefined && (keyspace ?? prefix) !== undefined)
    return `${where}.keyNumber: is for table keys; leave it out beside a keyspace or a prefix`;
  if (keyNumber !== undefined && (keyNumber === 0 || numberError(keyNumber) !== undefined))
    return `${where}.keyNumber: must be a whole number from 1 to ${MAX_NUMBER}`;
  const hasMoved = keyspace !== undefined && readableSince !== undefined;
  if (number === 0 && !hasMoved && (keyspace ?? prefix) !== undefined)
    return `${where}: number 0 stands for the keys that are there already; give it another number`;
  if (keyspace !== undefined) {
    const setting = keyspace as Record<string, unknown>;
    const id = setting['id'];
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > MAX_KEYSPACE)
      return `${where}.keyspace.id: must be a whole number from 0 to ${MAX_KEYSPACE}`;
    if (!mode(setting)) return `${where}.keyspace.mode: must be "txn" or "raw"`;
  }
  if (prefix !== undefined) {
    const setting = prefix as Record<string, unknown>;
    const { text, hex } = setting;
    if ((typeof text === 'string') === (typeof hex === 'string'))
      return `${where}.prefix: must have one of "text" and "hex"`;
    if (typeof hex === 'string' && !/^(?:[0-9a-fA-F]{2})+$/.test(hex))
      return `${where}.prefix.hex: must be an even number of hex digits`;
    const bytes = typeof text === 'string' ? Buffer.from(text) : Buffer.from(String(hex), 'hex');
    if (bytes.length === 0 || bytes.length > MAX_PREFIX_BYTES || bytes.every((byte) => byte === 0xff))
      return `${where}.prefix: must have 1 to ${MAX_PREFIX_BYTES} bytes, not all FF`;
    if (!mode(setting)) return `${where}.prefix.mode: must be "txn" or "raw"`;
  }
  return undefined;
}

/**
 * One tenant of a configuration.
 * @throws Error that names the place and the reason
 */
export function readTenant(value: unknown, where: string): Tenant {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${where}: must be an object with "name" and "number"`);
  const fields = value as Record<string, unknown>;
  const wrong =
    (typeof fields['name'] === 'number'
      ? `${fields['name']} is a number: write the name in quotes`
      : undefined) ??
    nameError(String(fields['name'])) ??
    numberError(fields['number']) ??
    settingError(fields, where);
  if (wrong !== undefined) throw new Error(wrong.startsWith(where) ? wrong : `${where}: ${wrong}`);
  const { name, number, keyNumber, state, limits, keyspace, prefix, ownDefaultGroup } = value as Tenant;
  const { epochOffset, readableSince, confVerOffset, clusterId, latestSeen, servedBy, move } =
    value as Tenant;
  return {
    name,
    number,
    ...(keyNumber === undefined ? {} : { keyNumber }),
    ...(keyspace ? { keyspace } : {}),
    ...(prefix ? { prefix } : {}),
    ...(epochOffset === undefined ? {} : { epochOffset }),
    ...(readableSince === undefined ? {} : { readableSince }),
    ...(confVerOffset === undefined ? {} : { confVerOffset }),
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(latestSeen === undefined ? {} : { latestSeen }),
    ...(servedBy === undefined ? {} : { servedBy }),
    ...(move === undefined ? {} : { move }),
    ...(state === undefined ? {} : { state }),
    ...(limits === undefined ? {} : { limits }),
    ...(ownDefaultGroup ? { ownDefaultGroup } : {}),
  };
}
