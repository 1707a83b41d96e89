/** `tidb-mesh usage`: what each tenant has used and stores, for chargeback. */
import { CommandError } from '../../errors.ts';
import { MESH_COUNTERS, type MeshUsage } from '../../tenants/mesh-status.ts';
import { COUNTERS, readUsage, usageNow, usageSince, type Counters, type Usage } from '../../tenants/usage.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../envoys.ts';
import { readText } from '../files.ts';
import { table } from '../output.ts';
import { pdCommand } from '../pd.ts';

const MIB = 2 ** 20;

interface Options extends EnvoyOptions {
  readonly since?: string;
  readonly csv?: true;
}

export const usage = pdCommand<Options, []>({
  name: 'usage',
  summary: 'show what each tenant has used and stores',
  about: `Request units, requests, bytes and processor time are counted by PD's resource control, for tenants
with "ownDefaultGroup". All others count as shared. PD keeps the sums over restarts. What is stored is
PD's estimate of now. With --envoy, the filter's own counts of requests and bytes are added, for every
tenant; they begin anew with Envoy. --since shows the difference to an earlier result.`,
  examples: [
    'tidb-mesh usage --pd http://pd:2379',
    ['tidb-mesh usage --pd http://pd:2379 -o json > monday.json', 'keep a result'],
    [
      'tidb-mesh usage --pd https://pd:2379 --envoy https://pd:2379 https://tikv-0:20160 --cert op.pem --key op.key',
      "with the filter's counts",
    ],
    ['tidb-mesh usage --since monday.json --csv --pd http://pd:2379', 'what was used since then'],
  ],
  define: (command) =>
    withEnvoys(command)
      .option('--since <file>', 'an earlier result of --output json, made without --since')
      .option('--csv', 'comma-separated values, for a spreadsheet'),
  run: async (pd, { options, tell }) => {
    const { since, csv } = options;
    const before = since === undefined ? undefined : earlier(since);
    tell('asking PD for usage');
    const now = await overEnvoys(options, (envoys) => usageNow(pd, envoys));
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

const MESH_HEAD = ['REQUESTS', 'MiB SENT', 'MiB RECEIVED', 'REFUSED'];

function meshCells(mesh: MeshUsage | undefined): string[] {
  if (!mesh) return MESH_HEAD.map(() => '-');
  return [
    String(mesh.requests),
    (mesh.requestBytes / MIB).toFixed(1),
    (mesh.responseBytes / MIB).toFixed(1),
    String(mesh.refused),
  ];
}

function tableOf({ tenants, shared }: Usage): string {
  const isAsked = tenants.some(({ mesh }) => mesh !== undefined);
  const more = (mesh?: MeshUsage): string[] => (isAsked ? meshCells(mesh) : []);
  const rows = tenants.map((tenant) => [
    tenant.name,
    ...cells(tenant),
    String(tenant.storedMiB),
    String(tenant.storedKeys),
    ...more(tenant.mesh),
  ]);
  return table(
    [...HEAD, ...(isAsked ? MESH_HEAD : [])],
    [...rows, ['(shared)', ...cells(shared), '-', '-', ...more()]],
  );
}

function csvOf({ at, since, tenants, shared }: Usage): string {
  const columns = ['storedMiB', 'storedKeys', 'regions'] as const;
  const head = ['tenant', 'number', 'since', 'at', ...COUNTERS, ...columns, ...MESH_COUNTERS];
  const times = [since ?? '', at];
  const rows = tenants.map((tenant) => [
    tenant.name,
    tenant.number ?? '',
    ...times,
    ...COUNTERS.map((name) => tenant[name]),
    ...columns.map((name) => tenant[name]),
    ...MESH_COUNTERS.map((name) => tenant.mesh?.[name] ?? ''),
  ]);
  const nothing = [...columns, ...MESH_COUNTERS].map(() => '');
  const rest = ['(shared)', '', ...times, ...COUNTERS.map((name) => shared[name]), ...nothing];
  return [head, ...rows, rest].map((row) => row.join(',')).join('\n');
}
