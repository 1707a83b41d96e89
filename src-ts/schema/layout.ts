/** Lays out a judgement as the flat tables that the filter's walker reads. `table.ts` explains the layout for the filter. */
import { httpTexts, layOutHttp, type HttpLayout } from './http.ts';
import { Entry, Flag, Kind, Method, Refusal } from './bits.ts';
import { contextOf, type JudgedField, type JudgedMessage, type Judgement } from './judgement.ts';
import { layOutStatuses, statusTexts } from './statuses.ts';
import { joinTexts, type Texts } from './texts.ts';

/** u16 per message: first entry in `fields`, last near field | shape << 8, first item in `far` or 0, place of its name in the texts. */
export const MESSAGE_WORDS = 4;
/** u32 per shape: flags, start field | end field << 8 | field of a refusal << 16 | kind of it << 24. */
export const SHAPE_WORDS = 2;
/** u32 per far field: number | 1 << 16 for the last one of its message, entry. */
export const FAR_WORDS = 2;
/** u16 per method: hash (two), place of its path, of its reason, request | decision << 12, response | several messages << 12, kind. */
export const METHOD_WORDS = 7;

/** Fields from this number on are searched for, one by one. Upstream gives its late additions the numbers 100 and 255. */
const FIRST_FAR_FIELD = 64;
const LAST_FAR_FIELD = 1 << 16;

const MAX_MESSAGES = Method.ID_MASK + 1;
const MAX_DECISIONS = 1 << 4;
const MAX_ERRORS = Entry.ERROR_MASK + 1;
const MAX_FIELD_NUMBER_IN_SHAPE = 1 << 8;
const MAX_SHAPES = 1 << 8;
const MAX_PLACE = 1 << 16;

const LAST_OF_FAR = 1 << 16;

/** A message's flag is set when one of its fields has one of these roles. */
const FLAGS: readonly (readonly [number, readonly string[]])[] = [
  [Flag.RANGE, ['RANGE_START', 'RANGE_END']],
  [Flag.ENCODED_RANGE, ['ENC_START', 'ENC_END', 'PLACE_START', 'PLACE_END']],
  [Flag.PLACES, ['PLACE_START', 'PLACE_END']],
  [Flag.REVERSIBLE, ['REVERSE']],
  [Flag.BATCH, ['BATCH_IDS']],
  [Flag.COMMAND, ['EMPTIED']],
  [Flag.CONTEXT, ['API_VERSION']],
  [Flag.ACTS_BY_ID, ['REGION_ACT']],
  [Flag.LEASE_GRANT, ['LEASE_GRANT_ID']],
  [Flag.NAMED_VALUE, ['ETCD_VALUE']],
  [Flag.RESOURCE_PATH, ['RESOURCE_PATH']],
  [Flag.SERVICE, ['SERVICE_ID']],
  [Flag.SAFE_POINT_OUT, ['SAFE_POINT_OUT']],
  [Flag.TXN_START, ['TXN_START']],
];

/** What a request needs of its key range, by mesh.Capability; its special ending; and whether it acts on its region. */
const NEEDS: Record<string, number> = { TXN: Flag.TXN, RAW: Flag.RAW, COPROCESSOR: Flag.COPROCESSOR, RAW_TTL: Flag.RAW_TTL };
const ENDINGS: Record<string, number> = {
  PLAIN: 0,
  GROUP_SETTINGS: Flag.GROUP_SETTINGS,
  CHECKSUM_RULE: Flag.CHECKSUM_RULE,
  WATCH: Flag.WATCH,
  WATCH_ANSWER: Flag.WATCH_ANSWER,
  TXN_TIMES: Flag.COMPARED,
  CPU_TIMES: Flag.COMPARED,
  ORDERED_RANGE: Flag.COMPARED,
  BOUNDED_RANGE: Flag.COMPARED | Flag.NOT_ZERO,
  ANALYZED_COLUMNS: Flag.COMPARED,
  TOKEN_REQUESTS: Flag.COMPARED,
};
const ACTS: Record<string, number> = {
  NEVER: 0,
  WITHOUT_KEYS: Flag.ACTS_WITHOUT_KEYS,
};

