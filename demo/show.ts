import Table from 'cli-table3';
import colors from 'picocolors';
import type { Stack } from '../test/harness/stack/stack.ts';
import type { PhysicalKey } from './keys.ts';
import type { ImportProof } from './import.ts';
import type { MoveProof } from './move.ts';
import type { Proof, TenantFacts } from './proof.ts';

/** The proof for eyes. */
export function showProof(proof: Proof): string {
  return [
    ...proof.tenants.map(showTenant),
    heading('Callers whose certificates belong to no tenant'),
    showStrangers(proof),
    heading('What this shows'),
    ...proof.checks.map((check) => {
      const mark = check.holds ? colors.green('✓') : colors.red('✗');
      return `  ${mark} ${check.claim} ${colors.dim(`(${check.detail})`)}`;
    }),
    '',
  ].join('\n');
}

/** What a move under load has shown. */
export function showMove({ switches, committed, longestMs, errors, wrong }: MoveProof): string {
  const table = new Table({
    head: ['switch', 'writes held, ms', 'all held, ms'],
    style: { head: [], border: colors.isColorSupported ? ['dim'] : [] },
  });
  for (const [i, { writesHeldMs, allHeldMs }] of switches.entries())
    table.push([i % 2 === 0 ? 'to number 5' : 'back', writesHeldMs, allHeldMs]);
  return [
    heading('A tenant under load moves to other keys, and back'),
    table.toString(),
    `  ${committed} transactions were committed meanwhile; the longest took ${longestMs} ms`,
    ...told(errors),
    verdict(wrong),
    '',
  ].join('\n');
}

/** What an import has shown. */
export function showImport({ crossings, wrong }: ImportProof): string {
  const table = new Table({
    head: ['switch', 'down, ms', 'of it the command, ms', 'committed before it'],
    style: { head: [], border: colors.isColorSupported ? ['dim'] : [] },
  });
  for (const { to, downMs, switchMs, committed } of crossings) table.push([to, downMs, switchMs, committed]);
  return [
    heading('A cluster that knew no mesh becomes a tenant, and goes back'),
    table.toString(),
    '  down: from the stop of the old TiDB to the first answer of the new one, which has to start',
    verdict(wrong),
    '',
  ].join('\n');
}

/** What clients met that must be ready for it, as on any TiDB: docs/move.md. */
function told(errors: Readonly<Record<string, number>>): string[] {
  const lines = Object.entries(errors).map(([kind, count]) => `    ${count} × ${kind}`);
  return lines.length === 0
    ? []
    : ['  transactions that failed, and are repeated by an application:', ...lines];
}

/** Whether what clients were told is what is there. */
function verdict(wrong: readonly string[]): string {
  const mark = wrong.length === 0 ? colors.green('✓') : colors.red('✗');
  const said =
    wrong.length === 0
      ? `  ${mark} every commit that a client was told of is there, and nothing else`
      : `  ${mark} ${wrong.length} wrong: commits that a client was told of, or that were refused`;
  return [said, ...wrong.map((line) => `    ${line}`)].join('\n');
}

/** Command lines for a user to go on with. */
export function showAccess(stack: Stack): string {
  const lines = stack.tenants.map((tenant) => {
    const port = stack.tidbs.get(tenant.name)!.mysqlPort;
    return `  ${tenant.name.padEnd(8)} ${colors.bold(`mysql --host 127.0.0.1 --port ${port} --user root`)}`;
  });
  return [
    heading('Try it yourself'),
    ...lines,
    colors.dim(`  Envoy    ${stack.envoy?.adminUrl ?? 'none'}`),
    colors.dim(`  logs     ${stack.run.logs}`),
    '',
  ].join('\n');
}

function showTenant(tenant: TenantFacts): string {
  const table = new Table({
    head: ['id', 'customer', 'cents', 'key in the store', 'tenant', 'table', 'handle'],
    style: { head: [], border: colors.isColorSupported ? ['dim'] : [] },
  });
  tenant.rows.forEach((row, index) => {
    const key = tenant.rowKeys[index];
    table.push([
      String(row['id']),
      String(row['customer']),
      String(row['cents']),
      key ? showKey(key) : colors.red('not found'),
      key ? colors.yellow(String(key.tenant)) : '',
      key ? colors.cyan(String(key.tableId)) : '',
      key?.handle === undefined ? '' : colors.magenta(String(key.handle)),
    ]);
  });
  return [
    heading(`Tenant ${tenant.name}, number ${tenant.number}: table id ${tenant.tableId}`),
    ...tenant.statements.map(({ sql, milliseconds }) => `  ${sql}; ${colors.dim(`${milliseconds} ms`)}`),
    table.toString(),
  ].join('\n');
}

/** The parts in hex: `t`, the tenant's tag, the table id, the separator, the handle. */
function showKey(key: PhysicalKey): string {
  const [prefix = '', tag = '', id = '', separator = '', rest = ''] = key.parts;
  return [prefix, colors.yellow(tag), colors.cyan(id), separator, colors.magenta(rest)].join(' ');
}

function showStrangers(proof: Proof): string {
  return proof.strangers
    .map((stranger) => {
      const answer = stranger.refused ? colors.yellow(stranger.answer) : colors.red(stranger.answer);
      return `  ${stranger.who}, ${stranger.call}\n    ${answer}`;
    })
    .join('\n');
}

function heading(text: string): string {
  return `\n${colors.bold(text)}`;
}
