/** `tidb-mesh top`: what tenants use now. */
import { InvalidArgumentError, Option } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import { ERROR_CLASSES, type Errors, type MeshUsage } from '../../tenants/mesh-status.ts';
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
const HOME = '\u001b[H';
const CLEAR_TO_END_OF_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

const SORTS = {
  ru: (tenant) => tenant.requestUnits,
  reads: (tenant) => tenant.readRequests,
  writes: (tenant) => tenant.writeRequests,
  bytes: (tenant) => tenant.readBytes + tenant.writtenBytes,
  stored: (tenant) => tenant.storedMiB,
  requests: (tenant) => tenant.mesh?.requests ?? 0,
  delayed: (tenant) => tenant.mesh?.delayedMs ?? 0,
  errors: (tenant) => ERROR_CLASSES.reduce((sum, name) => sum + (tenant.mesh?.errors[name] ?? 0), 0),
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
are added, for every tenant, with the errors of the stores by class, and how much a rate of the filter held
back: requests, and the milliseconds of each second in which there were some, summed over workers.`,
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
    return overEnvoys(options, (envoys) => watch(() => usageNow(pd, envoys), options, tell, process.stdout));
  },
});

/** Where the live view is drawn. It has no size where it is no terminal. */
export interface Terminal {
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  write(text: string): unknown;
}

/** Measures again and again, and draws each result over the one before; with `once` it gives the first. */
export async function watch(
  measure: () => Promise<Usage>,
  { once, interval, sort }: Pick<Options, 'once' | 'interval' | 'sort'>,
  tell: Tell,
  terminal: Terminal,
): Promise<Result> {
  let before = await measure();
  for (;;) {
    if (once) tell(`measuring for ${interval} s`);
    await sleep(interval * 1000);
    const now = await measure();
    const value = sorted(perSecond(usageSince(now, before)), sort);
    const text = tableOf(value);
    if (once) return { value, text };
    terminal.write(screenOf(`${value.at}\n${text}`, terminal));
    before = now;
  }
}

/** Draws the text from the top. Leaves out what would scroll its head away, and cuts lines that would need two rows. */
function screenOf(text: string, { columns, rows = Infinity }: Terminal): string {
  const lines = text.split('\n');
  // The cursor ends in a row of its own.
  const room = rows - 1;
  const shown =
    lines.length <= room
      ? lines
      : [...lines.slice(0, room - 1), `… and ${lines.length - room + 1} more; a higher terminal shows them`];
  return `${HOME}${shown.map((line) => `${line.slice(0, columns)}${CLEAR_TO_END_OF_LINE}\n`).join('')}${CLEAR_BELOW}`;
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

const MESH_HEAD = [
  'STATE',
  'REQUESTS/s',
  'MiB/s SENT',
  'MiB/s RECEIVED',
  'REFUSED/s',
  'ERRORS/s',
  'DELAYED/s',
  'DELAYED ms/s',
  'STREAMS',
  'MiB HELD',
];

/** The classes that there are, as `lock 3.0, region 0.2`. */
function errorsText(errors: Errors): string {
  const classes = ERROR_CLASSES.filter((name) => errors[name] > 0);
  return classes.map((name) => `${name} ${errors[name].toFixed(1)}`).join(', ') || '-';
}

function meshCells(mesh: MeshUsage | undefined): string[] {
  if (!mesh) return MESH_HEAD.map(() => '-');
  return [
    mesh.state,
    mesh.requests.toFixed(1),
    (mesh.requestBytes / MIB).toFixed(1),
    (mesh.responseBytes / MIB).toFixed(1),
    mesh.refused.toFixed(1),
    errorsText(mesh.errors),
    mesh.delayed.toFixed(1),
    mesh.delayedMs.toFixed(0),
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
