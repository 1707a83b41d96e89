/**
 * What the walker must do, on decoded messages: every field by its role in proto/, nothing by position. Messages are @bufbuild/protobuf's
 * dynamic ones.
 */
import type { FileRegistry, Message } from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import type { Judgement } from '../../../src-ts/schema/judgement.ts';
import type { Way } from '../filter.ts';
import { concat, EMPTY } from './bytes.ts';
import * as table from './table-codec.ts';

export const WITHHELD = 'tidb-mesh: the text of this error is withheld, it may quote keys of the store';
export const READER = 'tidb_mesh_reader';

/** Who asks, and what the stream remembers. */
export interface World {
  tenant: number;
  name: string;
  leaseSeed: bigint;
  safePoint: bigint;
}

/** The message lies outside of the tenant. */
const DROPPED = Symbol('dropped');

const LEASE_MASK = (1n << 48n) - 1n;

function leaseBase(world: World): bigint {
  return (1n << 63n) | (BigInt(world.tenant) << 48n);
}

export function storedLease(world: World, id: bigint): bigint {
  return id === 0n ? 0n : BigInt.asIntN(64, leaseBase(world) | id);
}

function clientLease(world: World, stored: bigint): bigint {
  const id = BigInt.asUintN(64, stored);
  return (id & ~LEASE_MASK) === leaseBase(world) ? id & LEASE_MASK : 0n;
}

export function etcdPrefix(world: World): Uint8Array {
  return new TextEncoder().encode(`/tidb-mesh/${world.name}:`);
}

/** No escape, no byte that is not printable, no long run of hex. */
export function isPlainText(text: string): boolean {
  if (/[^\x20-\x7e\n\t]|\\/.test(text)) return false;
  return (text.match(/[0-9a-fA-F]+/g) ?? []).every((run) => {
    for (let end = 14; end <= run.length; end++)
      if (/[a-fA-F]/.test(run.slice(0, end)) || end > 20) return false;
    return true;
  });
}

/** Rewrites messages of one registry. */
export class WalkerModel {
  private readonly fields: Map<string, Map<number, { role: string; essential: boolean; read: boolean }>>;
  private readonly registry: FileRegistry;

  constructor(registry: FileRegistry, judgement: Judgement) {
    this.registry = registry;
    this.fields = new Map(
      judgement.messages.map((message) => [
        message.name,
        new Map(
          message.fields.map((f) => [
            f.number,
            { role: f.role, essential: f.essential, read: f.message !== undefined },
          ]),
        ),
      ]),
    );
  }

  /** Changes the message in place. */
  rewrite(name: string, message: Message, way: Way, world: World): void {
    const desc = this.registry.getMessage(name);
    if (!desc) throw new Error(`no message ${name}`);
    const view = reflect(desc, message);
    if (this.walk(view, way, world) === DROPPED) for (const field of view.fields) view.clear(field);
  }

  role(message: string, number: number): string {
    return this.fields.get(message)?.get(number)?.role ?? '';
  }

  private walk(view: ReflectMessage, way: Way, world: World): typeof DROPPED | undefined {
    const roles = this.fields.get(view.desc.typeName);
    if (!roles) throw new Error(`no message ${view.desc.typeName}`);
    const role = (number: number): string => roles.get(number)?.role ?? '';
    const withRole = (wanted: string) => view.fields.find((field) => role(field.number) === wanted);
    const reverse = withRole('REVERSE');
    const swapped = reverse !== undefined && view.get(reverse) === true;

    for (const field of view.fields) {
      const { read, essential } = roles.get(field.number) ?? { read: false, essential: false };
      if (field.message) {
        if (!read) {
          if (view.isSet(field)) {
            view.clear(field);
            if (role(field.number) === 'EMPTIED' && way === 'request') this.setEmptyRequest(view);
          }
          continue;
        }
        if (field.fieldKind === 'list') {
          const list = view.get(field);
          const kept = [...list].filter((item) => {
            const dropped = this.walk(item as ReflectMessage, way, world) === DROPPED;
            if (dropped && essential) throw new Error('an essential list is not modelled');
            return !dropped;
          });
          view.clear(field);
          const fresh = view.get(field);
          for (const item of kept) fresh.add(item);
        } else if (field.fieldKind === 'message' && view.isSet(field)) {
          const inner = view.get(field);
          if (this.walk(inner, way, world) === DROPPED) {
            if (essential) return DROPPED;
            view.clear(field);
          } else view.set(field, inner);
        }
        continue;
      }
      const name = role(field.number);
      if (name === '' || name === 'ROLE_UNSPECIFIED' || name === 'OPAQUE' || name === 'NAME') continue;
      if (name === 'DROP') {
        view.clear(field);
        continue;
      }
      const isBound = /^(RANGE|ENC)_(START|END)$/.test(name);
      if (field.fieldKind === 'list') {
        if (name === 'BATCH_IDS') continue;
        const mapped = [...view.get(field)].map((value) => this.value(name, value, way, world, swapped));
        if (mapped.includes(DROPPED)) return DROPPED;
        view.clear(field);
        const fresh = view.get(field);
        for (const value of mapped) fresh.add(value as never);
        continue;
      }
      if (field.fieldKind !== 'scalar' && field.fieldKind !== 'enum') continue;
      const inserted =
        isBound ||
        (name === 'SAFE_POINT_OUT' && way === 'response') ||
        (name === 'LEASE_GRANT_ID' && way === 'request') ||
        (name === 'ETCD_KEY' && way === 'request' && withRole('ETCD_END') !== undefined);
      if (!view.isSet(field) && !inserted) continue;
      const before: unknown = view.get(field);
      const after = this.value(name, before, way, world, swapped);
      if (after === DROPPED) return DROPPED;
      view.set(field, after as never);
    }
    return undefined;
  }

