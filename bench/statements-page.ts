/** docs/statements.md: the kept times of all statements, with the reason where one takes longer than it may. */
import { writeFileSync } from 'node:fs';
import { pathOf, withReference } from '../src-ts/docs/page.ts';
import type { Results } from './kept.ts';
import { short, type Row } from './rows.ts';
import { AGAIN } from './statements-again.ts';
import { DIRECT_ERROR, DIRECT_MS, TENANT_ERROR, TENANT_MS } from './statements.ts';

const PAGE = 'statements.md';
const PREFIX = 'statements ';

interface Line {
  readonly kind: string;
  readonly name: string;
  readonly row: Row;
}

function lineOf(row: Row): Line {
  const whole = row.name.slice(PREFIX.length);
  const colon = whole.indexOf(': ');
  return { kind: whole.slice(0, colon), name: whole.slice(colon + 2), row };
}

function milliseconds(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** The time, or the error in its place; in bold where the budget is missed. */
function cells({ row: { figures, ok } }: Line): [string, string] {
  const cell = (ms: string, error: string): string =>
    figures[error] === 0 ? milliseconds(figures[ms]!) : `error ${figures[error]}`;
  const filter = cell(TENANT_MS, TENANT_ERROR);
  return [cell(DIRECT_MS, DIRECT_ERROR), ok ? filter : `**${filter}**`];
}

/** What came of the statements over their budget when they were measured again. */
function overBudget(missed: readonly Line[]): string[] {
  const again = missed.map(({ name }) => {
    const found = AGAIN[name];
    return found === undefined
      ? `| ${name} | not yet | | |`
      : `| ${name} | ${found.rounds} | ${milliseconds(found.direct)} | ${milliseconds(found.filter)} |`;
  });
  return [
    '## Over the budget',
    'These were over the budget while other work went on. The table has their medians when they were measured again.',
    ['| statement | rounds | plain Envoy, ms | filter, ms |', '| --- | ---: | ---: | ---: |', ...again].join(
      '\n',
    ),
  ];
}

/** The part of the page that comes from the results. */
export function statementsReference(results: Results): string {
  const found = results['statements'];
  if (found === undefined) throw new Error('no times of statements are kept');
  const lines = found.rows.map(lineOf);
  const missed = lines.filter(({ row }) => !row.ok);
  const { cpu, cores, measured, load } = found.machine;
  const rounds = Math.max(...lines.map(({ row }) => row.rounds.length));
  const parts = [
    `Measured on ${measured.slice(0, 10)} with ${cpu}, ${cores} cores, which had other work as well ` +
      `(load ${short(load)} at the start), in ${rounds} round${rounds === 1 ? '' : 's'}. ` +
      `${lines.length - missed.length} of ${lines.length} statements are within the budget.`,
  ];
  for (const kind of new Set(lines.map((line) => line.kind))) {
    parts.push(`## ${kind}`, '| statement | plain Envoy, ms | filter, ms |\n| --- | ---: | ---: |');
    for (const line of lines.filter((each) => each.kind === kind))
      parts[parts.length - 1] += `\n| ${line.name} | ${cells(line).join(' | ')} |`;
  }
  if (missed.length > 0) parts.push(...overBudget(missed));
  return parts.join('\n\n');
}

/** Writes the page, if there are results for it. */
export async function writeStatementsPage(results: Results): Promise<void> {
  if (results['statements'] === undefined) return;
  writeFileSync(pathOf(PAGE), await withReference(PAGE, statementsReference(results)));
}
