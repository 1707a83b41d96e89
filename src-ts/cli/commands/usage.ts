/** `tidb-mesh usage`: what each tenant has used and stores, for chargeback. */
import { CommandError, EXIT, EXIT_MEANINGS } from '../../errors.ts';
import { listTenants } from '../../tenants/list.ts';
import { MESH_COUNTERS, type MeshCounters } from '../../tenants/mesh-status.ts';
import { growthOver, metered, type MeteredUsage } from '../../tenants/prometheus.ts';
import { COUNTERS, readUsage, usageNow, usageSince, type Counters, type Usage } from '../../tenants/usage.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../envoys.ts';
import { readText } from '../files.ts';
import { table } from '../output.ts';
import { overPd, withPd } from '../pd.ts';
import type { Definition, Result } from '../definition.ts';
import type { Tell } from '../../tell.ts';

const MIB = 2 ** 20;

/** What --since may be with --prometheus. */
const DURATION = /^([1-9]\d{0,5})([mhdw])$/;
const SECONDS = { m: 60, h: 3600, d: 86_400, w: 604_800 } as const;
const DEFAULT_DURATION = '24h';

interface Options extends EnvoyOptions {
  readonly prometheus?: string;
  readonly since?: string;
  readonly csv?: true;
}

export const usage: Definition<Partial<Options>, []> = {
  name: 'usage',
  summary: 'show what each tenant has used and stores',
  about: `Request units, requests, bytes and processor time are counted by PD's resource control, for tenants
with "ownDefaultGroup". All others count as shared. PD keeps the sums over restarts. What is stored is
PD's estimate of now. With --envoy, the filter's own counts of requests and bytes are added, for every
tenant; they begin anew with Envoy. --since shows the difference to an earlier result.

With --prometheus, the filter's counts come from Prometheus, which knows them of any time that it keeps.
--since is a duration then. Prometheus sees a counter every few seconds, and estimates how much it grew at
both ends: short times are less exact. --pd adds what is stored.`,
  examples: [
    'tidb-mesh usage --pd http://pd:2379',
    ['tidb-mesh usage --pd http://pd:2379 -o json > monday.json', 'keep a result'],
    [
      'tidb-mesh usage --pd https://pd:2379 --envoy https://pd:2379 https://tikv-0:20160 --cert op.pem --key op.key',
      "with the filter's counts",
    ],
    ['tidb-mesh usage --since monday.json --csv --pd http://pd:2379', 'what was used since then'],
    [
      'tidb-mesh usage --prometheus http://prometheus:9090 --since 30d --csv --pd http://pd:2379',
      'what was used in the last 30 days',
    ],
  ],
  exits: { [EXIT.unreachable]: EXIT_MEANINGS[EXIT.unreachable] },
  define: (command) =>
    withPd(
      withEnvoys(command)
        .option('--prometheus <url>', 'address of a Prometheus that scrapes the Envoys')
        .option(
          '--since <start>',
          `an earlier result of --output json, made without --since; with --prometheus a duration such as 30m, 24h, 7d or 4w (default: ${DEFAULT_DURATION})`,
        )
        .option('--csv', 'comma-separated values, for a spreadsheet'),
      false,
    ),
  run: async ({ options, tell }) => {
    const { prometheus, pd } = options;
    if (prometheus !== undefined) return inPrometheus(prometheus, options, tell);
    if (pd === undefined)
      throw new CommandError('USAGE', 'there is no address to ask', 'give --pd or --prometheus, or both');
    return inPd({ ...options, pd }, tell);
  },
};

async function inPd(options: Options, tell: Tell): Promise<Result> {
  const { since, csv } = options;
  if (since !== undefined && DURATION.test(since))
    throw new CommandError(
      'USAGE',
      `--since ${since}: PD and Envoy know only sums`,
      'give --prometheus, or the file of an earlier result',
    );
  const before = since === undefined ? undefined : earlier(since);
  tell('asking PD for usage');
  const now = await overPd(options, (pd) => overEnvoys(options, (envoys) => usageNow(pd, envoys)));
  const value = before === undefined ? now : usageSince(now, before);
  return { value, text: csv ? csvOf(value) : tableOf(value) };
}

