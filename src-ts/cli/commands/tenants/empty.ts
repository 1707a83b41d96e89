/** `tidb-mesh tenants empty`: destroys all data of a tenant. */
import { CommandError, EXIT } from '../../../errors.ts';
import { clusterId } from '../../../pd/timestamp.ts';
import { emptyTenant } from '../../../tenants/remove.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from './names.ts';

export const emptyTenants = pdCommand<{ readonly confirm?: string }, [string]>({
  name: 'tenants empty',
  summary: 'destroy all data of a tenant',
  about: `Destroys every key of the tenant in the stores, with all versions, and its keys in PD's etcd. There is
no way back: take a backup first. It is refused while one of its TiDBs, backups or changefeeds runs,
while it is being moved, and while another tenant has some of its keys. TiDBs of a suspended tenant do
not count, because they cannot renew their entries: stop them yourself. The tenant stays added.
Without --confirm, it says which cluster it would destroy the data in, by PD's cluster id.`,
  examples: ['tidb-mesh tenants empty alpha --confirm alpha --pd http://pd:2379'],
  exits: { [EXIT.failed]: 'refused' },
  define: (command) =>
    command
      .argument('<name>', "the tenant's name", parseName)
      .option('--confirm <name>', "the tenant's name once more"),
  run: async (pd, { args: [name], options, tell }) => {
    // One storage layer looks like another by an address alone.
    const where = `in cluster ${await clusterId(pd)} (PD at ${pd.url.host})`;
    if (options.confirm !== name)
      throw new CommandError(
        'USAGE',
        `this destroys all data of ${name} ${where}`,
        `say so with --confirm ${name}`,
      );
    tell(`emptying ${name} ${where}`);
    const emptied = await emptyTenant(pd, name, tell);
    const { stores, etcdKeys, rules } = emptied;
    const atStores = stores === 0 ? '' : `its keys at ${stores} ${stores === 1 ? 'store' : 'stores'} and `;
    return {
      value: { name, ...emptied },
      text: `${name} ${where} is empty: ${atStores}${etcdKeys} keys in PD's etcd are destroyed, and ${rules} of its rules and resource groups`,
    };
  },
});
