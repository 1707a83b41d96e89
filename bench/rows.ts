/** What benchmarks give: rows of ratios, each with all of its rounds. */
import Table from 'cli-table3';

/** One side by side comparison. */
export interface Row {
  readonly name: string;
  /** Median of `rounds`: how many times as much work per second as the other side; where less is better, what the name says. */
  readonly ratio: number;
  /** The least ratio that is wanted, or the largest; undefined for rows that only inform. */
  readonly budget?: number;
  /** The budget is the largest ratio that is wanted. */
  readonly atMost?: true;
  /** undefined without a budget. */
  readonly ok?: boolean;
  /** The ratio of each round, in order. */
  readonly rounds: readonly number[];
  /** Other figures of the row, by name; their units are in the names. */
  readonly figures: Readonly<Record<string, number>>;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function rowOf(
  name: string,
  rounds: readonly number[],
  figures: Readonly<Record<string, number>>,
  budget?: number,
): Row {
  const ratio = median(rounds);
  return budget === undefined
    ? { name, ratio, rounds, figures }
    : { name, ratio, budget, ok: ratio >= budget, rounds, figures };
}

/** A row in which less is better. */
export function rowAtMost(
  name: string,
  rounds: readonly number[],
  figures: Readonly<Record<string, number>>,
  budget: number,
): Row {
  const ratio = median(rounds);
  return { name, ratio, budget, atMost: true, ok: ratio <= budget, rounds, figures };
}

/** The budget with its direction; '' for a row without one. */
export function budgetOf({ budget, atMost }: Row): string {
  if (budget === undefined) return '';
  return `${atMost ? 'at most' : 'at least'} ${short(budget)}`;
}

/** Three significant digits, without an exponent. */
export function short(value: number): string {
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  const text = value.toFixed(Math.min(digits, 3));
  return Number(text) === 0 ? text.replace('-', '') : text;
}

/** A table of text cells, plain enough for a log. */
export function tableOf(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const table = new Table({
    head: [...head],
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
  });
  table.push(...lines.map((line) => [...line]));
  return table.toString();
}
