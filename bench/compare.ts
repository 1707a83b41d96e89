/** The table at the end: every row against its budget, beside what an earlier run gave. */
import { differenceOf } from './machine.ts';
import type { Results } from './kept.ts';
import { budgetOf, short, tableOf, type Row } from './rows.ts';

function verdict({ ok }: Row): string {
  return ok === undefined ? '' : ok ? 'met' : 'MISSED';
}

/** All rows with their budgets; with `before` also the ratios of its rows of the same benchmark and name, and on which machine it ran. */
export function comparison(now: Results, before: Results | undefined): string {
  const lines: string[][] = [];
  const notes: string[] = [];
  for (const [benchmark, { machine, rows }] of Object.entries(now)) {
    const kept = before?.[benchmark];
    for (const row of rows) {
      const old = kept?.rows.find(({ name }) => name === row.name);
      const compared = old
        ? [short(old.ratio), old.ratio === 0 ? '' : short(row.ratio / old.ratio)]
        : ['', ''];
      lines.push([
        row.name,
        budgetOf(row),
        verdict(row),
        short(row.ratio),
        ...(before === undefined ? [] : compared),
      ]);
    }
    const different = kept && differenceOf(kept.machine, machine);
    if (different) notes.push(`${benchmark}: before was measured on another machine: ${different}`);
  }
  const head = ['row', 'budget', '', 'now', ...(before === undefined ? [] : ['before', 'now / before'])];
  return [tableOf(head, lines), ...notes].join('\n');
}

/** How many budgets are met. */
export function budgets(now: Results): string {
  const judged = Object.values(now).flatMap(({ rows }) => rows.filter(({ budget }) => budget !== undefined));
  return judged.length === 0
    ? ''
    : `${judged.filter(({ ok }) => ok).length} of ${judged.length} budgets are met`;
}
