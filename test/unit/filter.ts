/** The filter's pure parts in Node: the test build of assembly/ behind a small typed surface. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Status } from '../../src-ts/schema/statuses.ts';
import { ensureBuilt, ROOT, TESTING, WALKING, type Build } from '../../src-ts/wasm/builds.ts';

export { Status } from '../../src-ts/schema/statuses.ts';

/** As in assembly/keys/mapped.ts. */
export enum Mapped {
  SAME,
  IN_PLACE,
  REPLACED,
  OUTSIDE,
  BROKEN,
}

/** The mappings of `map`; KEY, LOWER and UPPER also exist in PD's memcomparable form, and bounds of ranges of regions. */
export const MAP = {
  encodeKey: 0,
  encodeLower: 1,
  encodeUpper: 2,
  decodeKey: 3,
  decodeStart: 4,
  decodeEnd: 5,
  encodeEncodedKey: 6,
  encodeEncodedLower: 7,
  encodeEncodedUpper: 8,
  decodeEncodedKey: 9,
  decodeEncodedStart: 10,
  decodeEncodedEnd: 11,
  encodePlaceLower: 12,
  encodePlaceUpper: 13,
} as const;
export type MapName = keyof typeof MAP;

/** The mappings of `name`: keys of etcd. */
const NAMES = { encodeName: 0, encodeNameEnd: 1, decodeName: 2 } as const;

/** What a tenant's configuration says of its key space; without a codec it is the table codec's, or tenant 0's. */
export interface SpaceChoice {
  readonly number: number;
  /** The number in its table keys, if they have moved. */
  readonly keyNumber?: number;
  readonly keyspace?: { readonly id: number; readonly mode: 'txn' | 'raw' };
  readonly prefix?: { readonly bytes: Uint8Array; readonly mode: 'txn' | 'raw'; readonly ttl?: boolean };
  readonly ownDefaultGroup?: boolean;
}

export type Way = 'request' | 'response';
const KINDS = { ...TESTING, walking: WALKING };
export type BuildName = keyof typeof KINDS;
/** In place of all three, for who compiles the filter again and again (`npm run test:mutants`). */
const ONLY = KINDS[process.env['TIDB_MESH_TEST_BUILD'] as BuildName] as Build | undefined;
const BUILDS = ONLY === undefined ? KINDS : { debug: ONLY, release: ONLY, walking: ONLY };
export const BUILD_NAMES: readonly BuildName[] = ['debug', 'release'];
/** With the one that has no fast path. What messages become is compared in all of them. */
export const ALL_BUILD_NAMES: readonly BuildName[] = [...BUILD_NAMES, 'walking'];

/** What the test build exports, see assembly/entries/testing.ts. */
export interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  alloc(size: number): number;
  reset(): void;
  select(number: number, prefix: number, prefixLength: number, lease: bigint): void;
  selectKeyNumber(number: number, keyNumber: number): void;
  selectKeyspace(number: number, id: number, mode: number): void;
  selectPrefix(number: number, at: number, length: number, mode: number, hasTtl: boolean): void;
  ownDefaultGroup(): void;
  spaceFacts(): number;
  owns(start: number, startLength: number, end: number, endLength: number): number;
  mapName(kind: number, at: number, length: number): number;
  reaches(key: number, keyLength: number, end: number, endLength: number): number;
  mapLease(kind: number, id: bigint): bigint;
  newStream(vmLimit: number, tenantLimit: number): void;
  policyRule(rule: number): number;
  policyOf(number: number, rule: number): number;
  usePolicy(number: number): void;
  dryRunCommands(): number;
  placeOf(at: number, length: number): number;
  latest(timestamp: bigint, doubt: bigint): void;
  holdBack(oldest: bigint, seconds: number): void;
  longestLease(seconds: bigint): void;
  lookups(possible: number): void;
  learn(region: bigint, version: bigint, inside: number): void;
  wanted(index: number): bigint;
  forgetWanted(): void;
  forgetRegions(): void;
  forgetLabels(): void;
  regionClock(ms: bigint): void;
  doubt(): void;
  heldBytes(): number;
  pending(): number;
  message(type: number, at: number, length: number, way: number): number;
  knows(type: number, at: number, length: number, way: number): number;
  body(type: number, at: number, length: number, way: number, limit: number, mayWait: number): number;
  method(at: number, length: number): number;
  map(kind: number, at: number, length: number): number;
  plainText(at: number, length: number): number;
  requestKind(m: number, ml: number, p: number, pl: number, c: number, cl: number): number;
  httpTarget(m: number, ml: number, p: number, pl: number): number;
  httpBody(at: number, length: number): number;
  httpAnswer(at: number, length: number): number;
  query(at: number, length: number, hex: number): number;
  config(at: number, length: number): number;
  selectConfigured(number: number): number;
  driftLimit(): number;
  pdSettings(): number;
  factName(kind: number, i: number): number;
  setNode(i: number, at: number, length: number): void;
  caller(at: number, length: number): void;
  callerFact(at: number, length: number): void;
  callerHeader(at: number, length: number, many: number): void;
  identity(): number;
  identify(at: number, length: number, times: number): number;
}

