/** `tidb-mesh move import`: begins to import a cluster outside of the mesh as a tenant. */
import { EXIT } from '../../../errors.ts';
import { clusterNamed } from '../../../move/clusters.ts';
import { createImport } from '../../../move/import.ts';
import { placeText } from '../../../move/place.ts';
import { readTenants, tenantNamed, withConfig } from '../../files.ts';
import { overPd, pdCommand } from '../../pd.ts';
import { parseName } from '../tenants/names.ts';
import {
  clustersOf,
  throttleOf,
  withClusters,
  withDryRun,
  withThrottle,
  type ClustersOptions,
  type DryRunOptions,
  type ThrottleOptions,
} from './options.ts';

interface Options extends ClustersOptions, DryRunOptions, ThrottleOptions {
  readonly config: string;
  readonly from: string;
  readonly leaveTiflash?: boolean;
}

export const importCluster = pdCommand<Options, [string]>({
  name: 'move import',
  summary: 'begin to import a cluster that is not in the mesh as a tenant',
  about: `Checks what must hold, and writes the record into PD's etcd. The tenant must be new, and suspended. A worker
copies the cluster's keys and follows its changes, while its TiDBs run on: tidb-mesh move run. For the
switch, stop them, run \`move switch\`, and start them as TiDBs of the tenant (docs/import.md).`,
  examples: [
    'tidb-mesh move import alpha --from shop --clusters clusters.yaml --config mesh.yaml --pd http://pd:2379',
  ],
  exits: { [EXIT.ok]: 'begun', [EXIT.failed]: 'refused; nothing was changed' },
  define: (command) =>
    withDryRun(
      withThrottle(
        withClusters(
          withConfig(
            command.argument('<name>', "the tenant's name", parseName),
            'says where the tenant is',
            true,
          ).requiredOption('--from <cluster>', 'the cluster, by its name in --clusters'),
          true,
        ).option('--leave-tiflash', 'leave TiFlash replicas behind'),
      ),
    ),
  run: async (pd, { args: [name], options, tell }) => {
    const { config, from: cluster, leaveTiflash = false, dryRun = false } = options;
    const tenant = tenantNamed(readTenants(config), name, config);
    const outside = clusterNamed(clustersOf(options), cluster);
    tell(`checking cluster ${cluster} and ${name}`);
    const throttle = throttleOf(options);
    const record = await overPd(outside, (there) =>
      createImport(pd, { tenant, cluster, outside: there, throttle, leaveTiflash, dryRun }),
    );
    const way = `cluster ${cluster} into ${placeText(tenant, record.to)}`;
    return {
      value: record,
      text: dryRun
        ? `${name} can be imported, ${way}; nothing was changed`
        : `${name} is being imported, ${way}\nSee how far it is: tidb-mesh move show ${name}`,
    };
  },
});
