/** On what the figures were measured. */
import { execFileSync } from 'node:child_process';
import { cpus, loadavg, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly v8: string;
  readonly go: string;
  /** One minute's load when the benchmark began: what else was running. */
  readonly load: number;
  /** When, in ISO 8601. */
  readonly measured: string;
}

/** What makes figures of two machines differ. */
const KINDS = ['cpu', 'cores', 'memoryBytes', 'node', 'v8', 'go'] as const;

/** How the machine differs from an earlier one, as text; '' when it does not. */
export function differenceOf(earlier: Machine, now: Machine): string {
  return KINDS.filter((kind) => earlier[kind] !== now[kind])
    .map((kind) => `${kind} ${earlier[kind]}, now ${now[kind]}`)
    .join('; ');
}

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.versions.node,
    v8: process.versions.v8,
    go: goVersion(),
    load: loadavg()[0]!,
    measured: new Date().toISOString(),
  };
}

function goVersion(): string {
  try {
    return execFileSync('go', ['env', 'GOVERSION'], { encoding: 'utf8' }).trim();
  } catch {
    return 'none';
  }
}