/** What Envoy knows of a caller; facts by their names in rules, labels as `labels["name"]`. */
export interface Caller {
  readonly principal?: Uint8Array | string;
  readonly peer?: Readonly<Record<string, Uint8Array | string>>;
  readonly node?: Readonly<Record<string, Uint8Array | string>>;
  /** x-envoy-peer-metadata, and how often it is there. */
  readonly header?: Uint8Array | string;
  readonly headers?: number;
}

/** As in src-ts/schema/http.ts. */
const HTTP_DECISIONS = ['pass', 'map', 'answer', 'regions', 'refuse'] as const;

export interface HttpVerdict {
  decision: (typeof HTTP_DECISIONS)[number] | 'unknown';
  status: Status;
  text: string;
}

export interface Rewritten {
  status: Status;
  bytes: Uint8Array;
  failedMessage: number;
  failedField: number;
}

export const UNLIMITED = 0x7fffffff;
/** The random bits that a lease grant without an id gets in tests. */
export const LEASE_SEED = 0x123456789abcn;

/** Compiles the test builds when a source is newer. */
export async function buildFilter(): Promise<void> {
  await ensureBuilt([...new Set<Build>(Object.values(BUILDS))]);
}

const text = new TextEncoder();

function bytesOf(value: Uint8Array | string): Uint8Array {
  return typeof value === 'string' ? text.encode(value) : value;
}

/** Compiled once for all instances of a test file. */
const modules = new Map<BuildName, WebAssembly.Module>();

function moduleOf(name: BuildName): WebAssembly.Module {
  const compiled = modules.get(name) ?? new WebAssembly.Module(readFileSync(join(ROOT, BUILDS[name].output)));
  modules.set(name, compiled);
  return compiled;
}

function instantiate(name: BuildName): Exports {
  const imports = {
    env: {
      abort(_message: number, _file: number, line: number, column: number): void {
        throw new Error(`the filter aborts at ${line}:${column}`);
      },
    },
  };
  return new WebAssembly.Instance(moduleOf(name), imports).exports as unknown as Exports;
}

/** One instance of the test build. */
export class Filter {
  private readonly wasm: Exports;
  readonly name: BuildName;

  /** `wasm` takes the place of the build of that name; it is not initialized yet. */
  constructor(name: BuildName, wasm: Exports = instantiate(name)) {
    this.name = name;
    this.wasm = wasm;
    this.wasm._initialize();
    this.select(1, 'alpha');
    this.newStream();
  }

  get memoryBytes(): number {
    return this.wasm.memory.buffer.byteLength;
  }

  private memory = new Uint8Array(0);
  private view = new DataView(this.memory.buffer);

