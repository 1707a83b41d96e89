/**
 * The filter that users run, without Envoy: its callbacks, and a host that answers its calls as Envoy would, one stream at a time. What a
 * call into the host costs is not Envoy's, so times by it are for comparing with each other.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, RELEASE, ROOT } from '../src-ts/wasm/builds.ts';

interface Callbacks {
  memory: WebAssembly.Memory;
  _initialize(): void;
  proxy_on_memory_allocate(size: number): number;
  proxy_on_vm_start(root: number, size: number): number;
  proxy_on_configure(root: number, size: number): number;
  proxy_on_tick(root: number): void;
  proxy_on_context_create(context: number, root: number): void;
  proxy_on_request_headers(context: number, count: number, last: number): number;
  proxy_on_request_body(context: number, size: number, last: number): number;
  proxy_on_response_headers(context: number, count: number, last: number): number;
  proxy_on_response_body(context: number, size: number, last: number): number;
  proxy_on_response_trailers(context: number, count: number): number;
  proxy_on_http_call_response(
    root: number,
    token: number,
    headers: number,
    size: number,
    trailers: number,
  ): void;
  proxy_on_delete(context: number): void;
}

const OK = 0;
const NOT_FOUND = 1;
const BAD_ARGUMENT = 2;
const CAS_MISMATCH = 8;
const CONTINUE = 0;
/** Milliseconds between ticks at least, but for those that only end streams. */
const SHORTEST_TICK = 100;
/** As in assembly/host/abi.ts. */
const PLUGIN_CONFIGURATION = 7;
const RESPONSE_MAPS = 2;
/** The largest body that the host has room for. */
const ROOM = 1 << 20;

const utf8 = new TextEncoder();
const text = new TextDecoder();

/** Headers as `proxy_get_header_map_pairs` gives them. */
export function headerPairs(headers: readonly (readonly [string, string])[]): Uint8Array {
  const parts = headers.map(([name, value]) => [utf8.encode(name), utf8.encode(value)] as const);
  const sizes = Buffer.alloc(4 + parts.length * 8);
  sizes.writeUInt32LE(parts.length, 0);
  for (const [i, [name, value]] of parts.entries()) {
    sizes.writeUInt32LE(name.length, 4 + i * 8);
    sizes.writeUInt32LE(value.length, 8 + i * 8);
  }
  const zero = Buffer.alloc(1);
  return Buffer.concat([sizes, ...parts.flatMap(([name, value]) => [name, zero, value, zero])]);
}

/** The headers of a gRPC call. */
export function callHeaders(path: string): Uint8Array {
  return headerPairs([
    [':method', 'POST'],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'store:20160'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ['user-agent', 'grpc-go/1.63.2'],
  ]);
}

const ANSWER_HEADERS = headerPairs([
  [':status', '200'],
  ['content-type', 'application/grpc'],
]);

export interface PdCall {
  readonly token: number;
  readonly path: string;
  readonly body: string;
}

/** Where the filter asks for PD's clock. */
const TIME_PATH = '/v3/kv/range';

export type SharedData = Map<string, { readonly value: Uint8Array; readonly cas: number }>;

const NOBODY = new Uint8Array();

/** Compiled once, so that all instances are as warm as the first. */
let compiled: WebAssembly.Module | undefined;

export async function buildModule(): Promise<void> {
  await ensureBuilt([RELEASE]);
}

export class HostedModule {
  private readonly wasm: Callbacks;
  private view: Uint8Array;
  private words: DataView;
  private root = 0;
  private contexts = 0;
  private metrics = 0;
  private readonly names = new Map<number, string>();
  private readonly values = new Map<string, number>();

  private requestHeaders: Uint8Array = new Uint8Array();
  /** The URIs of the callers' certificates, by stream. */
  private readonly callers = new Map<number, Uint8Array>();
  private body: Uint8Array = new Uint8Array();
  private readonly room = new Uint8Array(ROOM);
  /** How many bytes of the body went on. */
  private passedLength = 0;
  private isReplaced = false;
  pluginName = 'bench';

