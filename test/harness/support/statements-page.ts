/** docs/refused-statements.md, made of what was measured last: docs/refused-statements.json. */
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { ROOT } from '../../../src-ts/wasm/builds.ts';
import type { Outcome, Statement } from './statements.ts';

export const STATEMENTS_JSON = join(ROOT, 'docs', 'refused-statements.json');
export const STATEMENTS_PAGE = join(ROOT, 'docs', 'refused-statements.md');

/** How a statement ended. */
export interface Ended {
  milliseconds: number;
  /** Of the error, or of the warnings; absent when there were none. */
  says?: string;
}

export interface Measured extends Pick<Statement, 'name' | 'sql' | 'outcome'> {
  tenant: Ended;
  /** On a cluster of its own; a text says why there is no figure. */
  direct: Ended | string;
  /** DDL jobs that have not ended, service safe points in PD, names in etcd. */
  left: string[];
}

const TITLES: Record<Outcome, [title: string, text: string]> = {
  refused: ['Refused', 'The statement fails at once, and its error says why.'],
  warned: ['Served in part', 'TiDB leaves out what is refused, and says so in a warning.'],
  done: ['Served', 'These lead near what is refused, and work.'],
  own: ["TiDB's own answer", 'TiDB answers without the storage layer, with the same text everywhere.'],
};

const INTRO = `# Statements that meet a refusal

For people who run SQL as a tenant. A statement that the storage layer does not serve fails at once
and says why. It leaves no DDL job, no service safe point and no name in etcd behind.

Written by \`npm run refusals -- --write\`; the tests run every statement and compare what becomes of
it. The times are of one run on a busy machine with two cores: they show that nothing waits. The
second one is of the same statement on a cluster of its own; with a dash, the tests' store does not
serve it.

Not in the list: \`CREATE RESOURCE GROUP\` with a name that is too long. TiDB repeats it until
\`ADMIN CANCEL DDL JOBS\` ends it ([limits](limits.md#works-differently)).
`;

const time = (ended: Ended): string => `${Math.max(1, Math.round(ended.milliseconds))} ms`;
/** In a cell: no bar, no line's end, no tag. */
const cell = (text: string): string =>
  text.replace(/\s+/g, ' ').replaceAll('|', '\\|').replaceAll('<', '\\<');

function row({ name, tenant, direct, left }: Measured): string {
  const times = `${time(tenant)}, ${typeof direct === 'string' ? '–' : time(direct)}`;
  const says = tenant.says === undefined ? '' : cell(tenant.says);
  return `| ${cell(name)} | ${times} | ${[says, ...left.map(cell)].join(' ')} |`;
}

export async function statementsPage(measured: readonly Measured[]): Promise<string> {
  const parts = [INTRO];
  for (const [outcome, [title, text]] of Object.entries(TITLES)) {
    const rows = measured.filter((one) => one.outcome === outcome).map(row);
    parts.push(
      `## ${title}\n\n${text}\n\n| statement | as a tenant, alone | says |\n| --- | --- | --- |\n${rows.join('\n')}\n`,
    );
  }
  const options = await resolveConfig(STATEMENTS_PAGE);
  return format(parts.join('\n'), { ...options, filepath: STATEMENTS_PAGE });
}
