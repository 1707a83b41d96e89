/** What a benchmark is to the command that runs it. */
import type { Curve } from './curves.ts';
import type { Row } from './rows.ts';

export interface Settings {
  /** Rounds, interleaved; undefined leaves it to the benchmark. */
  readonly rounds: number | undefined;
  /** Seconds of each side of each round; undefined leaves it to the benchmark. */
  readonly seconds: number | undefined;
  /** Of sysbench; undefined leaves it to the benchmark. */
  readonly threads: number | undefined;
  /** Of the benchmark of memory. */
  readonly messages: number;
}

export interface Result {
  readonly rows: readonly Row[];
  readonly curves?: readonly Curve[];
  /** Everything else that was measured, for the JSON file. */
  readonly details?: unknown;
  /** The tables that a reader sees. */
  readonly text: string;
}

export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  run(settings: Settings, tell: (detail: string) => void): Promise<Result>;
}
