/** `tidb-mesh tenants remove`: removes a tenant that is empty. */
import { EXIT } from '../../../errors.ts';
import { removeTenant } from '../../../tenants/remove.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from './names.ts';

export const removeTenants = pdCommand<object, [string]>({
  name: 'tenants remove',
  summary: 'remove a tenant that has nothing left',
  about: `A tenant is removed only if nothing of it is left: no key in the store, none in PD's etcd, no rule,
resource group or safe point of its own. Otherwise the command shows what is left, counted, and how
to remove it. The way:
  1. stop its TiDBs, backups and changefeeds
  2. tidb-mesh tenants empty NAME --confirm NAME      destroys its data for good
  3. tidb-mesh tenants remove NAME
  4. remove it from the pluginConfig
A tenant that is being moved is refused. If another tenant has some of its keys, nothing but its rule
is removed. Doing it again changes nothing.`,
  examples: ['tidb-mesh tenants remove alpha --pd http://pd:2379'],
  exits: { [EXIT.ok]: 'removed, or not there', [EXIT.failed]: 'something of it is left' },
  define: (command) => command.argument('<name>', "the tenant's name", parseName),
  run: async (pd, { args: [name], tell }) => {
    const removed = await removeTenant(pd, name, tell);
    const text = removed
      ? `${name} is removed; remove it from the pluginConfig, too`
      : `there is no tenant ${name}, and nothing is kept by that name`;
    return { value: { name, removed }, text };
  },
});
