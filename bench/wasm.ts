/** The release build of the test wasm, with loops inside of it, so that calls from JavaScript do not count. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, ROOT, TESTING } from '../src-ts/wasm/builds.ts';
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
  benchNaive(at: number, length: number, out: number, tenant: number, times: number): number;
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

/** gRPC's frame: a zero and the length. */
const FRAME_BYTES = 5;
/** How much longer a rewritten message may be. */
const GROWTH = 2;
const SPARE = 4096;

export async function buildBenchWasm(): Promise<void> {
  await ensureBuilt([TESTING.release]);
}

export class BenchWasm {
  private readonly wasm: Exports;

  constructor(choice: SpaceChoice, prefix: string, file = join(ROOT, TESTING.release.output)) {
    const module = new WebAssembly.Module(readFileSync(file));
    const abort = (): void => {
      throw new Error('the filter aborts');
    };
    this.wasm = new WebAssembly.Instance(module, { env: { abort } }).exports as unknown as Exports;
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
    const body = new Uint8Array(FRAME_BYTES + bytes.length);
    new DataView(body.buffer).setUint32(1, bytes.length);
    body.set(bytes, FRAME_BYTES);
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

  /** Copies in, walks a batch of gets with no care at all, and copies out. */
  naive({ at, length, out }: Loaded, tenant: number, times: number): Took {
    return clocked(() => this.wasm.benchNaive(at, length, out, tenant, times));
  }

  /** What that makes of it, without its frame. */
  showNaive({ at, length, out }: Loaded, tenant: number): Uint8Array {
    const size = this.wasm.benchNaive(at, length, out, tenant, 1);
    return new Uint8Array(this.wasm.memory.buffer).slice(out + FRAME_BYTES, out + size);
  }

  /** What the message becomes, without its frame. */
  show(loaded: Loaded): Uint8Array {
    const { type, at, length, out, way } = loaded;
    const size = this.wasm.bench(type, at, length, out, way, 1);
    if (size < 0) throw new Error(`message ${type} is refused with status ${-size}`);
    return new Uint8Array(this.wasm.memory.buffer).slice(out + FRAME_BYTES, out + size);
  }
}
