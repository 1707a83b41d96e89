/**
 * Which storage layer of a mesh file has a tenant. One serves it. Beside that one there may be the one that it comes from, whose Envoys hand
 * it over, and the one that it moves to, which keeps it closed until then (docs/decisions/0017).
 */
import type { PluginConfig, TenantConfig, TenantLimitsConfig } from '../config/types.ts';

/** What a mesh file says of a storage layer, however its servers are described. */
export interface NamedStorage {
  readonly name: string;
  /** A pattern over the principals of its Envoys. With it, they can hand tenants over. */
  readonly principal?: string;
  /** The id of its PD's cluster, decimal. */
  readonly clusterId?: string;
}

/** What differs of a tenant at a storage that does not serve it: the number, where its keys are, what is shown of another storage. */
type Differing = Partial<Omit<TenantConfig, 'name' | 'servedBy'>>;
export type Side = Differing & { readonly storage: string };

/** A tenant of a mesh file: its entry at the storage that serves it, and where else it has one. */
export type PlacedTenant = TenantConfig & {
  readonly storage?: string;
  readonly movedFrom?: string | Side;
  readonly movesTo?: string | Side;
};

export interface PlacedConfig extends Omit<PluginConfig, 'tenants'> {
  readonly tenants: readonly PlacedTenant[];
}

/** What a mesh file says of its storages and of who is where. */
export interface Placed {
  readonly storages: readonly NamedStorage[];
  readonly pluginConfig: PlacedConfig;
}

/** What a tenant is at one storage. */
export interface Entry {
  readonly storage: string;
  readonly tenant: TenantConfig;
  /** Where the file says so, like `tenants[0].movedFrom`. */
  readonly where: string;
}

/** What a side may say. `servedBy` and the closed state follow from which side it is. */
export const SIDE_FIELDS: readonly (keyof Side)[] = [
  'storage',
  'number',
  'state',
  'limits',
  'keyspace',
  'prefix',
  'ownDefaultGroup',
  'keyNumber',
  'epochOffset',
  'confVerOffset',
  'clusterId',
  'latestSeen',
  'readableSince',
  'move',
];
/** Limits of what PD keeps, which number 0 has not. */
const HELD: readonly (keyof TenantLimitsConfig)[] = ['etcdKeys', 'etcdLeases', 'resourceGroups', 'pdRecords'];

export const sideOf = (value: string | Side): Side =>
  typeof value === 'string' ? { storage: value } : value;

/** The entries of a tenant; the first is that of the storage that serves it. */
export function entriesOf(placed: PlacedTenant, where: string, storages: readonly NamedStorage[]): Entry[] {
  const { storage = storages[0]?.name ?? '', movedFrom, movesTo, ...tenant } = placed;
  const entries: Entry[] = [{ storage, tenant, where }];
  if (movedFrom !== undefined) {
    const side = sideOf(movedFrom);
    const there = { ...elsewhere(tenant, side), servedBy: storage };
    entries.push({ storage: side.storage, tenant: there, where: `${where}.movedFrom` });
  }
  if (movesTo !== undefined) {
    const side = sideOf(movesTo);
    const there: TenantConfig = { ...elsewhere(tenant, side), state: 'suspended' };
    entries.push({ storage: side.storage, tenant: there, where: `${where}.movesTo` });
  }
  return entries;
}

/** Where its keys are differs from storage to storage; its limits and, as long as nothing else is said, its number do not. */
function elsewhere({ name, number, limits }: TenantConfig, side: Side): TenantConfig {
  const there: TenantConfig & { storage?: string } = {
    name,
    number,
    ...(limits ? { limits } : {}),
    ...side,
  };
  delete there.storage;
  if (there.number !== 0 || !there.limits) return there;
  const kept = Object.entries(there.limits).filter(
    ([limit]) => !HELD.includes(limit as (typeof HELD)[number]),
  );
  return { ...there, limits: Object.fromEntries(kept) };
}
