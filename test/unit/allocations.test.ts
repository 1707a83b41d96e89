/** Nothing is allocated per message once the filter has seen its like: counted in the allocator itself, on AssemblyScript's traced runtime. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ensureBuilt, ROOT, TRACED } from '../../src-ts/wasm/builds.ts';
import { coprocessorResponseOf, typicalMessages, type TypicalMessage } from '../../bench/messages.ts';
import type { SpaceChoice } from './filter.ts';
import { spaceOf } from '../harness/model/key-spaces.ts';
import { messageId } from '../harness/model/schema.ts';
import { frame } from '../harness/model/wire.ts';

const SPACES: SpaceChoice[] = [
  { number: 1 },
  { number: 3, keyspace: { id: 7, mode: 'txn' } },
  { number: 5, prefix: { bytes: Buffer.from('app1:'), mode: 'txn' } },
  { number: 0 },
];

const WARM_UP = 10;
const MESSAGES = 100;
/** The arena's own block, see assembly/memory/arena.ts. */
const ARENA_BYTES = 256 * 1024;

interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  room(size: number): number;
  select(number: number, prefix: number, prefixLength: number, lease: bigint): void;
  selectKeyspace(number: number, id: number, mode: number): void;
  selectPrefix(number: number, at: number, length: number, mode: number, hasTtl: boolean): void;
  newStream(vmLimit: number, tenantLimit: number): void;
  bench(type: number, at: number, length: number, out: number, way: number, times: number): number;
  config(at: number, length: number): number;
  identify(at: number, length: number, times: number): number;
}

/** Counts the calls of heap.alloc and heap.free. */
class Traced {
  allocated = 0;
  freed = 0;
  private readonly wasm: Exports;

  constructor(choice: SpaceChoice) {
    const count = (): void => undefined;
    const rtrace = {
      oninit: count,
      onalloc: () => this.allocated++,
      onresize: () => this.allocated++,
      onmove: count,
      onfree: () => this.freed++,
      onvisit: () => 1,
      oncollect: count,
      oninterrupt: count,
      onyield: count,
      // The traced runtime asks about every access; these let them happen.
      onload: (at: number) => at,
      onstore: (at: number) => at,
    };
    const abort = (): void => {
      throw new Error('the filter aborts');
    };
    const module = new WebAssembly.Module(readFileSync(join(ROOT, TRACED.output)));
    this.wasm = new WebAssembly.Instance(module, { env: { abort }, rtrace }).exports as unknown as Exports;
    this.wasm._initialize();
    const name = Buffer.from('/tidb-mesh/alpha:');
    this.wasm.select(choice.number, this.put(name), name.length, 0n);
    const { keyspace, prefix } = choice;
    if (keyspace) this.wasm.selectKeyspace(choice.number, keyspace.id, 0);
    if (prefix) this.wasm.selectPrefix(choice.number, this.put(prefix.bytes), prefix.bytes.length, 0, false);
    this.wasm.newStream(0x7fffffff, 0x7fffffff);
  }

  private put(bytes: Uint8Array): number {
    const at = this.wasm.room(bytes.length);
    new Uint8Array(this.wasm.memory.buffer).set(bytes, at);
    return at;
  }

  get memoryBytes(): number {
    return this.wasm.memory.buffer.byteLength;
  }

  /** Loads a pluginConfig. */
  config(config: object): void {
    const text = Buffer.from(JSON.stringify(config));
    this.wasm.config(this.put(text), text.length);
  }

  /** Gives a function that resolves the principal so many times. */
  caller(principal: string): (times: number) => number {
    const bytes = Buffer.from(principal);
    const at = this.put(bytes);
    return (times) => this.wasm.identify(at, bytes.length, times);
  }

  /** Gives a function that rewrites the message so many times. */
  load({ type, way, bytes }: TypicalMessage): (times: number) => number {
    const body = frame(bytes);
    const at = this.put(body);
    const out = this.wasm.room(body.length * 2 + 4096);
    const id = messageId(type);
    return (times) => this.wasm.bench(id, at, body.length, out, way === 'request' ? 0 : 1, times);
  }
}

beforeAll(async () => {
  await ensureBuilt([TRACED]);
}, 240_000);

describe.each(SPACES.map((choice) => [spaceOf(choice).name, choice] as const))('%s', (_, choice) => {
  const served = typicalMessages(spaceOf(choice)).filter(
    ({ type }) => !choice.prefix || !type.startsWith('coprocessor.'),
  );

  test.each(served.map((message) => [message.name, message] as const))('%s', (__, message) => {
    const filter = new Traced(choice);
    const rewrite = filter.load(message);
    expect(rewrite(WARM_UP)).toBeGreaterThan(0);
    const { allocated, freed, memoryBytes } = filter;
    expect(rewrite(MESSAGES)).toBeGreaterThan(0);
    // What does not fit into the arena's block is given back with the event.
    expect(filter.allocated - allocated).toBe(filter.freed - freed);
    expect(filter.memoryBytes).toBe(memoryBytes);
    if (message.bytes.length < ARENA_BYTES / 8) expect(filter.allocated - allocated).toBe(0);
  });
});

test('counts: a message that overflows the arena allocates, once for each of its blocks', () => {
  const choice = SPACES[0]!;
  const filter = new Traced(choice);
  const rewrite = filter.load(coprocessorResponseOf(2 * ARENA_BYTES, spaceOf(choice)));
  rewrite(WARM_UP);
  const { allocated } = filter;
  expect(rewrite(MESSAGES)).toBeGreaterThan(0);
  expect(filter.allocated - allocated).toBe(MESSAGES);
});

describe('callers', () => {
  const load = (): Traced => {
    const filter = new Traced(SPACES[0]!);
    filter.config({
      tenants: [{ name: 'alpha', number: 1 }],
      rules: [
        { principal: 'spiffe://a/ns/storage/sa/*', system: true },
        { principal: 'spiffe://a/ns/{tenant}/sa/*' },
      ],
    });
    return filter;
  };

  test('one that is known costs nothing', () => {
    const filter = load();
    const resolve = filter.caller('spiffe://a/ns/alpha/sa/tidb');
    expect(resolve(1)).toBe(1);
    const { allocated } = filter;
    expect(resolve(MESSAGES)).toBe(MESSAGES);
    expect(filter.allocated - allocated).toBe(0);
  });

  test('one that is refused costs nothing either', () => {
    const filter = load();
    const resolve = filter.caller('spiffe://a/ns/beta/sa/tidb');
    expect(resolve(1)).toBe(0);
    const { allocated } = filter;
    expect(resolve(MESSAGES)).toBe(0);
    expect(filter.allocated - allocated).toBe(0);
  });

  test('a new one takes room among those that are remembered, not in the allocator', () => {
    const filter = load();
    const all = Array.from({ length: 101 }, (_, i) => filter.caller(`spiffe://a/ns/alpha/sa/${i}`));
    all[0]!(1);
    const { allocated } = filter;
    for (const resolve of all) expect(resolve(1)).toBe(1);
    expect(filter.allocated - allocated).toBe(0);
  });
});