  private setEmptyRequest(view: ReflectMessage): void {
    const field = view.fields.find((f) => f.number === 255);
    if (field?.fieldKind !== 'message') throw new Error('a batch has an empty request');
    view.set(field, reflect(field.message));
  }

  private value(role: string, value: unknown, way: Way, world: World, swapped: boolean): unknown {
    const request = way === 'request';
    const bytes = value instanceof Uint8Array ? value : EMPTY;
    const asText = (mapped: Uint8Array): unknown =>
      typeof value === 'string' ? new TextDecoder().decode(mapped) : mapped;
    const must = (mapped: table.Result): Uint8Array | typeof DROPPED => {
      if (mapped === table.BROKEN) throw new Error('the model was given a broken key');
      return mapped === table.OUTSIDE ? DROPPED : mapped;
    };
    const exact = (mapped: table.Result): Uint8Array | typeof DROPPED => {
      const result = must(mapped);
      if (result === DROPPED && request) throw new Error('the model was given a foreign key');
      return result;
    };
    switch (role) {
      case 'KEY_OR_NONE':
      case 'KEY':
      case 'KEY_DROP': {
        if (role === 'KEY_OR_NONE' && bytes.length === 0) return value;
        const mapped = exact((request ? table.encodeKey : table.decodeKey)(world.tenant, bytes));
        return mapped === DROPPED && role !== 'KEY_DROP' ? EMPTY : mapped;
      }
      case 'ENC_KEY': {
        const mapped = exact(
          (request ? table.encodeEncoded : table.decodeEncoded)(world.tenant, bytes, 'key'),
        );
        return mapped === DROPPED ? EMPTY : mapped;
      }
      case 'RANGE_START':
      case 'RANGE_END': {
        const lower = (role === 'RANGE_START') !== swapped;
        if (request) return must((lower ? table.encodeLower : table.encodeUpper)(world.tenant, bytes));
        return must((lower ? table.decodeStart : table.decodeEnd)(world.tenant, bytes));
      }
      case 'ENC_START':
      case 'ENC_END': {
        const lower = (role === 'ENC_START') !== swapped;
        const map = request ? table.encodeEncoded : table.decodeEncoded;
        return must(map(world.tenant, bytes, lower ? 'lower' : 'upper'));
      }
      case 'TEXT':
        return request || isPlainText(String(value)) ? value : WITHHELD;
      case 'ETCD_KEY': {
        const prefix = etcdPrefix(world);
        if (request) return concat(prefix, bytes);
        const own = bytes.length >= prefix.length && prefix.every((byte, i) => bytes[i] === byte);
        return own ? bytes.slice(prefix.length) : DROPPED;
      }
      case 'ETCD_END': {
        const prefix = etcdPrefix(world);
        if (bytes.length === 0) return bytes;
        if (bytes.length > 1 || bytes[0] !== 0) return concat(prefix, bytes);
        return concat(prefix.slice(0, -1), [(prefix.at(-1) ?? 0) + 1]);
      }
      case 'LEASE_ID':
        return request ? storedLease(world, value as bigint) : clientLease(world, value as bigint);
      case 'LEASE_GRANT_ID': {
        if (!request) return clientLease(world, value as bigint);
        return storedLease(world, value === 0n ? world.leaseSeed : (value as bigint));
      }
      case 'API_VERSION':
        return request ? 0 : value;
      case 'KEYSPACE_ID':
        return request ? 0 : value;
      case 'SERVICE_TTL':
        return request ? 0n : value;
      case 'SERVICE_ID':
        return request ? asText(new TextEncoder().encode(READER)) : value;
      case 'SAFE_POINT_IN':
        if (!request) return value;
        world.safePoint = value as bigint;
        return 0n;
      case 'SAFE_POINT_OUT':
        return request ? value : world.safePoint;
      case 'SAFE_POINT_MIN': {
        const own = value as bigint;
        return request || own < world.safePoint ? value : world.safePoint;
      }
      case 'RESOURCE_PATH':
      case 'CONFIG_PATH':
      case 'SEGMENT':
      case 'HOST':
      case 'DAG':
      case 'SELECT':
      case 'COP_TYPE':
      case 'REVERSE':
        return value;
      default:
        throw new Error(`the model does not know the role ${role}`);
    }
  }
}
