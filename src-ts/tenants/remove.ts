/** Removes tenants from a storage layer: first their belongings, then their boundaries. */
import { CommandError } from '../errors.ts';
import { forgetStorage, mustNotMove } from '../move/record.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { deletePlacementGroup, deleteResourceGroup, placementGroups, resourceGroups } from '../pd/cluster.ts';
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
import { meet, registered, registeredBeside, ruleId, type Registered } from './registry.ts';
import { removeDefaultGroup } from './request-units.ts';
import { fromMemcomparable, type KeySpace, type Tenant } from './tenant.ts';

/** The tenant cannot be removed, because something of it is left. */
function notEmpty(tenant: string, there: readonly Belonging[]): CommandError {
  const counts = there.map(({ what, count }) => `${count} ${what}`).join(', ');
  const remedies = there.map(({ what, remedy }) => `${what}: ${remedy}`).join('\n');
  return new CommandError(
    'NOT_EMPTY',
    `tenant ${tenant} is not empty: ${counts}; nothing was changed`,
    `remove these first\n${remedies}`,
  );
}

/** Stands for the number of a tenant that shares it, or has none: no resource group begins with it. */
const NO_NUMBER = -1;

/** A tenant that PD knows, from its rule. */
interface Known {
  /** Without a number that another tenant has, too: what is kept by it may be the other's. */
  readonly tenant: Tenant;
  readonly space: KeySpace;
  /** The other tenants that have some of its keys. */
  readonly twins: readonly Registered[];
}

/**
 * Finds a tenant, and whether its keys and number are its own.
 * @throws CommandError for a rule that cannot be read, and while the tenant is being moved
 */