  /** The last refusal's text, and what an access log shows as its details. */
  refusal = '';
  details = '';
  /** The line that it logs at its start. */
  readonly greeting: string;
  /** Lines of Envoy's log since then. */
  readonly logged: { readonly level: number; readonly text: string }[] = [];
  /** What the filter has set for streams, the newest value of each. */
  readonly properties = new Map<string, string>();
  /** The headers that it has set, the newest value of each. */
  readonly headers = new Map<string, string>();
  /** Names of the headers that it has removed. */
  readonly removed: string[] = [];
  /** Contexts of streams that the filter has reset. */
  readonly ended: number[] = [];
  /** The context that the callback is for, the one that the filter acts for instead, or 0, and the root of each context. */
  private current = 0;
  private effective = 0;
  private readonly roots = new Map<number, number>();
  /** Milliseconds since 1970, as the filter sees it. */
  clock = Date.now();
  /** How often it has asked for the time, or for what VMs share. */
  questions = 0;
  /** Contexts of streams that the filter has let go on after a wait. */
  readonly continued: number[] = [];
  /** The time between ticks of each root context, in milliseconds. */
  private readonly tickPeriods = new Map<number, number>();
  private isTick = false;
  private lastTick = 0;

  /** Whether Envoy has the cluster of PD, and what the filter has asked PD. */
  reachesPd = false;
  readonly calls: PdCall[] = [];
  /** The same for its questions about PD's clock, which it asks by itself. */
  readonly timeCalls: PdCall[] = [];
  private tokens = 0;

  /** The status of the last reply. */
  replyCode = 0;

  /** `buildModule` comes first. `shared`: what the VMs of one Envoy share. */
  constructor(private readonly shared: SharedData = new Map()) {
    compiled ??= new WebAssembly.Module(readFileSync(join(ROOT, RELEASE.output)));
    const imports = { env: this.host(), wasi_snapshot_preview1: { random_get: this.random.bind(this) } };
    this.wasm = new WebAssembly.Instance(compiled, imports).exports as unknown as Callbacks;
    this.view = new Uint8Array(this.wasm.memory.buffer);
    this.words = new DataView(this.wasm.memory.buffer);
    this.wasm._initialize();
    this.wasm.proxy_on_vm_start(0, 0);
    this.greeting = this.logged
      .splice(0)
      .map(({ text }) => text)
      .join('\n');
    this.refusal = '';
  }

  get memoryBytes(): number {
    return this.wasm.memory.buffer.byteLength;
  }

  /** A gauge or counter as of the last tick. */
  metric(name: string): number {
    return this.values.get(name) ?? 0;
  }

  /** Sets a gauge, as another VM does. */
  set(name: string, value: number): void {
    this.values.set(name, value);
  }

  /** Names of all metrics, in the order in which the filter defined them. */
  get metricNames(): string[] {
    return [...this.names.values()];
  }

  /** How often the filter has told a value. */
  increments = 0;

  /** The time between ticks of the newest root context; 0: it has none. */
  get tickPeriod(): number {
    return this.tickPeriods.get(this.root) ?? 0;
  }

  private get acting(): number {
    return this.effective || this.current;
  }

  /** Begins a callback for a context. */
  private enter(context: number): void {
    this.current = context;
    this.effective = 0;
  }

  /** Memory may have moved since the last look at it. */
  private look(): void {
    if (this.view.length !== 0) return;
    this.view = new Uint8Array(this.wasm.memory.buffer);
    this.words = new DataView(this.wasm.memory.buffer);
  }

  private give(bytes: Uint8Array, at: number, size: number): number {
    const to = this.wasm.proxy_on_memory_allocate(bytes.length);
    this.look();
    this.view.set(bytes, to);
    this.words.setUint32(at, to, true);
    this.words.setUint32(size, bytes.length, true);
    return OK;
  }

  private read(at: number, length: number): string {
    this.look();
    return text.decode(this.view.subarray(at, at + length));
  }

  private random(at: number, length: number): number {
    this.look();
    crypto.getRandomValues(this.view.subarray(at, at + length));
    return OK;
  }

