/** The filter's limits of a tenant in a mesh file or pluginConfig, see docs/limits.md. */
import type { TenantLimitsConfig } from '../config/types.ts';
import { changeTenant } from './edit.ts';

const MOST = 1_000_000;

/** What the filter limits, the least and the most, its unit in short, and what an option says of it. */
export const LIMITS = {
  requestsPerSecond: {
    least: 1,
    most: MOST,
    unit: 'requests/s',
    means: 'requests a second to TiKV, through each Envoy',
  },
  bytesPerSecond: {
    least: 1024,
    most: 4_000_000_000,
    unit: 'bytes/s',
    means: 'bytes a second of requests and answers, through each Envoy',
  },
  pdRequestsPerSecond: {
    least: 1,
    most: MOST,
    unit: 'PD requests/s',
    means: 'requests a second to PD and its etcd, through each Envoy',
  },
  maxStreams: { least: 1, most: MOST, unit: 'streams', means: 'open streams in each worker of Envoy' },
  etcdWatches: {
    least: 1,
    most: MOST,
    unit: 'etcd watches',
    means: "open watches of PD's etcd, in each worker of Envoy",
  },
  etcdKeys: { least: 1, most: MOST, unit: 'etcd keys', means: "keys in PD's etcd" },
  etcdLeases: { least: 1, most: MOST, unit: 'etcd leases', means: "leases in PD's etcd" },
  resourceGroups: { least: 1, most: MOST, unit: 'resource groups', means: 'resource groups in PD' },
  pdRecords: { least: 1, most: MOST, unit: 'records', means: 'rules and service safe points in PD' },
} as const satisfies Record<
  keyof TenantLimitsConfig,
  { least: number; most: number; unit: string; means: string }
>;
export type LimitName = keyof typeof LIMITS;
export type Limits = { readonly [name in LimitName]?: number | undefined };

export const LIMIT_NAMES = Object.keys(LIMITS) as LimitName[];

/** The limits that are given. */
export function limitsIn(values: Limits): [name: LimitName, limit: number][] {
  return LIMIT_NAMES.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]]));
}

/**
 * Sets a tenant's limits; those that are not given stay.
 * @param file names the text in errors
 * @throws CommandError
 */
export function changeLimits(text: string, file: string, tenant: string, limits: Limits): string {
  return limitsIn(limits).reduce(
    (changed, [name, limit]) => changeTenant(changed, file, tenant, ['limits', name], limit),
    text,
  );
}

/** Limits of the configuration in a few words: `500 requests/s`; '' where it has none. */
export function limitsText(limits: TenantLimitsConfig = {}): string {
  return limitsIn(limits)
    .map(([name, limit]) => `${limit} ${LIMITS[name].unit}`)
    .join(', ');
}
