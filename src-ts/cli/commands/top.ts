/** `tidb-mesh top`: what tenants use now. */
import { InvalidArgumentError, Option } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { perSecond, usageNow, usageSince, type TenantUsage, type Usage } from '../../tenants/usage.ts';
import type { Form } from '../output.ts';
import { table } from '../output.ts';
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
} as const satisfies Record<string, (tenant: TenantUsage) => number>;
type Sort = keyof typeof SORTS;

interface Options {
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
on until it is interrupted; --once waits for one interval and ends.`,
  examples: [
    'tidb-mesh top --pd http://pd:2379',
    ['tidb-mesh top --once --sort bytes --pd http://pd:2379 -o json', 'for a script'],
  ],
  define: (command) =>
    command
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
    let before = await usageNow(pd);
    for (;;) {
      if (options.once) tell(`measuring for ${options.interval} s`);
      const now = await next(pd, options.interval);
      const value = sorted(perSecond(usageSince(now, before)), options.sort);
      const text = tableOf(value);
      if (options.once) return { value, text };
      process.stdout.write(`${CLEAR_SCREEN}${value.at}\n${text}\n`);
      before = now;
    }
  },
});

async function next(pd: Endpoint, seconds: number): Promise<Usage> {
  await sleep(seconds * 1000);
  return usageNow(pd);
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

function tableOf({ tenants, shared }: Usage): string {
  const rates = (used: Usage['shared']): string[] =>
    [
      used.requestUnits,
      used.readRequests,
      used.writeRequests,
      used.readBytes / MIB,
      used.writtenBytes / MIB,
    ].map((rate) => rate.toFixed(1));
  const rows = tenants.map((tenant) => [
    tenant.name,
    ...rates(tenant),
    String(tenant.storedMiB),
    String(tenant.regions),
    tenant.holdsBack || '-',
  ]);
  return table(HEAD, [...rows, ['(shared)', ...rates(shared), '-', '-', '-']]);
}
