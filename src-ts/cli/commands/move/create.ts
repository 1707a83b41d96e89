/** `tidb-mesh move create`: begins to move a tenant. */
import { Judge } from '../../../config/judge.ts';
import { CommandError, EXIT } from '../../../errors.ts';
import { createBetween } from '../../../move/between.ts';
import { mustNotBeMoving } from '../../../move/filters/config.ts';
import { createMove } from '../../../move/create.ts';
import { placeOf, placeText, type Place } from '../../../move/place.ts';
import type { MoveRecord } from '../../../move/record.ts';
import { mustStayValid } from '../../../move/filters/renders.ts';
import type { Tell } from '../../../tell.ts';
import type { Endpoint } from '../../../pd/endpoint.ts';
import { findTenant } from '../../../tenants/edit.ts';
import type { Tenant } from '../../../tenants/tenant.ts';
import { readText, readTenants, tenantNamed, withConfig } from '../../files.ts';
import { overPd, pdCommand } from '../../pd.ts';
import { parseName, parseNumber } from '../tenants/names.ts';
import {
  parseKeyspace,
  storagesOf,
  throttleOf,
  withDryRun,
  withStorages,
  withThrottle,
  type ClustersOptions,
  type DryRunOptions,
  type ThrottleOptions,
} from './options.ts';

interface Options extends ClustersOptions, DryRunOptions, ThrottleOptions {
  readonly config: string;
  readonly from?: string;
  readonly to?: string;
  readonly toNumber?: number;
  readonly toKeyspace?: number;
  readonly withoutCollector?: boolean;
}

export const createMoveCommand = pdCommand<Options, [string]>({
  name: 'move create',
  summary: 'begin to move a tenant to another key range or storage layer, while it works',
  about: `Checks what must hold, and writes the move's record into PD's etcd. A worker copies the tenant's keys and
follows its changes: tidb-mesh move run. The tenant is served where it was until \`move switch\`
(docs/move.md).

With --from and --to, it moves from one storage layer of the mesh file to another one. Then --pd is the PD of
the one that it moves to, which keeps the record, and --storages says how to reach the other one.`,
  examples: [
    'tidb-mesh move create alpha --to-number 5 --config mesh.yaml --pd http://pd:2379',
    [
      'tidb-mesh move create alpha --to-keyspace 7 --config mesh.yaml --pd http://pd:2379',
      'a store with API V2',
    ],
    [
      'tidb-mesh move create alpha --from a --to b --storages storages.yaml --config mesh.yaml --pd http://pd-b:2379',
      'to another storage layer',
    ],
  ],
  exits: { [EXIT.ok]: 'begun', [EXIT.failed]: 'refused; nothing was changed' },
  define: (command) =>
    withDryRun(
      withThrottle(
        withStorages(
          withConfig(
            command.argument('<name>', "the tenant's name", parseName),
            'says where the tenant is',
            true,
          )
            .option('--to-number <n>', 'the new number in its keys, 1 to 32766', parseNumber)
            .option('--to-keyspace <id>', 'or: the id of the new keyspace', parseKeyspace)
            .option('--from <storage>', 'or: the storage layer of the mesh file that serves it now')
            .option('--to <storage>', 'with --from: the storage layer to move it to, whose PD is --pd')
            .option(
              '--without-collector',
              'for tenant 0: no TiDB of the storage layer runs, and nobody collects garbage after the first switch',
            ),
        ),
      ),
    ),
  run: async (pd, { args: [name], options, tell }) => {
    if (options.from !== undefined || options.to !== undefined) {
      const record = await between(pd, name, options, tell);
      return { value: record, text: textOf(record, options) };
    }
    const all = readTenants(options.config);
    const tenant = tenantNamed(all, name, options.config);
    const to = target(options);
    tell(`checking whether ${name} can move to ${placeText(tenant, to)}`);
    const { dryRun = false, withoutCollector = false } = options;
    const throttle = throttleOf(options);
    const record = await createMove(pd, { tenant, to, throttle, all, withoutCollector, dryRun });
    return { value: record, text: textOf(record, options) };
  },
});

function textOf(record: MoveRecord, { dryRun = false }: Options): string {
  const { tenant: name } = record;
  const way = `from ${placeText(record, record.from)} to ${placeText(record, record.to)}`;
  return dryRun
    ? `${name} can move ${way}; nothing was changed`
    : `${name} is being moved ${way}\nSee how far it is: tidb-mesh move show ${name}`;
}

async function between(pd: Endpoint, name: string, options: Options, tell: Tell): Promise<MoveRecord> {
  const { from, to, config, toNumber, toKeyspace, dryRun = false } = options;
  if (from === undefined || to === undefined || toNumber !== undefined || toKeyspace !== undefined)
    throw new CommandError(
      'USAGE',
      'one target is needed',
      'give --from and --to, and no number or keyspace',
    );
  const text = readText(config);
  const entry = findTenant(text, config, name).tenant as unknown as Tenant & { storage?: string };
  const { storage, ...tenant } = entry;
  if (storage !== from)
    throw new CommandError(
      'REFUSED',
      storage === undefined
        ? `${config} does not say in which storage ${name} is`
        : `${name} is in storage ${storage} in ${config}, and not in ${from}`,
      'give the newest mesh file, and the storage that serves the tenant',
    );
  const reach = storagesOf(options).get(from);
  if (!reach)
    throw new CommandError(
      'USAGE',
      `how to reach storage ${from} is not known`,
      'give the file that describes it: --storages FILE',
    );
  mustNotBeMoving(tenant);
  const places = { from: { ...placeOf({ ...tenant }), storage: from }, to: { storage: to } };
  mustStayValid(text, config, name, places, await Judge.load(tell));
  const throttle = throttleOf(options);
  return overPd(reach, (there) =>
    createBetween({ tenant, from: { name: from, pd: there }, to: { name: to, pd }, throttle, dryRun, tell }),
  );
}

function target({ toNumber, toKeyspace }: Options): Place {
  if ((toNumber === undefined) === (toKeyspace === undefined))
    throw new CommandError('USAGE', 'one target is needed', 'give --to-number or --to-keyspace');
  if (toNumber === undefined) return { keyspace: { id: toKeyspace ?? 0, mode: 'txn' } };
  if (toNumber === 0)
    throw new CommandError('USAGE', 'nothing moves to number 0', 'give a number from 1 to 32766');
  return { keyNumber: toNumber };
}
