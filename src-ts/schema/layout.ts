/** Lays a judgement out as the flat tables that the filter's walker reads. `table.ts` explains the layout to the filter's side. */
import { contextOf, Kind, type JudgedField, type JudgedMessage, type Judgement } from './judgement.ts';

/** u32 per message: first entry in `fields`, highest field number, flags, start field, end field. */
export const MESSAGE_WORDS = 5;
/** u32 per slot: hash, path offset, path length, decision | request << 16, response | streaming << 16, because offset | length << 20. */
export const SLOT_WORDS = 6;

const MAX_MESSAGES = 0xffff;
const MAX_STRING_BYTES = 1 << 20;
const MAX_BECAUSE_BYTES = 1 << 12;
const MAX_NAME_BYTES = 1 << 8;

const REPEATED = 1 << 11;
const ESSENTIAL = 1 << 12;
const INERT = 1 << 13;
const PACKABLE = 1 << 14;

const CLIENT_STREAMING = 1;
const SERVER_STREAMING = 2;

/** A message's flag is set when one of its fields has one of these roles. */
const FLAGS: readonly (readonly [number, readonly string[]])[] = [
  [1 << 0, ['RANGE_START', 'RANGE_END']],
  [1 << 1, ['ENC_START', 'ENC_END']],
  [1 << 2, ['REVERSE']],
  [1 << 3, ['BATCH_IDS']],
  [1 << 4, ['LEASE_GRANT_ID']],
  [1 << 5, ['SAFE_POINT_IN']],
  [1 << 6, ['API_VERSION']],
  [1 << 8, ['RESOURCE_PATH']],
  [1 << 10, ['SAFE_POINT_OUT']],
];
/** Has both an ETCD_KEY and an ETCD_END: without a key it starts at the tenant's first one. */
const NAME_RANGE = 1 << 7;
/** Has one exact key, the start field: absent it would be the empty key of the store, which is no tenant's. */
const EXACT_KEY = 1 << 9;

/** What a request asks of its key space, by mesh.Capability. */
const NEEDS: Record<string, number> = { TXN: 1 << 11, RAW: 1 << 12, COPROCESSOR: 1 << 13 };
const ACTS: Record<string, number> = { NEVER: 0, ALWAYS: 1 << 14, WITHOUT_KEYS: 1 << 15 };
const LENIENT = 1 << 16;
/** Field 1 is a kvrpcpb.Context. */
const HAS_CONTEXT = 1 << 17;
/** The start field must be there. */
const REQUIRED_LIST = 1 << 18;

const REFUSAL_KINDS: Record<string, number> = { 'kvrpcpb.KeyError': 1, 'errorpb.Error': 3 };
const REFUSAL_TEXT = 2;

const STARTS = ['API_VERSION', 'RANGE_START', 'ENC_START', 'ETCD_KEY', 'RESOURCE_PATH', 'SAFE_POINT_OUT'];
const ENDS = ['KEYSPACE_ID', 'RANGE_END', 'ENC_END', 'ETCD_END'];

/** Roles that the walker does nothing about, in either direction. */
const IDLE = new Set(['ROLE_UNSPECIFIED', 'OPAQUE', 'NAME']);

export interface Layout {
  /** Field number | kind << 8 of the field that takes a refusal, one per message. */
  readonly refusals: readonly number[];
  readonly messages: readonly number[];
  readonly fields: readonly number[];
  readonly methods: readonly number[];
  readonly methodSlots: number;
  /** Offset | length << 24 in `strings`, one per message. */
  readonly messageNames: readonly number[];
  readonly strings: readonly number[];
  /** Full names; the index is the id. Id 0 is the message that nobody reads. */
  readonly names: readonly string[];
  /** Bytes of the tables together. */
  readonly bytes: number;
}

/** FNV-1a over the bytes, 32 bits. http://www.isthe.com/chongo/tech/comp/fnv/ */
export function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** Strings one behind the other, each distinct one once. */
class Blob {
  readonly bytes: number[] = [];
  private readonly places = new Map<string, number>();

  add(text: string): { offset: number; bytes: Uint8Array } {
    const bytes = new TextEncoder().encode(text);
    let offset = this.places.get(text);
    if (offset === undefined) {
      offset = this.bytes.length;
      this.bytes.push(...bytes);
      this.places.set(text, offset);
    }
    return { offset, bytes };
  }
}