const REFUSAL_KINDS: Record<string, number> = {
  'kvrpcpb.KeyError': Refusal.KEY_ERROR,
  'errorpb.Error': Refusal.REGION_ERROR,
};

const ANY_VALUE = 'ANY_VALUE';
const ETCD_KEYS = ['ETCD_KEY', 'ETCD_READ_KEY'];
const STARTS = [
  'API_VERSION',
  'RANGE_START',
  'ENC_START',
  'PLACE_START',
  ...ETCD_KEYS,
  'RESOURCE_PATH',
  'SAFE_POINT_OUT',
];
const ENDS = ['KEYSPACE_ID', 'RANGE_END', 'ENC_END', 'PLACE_END', 'ETCD_END', 'RESOURCE_END'];

export interface Layout {
  readonly messages: readonly number[];
  readonly shapes: readonly number[];
  readonly fields: readonly number[];
  readonly far: readonly number[];
  /** The limits of fields, each once. */
  readonly limits: readonly bigint[];
  readonly methods: readonly number[];
  /** By command of BatchCommands. */
  readonly commandKinds: readonly number[];
  readonly statuses: readonly number[];
  readonly fieldNames: readonly number[];
  readonly fieldNamesFrom: readonly number[];
  /** Names of messages, paths, reasons and the filter's own texts. */
  readonly texts: Texts;
  /** PD's HTTP API. */
  readonly http: HttpLayout;
  /** Full names, indexed by id. Id 0 is the message that is not read. */
  readonly names: readonly string[];
  /** Bytes of all tables together. */
  readonly bytes: number;
}

