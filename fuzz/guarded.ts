/** One instance of the instrumented build: counts blocks, and throws when the filter touches what is not its own. */
import type { Exports } from '../test/unit/filter.ts';
import { Filter } from '../test/unit/filter.ts';
import type { FuzzBuild } from './build.ts';
import { COVERAGE, GRANULE, PROGRAM, READ_ONLY, SHADOW, VIOLATIONS } from './layout.ts';

/** The function of the filter that called the instrumentation, from the names section. */
function culprit(stack: string | undefined): string {
  const frames = [...(stack ?? '').matchAll(/ at (\S+) \(wasm:/g)].map(([, name]) => name ?? '');
  return frames.find((name) => !name.startsWith('fuzz/') && !name.startsWith('~lib/')) ?? 'the filter';
}

/** The filter did what it must never do: trapped, read or wrote outside, or did not come to an end. */
export class Violation extends Error {}

interface GuardedExports extends Exports {
  readonly fuzzSteps: WebAssembly.Global;
}

function openConstants(memory: WebAssembly.Memory, build: FuzzBuild): void {
  const shadow = new Uint8Array(memory.buffer, SHADOW);
  shadow.fill(GRANULE, PROGRAM / GRANULE, Math.ceil(build.heapBase / GRANULE));
  // Only granules that hold nothing else: a neighbour may be changed.
  for (const { from, to } of build.constants)
    shadow.fill(READ_ONLY | GRANULE, Math.ceil(from / GRANULE), Math.floor(to / GRANULE));
}

export class Guarded {
  readonly filter: Filter;
  private readonly wasm: GuardedExports;
  private readonly blocks: number;
  private counters = new Uint8Array(0);

  constructor(build: FuzzBuild, module: WebAssembly.Module = new WebAssembly.Module(build.code)) {
    const imports = {
      env: {
        abort(_message: number, _file: number, line: number, column: number): void {
          throw new Violation(`aborts at ${line}:${column}`);
        },
        violation(kind: number, at: number, size: number): void {
          const { stack } = new Error();
          const access = kind === 2 ? '' : ` of ${size >>> 0} bytes at ${at >>> 0}, outside`;
          throw new Violation(`${VIOLATIONS[kind] ?? kind}${access}, in ${culprit(stack)}`);
        },
      },
    };
    this.wasm = new WebAssembly.Instance(module, imports).exports as unknown as GuardedExports;
    this.blocks = build.blocks;
    openConstants(this.wasm.memory, build);
    this.filter = new Filter('debug', this.wasm);
  }

  get memoryBytes(): number {
    return this.wasm.memory.buffer.byteLength - PROGRAM;
  }

  /** Runs `what` with at most `steps` steps (turns of loops, 16 copied bytes). Anything thrown becomes a Violation. */
  within<T>(steps: number, what: (filter: Filter) => T): T {
    this.wasm.fuzzSteps.value = BigInt(steps);
    try {
      return what(this.filter);
    } catch (error) {
      if (error instanceof Violation) throw error;
      throw new Violation(`traps: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }

  /** Steps that are left of the last `within`. */
  get stepsLeft(): number {
    return Number(this.wasm.fuzzSteps.value);
  }

  clearCoverage(): void {
    this.coverage.fill(0);
  }

  /** How often each block ran since `clearCoverage`, modulo 256. A view: valid until memory grows. */
  get coverage(): Uint8Array {
    const { buffer } = this.wasm.memory;
    if (this.counters.buffer !== buffer) this.counters = new Uint8Array(buffer, COVERAGE, this.blocks);
    return this.counters;
  }
}
