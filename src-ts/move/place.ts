/**
 * Where a tenant's keys are: in a cluster outside of the mesh, or the fields of its entry in the mesh file that change when it moves.
 * Its name and number never do.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Tenant } from '../tenants/tenant.ts';

export interface Place {
  /** A cluster outside of the mesh, by its name (clusters.ts). All its keys are the tenant's. Nothing else is set then. */
  readonly cluster?: string;
  /** The storage layer, in a mesh file with several. */
  readonly storage?: string;
  /** The number in its keys, when that is not the tenant's own. */
  readonly keyNumber?: number;
  readonly keyspace?: { readonly id: number; readonly mode: 'txn' };
  /** Is added to the versions of regions, so that clients take the regions there for newer ones. */
  readonly epochOffset?: number;
  /** The same for their configuration versions, where its clients know those of another storage layer. */
  readonly confVerOffset?: number;
  /** The id of PD's cluster that its clients know, and the one that PD has. */
  readonly clusterId?: { readonly seen: string; readonly own: string };
  /** The latest timestamp that its clients have got from another PD, decimal. */
  readonly latestSeen?: string;
  /** Nothing older can be read there: a timestamp of PD, decimal. */
  readonly readableSince?: string;
}

/**
 * `latestSeen` while one storage layer hands the tenant over to another one: no timestamp of PD is later, so that none passes before the last
 * one of the other PD is known. Nobody else writes it, so it is also the sign that nobody serves the tenant just then.
 */
export const NO_TIME_YET = String((1n << 63n) - 1n);

/** They stand in a tenant's entry as they stand here. Of its storage, only a move between two says anything. */
export const PLACE_FIELDS = [
  'keyNumber',
  'keyspace',
  'epochOffset',
  'confVerOffset',
  'clusterId',
  'latestSeen',
  'readableSince',
] as const;

/** Where an entry of the mesh file or pluginConfig says that the tenant is. */
export function placeOf(entry: Partial<Record<(typeof PLACE_FIELDS)[number], unknown>>): Place {
  return Object.fromEntries(
    PLACE_FIELDS.filter((name) => entry[name] !== undefined).map((name) => [name, entry[name]]),
  ) as Place;
}

/** The tenant with its keys there. */
export function tenantAt({ name, number }: Pick<Tenant, 'name' | 'number'>, place: Place): Tenant {
  if (place.cluster !== undefined) return { name, number: 0 };
  const { keyNumber, keyspace } = place;
  return {
    name,
    number,
    ...(keyNumber === undefined ? {} : { keyNumber }),
    ...(keyspace === undefined ? {} : { keyspace }),
  };
}

/** True if both have the same keys. */
export function isSamePlace(one: Place, other: Place): boolean {
  return (
    one.cluster === other.cluster &&
    one.storage === other.storage &&
    one.keyNumber === other.keyNumber &&
    isDeepStrictEqual(one.keyspace, other.keyspace)
  );
}

/** In words, for people. */
export function placeText(
  { number }: Pick<Tenant, 'number'>,
  { cluster, storage, keyNumber, keyspace }: Place,
): string {
  if (cluster !== undefined) return `cluster ${cluster}`;
  const inStorage = storage === undefined ? '' : ` in storage ${storage}`;
  if (keyspace) return `keyspace ${keyspace.id}${inStorage}`;
  const at = keyNumber ?? number;
  return (at === 0 ? 'the keys of tenant 0' : `number ${at}`) + inStorage;
}

/** What the tenant's clients know of another storage layer. It holds wherever its keys are in this one. */
export function shownAt({ confVerOffset, clusterId, latestSeen }: Place): Place {
  return placeOf({ confVerOffset, clusterId, latestSeen });
}

/** True when a move leads from one storage layer to another one, both of which the mesh file has. */
export function isBetweenStorages({ from, to }: { readonly from: Place; readonly to: Place }): boolean {
  return from.cluster === undefined && to.cluster === undefined && from.storage !== to.storage;
}

/** One side is a cluster outside of the mesh. */
export function isImport({ from, to }: { readonly from: Place; readonly to: Place }): boolean {
  return from.cluster !== undefined || to.cluster !== undefined;
}
