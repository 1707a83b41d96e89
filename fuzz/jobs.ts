/** Several fuzzers side by side: one process for each, with a seed of its own, and one summary of all. */
import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** What came of a run. */
export interface Summary {
  readonly seed: number;
  readonly targets: readonly string[];
  readonly seconds: number;
  readonly inputs: number;
  /** Those of them that are another input with some bytes changed. */
  readonly changed: number;
  readonly inputsOf: Readonly<Record<string, number>>;
  readonly bytes: number;
  readonly blocksReached: number;
  readonly blocks: number;
  readonly kept: number;
  readonly known: Readonly<Record<string, number>>;
  readonly failure: string | null;
}

export interface Progress {
  readonly inputs: number;
  readonly blocks: number;
  readonly kept: number;
}

/** What a job tells the process that started it. */
export type Told =
  { readonly progress: Progress } | { readonly summary: Summary; readonly reached: readonly number[] };

function sums(parts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const all: Record<string, number> = {};
  for (const part of parts)
    for (const [name, count] of Object.entries(part)) all[name] = (all[name] ?? 0) + count;
  return all;
}

function together(seed: number, summaries: readonly Summary[], reached: ReadonlySet<number>): Summary {
  const [first] = summaries;
  if (first === undefined) throw new Error('no job has come to its end');
  const sum = (of: (summary: Summary) => number): number =>
    summaries.reduce((total, summary) => total + of(summary), 0);
  return {
    ...first,
    seed,
    seconds: Math.max(...summaries.map(({ seconds }) => seconds)),
    inputs: sum(({ inputs }) => inputs),
    changed: sum(({ changed }) => changed),
    inputsOf: sums(summaries.map(({ inputsOf }) => inputsOf)),
    bytes: sum(({ bytes }) => bytes),
    blocksReached: reached.size,
    kept: sum(({ kept }) => kept),
    known: sums(summaries.map(({ known }) => known)),
    failure: summaries.find(({ failure }) => failure !== null)?.failure ?? null,
  };
}

/**
 * Runs `count` jobs with the seeds from `seed` on. A job that fails ends the others.
 * @param args what the command was called with, without --jobs, --seed, and --json
 * @throws Error when a job ends without a summary
 */
export async function runJobs(
  count: number,
  seed: number,
  args: readonly string[],
  onProgress: (progress: Progress) => void,
): Promise<Summary> {
  const main = fileURLToPath(new URL('main.ts', import.meta.url));
  const summaries: Summary[] = [];
  const reached = new Set<number>();
  const last = new Map<number, Progress>();
  const jobs: ChildProcess[] = [];
  const endAll = (): void => jobs.forEach((job) => job.kill('SIGTERM'));
  const ends = Array.from({ length: count }, (_, i) => {
    const job = fork(main, [...args, '--seed', String(seed + i), '--json'], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    jobs.push(job);
    job.on('message', (told: Told) => {
      if ('progress' in told) {
        last.set(i, told.progress);
        const all = [...last.values()];
        onProgress({
          inputs: all.reduce((sum, { inputs }) => sum + inputs, 0),
          blocks: Math.max(...all.map(({ blocks }) => blocks)),
          kept: all.reduce((sum, { kept }) => sum + kept, 0),
        });
        return;
      }
      summaries.push(told.summary);
      told.reached.forEach((block) => reached.add(block));
      if (told.summary.failure !== null) endAll();
    });
    return new Promise<void>((resolve) => job.on('exit', () => resolve()));
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, endAll);
  await Promise.all(ends);
  if (summaries.length < count) throw new Error(`${count - summaries.length} jobs ended without a summary`);
  return together(seed, summaries, reached);
}
