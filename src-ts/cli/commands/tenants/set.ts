/** `tidb-mesh tenants set`: gives a tenant a limit of request units, a priority, and limits of the filter. */
import { InvalidArgumentError, Option } from 'commander';
import { CommandError, EXIT, EXIT_MEANINGS } from '../../../errors.ts';
import { Endpoint, type EndpointOptions } from '../../../pd/endpoint.ts';
import {
  changeLimits,
  LIMIT_NAMES,
  LIMITS,
  limitsIn,
  type LimitName,
  type Limits,
} from '../../../tenants/limits.ts';
import { registeredAs } from '../../../tenants/registry.ts';
import {
  MAX_RU,
  PRIORITIES,
  requestUnitsText,
  setRequestUnits,
  type Priority,
  type RequestUnits,
} from '../../../tenants/request-units.ts';
import type { Call, Definition, Result } from '../../definition.ts';
import { withChangedConfig } from '../../files.ts';
import { withPd } from '../../pd.ts';
import { changeFile, toApply } from './change-file.ts';
import { parseName } from './names.ts';

interface Options extends Limits, Partial<EndpointOptions> {
  readonly ru?: number | 'unlimited';
  readonly priority?: Priority;
  readonly burst?: boolean;
  readonly config?: string;
}

type Args = [name: string];

export const setTenants: Definition<Options, Args> = {
  name: 'tenants set',
  summary: 'set how much a tenant may use, and its priority',
  about: `PD's resource control limits request units: with --ru, --priority or --burst, the command changes the
resource group NUMBER:default in PD, and makes it where it is missing. It needs "ownDefaultGroup": true for
the tenant in the pluginConfig. The tenant's TiDBs wait for request units together. Running ones learn of a
change after 5 to 40 seconds. TiKV orders waiting requests by priority while it is busy. The tenant cannot
change the group. Without options but --pd the limit stays as it is, and running TiDBs are told of it again.
The other limits are the filter's (docs/limits.md): with --config, the command changes the tenant's "limits" in
a mesh file or pluginConfig, and nothing else in the file. To end a limit, remove it there.`,
  examples: [
    'tidb-mesh tenants set alpha --ru 2000 --priority low --pd http://pd:2379',
    ['tidb-mesh tenants set alpha --burst --pd http://pd:2379', 'more than its rate while nothing waits'],
    ['tidb-mesh tenants set alpha --ru unlimited --pd http://pd:2379', 'no limit'],
    ['tidb-mesh tenants set alpha --requests-per-second 500 --config mesh.yaml', 'a rate in the filter'],
    [
      'tidb-mesh tenants set alpha --etcd-keys 5000 --etcd-leases 200 --config mesh.yaml',
      'how much it may keep in PD',
    ],
  ],
  exits: {
    [EXIT.ok]: 'set',
    [EXIT.failed]: 'refused',
    [EXIT.unreachable]: EXIT_MEANINGS[EXIT.unreachable],
  },
  define: (command) => {
    command
      .argument('<name>', "the tenant's name", parseName)
      .option('--ru <n>', `request units a second, 1 to ${MAX_RU}, or "unlimited"; ends --burst`, parseUnits)
      .addOption(new Option('--priority <level>', 'its priority in TiKV').choices(Object.keys(PRIORITIES)))
      .option('--burst', 'let it use more than its rate')
      .option('--no-burst', 'hold it to its rate');
    for (const name of LIMIT_NAMES)
      command.option(`${optionOf(name)} <n>`, LIMITS[name].means, parserOf(name));
    withChangedConfig(command);
    withPd(command, false);
  },
  run: set,
};

async function set(call: Call<Options, Args>): Promise<Result> {
  const { options } = call;
  const { ru, priority, burst, pd, config } = options;
  const limits = limitsIn(options);
  if (limits.length > 0 && config === undefined)
    throw new CommandError(
      'USAGE',
      "the filter's limits are in the configuration",
      'give --config the file to change',
    );
  if (limits.length === 0 && config !== undefined)
    throw new CommandError(
      'USAGE',
      'there is no limit to write to the file',
      `give one of ${LIMIT_NAMES.map(optionOf).join(', ')}; or leave out --config`,
    );
  const isForPd = ru !== undefined || priority !== undefined || burst !== undefined || limits.length === 0;
  if (isForPd && pd === undefined)
    throw new CommandError('USAGE', 'request units and priorities are in PD', 'give --pd its address');
  const inFile = config === undefined ? undefined : await setLimits(call, config);
  const inPd = isForPd ? await setUnits(call) : undefined;
  return {
    value: { ...inFile?.value, ...inPd?.value },
    text: [inFile?.text, inPd?.text].filter((text) => text !== undefined).join('\n'),
  };
}

interface Part {
  readonly value: object;
  readonly text: string;
}

async function setLimits({ args: [name], options, tell }: Call<Options, Args>, file: string): Promise<Part> {
  const limits = limitsIn(options);
  const { text, isChanged } = await changeFile(file, tell, (before) =>
    changeLimits(before, file, name, options),
  );
  const words = limits.map(([limit, value]) => `${value} ${LIMITS[limit].unit}`).join(', ');
  return {
    value: { name, file, changed: isChanged, filterLimits: Object.fromEntries(limits) },
    text: isChanged
      ? `${name}: ${words} in ${file}\n${toApply(text, file)}`
      : `${name} has ${words} in ${file} already; nothing was changed`,
  };
}

async function setUnits({ args: [name], options, tell }: Call<Options, Args>): Promise<Part> {
  const pd = new Endpoint(options as EndpointOptions);
  try {
    const number = await groupOwner(pd, name);
    tell(`changing the resource group of ${name}`);
    const limits: RequestUnits = await setRequestUnits(pd, number, options);
    const text = requestUnitsText(limits);
    return {
      value: { name, number, limits },
      text: `${name}: ${text === '-' ? 'no limit' : text}\nIt holds if the pluginConfig has "ownDefaultGroup": true for ${name}; doctor --config checks that.`,
    };
  } finally {
    pd.close();
  }
}

/** The number of a tenant that can have a resource group of its own. */
async function groupOwner(pd: Endpoint, name: string): Promise<number> {
  const { number } = await registeredAs(pd, name);
  if (number !== undefined && number !== 0) return number;
  throw new CommandError(
    'REFUSED',
    `${name} has no resource group of its own: ${number === 0 ? "tenant 0 has PD's `default`" : 'PD does not know its number'}`,
    number === 0
      ? 'run in its TiDB: ALTER RESOURCE GROUP default RU_PER_SEC = …; it also limits tenants that share it'
      : `add its number: tidb-mesh tenants add ${name} --number N`,
  );
}

function parseUnits(text: string): number | 'unlimited' {
  if (text === 'unlimited') return text;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && value <= MAX_RU) return value;
  throw new InvalidArgumentError(
    `${text}: it must be a whole number from 1 to ${MAX_RU}, or "unlimited"${stopHint(value)}`,
  );
}

/** Nobody means a limit of 0 but to stop the tenant. */
function stopHint(value: number): string {
  return value === 0 ? '; to stop a tenant: tidb-mesh tenants suspend' : '';
}

/** The option for a limit: --etcd-keys for etcdKeys. */
function optionOf(name: LimitName): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function parserOf(name: LimitName): (text: string) => number {
  const { least, most } = LIMITS[name];
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(
      `${text}: it must be a whole number from ${least} to ${most}${stopHint(value)}`,
    );
  };
}
