/** Results in a file: what `--json` writes, and what is kept in the repository to compare with and to draw. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../src-ts/wasm/builds.ts';
import type { Result } from './benchmark.ts';
import type { Curve } from './curves.ts';
import type { Machine } from './machine.ts';
import type { Row } from './rows.ts';

/** The kept file; `npm run bench -- --keep` writes it. */
export const KEPT = join(ROOT, 'docs', 'figures.json');

/** What each benchmark gave, by its name. */
export type Results = Readonly<Record<string, BenchmarkResults>>;

export interface BenchmarkResults {
  readonly machine: Machine;
  readonly rows: readonly Row[];
  readonly curves: readonly Curve[];
  readonly details?: unknown;
}

export function resultsOf(results: Readonly<Record<string, Result>>, machine: Machine): Results {
  return Object.fromEntries(
    Object.entries(results).map(([name, { rows, curves = [], details }]) => [
      name,
      { machine, rows, curves, ...(details === undefined ? {} : { details }) },
    ]),
  );
}

/** Throws when the file holds no results. */
export function readResults(file: string): Results {
  const read = JSON.parse(readFileSync(file, 'utf8')) as Results;
  for (const [name, found] of Object.entries(read))
    if (!found?.machine || !Array.isArray(found.rows) || !Array.isArray(found.curves))
      throw new Error(`${file}: "${name}" is not the result of a benchmark; write the file with --json`);
  return read;
}

export function readKept(): Results | undefined {
  return existsSync(KEPT) ? readResults(KEPT) : undefined;
}

const DIGITS = 4;

/** Fewer digits than are measured would hide nothing; more make every difference between two files unreadable. */
function shortened(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value;
}

function line(value: unknown): string {
  return JSON.stringify(value, shortened);
}

function linesOf(list: readonly unknown[]): string {
  return list.length === 0 ? '[]' : `[\n${list.map((each) => `   ${line(each)}`).join(',\n')}\n  ]`;
}

/** A row to a line, so that a difference between two files is one of rows. */
export function writeResults(file: string, results: Results): void {
  const parts = Object.entries(results).map(([name, { machine, rows, curves, details }]) => {
    const members = [
      `"machine": ${line(machine)}`,
      `"rows": ${linesOf(rows)}`,
      `"curves": ${linesOf(curves)}`,
    ];
    if (details !== undefined) members.push(`"details": ${line(details)}`);
    return ` ${line(name)}: {\n  ${members.join(',\n  ')}\n }`;
  });
  writeFileSync(file, `{\n${parts.join(',\n')}\n}\n`);
}

/** Puts these results in the place of the kept ones of the same benchmarks. Details are left out. */
export function keep(results: Results): void {
  const bare = Object.entries(results).map(([name, { machine, rows, curves }]) => [
    name,
    { machine, rows, curves },
  ]);
  const all = { ...readKept(), ...(Object.fromEntries(bare) as Results) };
  const sorted = Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1));
  writeResults(KEPT, Object.fromEntries(sorted));
}