  private host() {
    const setHeader = (_map: number, name: number, nameLength: number, at: number, size: number): number => {
      this.headers.set(this.read(name, nameLength), this.read(at, size));
      return OK;
    };
    return {
      proxy_get_header_map_pairs: (map: number, at: number, size: number): number =>
        this.give(map >= RESPONSE_MAPS ? ANSWER_HEADERS : this.requestHeaders, at, size),
      proxy_get_property: (path: number, length: number, at: number, size: number): number => {
        this.look();
        // `connection` is the only property of a stream here, `plugin_name` the only other one.
        const first = this.view[path];
        if (first === 0x63) return this.give(this.callers.get(this.acting) ?? NOBODY, at, size);
        return first === 0x70 && length === 11
          ? this.give(utf8.encode(this.pluginName), at, size)
          : NOT_FOUND;
      },
      proxy_get_buffer_bytes: (_type: number, _start: number, _max: number, at: number, size: number) =>
        this.give(this.body, at, size),
      proxy_set_buffer_bytes: (type: number, _start: number, _old: number, at: number, size: number) => {
        if (type === PLUGIN_CONFIGURATION) return NOT_FOUND;
        this.look();
        this.room.set(this.view.subarray(at, at + size));
        this.passedLength = size;
        this.isReplaced = true;
        return OK;
      },
      proxy_send_local_response: (
        code: number,
        details: number,
        detailsLength: number,
        at: number,
        size: number,
      ): number => {
        this.replyCode = code;
        this.refusal = this.read(at, size);
        this.details = this.read(details, detailsLength);
        return OK;
      },
      proxy_log: (level: number, at: number, size: number): number => {
        const line = this.read(at, size);
        this.logged.push({ level, text: line });
        this.refusal = line;
        return OK;
      },
      proxy_define_metric: (_type: number, at: number, size: number, result: number): number => {
        this.names.set(++this.metrics, this.read(at, size));
        this.words.setUint32(result, this.metrics, true);
        return OK;
      },
      proxy_increment_metric: (metric: number, by: bigint): number => {
        const name = this.names.get(metric)!;
        this.increments++;
        this.values.set(name, this.metric(name) + Number(by));
        return OK;
      },
      proxy_record_metric: (metric: number, value: bigint): number => {
        this.values.set(this.names.get(metric)!, Number(value));
        return OK;
      },
      proxy_get_current_time_nanoseconds: (at: number): number => {
        this.questions++;
        this.look();
        // A tick asks first whether a second has passed.
        const time = this.clock + (this.isTick ? 1000 : 0);
        this.isTick = false;
        this.words.setBigUint64(at, BigInt(time) * 1_000_000n, true);
        return OK;
      },
      proxy_get_shared_data: (
        key: number,
        keyLength: number,
        at: number,
        size: number,
        cas: number,
      ): number => {
        this.questions++;
        const found = this.shared.get(this.read(key, keyLength));
        if (found === undefined) return NOT_FOUND;
        this.give(found.value, at, size);
        this.words.setUint32(cas, found.cas, true);
        return OK;
      },
      proxy_set_shared_data: (
        key: number,
        keyLength: number,
        at: number,
        size: number,
        cas: number,
      ): number => {
        const name = this.read(key, keyLength);
        const found = this.shared.get(name);
        // An absent value is written whatever the mark is, as in Envoy.
        if (found && cas !== 0 && found.cas !== cas) return CAS_MISMATCH;
        this.shared.set(name, { value: this.view.slice(at, at + size), cas: (found?.cas ?? 0) + 1 });
        return OK;
      },
      proxy_http_call: (
        _cluster: number,
        _clusterLength: number,
        pairs: number,
        pairsLength: number,
        body: number,
        bodyLength: number,
        _trailers: number,
        _trailersLength: number,
        _timeout: number,
        token: number,
      ): number => {
        if (!this.reachesPd) return NOT_FOUND;
        const [, path = ''] = /\0:path\0([^\0]*)/.exec(`\0${this.read(pairs, pairsLength)}`) ?? [];
        const calls = path === TIME_PATH ? this.timeCalls : this.calls;
        calls.push({ token: ++this.tokens, path, body: this.read(body, bodyLength) });
        this.words.setUint32(token, this.tokens, true);
        return OK;
      },
      proxy_continue_stream: (): number => {
        this.continued.push(this.acting);
        return OK;
      },
      proxy_set_effective_context: (context: number): number => {
        if (!this.roots.has(context)) return BAD_ARGUMENT;
        this.effective = context;
        return OK;
      },
      proxy_set_tick_period_milliseconds: (period: number): number => {
        this.tickPeriods.set(this.roots.get(this.acting)!, period);
        return OK;
      },
      proxy_set_property: (name: number, nameLength: number, at: number, size: number): number => {
        this.properties.set(this.read(name, nameLength), this.read(at, size));
        return OK;
      },
      proxy_add_header_map_value: setHeader,
      proxy_replace_header_map_value: setHeader,
      proxy_remove_header_map_value: (_map: number, at: number, size: number): number => {
        this.removed.push(this.read(at, size));
        return OK;
      },
      proxy_close_stream: (): number => {
        this.ended.push(this.acting);
        return OK;
      },
    };
  }