/** @throws Error when something does not fit into its bits. */
export function layOut(judgement: Judgement): Layout {
  const names = ['', ...judgement.messages.map((message) => message.name)];
  fits(names.length, MAX_MESSAGES, 'messages');
  const ids = new Map(names.map((name, id) => [name, id]));
  const idOf = (name: string | undefined): number => (name === undefined ? 0 : must(ids.get(name), name));
  const inert = inertMessages(judgement.messages);
  const strings = new Blob();

  // The message that nobody reads knows no field but number 0, which no message has.
  const fields: number[] = [0];
  const messages: number[] = [0, 0, 0, 0, 0];
  const messageNames: number[] = [0];
  const refusals: number[] = [0];
  for (const message of judgement.messages) {
    distinguishable(message);
    const last = message.fields.at(-1)?.number ?? 0;
    messages.push(
      fields.length,
      last,
      flagsOf(message),
      required(message) ?? exactKey(message) ?? fieldWith(message, STARTS),
      fieldWith(message, ENDS),
    );
    refusals.push(refusalOf(message));
    const entries = new Array<number>(last + 1).fill(0);
    for (const field of message.fields)
      entries[field.number] = entryOf(
        field,
        must(judgement.roles.get(field.role), field.role),
        idOf(field.message),
        inert,
      );
    fields.push(...entries);
    const { offset, bytes } = strings.add(message.name);
    fits(bytes.length, MAX_NAME_BYTES, message.name);
    messageNames.push((offset | (bytes.length << 24)) >>> 0);
  }

  const methodSlots = 2 ** Math.ceil(Math.log2(judgement.methods.length * 2));
  const methods = new Array<number>(methodSlots * SLOT_WORDS).fill(0);
  for (const method of judgement.methods) {
    const path = strings.add(method.path);
    const because = strings.add(method.because);
    fits(because.bytes.length, MAX_BECAUSE_BYTES, `${method.path}: because`);
    const hash = fnv1a(path.bytes);
    // 0 marks an empty slot.
    if (hash === 0) throw new Error(`${method.path} hashes to 0`);
    const streaming =
      (method.clientStreaming ? CLIENT_STREAMING : 0) | (method.serverStreaming ? SERVER_STREAMING : 0);
    const decision = must(judgement.decisions.get(method.decision), method.decision);
    let slot = hash & (methodSlots - 1);
    while (methods[slot * SLOT_WORDS] !== 0) slot = (slot + 1) & (methodSlots - 1);
    const words = [
      hash,
      path.offset,
      path.bytes.length,
      decision | (idOf(method.request) << 16),
      idOf(method.response) | (streaming << 16),
      because.offset | (because.bytes.length << 20),
    ];
    for (const [i, word] of words.entries()) methods[slot * SLOT_WORDS + i] = word >>> 0;
  }
  fits(strings.bytes.length, MAX_STRING_BYTES, 'strings');
  const words = messages.length + fields.length + methods.length + messageNames.length;
  const bytes = words * 4 + strings.bytes.length;
  return {
    refusals,
    messages,
    fields,
    methods,
    methodSlots,
    messageNames,
    strings: strings.bytes,
    names,
    bytes,
  };
}

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`${what} is not in the tables`);
  return value;
}

/** The walker notices a singular field that comes twice by one bit each: below 64 its own, above that the number's lowest six bits. */
function distinguishable(message: JudgedMessage): void {
  const taken = new Map<number, number>();
  for (const { number, repeated } of message.fields) {
    if (repeated || number < 64) continue;
    const other = taken.get(number & 63);
    if (other !== undefined)
      throw new Error(
        `${message.name}: fields ${other} and ${number} would be taken for one field that is there twice`,
      );
    taken.set(number & 63, number);
  }
}

function fits(count: number, limit: number, what: string): void {
  if (count >= limit) throw new Error(`${what}: ${count} does not fit, the limit is ${limit}`);
}

function hasRole(message: JudgedMessage, roles: readonly string[]): boolean {
  return message.fields.some((field) => roles.includes(field.role));
}

function fieldWith(message: JudgedMessage, roles: readonly string[]): number {
  return message.fields.find((field) => roles.includes(field.role))?.number ?? 0;
}

function exactKey(message: JudgedMessage): number | undefined {
  return message.fields.find((field) => field.role === 'KEY' && !field.repeated)?.number;
}

function flagsOf(message: JudgedMessage): number {
  let flags = 0;
  for (const [flag, roles] of FLAGS) if (hasRole(message, roles)) flags |= flag;
  if (hasRole(message, ['ETCD_KEY']) && hasRole(message, ['ETCD_END'])) flags |= NAME_RANGE;
  if (exactKey(message) !== undefined) flags |= EXACT_KEY;
  for (const need of message.needs) flags |= must(NEEDS[need], need);
  flags |= must(ACTS[message.actsOnRegion], message.actsOnRegion);
  if (message.lenient) flags |= LENIENT;
  if (contextOf(message)?.number === 1) flags |= HAS_CONTEXT;
  if (required(message) !== undefined) flags |= REQUIRED_LIST;
  return flags;
}

function required(message: JudgedMessage): number | undefined {
  return message.fields.find((field) => field.requires)?.number;
}

/** Where a refusal goes, see REFUSALS. */
function refusalOf(message: JudgedMessage): number {
  const field = message.fields.find(({ refusal }) => refusal);
  if (field === undefined) return 0;
  const kind = field.message === undefined ? REFUSAL_TEXT : must(REFUSAL_KINDS[field.message], field.message);
  return field.number | (kind << 8);
}

function entryOf(field: JudgedField, role: number, message: number, inert: ReadonlySet<string>): number {
  const scalar = field.kind !== Kind.BYTES && field.kind !== Kind.MESSAGE;
  let entry = role | (field.kind << 8) | (message << 16);
  if (field.repeated) entry |= REPEATED;
  if (field.essential) entry |= ESSENTIAL;
  if (field.message !== undefined && inert.has(field.message)) entry |= INERT;
  if (field.repeated && scalar) entry |= PACKABLE;
  return entry >>> 0;
}

/** Messages in whose whole subtree no field has a role to act on. */
function inertMessages(messages: readonly JudgedMessage[]): Set<string> {
  const inert = new Set(messages.map((message) => message.name));
  let size = 0;
  // Messages may contain themselves: take away until nothing changes.
  do {
    size = inert.size;
    for (const message of messages)
      if (message.fields.some((f) => !IDLE.has(f.role) || (f.message !== undefined && !inert.has(f.message))))
        inert.delete(message.name);
  } while (inert.size !== size);
  return inert;
}
