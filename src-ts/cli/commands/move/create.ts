/** `tidb-mesh move create`: begins to move a tenant. */
import { CommandError, EXIT } from '../../../errors.ts';
import { createMove } from '../../../move/create.ts';
import { placeText, type Place } from '../../../move/place.ts';
import { readTenants, tenantNamed, withConfig } from '../../files.ts';
import { pdCommand } from '../../pd.ts';
import { parseName, parseNumber } from '../tenants/names.ts';
import {
  parseKeyspace,
  throttleOf,
  withDryRun,
  withThrottle,
  type DryRunOptions,
  type ThrottleOptions,
} from './options.ts';

interface Options extends DryRunOptions, ThrottleOptions {
  readonly config: string;
  readonly toNumber?: number;
  readonly toKeyspace?: number;
}

export const createMoveCommand = pdCommand<Options, [string]>({
  name: 'move create',
  summary: 'begin to move a tenant to another key range, while it works',
  about: `Checks what must hold, and writes the move's record into PD's etcd. A worker copies the tenant's keys and
follows its changes: tidb-mesh move run. The tenant is served where it was until \`move switch\`
(docs/move.md).`,
  examples: [
    'tidb-mesh move create alpha --to-number 5 --config mesh.yaml --pd http://pd:2379',
    [
      'tidb-mesh move create alpha --to-keyspace 7 --config mesh.yaml --pd http://pd:2379',
      'a store with API V2',
    ],
  ],
  exits: { [EXIT.ok]: 'begun', [EXIT.failed]: 'refused; nothing was changed' },
  define: (command) =>
    withDryRun(
      withThrottle(
        withConfig(
          command.argument('<name>', "the tenant's name", parseName),
          'says where the tenant is',
          true,
        )
          .option('--to-number <n>', 'the new number in its keys, 1 to 32766', parseNumber)
          .option('--to-keyspace <id>', 'or the keyspace', parseKeyspace),
      ),
    ),
  run: async (pd, { args: [name], options, tell }) => {
    const all = readTenants(options.config);
    const tenant = tenantNamed(all, name, options.config);
    const to = target(options);
    tell(`checking whether ${name} can move to ${placeText(tenant, to)}`);
    const { dryRun = false } = options;
    const record = await createMove(pd, { tenant, to, throttle: throttleOf(options), all, dryRun });
    const way = `from ${placeText(tenant, record.from)} to ${placeText(tenant, to)}`;
    return {
      value: record,
      text: dryRun
        ? `${name} can move ${way}; nothing was changed`
        : `${name} is being moved ${way}\nSee how far it is: tidb-mesh move show ${name}`,
    };
  },
});

function target({ toNumber, toKeyspace }: Options): Place {
  if ((toNumber === undefined) === (toKeyspace === undefined))
    throw new CommandError('USAGE', 'one target is needed', 'give --to-number or --to-keyspace');
  if (toNumber === undefined) return { keyspace: { id: toKeyspace ?? 0, mode: 'txn' } };
  if (toNumber === 0)
    throw new CommandError('USAGE', 'nothing moves to number 0', 'give a number from 1 to 32766');
  return { keyNumber: toNumber };
}
