/**
 * Where a tenant's keys are: in a cluster outside of the mesh, or the fields of its entry in the pluginConfig that change when it moves.
 * Its name and number never do.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Tenant } from '../tenants/tenant.ts';

export interface Place {
  /** A cluster outside of the mesh, by its name (clusters.ts). All its keys are the tenant's. Nothing else is set then. */
  readonly cluster?: string;
  /** The number in its keys, when that is not the tenant's own. */
  readonly keyNumber?: number;
  readonly keyspace?: { readonly id: number; readonly mode: 'txn' };
  /** Is added to the versions of regions, so that clients take the regions there for newer ones. */
  readonly epochOffset?: number;
  /** Nothing older can be read there: a timestamp of PD, decimal. */
  readonly readableSince?: string;
}

const FIELDS = ['keyNumber', 'keyspace', 'epochOffset', 'readableSince'] as const;

/** Where an entry of the pluginConfig says that the tenant is. */
export function placeOf(entry: Partial<Record<(typeof FIELDS)[number], unknown>>): Place {
  return Object.fromEntries(
    FIELDS.filter((name) => entry[name] !== undefined).map((name) => [name, entry[name]]),
  ) as Place;
}

/** The tenant with its keys there. */
export function tenantAt({ name, number }: Pick<Tenant, 'name' | 'number'>, place: Place): Tenant {
  if (place.cluster !== undefined) return { name, number: 0 };
  return { name, number, ...place } as Tenant;
}

/** True if both have the same keys. */
export function isSamePlace(one: Place, other: Place): boolean {
  return (
    one.cluster === other.cluster &&
    one.keyNumber === other.keyNumber &&
    isDeepStrictEqual(one.keyspace, other.keyspace)
  );
}

/** In words, for people. */
export function placeText(
  { number }: Pick<Tenant, 'number'>,
  { cluster, keyNumber, keyspace }: Place,
): string {
  if (cluster !== undefined) return `cluster ${cluster}`;
  if (keyspace) return `keyspace ${keyspace.id}`;
  const at = keyNumber ?? number;
  return at === 0 ? 'the keys of tenant 0' : `number ${at}`;
}
