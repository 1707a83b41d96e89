/** Removes tenants from a storage layer: first their belongings, then their boundaries. */
import type { Endpoint } from '../pd/endpoint.ts';
import { deletePlacementGroup, deleteResourceGroup, placementRules, resourceGroups } from '../pd/cluster.ts';
import { deletePrefix, entries } from '../pd/etcd.ts';
import { deleteLabelRule, labelRules } from '../pd/regions.ts';
import { destroyKeysIn } from '../pd/ranges.ts';
import {
  belongings,
  etcdPrefix,
  isEmpty,
  isTenantsGroup,
  isTenantsOwn,
  namedThings,
  rangeOf,
  type Belonging,
} from './belongings.ts';
import { holders } from './holders.ts';
import { Refusal } from './refusal.ts';
import { registered, ruleId } from './registry.ts';
import { fromMemcomparable, type KeySpace, type Tenant } from './tenant.ts';

/** The tenant cannot be removed, because something of it is left. */
export class NotEmpty extends Refusal {
  constructor(
    readonly tenant: string,
    readonly there: readonly Belonging[],
  ) {
    const lines = there.map(({ what, count, remedy }) => `  ${count} ${what}: ${remedy}`);
    super(`tenant ${tenant} is not empty; nothing was changed\n${lines.join('\n')}`);
    this.name = 'NotEmpty';
  }
}

/**
 * The key range of a tenant that PD knows, from its rule, decoded.
 * @throws Refusal for a rule that cannot be read
 */
async function known(pd: Endpoint, name: string): Promise<{ tenant: Tenant; space: KeySpace } | undefined> {
  const found = (await registered(pd)).find((tenant) => tenant.name === name);
  if (!found) return undefined;
  const [, kind, rest, mode] = /^(keyspace|prefix) (\w+) \((txn|raw)\)$/.exec(found.keySpace) ?? [];
  const isRaw = mode === 'raw';
  const memcomparable = !(kind === 'prefix' && isRaw);
  const decode = (key: Buffer): Buffer => {
    const plain = memcomparable && key.length > 0 ? fromMemcomparable(key) : key;
    if (!plain)
      throw new Refusal(`the region label rule ${ruleId(name)} has a border that is no key; set it anew`);
    return plain;
  };
  const space: KeySpace = {
    start: decode(found.start),
    end: decode(found.end),
    mode: isRaw ? 'raw' : 'txn',
    memcomparable,
    keyspaceId: kind === 'keyspace' ? Number(rest) : undefined,
    text: found.keySpace,
  };
  return { tenant: { name, number: found.number ?? -1 }, space };
}

/**
 * Removes a tenant that has no belongings left.
 * @returns false if there was none
 * @throws NotEmpty, CallError
 */
export async function removeTenant(
  pd: Endpoint,
  name: string,
  tell: (line: string) => void,
): Promise<boolean> {
  const found = await known(pd, name);
  if (!found) {
    const left = await namedThings(pd, name);
    if (left.length > 0) throw new NotEmpty(name, left);
    return false;
  }
  // Tenant 0's keys are the cluster's own and stay. Only the boundary is removed.
  if (found.tenant.number !== 0) {
    tell(`asking the stores whether anything of ${name} is left`);
    const there = await belongings(pd, found.tenant, found.space);
    if (there.length > 0) throw new NotEmpty(name, there);
  }
  await deleteLabelRule(pd, ruleId(name));
  if ((await registered(pd)).some((tenant) => tenant.name === name))
    throw new Refusal(`PD still has the region label rule of ${name}: somebody has added it again meanwhile`);
  return true;
}

/** TiDB's entries that live as long as its server: pkg/domain/infosync ServerInformationPath. */
const SERVER_INFO = '/tidb/server/info/';

export interface Emptied {
  /** The number of stores at which the range was destroyed. */
  readonly stores: number;
  readonly etcdKeys: number;
  /** Region label rules, groups of placement rules and resource groups that were deleted in PD. */
  readonly rules: number;
}

/** Deletes what PD keeps for a tenant's tables and users. Returns the number of deleted things. */
async function deleteRules(pd: Endpoint, { name, number }: Tenant): Promise<number> {
  const labels = (await labelRules(pd)).map(({ id }) => id).filter((id) => isTenantsOwn(id, name));
  for (const id of labels) await deleteLabelRule(pd, id);
  const placement = new Set((await placementRules(pd)).map((id) => id.slice(0, id.lastIndexOf('/'))));
  const owned = [...placement].filter((group) => isTenantsOwn(group, name));
  for (const group of owned) await deletePlacementGroup(pd, group);
  const groups = (await resourceGroups(pd)).filter((group) => isTenantsGroup(group, number));
  for (const group of groups) await deleteResourceGroup(pd, group);
  return labels.length + owned.length + groups.length;
}

/**
 * Destroys all keys of a tenant for good, in the stores and in etcd, and what PD keeps for its tables and users. The tenant stays added.
 * @throws Refusal while one of its TiDBs is running, and for tenant 0
 */
export async function emptyTenant(
  pd: Endpoint,
  name: string,
  tell: (line: string) => void,
): Promise<Emptied> {
  const found = await known(pd, name);
  if (!found) throw new Refusal(`there is no tenant ${name}; \`tidb-mesh tenants list\` shows all`);
  const { tenant, space } = found;
  if (tenant.number === 0 || space.start.length === 0)
    throw new Refusal(
      `${name} owns the keys that were there before the mesh; they are not destroyed from here`,
    );
  const servers = (await entries(pd, etcdPrefix(name) + SERVER_INFO)).filter(({ lease }) => lease !== 0n);
  const running = (await holders(pd)).filter((holder) => holder.tenant === name && holder.expires);
  if (servers.length > 0 || running.length > 0)
    throw new Refusal(
      `${servers.length + running.length} entries of running TiDBs, backups or changefeeds of ${name} are there; stop them first (what a server leaves ` +
        'goes by itself within a minute or two)',
    );
  tell(`destroying the keys of ${name}`);
  const stores = await destroyKeysIn(pd, rangeOf(space));
  const etcdKeys = await deletePrefix(pd, etcdPrefix(name));
  const rules = await deleteRules(pd, tenant);
  if (!(await isEmpty(pd, space)))
    throw new Refusal(
      `keys of ${name} are there again: something still writes to it; stop that and run this again`,
    );
  return { stores, etcdKeys, rules };
}
