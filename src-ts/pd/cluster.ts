/** Asks PD over HTTP about stores, safe points, versions, and rules and groups by name. */
import type { Endpoint } from './endpoint.ts';

const V1 = '/pd/api/v1';

export interface Store {
  readonly id: number;
  /** `host:port` of tikvpb.Tikv. */
  readonly address: string;
  /** `host:port` of import_sstpb.ImportSST: TiFlash takes files of its replicas elsewhere. */
  readonly fileAddress: string;
  readonly version: string;
  /** Up, Offline, Down, Tombstone … */
  readonly state: string;
  /** It has no keys of its own: it copies them for analysis, from the others. */
  readonly isTiFlash: boolean;
}

export interface ServiceSafePoint {
  readonly service: string;
  readonly safePoint: bigint;
  /** Seconds since 1970; the largest i64 for one that does not expire. */
  readonly expiresAt: bigint;
}

interface StoreJson {
  readonly id: number;
  readonly address: string;
  readonly peer_address?: string;
  readonly version?: string;
  readonly state_name?: string;
  readonly labels?: readonly { readonly key: string; readonly value: string }[];
}

export async function stores(pd: Endpoint): Promise<Store[]> {
  const answer = (await pd.http('GET', `${V1}/stores`)) as {
    stores: { store: StoreJson }[] | null;
  };
  return (answer.stores ?? []).map(({ store }) => ({
    id: store.id,
    address: store.address,
    // As TiDB's local backend: pkg/lightning/backend/local makeConn. TiKV has none.
    fileAddress: store.peer_address || store.address,
    version: store.version ?? '',
    state: store.state_name ?? '',
    // As TiDB tells them apart: pkg/store/gcworker needsGCOperationForStore.
    isTiFlash: (store.labels ?? []).some(({ key, value }) => key === 'engine' && value.startsWith('tiflash')),
  }));
}

/** The stores that hold the keys. */
export async function keyStores(pd: Endpoint): Promise<Store[]> {
  return (await stores(pd)).filter(({ state, isTiFlash }) => state !== 'Tombstone' && !isTiFlash);
}

/** A member of PD. */
export interface Member {
  readonly name: string;
  /** `host:port` by which clients reach it, as it advertises them. */
  readonly addresses: readonly string[];
}

export async function members(pd: Endpoint): Promise<Member[]> {
  const answer = (await pd.http('GET', `${V1}/members`)) as {
    members: { name?: string; client_urls?: string[] }[] | null;
  };
  return (answer.members ?? []).map(({ name = '', client_urls: urls = [] }) => ({
    name,
    addresses: urls.map((url) => new URL(url).host),
  }));
}

/** Reads PD's safe point, by which the stores collect garbage, and the service safe points that hold it back. */
export async function safePoints(pd: Endpoint): Promise<{ safePoint: bigint; services: ServiceSafePoint[] }> {
  const answer = (await pd.http('GET', `${V1}/gc/safepoint`)) as {
    gc_safe_point: string | number;
    service_gc_safe_points:
      { service_id: string; safe_point: string | number; expired_at: string | number }[] | null;
  };
  return {
    safePoint: BigInt(answer.gc_safe_point),
    services: (answer.service_gc_safe_points ?? []).map((point) => ({
      service: point.service_id,
      safePoint: BigInt(point.safe_point),
      expiresAt: BigInt(point.expired_at),
    })),
  };
}

/** When the cluster got its first store, ms since 1970; 0 when PD does not say. */
export async function bootstrapTime(pd: Endpoint): Promise<number> {
  const { raft_bootstrap_time: time } = (await pd.http('GET', `${V1}/cluster/status`)) as {
    raft_bootstrap_time?: string;
  };
  return Date.parse(time ?? '') || 0;
}

export async function version(pd: Endpoint): Promise<string> {
  return ((await pd.http('GET', `${V1}/version`)) as { version: string }).version;
}

/** Ids of placement rules with their groups, `group/id`. Both may contain slashes. Empty when placement rules are off. */
export async function placementRules(pd: Endpoint): Promise<string[]> {
  return (await rulesOf(pd)).map((rule) => `${rule.group_id}/${rule.id}`);
}

