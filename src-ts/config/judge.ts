/** Judges configurations and callers with the filter's own code, compiled without the parts that need Envoy. */
import type { Tell } from '../tell.ts';
import { CHECK, readBuilt } from '../wasm/builds.ts';
import type { FactsConfig } from './types.ts';

interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  alloc(size: number): number;
  reset(): void;
  configure(at: number, length: number): number;
  resolve(at: number, length: number): number;
  rule(place: number): number;
}

/** As in assembly/tenant/identity.ts. */
const ACCESS = ['refused', 'tenant', 'system'] as const;

export interface Verdict {
  readonly access: (typeof ACCESS)[number];
  /** Set when access is `tenant`. */
  readonly tenant?: string;
  /** Set when access is `refused`: what the caller is told. */
  readonly refusal?: string;
  /** The index of the rule that decided. Absent when none did, or when the default rule did because the configuration has no rules. */
  readonly rule?: number;
}

/** Facts about a workload: like a rule's conditions, with values in place of patterns. */
export type Facts = FactsConfig;

/** A caller as the filter sees it. */
export interface Caller {
  /** The URI of the caller's certificate; '' when it has none. */
  readonly principal: string;
  readonly peer?: Facts;
  readonly node?: Facts;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Judge {
  private constructor(private readonly wasm: Exports) {}

  /** Loads the filter's code. Compiles it first when it is missing or older than its sources. */
  static async load(tell?: Tell): Promise<Judge> {
    const module = await WebAssembly.compile(await readBuilt(CHECK, tell));
    const instance = await WebAssembly.instantiate(module, {
      env: {
        abort: () => {
          throw new Error('the check build trapped: please report the configuration');
        },
      },
    });
    const wasm = instance.exports as unknown as Exports;
    wasm._initialize();
    return new Judge(wasm);
  }

  private put(text: string): [at: number, length: number] {
    this.wasm.reset();
    const bytes = encoder.encode(text);
    const at = this.wasm.alloc(bytes.length);
    new Uint8Array(this.wasm.memory.buffer, at, bytes.length).set(bytes);
    return [at, bytes.length];
  }

  private text(result: number): string {
    const view = new DataView(this.wasm.memory.buffer);
    return decoder.decode(
      new Uint8Array(this.wasm.memory.buffer, view.getUint32(result, true), view.getUint32(result + 4, true)),
    );
  }

  /** Loads a pluginConfig. Returns '' or the line with which the filter refuses it. */
  configure(json: string): string {
    return this.text(this.wasm.configure(...this.put(json)));
  }

  /** The operations that the tables allow tenants, so that a policy can refuse them. */
  refusable(): string[] {
    const names: string[] = [];
    for (let place = 0; ; place++) {
      const result = this.wasm.rule(place);
      const name = this.text(result);
      if (name === '') return names;
      if (new DataView(this.wasm.memory.buffer).getUint32(result + 8, true) !== 0) names.push(name);
    }
  }

  /** The verdict of the last loaded configuration about a caller. */
  resolve(caller: Caller): Verdict {
    const result = this.wasm.resolve(...this.put(JSON.stringify(caller)));
    const view = new DataView(this.wasm.memory.buffer);
    const access = ACCESS[view.getUint32(result + 8, true)] ?? 'refused';
    const place = view.getInt32(result + 12, true);
    const rule = place < 0 ? {} : { rule: place };
    const text = this.text(result);
    if (access === 'tenant') return { access, tenant: text, ...rule };
    return access === 'system' ? { access, ...rule } : { access, refusal: text, ...rule };
  }
}
