/** Counts what the storage layer holds for a tenant: keys in the store, keys in etcd, and what PD keeps by name. */
import { placementRules, resourceGroups, safePoints } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { countKeys } from '../pd/etcd.ts';
import { labelRules } from '../pd/regions.ts';
import { countKeysIn, type StoreRange } from '../pd/ranges.ts';
import { holders } from './holders.ts';
import { defaultGroupOf } from './request-units.ts';
import { ruleId } from './registry.ts';
import { fromMemcomparable, pdKey, spaceOf, type KeySpace, type Tenant } from './tenant.ts';

/** Keys of a key range are counted up to this number. */
export const MOST_KEYS = 1000;

/** One kind of a tenant's belongings. */
export interface Belonging {
  readonly what: string;
  readonly count: number;
  /** How to remove them. */
  readonly remedy: string;
}

/** The prefix of a tenant's keys in PD's etcd, as assembly/tenant/tenant.ts makes it. */
export function etcdPrefix(name: string): string {
  return `/tidb-mesh/${name}:`;
}

/** What stands before a tenant's names in PD's lists, as assembly/pd-http/rule-names.ts writes it. */
export function ownPrefix(name: string): string {
  return `tidb-mesh:${name}:`;
}

/** True for the names that the filter gives to a tenant's region label rules, groups of placement rules (or `group/id`) and service safe points. */
export function isTenantsOwn(id: string, name: string): boolean {
  return id.startsWith(ownPrefix(name));
}

/**
 * True for the names that the filter gives to the resource groups that a tenant has made. They begin with the number, because PD has 32
 * bytes for a name. The tenant's `default` is the operator's.
 */
export function isTenantsGroup(group: string, number: number): boolean {
  return group.startsWith(`${number}:`) && group !== defaultGroupOf(number);
}

/** A key range in the form that the stores understand. */
export function rangeOf(space: KeySpace): StoreRange {
  return {
    ...space,
    toPd: (key) => pdKey(space, key),
    fromPd: (key) => (space.memcomparable ? fromMemcomparable(key) : key),
  };
}

/** Counts the keys of a key range at the stores, up to MOST_KEYS. */
export function keysOf(pd: Endpoint, space: KeySpace): Promise<number> {
  return countKeysIn(pd, rangeOf(space), MOST_KEYS);
}

/** True if a key range holds no key. */
export async function isEmpty(pd: Endpoint, space: KeySpace): Promise<boolean> {
  return (await countKeysIn(pd, rangeOf(space), 1)) === 0;
}

/** Finds what PD and its etcd keep by a tenant's name, and by its number if that is known. */
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
      count: number === undefined ? 0 : groups.filter((group) => isTenantsGroup(group.name, number)).length,
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

/** Finds everything that belongs to a tenant. */
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