async function inPrometheus(
  address: string,
  { since = DEFAULT_DURATION, csv, ...options }: Partial<Options>,
  tell: Tell,
): Promise<Result> {
  const [, count, unit] = DURATION.exec(since) ?? [];
  if (count === undefined)
    throw new CommandError('USAGE', `--since ${since}: is no duration`, 'write it like 30m, 24h, 7d or 4w');
  if (options.envoy !== undefined)
    throw new CommandError('USAGE', '--envoy and --prometheus tell the same counts', 'give one of them');
  if (!URL.canParse(address) || !/^https?:/.test(address))
    throw new CommandError(
      'USAGE',
      `--prometheus ${address}: not a URL`,
      'write it like http://prometheus:9090',
    );
  const seconds = Number(count) * SECONDS[unit as keyof typeof SECONDS];
  const { pd } = options;
  tell('asking Prometheus for usage');
  const at = new Date();
  const [listed, counted] = await Promise.all([
    pd === undefined ? [] : overPd({ ...options, pd }, listTenants),
    growthOver(new URL(address), at, seconds),
  ]);
  const value: MeteredUsage = {
    since: new Date(at.getTime() - seconds * 1000).toISOString(),
    at: at.toISOString(),
    tenants: metered(listed, counted),
  };
  return { value, text: csv ? meteredCsv(value) : meteredTable(value) };
}

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

const STORED = ['storedMiB', 'storedKeys', 'regions'] as const;
const MESH_HEAD = ['REQUESTS', 'MiB SENT', 'MiB RECEIVED', 'REFUSED'];

function meshCells(mesh: MeshCounters | undefined): string[] {
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
  const more = (mesh?: MeshCounters): string[] => (isAsked ? meshCells(mesh) : []);
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

function meteredTable({ tenants }: MeteredUsage): string {
  const stored = tenants.some(({ storedMiB }) => storedMiB !== undefined);
  const rows = tenants.map(({ name, storedMiB = '-', storedKeys = '-', mesh }) => [
    name,
    ...meshCells(mesh),
    ...(stored ? [String(storedMiB), String(storedKeys)] : []),
  ]);
  return table(['TENANT', ...MESH_HEAD, ...(stored ? ['MiB STORED', 'KEYS'] : [])], rows);
}

function meteredCsv({ at, since, tenants }: MeteredUsage): string {
  const head = ['tenant', 'number', 'since', 'at', ...STORED, ...MESH_COUNTERS];
  const rows = tenants.map((tenant) => [
    tenant.name,
    tenant.number ?? '',
    since,
    at,
    ...STORED.map((name) => tenant[name] ?? ''),
    ...MESH_COUNTERS.map((name) => tenant.mesh[name]),
  ]);
  return [head, ...rows].map((row) => row.join(',')).join('\n');
}

function csvOf({ at, since, tenants, shared }: Usage): string {
  const head = ['tenant', 'number', 'since', 'at', ...COUNTERS, ...STORED, ...MESH_COUNTERS];
  const times = [since ?? '', at];
  const rows = tenants.map((tenant) => [
    tenant.name,
    tenant.number ?? '',
    ...times,
    ...COUNTERS.map((name) => tenant[name]),
    ...STORED.map((name) => tenant[name]),
    ...MESH_COUNTERS.map((name) => tenant.mesh?.[name] ?? ''),
  ]);
  const nothing = [...STORED, ...MESH_COUNTERS].map(() => '');
  const rest = ['(shared)', '', ...times, ...COUNTERS.map((name) => shared[name]), ...nothing];
  return [head, ...rows, rest].map((row) => row.join(',')).join('\n');
}
