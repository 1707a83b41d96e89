/**
 * What tenants have used, as PD's resource control counts it, and what they store. TiDB reports to PD every few seconds. Statements of
 * tenants that share PD's `default` cannot be told apart: they count as shared.
 */
import { resourceGroups, type Consumption } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { listTenants } from './list.ts';
import { DELAYS, errorsOf, MESH_COUNTERS, meshUsage, type Errors, type MeshUsage } from './mesh-status.ts';

/** Sums since the resource groups were made. */
export interface Counters {
  readonly requestUnits: number;
  readonly readRequests: number;
  readonly writeRequests: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Of TiDB and TiKV. */
  readonly cpuMs: number;
}

export interface TenantUsage extends Counters {
  readonly name: string;
  readonly number: number | null;
  /** PD's estimates. */
  readonly storedMiB: number;
  readonly storedKeys: number;
  readonly regions: number;
  readonly holdsBack: string;
  /** What the filter has counted, where it was asked. */
  readonly mesh?: MeshUsage;
}

export interface Usage {
  /** When PD was asked: ISO 8601. */
  readonly at: string;
  /** Counters count from then on; undefined: from the beginning. */
  readonly since?: string;
  readonly tenants: readonly TenantUsage[];
  /** Of PD's `default`, and of resource groups of no tenant. */
  readonly shared: Counters;
}

export const COUNTERS = [
  'requestUnits',
  'readRequests',
  'writeRequests',
  'readBytes',
  'writtenBytes',
  'cpuMs',
] as const satisfies readonly (keyof Counters)[];

/** Makes counters of one number for each. */
function counters(value: (name: keyof Counters) => number): Counters {
  return Object.fromEntries(COUNTERS.map((name) => [name, value(name)])) as unknown as Counters;
}

const ZERO = counters(() => 0);

function sum(all: readonly Counters[]): Counters {
  return all.reduce((a, b) => counters((name) => a[name] + b[name]), ZERO);
}

function countersOf(used: Consumption = {}): Counters {
  // PD leaves zeros out, and numbers of 16 digits arrive as texts.
  const of = (name: keyof Consumption): number => Number(used[name] ?? 0);
  return {
    requestUnits: of('r_r_u') + of('w_r_u'),
    readRequests: of('kv_read_rpc_count'),
    writeRequests: of('kv_write_rpc_count'),
    readBytes: of('read_bytes'),
    writtenBytes: of('write_bytes'),
    cpuMs: of('total_cpu_time_ms'),
  };
}

/** The number in front of a resource group's name. */
function ownerOf(group: string): number | undefined {
  const [, number] = /^(\d+):/.exec(group) ?? [];
  return number === undefined ? undefined : Number(number);
}

function meshPart(mesh: MeshUsage | undefined): { mesh?: MeshUsage } {
  return mesh ? { mesh } : {};
}

function delayIn(mesh: Partial<MeshUsage>, name: (typeof DELAYS)[number]): number {
  return mesh[name] ?? 0;
}

/** Changes the filter's counters, and leaves the rest as it is now. */
function mapMesh(
  mesh: MeshUsage | undefined,
  change: (value: number, of: (mesh: MeshUsage) => number) => number,
): { mesh?: MeshUsage } {
  if (!mesh) return {};
  const counted = Object.fromEntries(
    MESH_COUNTERS.map((name) => [name, change(mesh[name], (other) => other[name])]),
  );
  // A result that was printed by an earlier version has no delays and no errors.
  const delays = Object.fromEntries(
    DELAYS.map((name) => [name, change(delayIn(mesh, name), (other) => delayIn(other, name))]),
  );
  const errorIn = ({ errors }: Partial<MeshUsage>, name: keyof Errors): number => errors?.[name] ?? 0;
  const errors = errorsOf((name) => change(errorIn(mesh, name), (other) => errorIn(other, name)));
  return { mesh: { ...mesh, ...counted, ...delays, errors } };
}

/** Asks PD for everything, and these Envoys for what the filter has counted. */
export async function usageNow(pd: Endpoint, envoys: readonly Endpoint[] = []): Promise<Usage> {
  const [listed, groups, mesh] = await Promise.all([
    listTenants(pd),
    resourceGroups(pd, { withStats: true }),
    meshUsage(envoys),
  ]);
  const of = (owns: (owner: number | undefined) => boolean): Counters =>
    sum(groups.filter(({ name }) => owns(ownerOf(name))).map(({ ru_consumption: used }) => countersOf(used)));
  const numbers = new Set(listed.map(({ number }) => number));
  return {
    at: new Date().toISOString(),
    tenants: listed.map((tenant) => ({
      name: tenant.name,
      number: tenant.number ?? null,
      storedMiB: tenant.approximateMiB,
      storedKeys: tenant.approximateKeys,
      regions: tenant.regions,
      holdsBack: tenant.holdsBack,
      // Tenant 0 keeps the names of its groups, and uses PD's `default`.
      ...of((owner) => owner !== undefined && owner === tenant.number),
      ...meshPart(mesh.get(tenant.name)),
    })),
    shared: of((owner) => owner === undefined || !numbers.has(owner)),
  };
}

/** What a counter has grown by. One that has fallen was begun anew. */
function growth(after: number, before = 0): number {
  return after < before ? after : after - before;
}

/** What was used between two times. */
export function usageSince(now: Usage, before: Usage): Usage {
  const grown = (after: Counters, from: Counters | undefined): Counters =>
    counters((name) => growth(after[name], from?.[name]));
  return {
    ...now,
    since: before.at,
    tenants: now.tenants.map((tenant) => {
      const from = before.tenants.find(
        ({ name, number }) => name === tenant.name && number === tenant.number,
      );
      return {
        ...tenant,
        ...grown(tenant, from),
        ...mapMesh(tenant.mesh, (value, of) => growth(value, from?.mesh && of(from.mesh))),
      };
    }),
    shared: grown(now.shared, before.shared),
  };
}

/** Counters for each second of a usage between two times. */
export function perSecond(usage: Usage): Usage {
  const seconds = Math.max(1e-3, (Date.parse(usage.at) - Date.parse(usage.since ?? usage.at)) / 1000);
  const rate = (all: Counters): Counters => counters((name) => all[name] / seconds);
  return {
    ...usage,
    tenants: usage.tenants.map((tenant) => ({
      ...tenant,
      ...rate(tenant),
      ...mapMesh(tenant.mesh, (value) => value / seconds),
    })),
    shared: rate(usage.shared),
  };
}

/** A usage that was printed as JSON before; undefined for anything else. */
export function readUsage(text: string): Usage | undefined {
  const isCounters = (value: unknown): boolean =>
    typeof value === 'object' &&
    value !== null &&
    COUNTERS.every((name) => typeof (value as Record<string, unknown>)[name] === 'number');
  try {
    const usage = JSON.parse(text) as Partial<Usage> | null;
    const isUsage =
      typeof usage?.at === 'string' &&
      usage.since === undefined &&
      !Number.isNaN(Date.parse(usage.at)) &&
      isCounters(usage.shared) &&
      Array.isArray(usage.tenants) &&
      usage.tenants.every(isCounters);
    return isUsage ? (usage as Usage) : undefined;
  } catch {
    return undefined;
  }
}
