/**
 * What the walker must do, on decoded messages: every field by its role in proto/, nothing by position. Messages are @bufbuild/protobuf's
 * dynamic ones.
 */
import { fromBinary, toBinary, type DescField, type FileRegistry, type Message } from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import type { JudgedMessage, Judgement } from '../../../src-ts/schema/judgement.ts';
import { Status, type Way } from '../../unit/filter.ts';
import { EMPTY } from './bytes.ts';
import {
  clientGroup,
  clientPath,
  clientReference,
  isGroupPath,
  LONGEST,
  objectionToOwn,
  storedGroup,
  storedPath,
} from './groups.ts';
import {
  capabilities,
  COPROCESSOR,
  RAW_TTL,
  decodeEncoded,
  encodeEncoded,
  encodePlace,
  ownsTheRest,
  RAW,
  TXN,
  type KeySpace,
} from './key-spaces.ts';
import { clientName, isReadSince, storedName, storedRange, type Owner } from './names.ts';
import { BROKEN, OUTSIDE, type Result } from './table-codec.ts';

export const WITHHELD = 'tidb-mesh: the text of this error is withheld, it may quote keys of the store';
export const READER = 'tidb_mesh_reader';
/** Names in etcd under which BR says that it restores. */
const RESTORE_TASKS = '/tidb/brie/import/restore/';

const PREWRITE = 'kvrpcpb.PrewriteRequest';

/** Who asks, and what the stream remembers. */
export interface World {
  space: KeySpace;
  name: string;
  leaseSeed: bigint;
  safePoint: bigint;
  /** The earliest timestamp that may be kept from GC, and the longest time in seconds. */
  oldest: bigint;
  longestHold: bigint;
  /** Seconds for which a lease in etcd may be taken. */
  longestLease: bigint;
}

/** The message must be refused with this status. */
export class Refused extends Error {
  constructor(readonly status: Status) {
    super(Status[status]);
  }
}

/** The message lies outside of the tenant. */
const DROPPED = Symbol('dropped');

const LEASE_MASK = (1n << 48n) - 1n;

/** Tenant 0 keeps its names and leases. */
export function isAdopted(world: World): boolean {
  return world.space.choice.number === 0;
}

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

function ownerOf(world: World): Owner {
  return { name: world.name, isAdopted: isAdopted(world) };
}

function leaseBase(world: World): bigint {
  return (1n << 63n) | (BigInt(world.space.choice.number) << 48n);
}

export function storedLease(world: World, id: bigint): bigint {
  if (isAdopted(world)) return id;
  return id === 0n ? 0n : BigInt.asIntN(64, leaseBase(world) | id);
}

/** The eleven bits of a TiDB's id, behind its tenant. */
export function storedClient(world: World, id: bigint): bigint {
  return (1n << 63n) | (BigInt(world.space.choice.number) << 11n) | (id % 2048n);
}

function clientLease(world: World, stored: bigint): bigint {
  const id = BigInt.asUintN(64, stored);
  if (isAdopted(world)) return stored < 0n ? 0n : stored;
  return (id & ~LEASE_MASK) === leaseBase(world) ? id & LEASE_MASK : 0n;
}

export function etcdPrefix(world: World): Uint8Array {
  if (isAdopted(world)) return EMPTY;
  return new TextEncoder().encode(`/tidb-mesh/${world.name}:`);
}

/** True for an escape, a byte that is not printable, a list of at least two bytes in decimal, or a long run of hex. */
export function mayQuoteKeys(text: string): boolean {
  if (/[^\x20-\x7e\n\t]|\\/.test(text)) return true;
  for (const [, one, two] of text.matchAll(/\[(?=[\s,]*(\d{1,3})[\s,]+(\d{1,3})(?:[\s,\]]|$))/g))
    if (Number(one) <= 255 && Number(two) <= 255) return true;
  return (text.match(/[0-9a-fA-F]+/g) ?? []).some((run) => {
    for (let end = 14; end <= run.length; end++)
      if (/[a-fA-F]/.test(run.slice(0, end)) || /^[67]/.test(run) || end > 20) return true;
    return false;
  });
}