  /** Memory that grows gets another buffer. The views are kept: the fuzzer asks millions of times. */
  private look(): void {
    const { buffer } = this.wasm.memory;
    if (this.memory.buffer === buffer) return;
    this.memory = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  private put(bytes: Uint8Array): number {
    const at = this.wasm.alloc(bytes.length);
    this.look();
    this.memory.set(bytes, at);
    return at;
  }

  private word(result: number, index: number): number {
    this.look();
    return this.view.getUint32(result + index * 4, true);
  }

  private given(result: number): Uint8Array {
    const at = this.word(result, 0);
    return this.memory.slice(at, at + this.word(result, 1));
  }

  /** Makes this tenant the one that everything below works for. */
  select(number: number, name: string, lease = LEASE_SEED): void {
    this.wasm.reset();
    const prefix = text.encode(`/tidb-mesh/${name}:`);
    this.wasm.select(number, this.put(prefix), prefix.length, lease);
  }

  /** The same for a tenant with any key space. */
  selectSpace(choice: SpaceChoice, name = 'alpha'): void {
    this.select(choice.number, name);
    const { keyNumber, keyspace, prefix, ownDefaultGroup } = choice;
    if (keyNumber) this.wasm.selectKeyNumber(choice.number, keyNumber);
    if (keyspace) this.wasm.selectKeyspace(choice.number, keyspace.id, keyspace.mode === 'raw' ? 1 : 0);
    if (prefix) {
      const mode = prefix.mode === 'raw' ? 1 : 0;
      this.wasm.selectPrefix(
        choice.number,
        this.put(prefix.bytes),
        prefix.bytes.length,
        mode,
        prefix.ttl === true,
      );
    }
    if (ownDefaultGroup) this.wasm.ownDefaultGroup();
  }

  /** What the key space says of itself. `tag` is what is added to the upper 16 bits of table ids. */
  spaceFacts(): { capabilities: number; apiVersion: number; keyspaceId: number; tag: number } {
    const result = this.wasm.spaceFacts();
    const [capabilities, apiVersion, keyspaceId, tag] = [0, 1, 2, 3].map((i) => this.word(result, i)) as [
      number,
      number,
      number,
      number,
    ];
    return { capabilities, apiVersion, keyspaceId, tag: tag >>> 16 };
  }

  /** Whether a region with these bounds, as PD has them, lies inside of the key space. */
  owns(start: Uint8Array, end: Uint8Array): boolean {
    this.wasm.reset();
    return this.wasm.owns(this.put(start), start.length, this.put(end), end.length) !== 0;
  }

  /** A key or range end of etcd. */
  mapName(name: keyof typeof NAMES, key: string): { mapped: Mapped; text: string } {
    this.wasm.reset();
    const bytes = text.encode(key);
    const result = this.wasm.mapName(NAMES[name], this.put(bytes), bytes.length);
    return { mapped: this.word(result, 2), text: new TextDecoder().decode(this.given(result)) };
  }

  /** Whether a client's range of etcd keys must be refused. */
  reachesReserved(key: string, end: string): boolean {
    this.wasm.reset();
    const [a, b] = [text.encode(key), text.encode(end)];
    return this.wasm.reaches(this.put(a), a.length, this.put(b), b.length) !== 0;
  }

  /** A lease id to etcd's and back, as unsigned 64 bits; undefined when no client can hold it. */
  mapLease(direction: 'encode' | 'decode', id: bigint): bigint | undefined {
    const mapped = BigInt.asUintN(64, this.wasm.mapLease(direction === 'encode' ? 0 : 1, id));
    return mapped === (1n << 64n) - 1n ? undefined : mapped;
  }

  /** Forgets what the stream held, and sets the limits in bytes. */
  newStream(vmLimit = UNLIMITED, tenantLimit = UNLIMITED): void {
    this.wasm.newStream(vmLimit, tenantLimit);
  }

  /** The latest timestamp that a request may name. */
  set latestTimestamp(timestamp: bigint) {
    this.wasm.latest(timestamp, 0n);
  }

  /** The same while PD may say, asked anew, that one that is so much later is good. */
  doubtTimestamp(timestamp: bigint, doubt: bigint): void {
    this.wasm.latest(timestamp, doubt);
  }

  /** The earliest timestamp that a tenant may keep from GC, and for how many seconds at most. */
  holdBack(oldest: bigint, seconds: number): void {
    this.wasm.holdBack(oldest, seconds);
  }

  /** Sets for how many seconds a lease in etcd may be taken. */
  longestLease(seconds: bigint): void {
    this.wasm.longestLease(seconds);
  }

  /** Whether PD can be asked whose a region is. */
  set lookups(possible: boolean) {
    this.wasm.lookups(possible ? 1 : 0);
  }

  /** As if PD had said whether the region lies inside the tenant that is selected. */
  learn(region: bigint, version: bigint, inside: boolean): void {
    this.wasm.learn(region, version, inside ? 1 : 0);
  }

  /** Regions that were named and are not known. */
  get wanted(): bigint[] {
    const found: bigint[] = [];
    for (let id = this.wasm.wanted(0); id !== 0n; id = this.wasm.wanted(found.length))
      found.push(BigInt.asUintN(64, id));
    return found;
  }

  forgetLabels(): void {
    this.wasm.forgetLabels();
  }

  forgetWanted(): void {
    this.wasm.forgetWanted();
  }

  /** As if PD had been made anew. */
  forgetRegions(): void {
    this.wasm.forgetRegions();
  }

  /** The time at which regions are learned and asked for, ms. */
  set regionClock(ms: number) {
    this.wasm.regionClock(BigInt(ms));
  }

  /** As if another configuration had been loaded. */
  doubtRegions(): void {
    this.wasm.doubt();
  }

  get heldBytes(): number {
    return this.wasm.heldBytes();
  }

  get pending(): number {
    return this.wasm.pending();
  }

  message(type: number, bytes: Uint8Array, way: Way): Rewritten {
    this.wasm.reset();
    const result = this.wasm.message(type, this.put(bytes), bytes.length, way === 'request' ? 0 : 1);
    return {
      status: this.word(result, 2),
      failedMessage: this.word(result, 3),
      failedField: this.word(result, 4),
      bytes: this.given(result),
    };
  }

  /** Whether such a message is not walked any more, because of one like it. */
  knows(type: number, bytes: Uint8Array, way: Way): boolean {
    this.wasm.reset();
    return this.wasm.knows(type, this.put(bytes), bytes.length, way === 'request' ? 0 : 1) !== 0;
  }

  body(
    type: number,
    bytes: Uint8Array,
    way: Way,
    limit = UNLIMITED,
    mayWait = false,
  ): { status: Status; changed: boolean; waits: boolean; turnedAway: number; bytes: Uint8Array } {
    this.wasm.reset();
    const direction = way === 'request' ? 0 : 1;
    const at = this.put(bytes);
    const result = this.wasm.body(type, at, bytes.length, direction, limit, mayWait ? 1 : 0);
    return {
      status: this.word(result, 2),
      changed: this.word(result, 3) !== 0,
      waits: this.word(result, 4) !== 0,
      turnedAway: this.word(result, 5),
      bytes: this.given(result),
    };
  }

  method(path: string): { decision: number; request: number; response: number; because: string } | undefined {
    this.wasm.reset();
    const bytes = text.encode(path);
    const result = this.wasm.method(this.put(bytes), bytes.length);
    if (result === 0) return undefined;
    return {
      decision: this.word(result, 2),
      request: this.word(result, 3),
      response: this.word(result, 4),
      because: new TextDecoder().decode(this.given(result)),
    };
  }

  /** All that the tables decide about, in the order of the rules' numbers. */
  rules(): { name: string; open: boolean; command: number }[] {
    const rules: { name: string; open: boolean; command: number }[] = [];
    for (;;) {
      this.wasm.reset();
      const result = this.wasm.policyRule(rules.length);
      const name = new TextDecoder().decode(this.given(result));
      if (name === '') return rules;
      rules.push({ name, open: this.word(result, 2) !== 0, command: this.word(result, 3) });
    }
  }

  /** What the loaded configuration's policy says of a rule for the tenant with this number. */
  policyOf(number: number, rule: number): { refused: boolean; trial: number } {
    const found = this.wasm.policyOf(number, rule);
    return { refused: (found & 1) !== 0, trial: found >> 1 };
  }

  /** Makes batches obey the loaded configuration's policy for this tenant; -1: none. */
  usePolicy(number: number): void {
    this.wasm.usePolicy(number);
  }

  /** The command that was let through in a dry run, and how often. */
  get dryRunCommands(): { command: number; count: number } {
    const found = this.wasm.dryRunCommands();
    return { command: found & 0xffff, count: found >>> 16 };
  }

  /** The rule of a method's path; -1 for one that is not known. */
  placeOf(path: string): number {
    this.wasm.reset();
    const bytes = text.encode(path);
    return this.wasm.placeOf(this.put(bytes), bytes.length);
  }

  map(name: MapName, key: Uint8Array): { mapped: Mapped; bytes: Uint8Array } {
    this.wasm.reset();
    const result = this.wasm.map(MAP[name], this.put(key), key.length);
    return { mapped: this.word(result, 2), bytes: this.given(result) };
  }

  plainText(value: Uint8Array | string): boolean {
    this.wasm.reset();
    const bytes = bytesOf(value);
    return this.wasm.plainText(this.put(bytes), bytes.length) !== 0;
  }

  requestKind(method: string, path: string, contentType: string): 'refused' | 'grpc' | 'http' {
    this.wasm.reset();
    const parts = [method, path, contentType].flatMap((part) => {
      const bytes = text.encode(part);
      return [this.put(bytes), bytes.length];
    });
    const kind = this.wasm.requestKind(...(parts as [number, number, number, number, number, number]));
    return (['refused', 'grpc', 'http'] as const)[kind] ?? 'refused';
  }

  /** What happens to a request to PD's HTTP API: its target as it goes on, or why not. */
  http(method: string, target: string): HttpVerdict {
    this.wasm.reset();
    const parts = [method, target].flatMap((part) => {
      const bytes = text.encode(part);
      return [this.put(bytes), bytes.length];
    });
    const result = this.wasm.httpTarget(...(parts as [number, number, number, number]));
    const decision = HTTP_DECISIONS[this.word(result, 3)] ?? 'unknown';
    return {
      decision,
      status: this.word(result, 2) as Status,
      text: new TextDecoder().decode(this.given(result)),
    };
  }

  /** The body of a request to an endpoint as it goes on. */
  httpBody(method: string, path: string, json: string): { status: Status; text: string } {
    this.http(method, path);
    const bytes = bytesOf(json);
    return this.textOf(this.wasm.httpBody(this.put(bytes), bytes.length));
  }

  /** An endpoint's good answer as it goes on. */
  httpAnswer(method: string, path: string, json: string): { status: Status; text: string } {
    this.http(method, path);
    const bytes = bytesOf(json);
    return this.textOf(this.wasm.httpAnswer(this.put(bytes), bytes.length));
  }

  /** An answer that holds regions. */
  regions(json: string): { status: Status; text: string } {
    return this.httpAnswer('GET', '/pd/api/v1/regions', json);
  }

  private textOf(result: number): { status: Status; text: string } {
    const status = this.word(result, 2) as Status;
    return { status, text: status === Status.OK ? new TextDecoder().decode(this.given(result)) : '' };
  }

  /** One region label rule, or a patch of them. */
  labelRules(json: string, patch = false): { status: Status; text: string } {
    const [method, end] = patch ? ['PATCH', 'rules'] : ['POST', 'rule'];
    return this.httpBody(method!, `/pd/api/v1/config/region-label/${end}`, json);
  }

  /** A query with a range in `key` and `end_key`. */
  query(query: string, hex = false): { status: Status; text: string } {
    this.wasm.reset();
    const bytes = bytesOf(query);
    return this.textOf(this.wasm.query(this.put(bytes), bytes.length, hex ? 1 : 0));
  }

  /** Loads a pluginConfig; '' or why it is refused. */
  config(json: string): string {
    this.wasm.reset();
    const bytes = bytesOf(json);
    return new TextDecoder().decode(this.given(this.wasm.config(this.put(bytes), bytes.length)));
  }

  /** Makes the key space of the loaded configuration's tenant with this number the selected one. */
  selectConfigured(number: number): void {
    if (this.wasm.selectConfigured(number) === 0) throw new Error(`no tenant has the number ${number}`);
  }

  /** What the loaded configuration says of timestamps and of PD. */
  get settings(): { maxTsDriftSeconds: number; pd: string } {
    return {
      maxTsDriftSeconds: this.wasm.driftLimit(),
      pd: new TextDecoder().decode(this.given(this.wasm.pdSettings())),
    };
  }

  /** The facts that the loaded rules ask for. */
  private facts(kind: number): string[] {
    const names: string[] = [];
    for (let at = this.wasm.factName(kind, 0); at !== 0; at = this.wasm.factName(kind, names.length))
      names.push(new TextDecoder().decode(this.given(at)));
    return names;
  }

  identity(caller: string | Caller): {
    access: 'refused' | 'tenant' | 'system';
    text: string;
    reason: number;
  } {
    this.wasm.reset();
    const {
      principal = '',
      peer = {},
      node = {},
      header,
      headers = 1,
    } = typeof caller === 'string' ? { principal: caller } : caller;
    this.facts(1).forEach((name, i) => {
      const value = bytesOf(node[name] ?? '');
      this.wasm.setNode(i, this.put(value), value.length);
    });
    const bytes = bytesOf(principal);
    this.wasm.caller(this.put(bytes), bytes.length);
    for (const name of this.facts(0)) {
      const value = bytesOf(peer[name] ?? '');
      this.wasm.callerFact(this.put(value), value.length);
    }
    if (header !== undefined) {
      const value = bytesOf(header);
      this.wasm.callerHeader(this.put(value), value.length, headers > 1 ? 1 : 0);
    }
    const result = this.wasm.identity();
    if (result === 0) throw new Error('no configuration is loaded');
    const access = (['refused', 'tenant', 'system'] as const)[this.word(result, 2)] ?? 'refused';
    return { access, text: new TextDecoder().decode(this.given(result)), reason: this.word(result, 3) };
  }

  /** How long it takes to resolve a principal again and again, in ns. */
  identityTime(principal: string, times: number): number {
    this.wasm.reset();
    const bytes = bytesOf(principal);
    const at = this.put(bytes);
    const began = performance.now();
    const tenants = this.wasm.identify(at, bytes.length, times);
    if (tenants !== times) throw new Error(`${principal} is no tenant`);
    return ((performance.now() - began) * 1e6) / times;
  }
}