async function known(pd: Endpoint, name: string): Promise<Known | undefined> {
  await mustNotMove(pd, name);
  const all = await registeredBeside(pd, name);
  const found = all.find((tenant) => tenant.name === name);
  if (!found) return undefined;
  const others = all.filter((other) => other !== found);
  const [, kind, rest, mode] = /^(keyspace|prefix) (\w+) \((txn|raw)\)$/.exec(found.keySpace) ?? [];
  const isRaw = mode === 'raw';
  const memcomparable = !(kind === 'prefix' && isRaw);
  const decode = (key: Buffer): Buffer => {
    const plain = memcomparable && key.length > 0 ? fromMemcomparable(key) : key;
    if (!plain)
      throw new CommandError(
        'REFUSED',
        `the region label rule ${ruleId(name)} has a boundary that is no key`,
        `delete the rule in PD, then: tidb-mesh tenants add ${name}`,
      );
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
  const isShared = others.some(({ number }) => number === found.number);
  const number = isShared ? NO_NUMBER : (found.number ?? NO_NUMBER);
  return { tenant: { name, number }, space, twins: others.filter((other) => meet(other, found)) };
}

const namesOf = (tenants: readonly Registered[]): string => tenants.map(({ name }) => name).join(' and ');

/**
 * Removes a tenant that has no belongings left.
 * @returns false if there was none
 * @throws CommandError
 */
export async function removeTenant(
  pd: Endpoint,
  name: string,
  tell: (line: string) => void,
): Promise<boolean> {
  const found = await known(pd, name);
  if (!found) {
    const left = await namedThings(pd, name);
    if (left.length > 0) throw notEmpty(name, left);
    return false;
  }
  const { tenant, space, twins } = found;
  // Tenant 0's keys are the cluster's own and stay, and those of a twin are the other's. Only the boundary is removed.
  if (twins.length > 0) tell(`${namesOf(twins)} has keys of ${name}: only the rule of ${name} is removed`);
  else if (space.start.length > 0) {
    tell(`asking the stores whether anything of ${name} is left`);
    const there = await belongings(pd, tenant, space);
    if (there.length > 0) throw notEmpty(name, there);
    // Deleted keys have old versions, which the next tenant of this range could read.
    await destroyKeysIn(pd, rangeOf(space));
    await removeDefaultGroup(pd, tenant.number);
  }
  await deleteLabelRule(pd, ruleId(name));
  await forgetStorage(pd, name);
  if ((await registered(pd)).some((tenant) => tenant.name === name))
    throw new CommandError(
      'REFUSED',
      `PD has the region label rule of ${name} again: another operator added it meanwhile`,
      'see who did, then run this again',
    );
  return true;
}

/** TiDB's entries that live as long as its server: pkg/domain/infosync ServerInformationPath. */
const SERVER_INFO = '/tidb/server/info/';

export interface Emptied {
  /** The number of stores at which the range was destroyed; 0 when PD had no rule that says which it is. */
  readonly stores: number;
  readonly etcdKeys: number;
  /** Region label rules, groups of placement rules and resource groups that were deleted in PD. */
  readonly rules: number;
}

/** Deletes what PD keeps for a tenant's tables and users. Returns the number of deleted things. */
async function deleteRules(pd: Endpoint, { name, number }: Tenant): Promise<number> {
  const labels = (await labelRules(pd)).map(({ id }) => id).filter((id) => isTenantsOwn(id, name));
  for (const id of labels) await deleteLabelRule(pd, id);
  const owned = (await placementGroups(pd)).filter((group) => isTenantsOwn(group, name));
  for (const group of owned) await deletePlacementGroup(pd, group);
  const all = (await resourceGroups(pd)).map((group) => group.name);
  const groups = all.filter((group) => isTenantsGroup(group, number));
  for (const group of groups) await deleteResourceGroup(pd, group);
  return labels.length + owned.length + groups.length;
}

/**
 * Destroys all keys of a tenant for good, in the stores and in etcd, and what PD keeps for its tables and users. The tenant stays added.
 * @throws CommandError while one of its TiDBs is running, while another tenant has its keys, while it moves, and for tenant 0
 */
export async function emptyTenant(
  pd: Endpoint,
  name: string,
  tell: (line: string) => void,
): Promise<Emptied> {
  const found = await known(pd, name);
  // Its rule may be gone, and something be left by its name.
  if (!found && (await namedThings(pd, name)).length === 0)
    throw new CommandError('REFUSED', `there is no tenant ${name}`, 'see all: tidb-mesh tenants list');
  const { tenant, space, twins } = found ?? {
    tenant: { name, number: NO_NUMBER },
    space: undefined,
    twins: [],
  };
  if (twins.length > 0)
    throw new CommandError(
      'REFUSED',
      `${namesOf(twins)} has the same keys as ${name}; nothing was changed`,
      `remove the one that is not in the pluginConfig, which removes only its rule: tidb-mesh tenants remove ${name}`,
    );
  if (tenant.number === 0 || space?.start.length === 0)
    throw new CommandError(
      'REFUSED',
      `${name} owns the keys that were there before the mesh; this command does not destroy them`,
      'drop its databases with its own TiDB',
    );
  const servers = (await entries(pd, etcdPrefix(name) + SERVER_INFO)).filter(({ lease }) => lease !== 0n);
  const running = (await holders(pd)).filter((holder) => holder.tenant === name && holder.expires);
  if (servers.length > 0 || running.length > 0)
    throw new CommandError(
      'REFUSED',
      `${name} still has ${servers.length + running.length} entries of running TiDBs, backups or changefeeds`,
      'stop them first; the entries of a stopped server expire within two minutes',
    );
  tell(`destroying the keys of ${name}`);
  const stores = space ? await destroyKeysIn(pd, rangeOf(space)) : 0;
  const etcdKeys = await deletePrefix(pd, etcdPrefix(name));
  const rules = await deleteRules(pd, tenant);
  if (space && !(await isEmpty(pd, space)))
    throw new CommandError(
      'REFUSED',
      `${name} has keys again: something still writes to it`,
      'stop that, then run this again',
    );
  return { stores, etcdKeys, rules };
}