/** Rewrites messages of one registry. */
export class WalkerModel {
  private readonly fields: Map<string, Map<number, { role: string; essential: boolean; read: boolean }>>;
  private readonly registry: FileRegistry;
  private readonly messages: Map<string, JudgedMessage>;

  constructor(registry: FileRegistry, judgement: Judgement) {
    this.registry = registry;
    this.messages = new Map(judgement.messages.map((message) => [message.name, message]));
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

  /**
   * Changes the message in place.
   * @throws Refused
   */
  rewrite(name: string, message: Message, way: Way, world: World): void {
    const desc = this.registry.getMessage(name);
    if (!desc) throw new Error(`no message ${name}`);
    const view = reflect(desc, message);
    if (this.walk(view, way, world) !== DROPPED) return;
    // PD's own errors stay.
    for (const field of view.fields) if (field.message?.typeName !== 'pdpb.ResponseHeader') view.clear(field);
  }

  role(message: string, number: number): string {
    return this.fields.get(message)?.get(number)?.role ?? '';
  }

  private walk(view: ReflectMessage, way: Way, world: World): typeof DROPPED | undefined {
    const roles = this.fields.get(view.desc.typeName);
    if (!roles) throw new Error(`no message ${view.desc.typeName}`);
    if (ownsTheRest(world.space.choice) && this.messages.get(view.desc.typeName)?.owners) {
      if (way === 'request') this.judgeOnlyNumbers(view);
      return undefined;
    }
    const role = (number: number): string => roles.get(number)?.role ?? '';
    const withRole = (wanted: string) => view.fields.find((field) => role(field.number) === wanted);
    if (way === 'request') this.judgeRequest(view, world);
    const isBackwards = way === 'request' && this.isBackwards(view);
    const joint = way === 'request' ? this.judgeTogether(view, world) : undefined;
    const reverse = withRole('REVERSE');
    const swapped = reverse !== undefined && view.get(reverse) === true;

    for (const field of view.fields) {
      const { read, essential } = roles.get(field.number) ?? { read: false, essential: false };
      if (field.message) {
        if (!read) {
          if (view.isSet(field)) {
            if (role(field.number) === 'REFUSED' && way === 'request')
              throw new Refused(Status.NOT_FOR_TENANTS);
            view.clear(field);
            if (role(field.number) === 'EMPTIED' && way === 'request') this.setEmptyRequest(view);
          }
          continue;
        }
        if (field.fieldKind === 'list') {
          const list = view.get(field);
          const isBatch = way === 'request' && view.desc.typeName === 'tikvpb.BatchCommandsRequest';
          const kept = [...list].filter((item) => {
            if (isBatch) {
              this.walkCommand(item as ReflectMessage, world);
              return true;
            }
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
      if (name === 'ANY_VALUE') continue;
      if (name === 'DROP') {
        view.clear(field);
        continue;
      }
      if (isBounded(name)) {
        if (way === 'request') this.judgeNumber(view, field);
        continue;
      }
      const isBound = /^(RANGE|ENC|PLACE)_(START|END)$/.test(name);
      if (field.fieldKind === 'list') {
        if (name === 'BATCH_IDS') continue;
        if (name === 'REGION_ACT') {
          // None is known.
          if (way === 'request') view.clear(field);
          continue;
        }
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
        (way === 'request' && (name === 'API_VERSION' || name === 'KEYSPACE_ID')) ||
        (name === 'SAFE_POINT_OUT' && way === 'response') ||
        (way === 'request' && (name === 'LEASE_GRANT_ID' || name === 'CLIENT_ID'));
      if (name === 'RESOURCE_VALUE') {
        if (!view.isSet(field)) continue;
        const key = textOf(view.get(view.desc.field['key']!) as Uint8Array);
        if (key === '') return DROPPED;
        if (!isGroupPath(key)) continue;
        const desc = this.registry.getMessage('resource_manager.ResourceGroup')!;
        const group = fromBinary(desc, view.get(field) as Uint8Array);
        if (this.walk(reflect(desc, group), way, world) === DROPPED) return DROPPED;
        view.set(field, toBinary(desc, group));
        continue;
      }
      if (joint?.has(field.number) || (!view.isSet(field) && !inserted)) continue;
      const before: unknown = view.get(field);
      const after = this.value(name, before, way, world, swapped);
      if (after === DROPPED) return DROPPED;
      view.set(field, after as never);
    }
    for (const [number, value] of joint ?? []) {
      if (value instanceof Refused) throw value;
      const field = view.fields.find((f) => f.number === number);
      if (field?.fieldKind === 'scalar' && value !== undefined) view.set(field, value as never);
    }
    if (isBackwards) throw new Refused(Status.VALUE_OUTSIDE);
    if (way === 'request') this.judgeStart(view);
    if (way === 'request') judgeNumbersTogether(view);
    if (way === 'request') this.judgeLists(view);
    if (way === 'request') this.judgeAct(view, this.messages.get(view.desc.typeName));
    if (way === 'request' && view.desc.typeName === 'resource_manager.PutResourceGroupRequest')
      judgeGroup(view.message as unknown as PutGroup);
    return undefined;
  }

  /** A message of which only the numbers are judged, with all messages in it. */
  private judgeOnlyNumbers(view: ReflectMessage): void {
    for (const field of view.fields) {
      if (isBounded(this.role(view.desc.typeName, field.number))) this.judgeNumber(view, field);
      if (field.fieldKind === 'message' && view.isSet(field)) this.judgeOnlyNumbers(view.get(field));
      if (field.fieldKind === 'list' && field.listKind === 'message')
        for (const item of view.get(field)) this.judgeOnlyNumbers(item as ReflectMessage);
    }
    if (this.isBackwards(view)) throw new Refused(Status.VALUE_OUTSIDE);
    this.judgeStart(view);
    judgeNumbersTogether(view);
  }

  /** A transaction that begins at no time, or names a key twice. */
  private judgeStart(view: ReflectMessage): void {
    const start = view.fields.find((field) => this.role(view.desc.typeName, field.number) === 'TXN_START');
    if (start && view.get(start) === 0n) throw new Refused(Status.VALUE_OUTSIDE);
    const lists = this.messages.get(view.desc.typeName)?.fields.filter((field) => field.distinct) ?? [];
    const list = view.fields.find(({ number }) => lists.some((one) => one.number === number));
    if (list?.fieldKind === 'list') judgeKeys([...view.get(list)].map(keyOf));
  }

  /** A range on which TiKV panics, as the client sent it. */
  private isBackwards(view: ReflectMessage): boolean {
    const ending = this.messages.get(view.desc.typeName)?.ending ?? '';
    if (ending !== 'ORDERED_RANGE' && ending !== 'BOUNDED_RANGE') return false;
    const [start, end] = ['_START', '_END'].map((suffix) => {
      const field = view.fields.find((f) => this.role(view.desc.typeName, f.number).endsWith(suffix))!;
      return view.get(field) as Uint8Array;
    }) as [Uint8Array, Uint8Array];
    if (start.length === 0 || end.length === 0) return ending === 'BOUNDED_RANGE';
    return Buffer.compare(start, end) > 0;
  }

  /** Lists without which TiKV panics, and lists on which PD works for long. */
  private judgeLists(view: ReflectMessage): void {
    const longest: Record<string, number> = {
      'resource_manager.TokenBucketsRequest': 1024,
      'resource_manager.TokenBucketRequest.RequestRU': 4,
    };
    const most = longest[view.desc.typeName] ?? Infinity;
    const first = view.fields.find(({ number }) => number === 1);
    if (first?.fieldKind === 'list' && [...view.get(first)].length > most)
      throw new Refused(Status.VALUE_OUTSIDE);
    for (const { number, requires } of this.messages.get(view.desc.typeName)?.fields ?? []) {
      const field = view.fields.find((f) => f.number === number);
      if (requires && field?.fieldKind === 'list' && [...view.get(field)].length === 0)
        throw new Refused(Status.VALUE_OUTSIDE);
    }
    if (view.desc.typeName !== PREWRITE) return;
    const { mutations, pessimisticActions, forUpdateTs } = view.message as unknown as Prewrite;
    if (forUpdateTs !== 0n && mutations.length !== pessimisticActions.length)
      throw new Refused(Status.VALUE_OUTSIDE);
  }

  /** A number of which not every value passes; an absent one is 0. */
  private judgeNumber(view: ReflectMessage, field: DescField): void {
    if (field.fieldKind !== 'scalar' && field.fieldKind !== 'enum') throw new Error('lists are not bounded');
    const judged = this.messages.get(view.desc.typeName)?.fields.find((f) => f.number === field.number);
    const value = view.get(field);
    if (judged?.role === 'AMOUNT') {
      if (!(Math.abs(Number(value)) <= 2 ** 53)) view.set(field, 0);
      return;
    }
    const number = BigInt.asUintN(64, BigInt(value as bigint | number));
    const { limit, allowed, role } = judged!;
    if (role === 'ONE_OF' ? allowed.some((one) => BigInt(one) === number) : number <= limit!) return;
    if (role !== 'CAPPED') throw new Refused(Status.VALUE_OUTSIDE);
    view.set(field, (typeof value === 'bigint' ? limit! : Number(limit)) as never);
  }

  /** Fields whose meaning hangs on each other, by number: what becomes of them once all the others are judged; undefined leaves them. */
  private judgeTogether(view: ReflectMessage, world: World): Map<number, unknown> {
    const found = new Map<string, number>();
    for (const [number, { role }] of this.fields.get(view.desc.typeName) ?? []) found.set(role, number);
    const number = (role: string): number | undefined => found.get(role);
    const get = (role: string): unknown => {
      const field = view.fields.find((f) => f.number === number(role));
      return field && view.get(field);
    };
    const keyRole = number('ETCD_KEY') === undefined ? 'ETCD_READ_KEY' : 'ETCD_KEY';
    const key = get(keyRole);
    const result = new Map<number, unknown>();
    if (number('ETCD_END') !== undefined) {
      const end = textOf(get('ETCD_END') as Uint8Array);
      const range = { key: textOf(key as Uint8Array), end };
      const stored = storedRange(ownerOf(world), range, keyRole === 'ETCD_READ_KEY');
      result.set(number(keyRole)!, stored ? bytesOf(stored.key) : new Refused(Status.NAME_OUTSIDE));
      // A field that is there and empty stays.
      result.set(number('ETCD_END')!, stored && end !== '' ? bytesOf(stored.end) : undefined);
    }
    if (number('ETCD_VALUE') !== undefined && textOf(key as Uint8Array).startsWith(RESTORE_TASKS))
      result.set(number('ETCD_VALUE')!, new Refused(Status.FILE_BACKUP));
    if (number('ETCD_VALUE') !== undefined && isReadSince(textOf(key as Uint8Array))) {
      const value = textOf(get('ETCD_VALUE') as Uint8Array);
      const isNumber = /^[0-9]{1,20}$/.test(value) && BigInt(value) < (1n << 64n) - 1n;
      const good = isNumber && get('LEASE_ID') !== 0n;
      const tooOld = isNumber && BigInt(value) < world.oldest;
      if (!good) result.set(number('ETCD_VALUE')!, new Refused(Status.READ_SINCE));
      else result.set(number('ETCD_VALUE')!, tooOld ? ascii(String(world.oldest)) : undefined);
    }
    if (number('RESOURCE_PATH') !== undefined) {
      const [path, end] = [
        textOf(get('RESOURCE_PATH') as Uint8Array),
        textOf(get('RESOURCE_END') as Uint8Array),
      ];
      const stored = storedPath(world.space.choice, path, end);
      result.set(
        number('RESOURCE_PATH')!,
        stored === undefined ? new Refused(Status.NAME_OUTSIDE) : bytesOf(stored),
      );
    }
    if (number('SERVICE_ID') !== undefined) this.judgeService(get, number, world, result);
    return result;
  }

  private judgeService(
    get: (role: string) => unknown,
    number: (role: string) => number | undefined,
    world: World,
    result: Map<number, unknown>,
  ): void {
    const [id, ttl, safePoint] = [
      textOf(get('SERVICE_ID') as Uint8Array),
      get('SERVICE_TTL') as bigint,
      get('SERVICE_SAFE_POINT') as bigint,
    ];
    const isGc = id === 'gc_worker';
    world.safePoint = isGc ? safePoint : (1n << 64n) - 1n;
    let name: unknown = isGc ? ascii(READER) : bytesOf(`tidb-mesh:${world.name}:${id}`);
    if (!isGc && ttl > 0n && id.startsWith('br-')) name = new Refused(Status.FILE_BACKUP);
    else if (!isGc && ttl > 0n && safePoint < world.oldest) name = new Refused(Status.HELD_BACK);
    if (!/^[\x21-\x2e\x30-\x7e]{1,128}$/.test(id)) name = new Refused(Status.SERVICE_ID);
    result.set(number('SERVICE_ID')!, name);
    const longest = ttl > world.longestHold ? world.longestHold : undefined;
    result.set(number('SERVICE_TTL')!, isGc ? 0n : longest);
    result.set(number('SERVICE_SAFE_POINT')!, isGc ? 0n : undefined);
  }

  /** What is asked of a request before its fields are. */
  private judgeRequest(view: ReflectMessage, world: World): void {
    const message = this.messages.get(view.desc.typeName);
    const { space } = world;
    if (needsOf(message) & ~capabilities(space)) throw new Refused(Status.WRONG_SPACE);
    const context = view.desc.field['context'];
    if (context?.number === 1 && context.message?.typeName === 'kvrpcpb.Context' && !view.isSet(context))
      if (space.choice.keyspace) view.set(context, reflect(context.message));
  }

  /** A request that acts on a region: none is known, so its version becomes 0. */
  private judgeAct(view: ReflectMessage, message: JudgedMessage | undefined): void {
    if (message?.actsOnRegion !== 'WITHOUT_KEYS') return;
    const keys = view.fields.find(
      (f) => f.fieldKind === 'list' && message?.fields.some((j) => j.number === f.number && j.role === 'KEY'),
    );
    if (keys?.fieldKind === 'list' && [...view.get(keys)].length > 0) return;
    const inside = (outer: ReflectMessage | undefined, name: string): ReflectMessage | undefined => {
      const field = outer?.desc.field[name];
      return outer && field?.fieldKind === 'message' && outer.isSet(field) ? outer.get(field) : undefined;
    };
    const context = inside(view, 'context');
    const epoch = inside(context, 'regionEpoch');
    const region = context?.desc.field['regionId'];
    const version = epoch?.desc.field['version'];
    if (!context || !epoch || !region || !version || !context.isSet(region) || !epoch.isSet(version))
      throw new Refused(Status.REGION_NOT_NAMED);
    epoch.clear(version);
  }

  /** A refused request of a batch becomes an empty one. */
  private walkCommand(view: ReflectMessage, world: World): void {
    try {
      this.walk(view, 'request', world);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      for (const field of view.fields) view.clear(field);
      this.setEmptyRequest(view);
    }
  }

  private setEmptyRequest(view: ReflectMessage): void {
    const field = view.fields.find((f) => f.number === 255);
    if (field?.fieldKind !== 'message') throw new Error('a batch has an empty request');
    view.set(field, reflect(field.message));
  }

  private value(role: string, value: unknown, way: Way, world: World, swapped: boolean): unknown {
    const request = way === 'request';
    const { space } = world;
    const bytes = value instanceof Uint8Array ? value : EMPTY;
    const must = (mapped: Result): Uint8Array | typeof DROPPED => {
      if (mapped === BROKEN) throw new Error('the model was given a broken key');
      return mapped === OUTSIDE ? DROPPED : mapped;
    };
    const exact = (mapped: Result): Uint8Array | typeof DROPPED => {
      const result = must(mapped);
      if (result === DROPPED && request) throw new Error('the model was given a foreign key');
      return result;
    };
    switch (role) {
      case 'KEY_OR_NONE':
      case 'KEY':
      case 'KEY_DROP': {
        if (role === 'KEY_OR_NONE' && bytes.length === 0) return value;
        const mapped = exact((request ? space.encodeKey : space.decodeKey)(bytes));
        return mapped === DROPPED && role !== 'KEY_DROP' ? EMPTY : mapped;
      }
      case 'ENC_KEY': {
        const mapped = exact((request ? encodeEncoded : decodeEncoded)(space, bytes, 'key'));
        return mapped === DROPPED ? EMPTY : mapped;
      }
      case 'RANGE_START':
      case 'RANGE_END': {
        const lower = (role === 'RANGE_START') !== swapped;
        if (request) return must((lower ? space.encodeLower : space.encodeUpper)(bytes));
        return must((lower ? space.decodeStart : space.decodeEnd)(bytes));
      }
      case 'ENC_START':
      case 'ENC_END': {
        const lower = (role === 'ENC_START') !== swapped;
        const map = request ? encodeEncoded : decodeEncoded;
        return must(map(space, bytes, lower ? 'lower' : 'upper'));
      }
      case 'PLACE_START':
      case 'PLACE_END':
        return must(encodePlace(space, bytes, role === 'PLACE_START' ? 'lower' : 'upper') ?? BROKEN);
      case 'TEXT':
        if (request || !mayQuoteKeys(typeof value === 'string' ? value : textOf(bytes))) return value;
        return typeof value === 'string' ? WITHHELD : ascii(WITHHELD);
      case 'ETCD_KEY': {
        const name = (request ? storedName : clientName)(ownerOf(world), textOf(bytes));
        if (name === undefined && request) throw new Refused(Status.NAME_OUTSIDE);
        return name === undefined ? DROPPED : bytesOf(name);
      }
      case 'OWN_GROUP':
      case 'GROUP_LABEL':
      case 'GROUP': {
        const owner = space.choice;
        const status = request && role === 'OWN_GROUP' ? objectionToOwn(owner, String(value)) : undefined;
        if (status !== undefined) throw new Refused(status);
        const decode = role === 'OWN_GROUP' ? clientGroup : clientReference;
        const name = (request ? storedGroup : decode)(owner, String(value));
        if (name === undefined && request) throw new Refused(Status.NAME_OUTSIDE);
        if (request && role !== 'OWN_GROUP' && Buffer.byteLength(name!) > LONGEST)
          throw new Refused(Status.TEXT_TOO_LONG);
        return name ?? DROPPED;
      }
      case 'LABEL':
        if (request && Buffer.byteLength(String(value)) > 128) throw new Refused(Status.TEXT_TOO_LONG);
        return value;
      case 'RESOURCE_KEY': {
        const path = clientPath(space.choice, textOf(bytes));
        return path === undefined ? DROPPED : bytesOf(path);
      }
      case 'TSO_COUNT':
        if (request && Number(value) > 16384) throw new Refused(Status.TSO_COUNT);
        return value;
      case 'COLUMN_FAMILY':
        if (request && value !== '' && value !== 'default') throw new Refused(Status.VALUE_OUTSIDE);
        return value;
      case 'EXECUTOR':
        if (request && (value as number) === 20 && space.choice.keyspace)
          throw new Refused(Status.KEY_OUTSIDE);
        return value;
      case 'CLIENT_ID':
        return request ? storedClient(world, value as bigint) : value;
      case 'SCATTER_GROUP': {
        const { number } = space.choice;
        if (!request || value === '') return value;
        if (number !== 0) return `${number}:${String(value)}`;
        if (/^[0-9]+:/.test(String(value))) throw new Refused(Status.NAME_OUTSIDE);
        return value;
      }
      case 'LEASE_ID':
        return request ? storedLease(world, value as bigint) : clientLease(world, value as bigint);
      case 'LEASE_TTL':
        return request && (value as bigint) > world.longestLease ? world.longestLease : value;
      case 'LEASE_GRANT_ID': {
        if (!request) return clientLease(world, value as bigint);
        return storedLease(world, value === 0n ? world.leaseSeed : (value as bigint));
      }
      case 'API_VERSION':
        return request ? (space.choice.keyspace ? 2 : 0) : value;
      case 'KEYSPACE_ID':
        return request ? (space.choice.keyspace?.id ?? 0) : value;
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
      case 'REGION_ACT':
        return request ? 0n : value;
      case 'TIMESTAMP':
      case 'FOR_UPDATE':
      case 'TXN_START':
      case 'TIMESTAMP_OR_MAX':
      case 'READ_TIMESTAMP_OR_MAX':
      case 'EARLY_COMMIT':
      case 'TXN_SOURCE':
      case 'REGION_ID':
      case 'REGION_VERSION':
      case 'REGION_CONF_VERSION':
      case 'CLUSTER_ID':
      case 'HAS_ANSWER':
      case 'NEW_TIME':
      case 'STORE_ID':
      case 'ETCD_VALUE':
      case 'RESOURCE_END':
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

/** Capabilities that a request asks of its key space, as assembly/keys/space.ts has them. */
function needsOf(message: JudgedMessage | undefined): number {
  const bits: Record<string, number> = { TXN, RAW, COPROCESSOR, RAW_TTL };
  return (message?.needs ?? []).reduce((all, need) => all | bits[need]!, 0);
}

/** True for a number of which not every value passes. */
function isBounded(role: string): boolean {
  return ['ONE_OF', 'AT_MOST', 'CAPPED', 'AMOUNT'].includes(role);
}

/** The key that an item of a list is, or has. */
function keyOf(item: unknown): Uint8Array {
  if (item instanceof Uint8Array) return item;
  return ((item as ReflectMessage).message as unknown as { key: Uint8Array }).key;
}

function judgeKeys(keys: readonly Uint8Array[]): void {
  if (new Set(keys.map(textOf)).size < keys.length) throw new Refused(Status.VALUE_OUTSIDE);
}

/** Numbers that matter together. */
function judgeNumbersTogether(view: ReflectMessage): void {
  if (view.desc.typeName === 'kvrpcpb.ResolveLockRequest') {
    const { startVersion, commitVersion, keys } = view.message as unknown as ResolveLock;
    if (startVersion === 0n && keys.length > 0) throw new Refused(Status.VALUE_OUTSIDE);
    if (commitVersion !== 0n && commitVersion <= startVersion) throw new Refused(Status.VALUE_OUTSIDE);
    judgeKeys(keys);
  }
  if (view.desc.typeName === 'kvrpcpb.TxnInfo') {
    const { txn, status } = view.message as unknown as { txn: bigint; status: bigint };
    if (status !== 0n && status <= txn) throw new Refused(Status.VALUE_OUTSIDE);
  }
  if (view.desc.typeName === 'resource_manager.Consumption') {
    const times = view.message as unknown as { totalCpuTimeMs: number; sqlLayerCpuTimeMs: number };
    if (times.sqlLayerCpuTimeMs !== 0)
      times.sqlLayerCpuTimeMs = Math.min(times.sqlLayerCpuTimeMs, times.totalCpuTimeMs);
  }
}

interface Prewrite {
  mutations: unknown[];
  pessimisticActions: number[];
  forUpdateTs: bigint;
}

interface ResolveLock {
  startVersion: bigint;
  commitVersion: bigint;
  keys: Uint8Array[];
}

interface PutGroup {
  group?: { name: string; mode: number; rUSettings?: { rU?: { settings?: unknown } } };
}

/** What PD relies on. */
function judgeGroup({ group }: PutGroup): void {
  if (!group?.name || group.mode !== 1 || !group.rUSettings?.rU?.settings)
    throw new Refused(Status.GROUP_SETTINGS);
}
