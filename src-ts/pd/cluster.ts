/** Asks PD over HTTP about stores, safe points, versions, and rules and groups by name. */
import type { Endpoint } from './endpoint.ts';

const V1 = '/pd/api/v1';

export interface Store {
  readonly id: number;
  /** `host:port` of tikvpb.Tikv. */
  readonly address: string;
  readonly version: string;
  /** Up, Offline, Down, Tombstone … */
  readonly state: string;
}

export interface ServiceSafePoint {
  readonly service: string;
  readonly safePoint: bigint;
  /** Seconds since 1970; the largest i64 for one that does not expire. */
  readonly expiresAt: bigint;
}

export async function stores(pd: Endpoint): Promise<Store[]> {
  const answer = (await pd.http('GET', `${V1}/stores`)) as {
    stores: { store: { id: number; address: string; version?: string; state_name?: string } }[] | null;
  };
  return (answer.stores ?? []).map(({ store }) => ({
    id: store.id,
    address: store.address,
    version: store.version ?? '',
    state: store.state_name ?? '',
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

/** Ids of placement rules with their groups, `group/id`. Empty when placement rules are off. */
export async function placementRules(pd: Endpoint): Promise<string[]> {
  try {
    const rules = (await pd.http('GET', `${V1}/config/rules`)) as { group_id: string; id: string }[] | null;
    return (rules ?? []).map((rule) => `${rule.group_id}/${rule.id}`);
  } catch (error) {
    // PD answers 412 when enable-placement-rules is false.
    if ((error as { status?: number }).status === 412) return [];
    throw error;
  }
}

/** Deletes a group of placement rules with all its rules. */
export async function deletePlacementGroup(pd: Endpoint, group: string): Promise<void> {
  await pd.http('DELETE', `${V1}/config/placement-rule/${encodeURIComponent(group)}`);
}

export async function deleteResourceGroup(pd: Endpoint, name: string): Promise<void> {
  await pd.http('DELETE', `/resource-manager/api/v1/config/group/${encodeURIComponent(name)}`);
}

export async function resourceGroups(pd: Endpoint): Promise<string[]> {
  const path = '/resource-manager/api/v1/config/groups';
  const groups = (await pd.http('GET', path, { missing: true })) as { name: string }[] | null | undefined;
  return (groups ?? []).map((group) => group.name);
}
