/** The wasm that is measured, with loops inside of it, so that calls from JavaScript do not count. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Build, ensureBuilt, ROOT, TESTING } from '../src-ts/wasm/builds.ts';
import type { SpaceChoice, Way } from '../test/unit/filter.ts';
import { clocked, type Took } from './clock.ts';

interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  room(size: number): number;
  select(number: number, prefix: number, prefixLength: number, lease: bigint): void;
  selectKeyspace(number: number, id: number, mode: number): void;
  newStream(vmLimit: number, tenantLimit: number): void;
  bench(type: number, at: number, length: number, out: number, way: number, times: number): number;
  benchCopy(at: number, between: number, out: number, length: number, times: number): void;
}

/** A message that lies ready outside of the arena. */
export interface Loaded {
  readonly type: number;
  readonly at: number;
  readonly length: number;
  readonly way: number;
  /** Two more places: between the copy in and the copy out, and the host's. */
  readonly between: number;
  readonly out: number;
}

/** A walker without care, see bench/assembly/naive.ts. */
const NAIVE: Build = {
  name: 'walker without care',
  args: ['bench/assembly/naive.ts', '--target', 'release', '--outFile', 'build/naive.wasm'],
  output: 'build/naive.wasm',
};

interface NaiveExports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  room(size: number): number;
  bench(at: number, length: number, out: number, tenant: number, times: number): void;
}

/** gRPC's frame: a zero and the length. */
const FRAME_BYTES = 5;
/** How much longer a rewritten message may be. */
const GROWTH = 2;
const SPARE = 4096;

export async function buildBenchWasm(): Promise<void> {
  await ensureBuilt([TESTING.release, NAIVE]);
}

function framed(bytes: Uint8Array): Uint8Array {
  const body = new Uint8Array(FRAME_BYTES + bytes.length);
  new DataView(body.buffer).setUint32(1, bytes.length);
  body.set(bytes, FRAME_BYTES);
  return body;
}

function instantiate(file: string): WebAssembly.Exports {
  const abort = (): void => {
    throw new Error('the filter aborts');
  };
  return new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), { env: { abort } }).exports;
}

/** A batch of gets, walked with no care at all. */
export class NaiveWalk {
  private readonly wasm = instantiate(join(ROOT, NAIVE.output)) as unknown as NaiveExports;
  private readonly at: number;
  private readonly length: number;
  private readonly out: number;

  constructor(
    bytes: Uint8Array,
    private readonly tenant: number,
  ) {
    this.wasm._initialize();
    const body = framed(bytes);
    this.length = body.length;
    this.at = this.wasm.room(this.length);
    this.out = this.wasm.room(this.length);
    new Uint8Array(this.wasm.memory.buffer).set(body, this.at);
  }

  /** Copies in, walks and copies out, so many times. */
  run(times: number): Took {
    return clocked(() => this.wasm.bench(this.at, this.length, this.out, this.tenant, times));
  }

  /** What the batch becomes, without its frame. */
  show(): Uint8Array {
    this.run(1);
    return new Uint8Array(this.wasm.memory.buffer).slice(this.out + FRAME_BYTES, this.out + this.length);
  }
}

export class BenchWasm {
  private readonly wasm: Exports;

  constructor(choice: SpaceChoice, prefix: string, file = join(ROOT, TESTING.release.output)) {
    this.wasm = instantiate(file) as unknown as Exports;
    this.wasm._initialize();
    const name = new TextEncoder().encode(prefix);
    this.wasm.select(choice.number, this.put(name), name.length, 0n);
    const { keyspace } = choice;
    if (keyspace) this.wasm.selectKeyspace(choice.number, keyspace.id, keyspace.mode === 'raw' ? 1 : 0);
    this.wasm.newStream(0x7fffffff, 0x7fffffff);
  }

  private put(bytes: Uint8Array): number {
    const at = this.wasm.room(bytes.length);
    new Uint8Array(this.wasm.memory.buffer).set(bytes, at);
    return at;
  }

  /** Puts a framed message into the wasm's memory, for good. */
  load(type: number, bytes: Uint8Array, way: Way): Loaded {
    const body = framed(bytes);
    const at = this.put(body);
    const between = this.wasm.room(body.length);
    const out = this.wasm.room(body.length * GROWTH + SPARE);
    return { type, at, length: body.length, way: way === 'request' ? 0 : 1, between, out };
  }

  /** Copies in, rewrites and copies out, so many times. Throws when the message is not taken. */
  run({ type, at, length, out, way }: Loaded, times: number): Took {
    return clocked(() => {
      const done = this.wasm.bench(type, at, length, out, way, times);
      if (done < 0) throw new Error(`message ${type} is refused with status ${-done}`);
    });
  }

  /** Copies the same bytes in and out. */
  copy({ at, between, out, length }: Loaded, times: number): Took {
    return clocked(() => this.wasm.benchCopy(at, between, out, length, times));
  }

  /** What the message becomes, without its frame. */
  show(loaded: Loaded): Uint8Array {
    const { type, at, length, out, way } = loaded;
    const size = this.wasm.bench(type, at, length, out, way, 1);
    if (size < 0) throw new Error(`message ${type} is refused with status ${-size}`);
    return new Uint8Array(this.wasm.memory.buffer).slice(out + FRAME_BYTES, out + size);
  }
}