/** FNV-1a over the bytes, 32 bits. http://www.isthe.com/chongo/tech/comp/fnv/ */
export function fnv1a(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** @throws Error when something does not fit into its bits. */
export function layOut(judgement: Judgement): Layout {
  const names = ['', ...judgement.messages.map((message) => message.name)];
  fits(names.length, MAX_MESSAGES, 'messages');
  fits(judgement.errors.size - 1, MAX_ERRORS, 'error classes');
  const ids = new Map(names.map((name, id) => [name, id]));
  const idOf = (name: string | undefined): number => (name === undefined ? 0 : must(ids.get(name), name));
  const texts = joinTexts([
    ...names,
    ...judgement.methods.flatMap(({ path, because }) => [path, because]),
    ...statusTexts(),
    ...judgement.messages.flatMap(({ fields }) => fields.map(({ name }) => name)),
    ...httpTexts(),
  ]);
  fits(texts.bytes.length, MAX_PLACE, 'texts');
  const placeOf = (text: string): number => must(texts.places.get(text), text);
  const shapes = new Shapes();
  const far: number[] = [];
  const limits = [...new Set(judgement.messages.flatMap(limitsOf))];

  const near: number[][] = [];
  const rest = judgement.messages.map((message) => {
    distinguishable(message);
    const entries: number[] = [];
    const item = far.length / FAR_WORDS;
    for (const field of message.fields) {
      // What passes at any value needs no work.
      const role = field.role === ANY_VALUE ? 0 : must(judgement.roles.get(field.role), field.role);
      const error = must(judgement.errors.get(field.error), field.error);
      const within = idOf(field.message) | allowedIn(field) | Math.max(limits.indexOf(field.limit ?? -1n), 0);
      const entry = entryOf(field, role, within, error);
      if (field.number < FIRST_FAR_FIELD) entries[field.number - 1] = entry;
      else far.push(field.number, entry);
      fits(field.number, LAST_FAR_FIELD, `${message.name}.${field.name}`);
    }
    const hasFar = item < far.length / FAR_WORDS;
    if (hasFar) far[far.length - FAR_WORDS] = (far.at(-FAR_WORDS) ?? 0) | LAST_OF_FAR;
    near.push(Array.from(entries, (entry) => entry ?? 0));
    // Item 0 belongs to no message, so that 0 means none.
    return [entries.length | (shapes.idOf(message) << 8), hasFar ? item + 1 : 0, placeOf(message.name)];
  });
  const { all: fields, places } = overlay(near);
  fits(fields.length, MAX_PLACE, 'fields');
  // `fields` begins with the entry of field number 0, which no message has. The message that is not read ends there.
  const messages = [0, 0, 0, 0, ...rest.flatMap((words, i) => [places[i] ?? 0, ...words])];
  const methods = judgement.methods
    .map((method) => ({ method, hash: fnv1a(new TextEncoder().encode(method.path)) }))
    .sort((a, b) => a.hash - b.hash)
    .flatMap(({ method, hash }, i, sorted) => {
      if (hash === sorted[i - 1]?.hash)
        throw new Error(`${method.path} and ${sorted[i - 1]?.method.path} have one hash`);
      const streams = method.clientStreaming || method.serverStreaming ? 1 : 0;
      const decision = must(judgement.decisions.get(method.decision), method.decision);
      fits(decision, MAX_DECISIONS, method.decision);
      return [
        hash & 0xffff,
        hash >>> 16,
        placeOf(method.path),
        placeOf(method.because),
        idOf(method.request) | (decision << Method.ID_BITS),
        idOf(method.response) | (streams << Method.ID_BITS),
        must(judgement.kinds.get(method.kind), method.kind),
      ];
    });
  const commandKinds = kindsOfCommands(judgement);
  const statuses = layOutStatuses(placeOf);
  const fieldNames = judgement.messages.flatMap((message) =>
    message.fields.map(({ number, name }) => [number, placeOf(name)] as const),
  );
  let named = 0;
  const fieldNamesFrom = [0, 0, ...judgement.messages.map(({ fields }) => (named += fields.length))];
  const laid = {
    messages,
    shapes: shapes.words,
    fields: [0, ...fields],
    far: [0, 0, ...far],
    limits,
    methods,
    commandKinds,
    statuses,
    fieldNames: fieldNames.flat(),
    fieldNamesFrom,
  };
  const words = laid.shapes.length + laid.fields.length + laid.far.length + limits.length * 2;
  const bytes = words * 4 + (messages.length + methods.length + statuses.length) * 2 + commandKinds.length + texts.bytes.length;
  const http = layOutHttp(placeOf);
  return { ...laid, http, texts, names, bytes };
}

const COMMANDS = 'tikvpb.BatchCommandsRequest.Request';

/** The kind of each command of BatchCommands: that of the method with the same request; KIND_FIND for an empty one, which asks for nothing. */
function kindsOfCommands({ messages, methods, kinds }: Judgement): number[] {
  const fields = messages.find(({ name }) => name === COMMANDS)?.fields ?? [];
  const found = new Array<number>(256).fill(0);
  for (const { name, number, message } of fields) {
    if (message === undefined) continue;
    const method = methods.find((one) => one.request === message && !one.clientStreaming && !one.serverStreaming);
    const kind = name === 'Empty' ? 'KIND_FIND' : must(method, name).kind;
    found[number] = must(kinds.get(kind), kind);
  }
  return found;
}

/** Collects what messages have in common: their flags and special fields. Shape 0 has none. */
class Shapes {
  readonly words: number[] = [0, 0];
  private readonly ids = new Map([['0 0', 0]]);

  idOf(message: JudgedMessage): number {
    const [first, second] = timesOf(message);
    const start = first ?? exactKey(message) ?? fieldWith(message, STARTS);
    const end = second ?? notZero(message) ?? required(message) ?? distinct(message) ?? fieldWith(message, ENDS);
    fits(Math.max(start, end), MAX_FIELD_NUMBER_IN_SHAPE, message.name);
    const words = [flagsOf(message), (start | (end << 8) | (refusalOf(message) << 16)) >>> 0];
    const known = this.ids.get(words.join(' '));
    if (known !== undefined) return known;
    const id = this.ids.size;
    fits(id, MAX_SHAPES, 'shapes');
    this.ids.set(words.join(' '), id);
    this.words.push(...words);
    return id;
  }
}

/** Joins the lists into one. Equal lists, and lists that begin where others end, share their items. Returns also where each list begins. */
function overlay(lists: readonly (readonly number[])[]): { all: number[]; places: number[] } {
  const all: number[] = [];
  const places: number[] = [];
  const alike = (list: readonly number[], at: number): boolean =>
    list.every((value, i) => at + i >= all.length || all[at + i] === value);
  // Long lists come first, so that short ones can lie inside them.
  const order = [...lists.keys()].sort((a, b) => (lists[b]?.length ?? 0) - (lists[a]?.length ?? 0));
  for (const i of order) {
    const list = lists[i] ?? [];
    let at = 0;
    while (!alike(list, at)) at++;
    all.push(...list.slice(all.length - at));
    places[i] = at;
  }
  return { all, places };
}

function limitsOf(message: JudgedMessage): bigint[] {
  return message.fields.flatMap(({ limit }) => (limit === undefined ? [] : [limit]));
}

/** The values that pass, a bit for each. */
function allowedIn({ allowed }: JudgedField): number {
  return allowed.reduce((bits, value) => bits | (1 << value), 0);
}

/** The fields that say when a transaction began and committed; all CPU time and that of SQL. */
function timesOf({ ending, fields }: JudgedMessage): number[] {
  const isTime: Record<string, (field: JudgedField) => boolean> = {
    TXN_TIMES: ({ role }) => role === 'TIMESTAMP' || role === 'TXN_START',
    CPU_TIMES: ({ name }) => name.endsWith('cpu_time_ms'),
  };
  return fields.filter(isTime[ending] ?? (() => false)).map(({ number }) => number);
}

/** The field whose absence, which is 0, does not pass. Lenient messages are tipb's, where absence is no 0. */
function notZero(message: JudgedMessage): number | undefined {
  if (message.lenient) return undefined;
  return message.fields.find(({ role, allowed }) => role === 'ONE_OF' && !allowed.includes(0))?.number;
}

function must<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`${what} is not in the tables`);
  return value;
}