  /** Loads a configuration in the place of the last one, under which no stream may be open any more. Throws when it is refused. */
  configure(config: Uint8Array): void {
    const former = this.supersede(config);
    if (former !== 0) this.close(former);
  }

  /** Loads a configuration beside the last one, under which streams stay open. Gives the context of the former, to be closed after them. */
  supersede(config: Uint8Array): number {
    const former = this.root;
    this.lastTick = this.clock;
    this.root = ++this.contexts;
    this.roots.set(this.root, this.root);
    this.enter(this.root);
    this.wasm.proxy_on_context_create(this.root, 0);
    this.body = config;
    if (this.wasm.proxy_on_configure(this.root, config.length) === 0) throw new Error(this.refusal);
    return former;
  }

  /** Ends the newest configuration, under which no stream may be open any more: a former one is in force again. */
  goBack(former: number): void {
    this.close(this.root);
    this.root = former;
  }

  /** The next tick: a second after the last one, if the clock has hardly moved. */
  tick(): void {
    if (this.tickPeriod === 0) throw new Error('the newest configuration has no timer');
    this.enter(this.root);
    this.isTick = this.clock - this.lastTick < SHORTEST_TICK;
    this.lastTick = this.clock;
    this.wasm.proxy_on_tick(this.root);
  }

  /** A stream with its headers through. Throws when it is refused. */
  open(caller: Uint8Array, headers: Uint8Array): number {
    return this.openUnder(this.root, caller, headers);
  }

  /** The same under a former configuration, by its context. */
  openUnder(root: number, caller: Uint8Array, headers: Uint8Array): number {
    const { context, goesOn } = this.begin(root, caller, headers);
    if (!goesOn) throw new Error(this.refusal);
    return context;
  }

  /** The same for a stream whose headers may have to wait. */
  tryOpen(caller: Uint8Array, headers: Uint8Array): { context: number; goesOn: boolean } {
    this.refusal = '';
    return this.begin(this.root, caller, headers);
  }

  private begin(root: number, caller: Uint8Array, headers: Uint8Array): { context: number; goesOn: boolean } {
    const context = ++this.contexts;
    this.callers.set(context, caller);
    this.roots.set(context, root);
    this.enter(context);
    this.requestHeaders = headers;
    this.wasm.proxy_on_context_create(context, root);
    return { context, goesOn: this.wasm.proxy_on_request_headers(context, 0, 0) === CONTINUE };
  }

  /** A piece of the request's body; false: the stream is refused. */
  request(context: number, piece: Uint8Array, isLast = false): boolean {
    this.beginPiece(context, piece);
    return this.wasm.proxy_on_request_body(context, piece.length, isLast ? 1 : 0) === CONTINUE;
  }

  answerHeaders(context: number): boolean {
    this.enter(context);
    return this.wasm.proxy_on_response_headers(context, 0, 0) === CONTINUE;
  }

  answerTrailers(context: number): boolean {
    this.enter(context);
    return this.wasm.proxy_on_response_trailers(context, 0) === CONTINUE;
  }

  /** A piece of the answer's body; false: the stream is refused. */
  answer(context: number, piece: Uint8Array): boolean {
    this.beginPiece(context, piece);
    return this.wasm.proxy_on_response_body(context, piece.length, 0) === CONTINUE;
  }

  /** PD's answer to a call of the newest configuration; without a text there is none in time. */
  answerCall(token: number, answer = ''): void {
    this.enter(this.root);
    this.body = utf8.encode(answer);
    this.wasm.proxy_on_http_call_response(this.root, token, 0, this.body.length, 0);
  }

  private beginPiece(context: number, piece: Uint8Array): void {
    this.enter(context);
    this.body = piece;
    this.isReplaced = false;
  }

  /** What the last piece became. */
  passed(): Uint8Array {
    return this.isReplaced ? this.room.slice(0, this.passedLength) : this.body.slice();
  }

  close(context: number): void {
    this.enter(context);
    this.wasm.proxy_on_delete(context);
    this.callers.delete(context);
    this.roots.delete(context);
    this.tickPeriods.delete(context);
  }
}
