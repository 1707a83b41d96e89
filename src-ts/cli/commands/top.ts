/** `tidb-mesh top`: what tenants use now. */
import { InvalidArgumentError, Option } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import type { MeshUsage } from '../../tenants/mesh-status.ts';
import { perSecond, usageNow, usageSince, type TenantUsage, type Usage } from '../../tenants/usage.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../envoys.ts';
import type { Form } from '../output.ts';
import { table } from '../output.ts';
import type { Tell } from '../../tell.ts';
import type { Result } from '../definition.ts';
import { pdCommand } from '../pd.ts';

const MIB = 2 ** 20;
const DEFAULT_SECONDS = 10;
const MOST_SECONDS = 3600;
const CLEAR_SCREEN = '\u001b[H\u001b[2J';

const SORTS = {
  ru: (tenant) => tenant.requestUnits,
  reads: (tenant) => tenant.readRequests,
  writes: (tenant) => tenant.writeRequests,
  bytes: (tenant) => tenant.readBytes + tenant.writtenBytes,
  stored: (tenant) => tenant.storedMiB,
  requests: (tenant) => tenant.mesh?.requests ?? 0,
} as const satisfies Record<string, (tenant: TenantUsage) => number>;
type Sort = keyof typeof SORTS;

interface Options extends EnvoyOptions {
  readonly once?: true;
  readonly interval: number;
  readonly sort: Sort;
  readonly output: Form;
}

export const top = pdCommand<Options, []>({
  name: 'top',
  summary: 'show what tenants use now, the busiest first',
  about: `Rates are differences of what PD's resource control counts for tenants with "ownDefaultGroup"; all
others count as shared. TiDB reports to PD every few seconds, so short intervals show bursts. It goes
on until it is interrupted; --once waits for one interval and ends. With --envoy, the filter's own counts
are added, for every tenant.`,
  examples: [
    'tidb-mesh top --pd http://pd:2379',
    ['tidb-mesh top --once --sort bytes --pd http://pd:2379 -o json', 'for a script'],
  ],
  define: (command) =>
    withEnvoys(command)
      .option('--once', 'show one interval and end')
      .addOption(
        new Option('--interval <seconds>', 'how long to measure')
          .argParser(parseSeconds)
          .default(DEFAULT_SECONDS),
      )
      .addOption(new Option('--sort <column>', 'what to sort by').choices(Object.keys(SORTS)).default('ru')),
  run: async (pd, { options, tell }) => {
    if (!options.once && options.output === 'json')
      throw new CommandError('USAGE', 'the live view has no JSON', 'add --once');
    return overEnvoys(options, (envoys) => watch(pd, envoys, options, tell));
  },
});

async function watch(
  pd: Endpoint,
  envoys: readonly Endpoint[],
  { once, interval, sort }: Options,
  tell: Tell,
): Promise<Result> {
  let before = await usageNow(pd, envoys);
  for (;;) {
    if (once) tell(`measuring for ${interval} s`);
    await sleep(interval * 1000);
    const now = await usageNow(pd, envoys);
    const value = sorted(perSecond(usageSince(now, before)), sort);
    const text = tableOf(value);
    if (once) return { value, text };
    process.stdout.write(`${CLEAR_SCREEN}${value.at}\n${text}\n`);
    before = now;
  }
}

function parseSeconds(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && value <= MOST_SECONDS) return value;
  throw new InvalidArgumentError(`${text}: it must be a whole number of seconds from 1 to ${MOST_SECONDS}`);
}

function sorted(usage: Usage, sort: Sort): Usage {
  const by = SORTS[sort];
  return { ...usage, tenants: [...usage.tenants].sort((a, b) => by(b) - by(a)) };
}

const HEAD = [
  'TENANT',
  'RU/s',
  'READS/s',
  'WRITES/s',
  'MiB/s READ',
  'MiB/s WRITTEN',
  'MiB STORED',
  'REGIONS',
  'HOLDS GC BACK',
];
/** How many columns of HEAD are the name and rates. */
const RATES = 6;

const MESH_HEAD = ['STATE', 'REQUESTS/s', 'MiB/s SENT', 'MiB/s RECEIVED', 'REFUSED/s', 'STREAMS', 'MiB HELD'];

function meshCells(mesh: MeshUsage | undefined): string[] {
  if (!mesh) return MESH_HEAD.map(() => '-');
  return [
    mesh.state,
    mesh.requests.toFixed(1),
    (mesh.requestBytes / MIB).toFixed(1),
    (mesh.responseBytes / MIB).toFixed(1),
    mesh.refused.toFixed(1),
    String(mesh.openStreams),
    (mesh.heldBytes / MIB).toFixed(1),
  ];
}

function tableOf({ tenants, shared }: Usage): string {
  const rates = (used: Usage['shared']): string[] =>
    [
      used.requestUnits,
      used.readRequests,
      used.writeRequests,
      used.readBytes / MIB,
      used.writtenBytes / MIB,
    ].map((rate) => rate.toFixed(1));
  const isAsked = tenants.some(({ mesh }) => mesh !== undefined);
  const more = (mesh?: MeshUsage): string[] => (isAsked ? meshCells(mesh) : []);
  const rows = tenants.map((tenant) => [
    tenant.name,
    ...rates(tenant),
    ...more(tenant.mesh),
    String(tenant.storedMiB),
    String(tenant.regions),
    tenant.holdsBack || '-',
  ]);
  const head = [...HEAD.slice(0, RATES), ...(isAsked ? MESH_HEAD : []), ...HEAD.slice(RATES)];
  return table(head, [...rows, ['(shared)', ...rates(shared), ...more(), '-', '-', '-']]);
}
