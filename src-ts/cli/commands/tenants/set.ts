/** `tidb-mesh tenants set`: gives a tenant a limit of request units and a priority. */
import { InvalidArgumentError, Option } from 'commander';
import { CommandError, EXIT } from '../../../errors.ts';
import { registeredAs } from '../../../tenants/registry.ts';
import {
  MAX_RU,
  PRIORITIES,
  requestUnitsText,
  setRequestUnits,
  type Priority,
} from '../../../tenants/request-units.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from './names.ts';

interface Options {
  readonly ru?: number | 'unlimited';
  readonly priority?: Priority;
  readonly burst?: boolean;
}

export const setTenants = pdCommand<Options, [string]>({
  name: 'tenants set',
  summary: 'set how much a tenant may use, and its priority',
  about: `PD's resource control limits the tenant: the command changes the resource group NUMBER:default in PD,
and makes it where it is missing. It needs "ownDefaultGroup": true for the tenant in the pluginConfig.
The tenant's TiDBs wait for request units together. Running ones learn of a change after 5 to 40
seconds. TiKV orders waiting requests by priority while it is busy. The tenant cannot change the group.
Without options the limit stays as it is, and running TiDBs are told of it again.`,
  examples: [
    'tidb-mesh tenants set alpha --ru 2000 --priority low --pd http://pd:2379',
    ['tidb-mesh tenants set alpha --burst --pd http://pd:2379', 'more than its rate while nothing waits'],
    ['tidb-mesh tenants set alpha --ru unlimited --pd http://pd:2379', 'no limit'],
  ],
  exits: { [EXIT.ok]: 'set', [EXIT.failed]: 'refused' },
  define: (command) =>
    command
      .argument('<name>', "the tenant's name", parseName)
      .option('--ru <n>', `request units a second, 1 to ${MAX_RU}, or "unlimited"; ends --burst`, parseRate)
      .addOption(new Option('--priority <level>', 'in TiKV').choices(Object.keys(PRIORITIES)))
      .option('--burst', 'let it use more than its rate')
      .option('--no-burst', 'hold it to its rate'),
  run: async (pd, { args: [name], options, tell }) => {
    const { number } = await registeredAs(pd, name);
    if (number === undefined || number === 0)
      throw new CommandError(
        'REFUSED',
        `${name} has no resource group of its own: ${number === 0 ? "tenant 0 has PD's `default`" : 'PD does not know its number'}`,
        number === 0
          ? 'run in its TiDB: ALTER RESOURCE GROUP default RU_PER_SEC = …; it also limits tenants that share it'
          : `add its number: tidb-mesh tenants add ${name} --number N`,
      );
    tell(`changing the resource group of ${name}`);
    const limits = await setRequestUnits(pd, number, options);
    const text = requestUnitsText(limits);
    return {
      value: { name, number, limits },
      text: `${name}: ${text === '-' ? 'no limit' : text}\nIt holds if the pluginConfig has "ownDefaultGroup": true for ${name}; doctor --config checks that.`,
    };
  },
});

function parseRate(text: string): number | 'unlimited' {
  if (text === 'unlimited') return text;
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 1 && value <= MAX_RU) return value;
  throw new InvalidArgumentError(
    `${text}: it must be a whole number from 1 to ${MAX_RU}, or "unlimited"; to stop a tenant: tidb-mesh tenants suspend`,
  );
}
