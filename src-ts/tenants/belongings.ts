/** What the storage layer keeps for a tenant, counted: keys in the store, keys in etcd, and what PD keeps by name. */
import { placementRules, resourceGroups, safePoints } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { countKeys } from '../pd/etcd.ts';
import { labelRules } from '../pd/regions.ts';
import { countKeysIn, type StoreRange } from '../pd/ranges.ts';
import { holders } from './holders.ts';
import { ruleId } from './registry.ts';
import { fromMemcomparable, pdKey, spaceOf, type KeySpace, type Tenant } from './tenant.ts';

/** Keys of a key space are counted as far as this. */
export const MOST_KEYS = 1000;

/** One kind of things of a tenant's that are there. */
export interface Belonging {
  readonly what: string;
  readonly count: number;
  /** How they go. */
  readonly remedy: string;
}

/** The prefix of a tenant's keys in PD's etcd; assembly/tenant/tenant.ts makes it. */
export function etcdPrefix(name: string): string {
  return `/tidb-mesh/${name}:`;
}

/** True for what the filter calls a tenant's region label rules, groups of placement rules (or `group/id`) and service safe points. */
export function isTenantsOwn(id: string, name: string): boolean {
  return id.startsWith(`tidb-mesh:${name}:`);
}

/** True for what the filter calls a tenant's resource groups: PD has 32 bytes for a name, so it is the number that leads. */
export function isTenantsGroup(group: string, number: number): boolean {
  return group.startsWith(`${number}:`);
}

/** A key space as the stores are asked for it. */
export function rangeOf(space: KeySpace): StoreRange {
  return {
    ...space,
    toPd: (key) => pdKey(space, key),
    fromPd: (key) => (space.memcomparable ? fromMemcomparable(key) : key),
  };
}

/** How many keys lie in a key space, as the stores say; MOST_KEYS for that many and more. */
export function keysOf(pd: Endpoint, space: KeySpace): Promise<number> {
  return countKeysIn(pd, rangeOf(space), MOST_KEYS);
}

/** True when no key lies in a key space. */
export async function isEmpty(pd: Endpoint, space: KeySpace): Promise<boolean> {
  return (await countKeysIn(pd, rangeOf(space), 1)) === 0;
}

/** What PD and its etcd keep by a tenant's name, and by its number where that is known; only what is there. */
export async function namedThings(pd: Endpoint, name: string, number?: number): Promise<Belonging[]> {
  const mine = (id: string): boolean => isTenantsOwn(id, name);
  const empty = 'stop its TiDBs and `tidb-mesh tenants empty`';
  const [etcd, rules, placement, groups, points, holding] = await Promise.all([
    countKeys(pd, etcdPrefix(name)),
    labelRules(pd),
    placementRules(pd),
    resourceGroups(pd),
    safePoints(pd),
    holders(pd),
  ]);
  const all: Belonging[] = [
    {
      what: "keys in PD's etcd",
      count: etcd,
      remedy: 'stop its TiDBs; what has a lease goes by itself, the rest by `tidb-mesh tenants empty`',
    },
    {
      what: 'region label rules',
      count: rules.filter(({ id }) => id !== ruleId(name) && mine(id)).length,
      remedy: `drop its table attributes (ALTER TABLE … ATTRIBUTES DEFAULT), or ${empty}`,
    },
    {
      what: 'placement rules',
      count: placement.filter(mine).length,
      remedy: `drop its placement policies, and the tables that use them, or ${empty}`,
    },
    {
      what: 'resource groups',
      count: number === undefined ? 0 : groups.filter((group) => isTenantsGroup(group, number)).length,
      remedy: `DROP RESOURCE GROUP for each, or ${empty}`,
    },
    {
      what: 'service safe points',
      count: points.services.filter(({ service }) => mine(service)).length,
      remedy: 'end its backups and changefeeds, or wait until they expire',
    },
    {
      what: "running TiDBs' oldest transactions",
      count: holding.filter(({ tenant, kind }) => kind === 'transaction' && tenant === name).length,
      remedy: 'stop its TiDBs',
    },
  ];
  return all.filter(({ count }) => count > 0);
}

/** Everything that is there of a tenant. */
export async function belongings(
  pd: Endpoint,
  tenant: Tenant,
  space = spaceOf(tenant),
): Promise<Belonging[]> {
  const keys = await keysOf(pd, space);
  const stored: Belonging = {
    what: keys >= MOST_KEYS ? 'keys in the store, or more' : 'keys in the store',
    count: keys,
    remedy: `stop its TiDBs, then: tidb-mesh tenants empty ${tenant.name} --confirm ${tenant.name}`,
  };
  return [...(keys > 0 ? [stored] : []), ...(await namedThings(pd, tenant.name, tenant.number))];
}