/**
 * Checks that the walker can tell fields apart. It notices a repeated singular field by one bit: below 64 the field's own, above that one
 * chosen by the number's lowest six bits.
 */
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

/** The flags of a message. */
export function flagsOf(message: JudgedMessage): number {
  let flags = 0;
  for (const [flag, roles] of FLAGS) if (hasRole(message, roles)) flags |= flag;
  if (hasRole(message, ETCD_KEYS) && hasRole(message, ['ETCD_END'])) flags |= Flag.NAME_RANGE;
  if (exactKey(message) !== undefined) flags |= Flag.EXACT_KEY;
  for (const need of message.needs) flags |= must(NEEDS[need], need);
  flags |= must(ACTS[message.actsOnRegion], message.actsOnRegion);
  flags |= must(ENDINGS[message.ending], message.ending);
  if (message.lenient) flags |= Flag.LENIENT;
  if (message.owners) flags |= Flag.OWNERS;
  if (contextOf(message)?.number === 1) flags |= Flag.HAS_CONTEXT;
  if (required(message) !== undefined) flags |= Flag.REQUIRED_LIST;
  if (message.fields.some(({ error }) => error !== 'ERROR_UNSPECIFIED')) flags |= Flag.ERRORS;
  if (notZero(message) !== undefined) flags |= Flag.NOT_ZERO;
  return flags >>> 0;
}

function required(message: JudgedMessage): number | undefined {
  return message.fields.find((field) => field.requires)?.number;
}

function distinct(message: JudgedMessage): number | undefined {
  return message.fields.find((field) => field.distinct)?.number;
}

/** The field that takes a refusal, | kind << 8; 0 when there is none. */
function refusalOf(message: JudgedMessage): number {
  const field = message.fields.find(({ refusal }) => refusal);
  if (field === undefined) return 0;
  const kind = field.message === undefined ? Refusal.TEXT : must(REFUSAL_KINDS[field.message], field.message);
  return field.number | (kind << 8);
}

/** `within`: the message in the field, or what says which numbers pass. */
function entryOf(field: JudgedField, role: number, within: number, error: number): number {
  const scalar = field.kind !== Kind.BYTES && field.kind !== Kind.MESSAGE;
  let entry = role | (field.kind << Entry.KIND_SHIFT) | (within << Entry.MESSAGE_SHIFT);
  entry |= error << Entry.ERROR_SHIFT;
  if (field.repeated) entry |= Entry.REPEATED;
  if (field.essential) entry |= Entry.ESSENTIAL;
  if (field.repeated && scalar) entry |= Entry.PACKABLE;
  return entry >>> 0;
}