/** Groups of placement rules. Empty when placement rules are off. */
export async function placementGroups(pd: Endpoint): Promise<string[]> {
  return [...new Set((await rulesOf(pd)).map((rule) => rule.group_id))];
}

async function rulesOf(pd: Endpoint): Promise<readonly { group_id: string; id: string }[]> {
  return whenOn(async () => {
    const rules = (await pd.http('GET', `${V1}/config/rules`)) as { group_id: string; id: string }[] | null;
    return rules ?? [];
  });
}

/** A group of placement rules in PD's JSON, with what the commands read of a rule. Everything else stays as PD gave it. */
export interface PlacementBundle {
  readonly group_id: string;
  readonly rules?:
    readonly { readonly group_id: string; readonly start_key: string; readonly end_key: string }[] | null;
}

/** All groups of placement rules. Empty when placement rules are off. */
export async function placementBundles(pd: Endpoint): Promise<PlacementBundle[]> {
  return whenOn(async () => {
    const found = (await pd.http('GET', `${V1}/config/placement-rule`)) as PlacementBundle[] | null;
    return found ?? [];
  });
}

/** Makes these groups, or replaces them. Others stay. */
export async function setPlacementBundles(pd: Endpoint, bundles: readonly PlacementBundle[]): Promise<void> {
  await pd.http('POST', `${V1}/config/placement-rule?partial=true`, { body: bundles });
}

/** PD answers 412 when enable-placement-rules is false: then there is none. */
async function whenOn<T>(read: () => Promise<T[]>): Promise<T[]> {
  try {
    return await read();
  } catch (error) {
    if ((error as { status?: number }).status === 412) return [];
    throw error;
  }
}

/** Deletes a group of placement rules with all its rules. */
export async function deletePlacementGroup(pd: Endpoint, group: string): Promise<void> {
  await pd.http('DELETE', `${V1}/config/placement-rule/${encodeURIComponent(group)}`);
}

const GROUPS = '/resource-manager/api/v1/config';

/** A resource group in PD's JSON. PD adds a state to what it shows. */
export interface ResourceGroup {
  readonly name: string;
  /** GroupMode: 1 for request units. */
  readonly mode: number;
  readonly r_u_settings?: {
    readonly r_u?: {
      readonly settings?: { readonly fill_rate?: number | string; readonly burst_limit?: number | string };
    };
  };
  /** 0 to 16. */
  readonly priority?: number;
  readonly runaway_settings?: unknown;
  readonly background_settings?: unknown;
  /** What was used under it since it was made. */
  readonly ru_consumption?: Consumption;
}

/** resource_manager.Consumption in PD's JSON, which leaves zeros out. */
export interface Consumption {
  readonly r_r_u?: number | string;
  readonly w_r_u?: number | string;
  readonly read_bytes?: number | string;
  readonly write_bytes?: number | string;
  readonly total_cpu_time_ms?: number | string;
  readonly kv_read_rpc_count?: number | string;
  readonly kv_write_rpc_count?: number | string;
}

/** Makes a resource group, or replaces the one with this name. */
export async function putResourceGroup(pd: Endpoint, group: ResourceGroup): Promise<void> {
  await pd.http('POST', `${GROUPS}/group`, { body: group });
}

/** Changes the settings of a resource group. Its tokens stay. */
export async function changeResourceGroup(pd: Endpoint, group: ResourceGroup): Promise<void> {
  await pd.http('PUT', `${GROUPS}/group`, { body: group });
}

export async function deleteResourceGroup(pd: Endpoint, name: string): Promise<void> {
  await pd.http('DELETE', `${GROUPS}/group/${encodeURIComponent(name)}`);
}

/** All resource groups. Empty where PD has no resource manager. */
export async function resourceGroups(
  pd: Endpoint,
  { withStats = false }: { withStats?: boolean } = {},
): Promise<ResourceGroup[]> {
  const path = `${GROUPS}/groups${withStats ? '?with_stats=true' : ''}`;
  const groups = (await pd.http('GET', path, { missing: true })) as ResourceGroup[] | null | undefined;
  return groups ?? [];
}
