/** `tidb-mesh usage`: what each tenant has used and stores, for chargeback. */
import { CommandError } from '../../errors.ts';
import { COUNTERS, readUsage, usageNow, usageSince, type Counters, type Usage } from '../../tenants/usage.ts';
import { readText } from '../files.ts';
import { table } from '../output.ts';
import { pdCommand } from '../pd.ts';

const MIB = 2 ** 20;

interface Options {
  readonly since?: string;
  readonly csv?: true;
}

export const usage = pdCommand<Options, []>({
  name: 'usage',
  summary: 'show what each tenant has used and stores',
  about: `Request units, requests, bytes and processor time are counted by PD's resource control, for tenants
with "ownDefaultGroup". All others count as shared. PD keeps the sums over restarts. What is stored is
PD's estimate of now. --since shows the difference to an earlier result.`,
  examples: [
    'tidb-mesh usage --pd http://pd:2379',
    ['tidb-mesh usage --pd http://pd:2379 -o json > monday.json', 'keep a result'],
    ['tidb-mesh usage --since monday.json --csv --pd http://pd:2379', 'what was used since then'],
  ],
  define: (command) =>
    command
      .option('--since <file>', 'an earlier result of --output json, made without --since')
      .option('--csv', 'comma-separated values, for a spreadsheet'),
  run: async (pd, { options: { since, csv }, tell }) => {
    const before = since === undefined ? undefined : earlier(since);
    tell('asking PD for usage');
    const now = await usageNow(pd);
    const value = before === undefined ? now : usageSince(now, before);
    return { value, text: csv ? csvOf(value) : tableOf(value) };
  },
});

function earlier(file: string): Usage {
  const found = readUsage(readText(file));
  if (found) return found;
  throw new CommandError(
    'INVALID',
    `${file}: is no result of \`tidb-mesh usage\` that another can be compared with`,
    'make one: tidb-mesh usage -o json > FILE',
  );
}

const HEAD = ['TENANT', 'RU', 'READS', 'WRITES', 'MiB READ', 'MiB WRITTEN', 'CPU s', 'MiB STORED', 'KEYS'];

function cells(used: Counters): string[] {
  return [
    used.requestUnits.toFixed(1),
    String(used.readRequests),
    String(used.writeRequests),
    (used.readBytes / MIB).toFixed(1),
    (used.writtenBytes / MIB).toFixed(1),
    (used.cpuMs / 1000).toFixed(1),
  ];
}

function tableOf({ tenants, shared }: Usage): string {
  const rows = tenants.map((tenant) => [
    tenant.name,
    ...cells(tenant),
    String(tenant.storedMiB),
    String(tenant.storedKeys),
  ]);
  return table(HEAD, [...rows, ['(shared)', ...cells(shared), '-', '-']]);
}

function csvOf({ at, since, tenants, shared }: Usage): string {
  const columns = ['storedMiB', 'storedKeys', 'regions'] as const;
  const head = ['tenant', 'number', 'since', 'at', ...COUNTERS, ...columns];
  const times = [since ?? '', at];
  const rows = tenants.map((tenant) => [
    tenant.name,
    tenant.number ?? '',
    ...times,
    ...COUNTERS.map((name) => tenant[name]),
    ...columns.map((name) => tenant[name]),
  ]);
  const rest = ['(shared)', '', ...times, ...COUNTERS.map((name) => shared[name]), ...columns.map(() => '')];
  return [head, ...rows, rest].map((row) => row.join(',')).join('\n');
}
