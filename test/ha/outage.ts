/** How long operations were not to be had. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';

/** One attempt, as the probe prints it, too. */
export interface Attempt {
  readonly op: string;
  /** Its end, ms since 1970. */
  readonly at: number;
  /** ms */
  readonly took: number;
  readonly error?: string;
  /** What cannot be. */
  readonly wrong?: string;
}

/** Everything that was tried in a run, in the order in which it ended. */
export class Attempts {
  private readonly all: Attempt[] = [];
  readonly wrong: string[] = [];

  add(attempt: Attempt): void {
    this.all.push(attempt);
    if (attempt.wrong !== undefined) this.wrong.push(`${attempt.op}: ${attempt.wrong}`);
  }

  /** Tries again and again until it is over. What `attempt` returns cannot be. */
  async repeat(
    op: string,
    pauseMs: number,
    isOver: () => boolean,
    attempt: () => Promise<string | undefined>,
  ): Promise<void> {
    while (!isOver()) {
      const began = Date.now();
      let outcome: Pick<Attempt, 'error' | 'wrong'> = {};
      try {
        const wrong = await attempt();
        if (wrong !== undefined) outcome = { wrong };
      } catch (error) {
        outcome = { error: (error as Error).message };
      }
      const at = Date.now();
      this.add({ op, at, took: at - began, ...outcome });
      await sleep(pauseMs);
    }
  }

  private successes(op: string): number[] {
    return this.all.filter((one) => one.op === op && one.error === undefined).map(({ at }) => at);
  }

  /** Whether this operation has succeeded since then, begun and ended. */
  hasSucceeded(op: string, since: number): boolean {
    return this.all.some((one) => one.op === op && one.error === undefined && one.at - one.took >= since);
  }

  /** The longest time between two successes of which one lies between, or both around; ms. */
  longestGap(op: string, from: number, to: number): number {
    const ends = this.successes(op);
    const before = ends.filter((at) => at <= from).at(-1) ?? from;
    const points = [before, ...ends.filter((at) => at > from && at <= to), to];
    return Math.max(...points.slice(1).map((at, i) => at - points[i]!));
  }

  /** Kinds of errors of an operation between, with their numbers. */
  errors(op: string, from: number, to: number): Map<string, number> {
    const kinds = new Map<string, number>();
    for (const { op: of, at, error } of this.all)
      if (of === op && error !== undefined && at > from && at <= to) {
        const kind = error.replaceAll(/\d{3,}|0x[0-9a-f]+/g, 'N').slice(0, 90);
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
    return kinds;
  }

  get count(): number {
    return this.all.length;
  }
}

/** Runs the probe until `stop`, which resolves when it has judged everything. */
export function startProbe(
  program: string,
  args: readonly string[],
  attempts: Attempts,
): () => Promise<void> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  createInterface(child.stdout).on('line', (line) => attempts.add(JSON.parse(line) as Attempt));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return async () => {
    child.stdin.end();
    const code = await ended;
    if (code !== 0) throw new Error(`probe ended with ${String(code)}: ${said}`);
  };
}

/** The longest gaps of each operation by fault; a column for each run beside each other. */
export function outageTable(
  operations: readonly string[],
  runs: readonly { readonly name: string; readonly gaps: Map<string, Map<string, number>> }[],
): string {
  const faults = [...(runs[0]?.gaps.keys() ?? [])];
  const table = new Table({ head: ['longest time without', ...faults], style: { head: [], border: [] } });
  for (const op of operations)
    table.push([
      op,
      ...faults.map((fault) =>
        runs.map(({ gaps }) => ((gaps.get(fault)?.get(op) ?? NaN) / 1000).toFixed(2)).join(' / '),
      ),
    ]);
  return `seconds, ${runs.map(({ name }) => name).join(' / ')}\n${table.toString()}`;
}
