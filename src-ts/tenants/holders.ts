/** Finds who holds garbage collection back: services with a safe point in PD, and TiDBs' oldest transactions. */
import { safePoints } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { entries } from '../pd/etcd.ts';
import { millisOf } from '../pd/timestamp.ts';

/** TiDB: pkg/domain/infosync ServerMinStartTSPath. The filter puts the tenant's name in front of the server's id. */
const MIN_START = '/tidb/server/minstartts/';
const SERVICE = 'tidb-mesh:';
/** The service id of the worker that moves the store's safe point. */
const GC_WORKER = 'gc_worker';
/** The service id of a move or an import, without the tenant's name. */
export const MOVE_SERVICE = 'tidb-mesh/move/';
/** Of a comparison of both sides of one: the tenant's name follows, a slash, and what makes it unique. */
export const DIFF_SERVICE = 'tidb-mesh/diff/';

/** The folder of a tenant's TiDBs there. */
export function minStartFolder(tenant: string): string {
  return `${MIN_START}${tenant}:`;
}

/** A timestamp that TiDB has written into etcd; undefined for none. */
export function timestampIn(value: string): bigint | undefined {
  // A TiDB without transactions writes 0 or the largest u64.
  if (!/^\d+$/.test(value)) return undefined;
  const start = BigInt(value);
  return start === 0n || start >= 1n << 63n ? undefined : start;
}

export interface Holder {
  readonly kind: 'service' | 'move' | 'diff' | 'transaction';
  /** Undefined: the storage layer's own. */
  readonly tenant: string | undefined;
  /** The id of the service or the TiDB server. */
  readonly id: string;
  /** Versions after this timestamp are kept. */
  readonly timestamp: bigint;
  /** The time of the timestamp, ms since 1970. */
  readonly since: number;
  /** It ends by itself, by a lease or a time. */
  readonly expires: boolean;
}

function serviceOf(service: string): Pick<Holder, 'kind' | 'tenant' | 'id'> {
  if (service.startsWith(MOVE_SERVICE))
    return { kind: 'move', tenant: service.slice(MOVE_SERVICE.length), id: service };
  if (service.startsWith(DIFF_SERVICE))
    return { kind: 'diff', tenant: service.slice(DIFF_SERVICE.length).split('/', 1)[0], id: service };
  if (service.startsWith(SERVICE)) return { kind: 'service', ...split(service.slice(SERVICE.length)) };
  return { kind: 'service', tenant: undefined, id: service };
}

function split(id: string): { tenant: string | undefined; id: string } {
  const colon = id.indexOf(':');
  return colon < 0 ? { tenant: undefined, id } : { tenant: id.slice(0, colon), id: id.slice(colon + 1) };
}

/** All that hold garbage collection back, the earliest first. `now` is in ms. */
export async function holders(pd: Endpoint, now = Date.now()): Promise<Holder[]> {
  const [{ services }, starts] = await Promise.all([safePoints(pd), entries(pd, MIN_START)]);
  const found: Holder[] = [];
  for (const { service, safePoint, expiresAt } of services) {
    if (service === GC_WORKER || Number(expiresAt) * 1000 <= now) continue;
    const expires = expiresAt < 1n << 62n;
    found.push({ ...serviceOf(service), timestamp: safePoint, since: millisOf(safePoint), expires });
  }
  for (const { key, value, lease } of starts) {
    const start = timestampIn(value);
    if (start === undefined) continue;
    found.push({
      kind: 'transaction',
      ...split(key.slice(MIN_START.length)),
      timestamp: start,
      since: millisOf(start),
      expires: lease !== 0n,
    });
  }
  return found.sort((a, b) => (a.timestamp < b.timestamp ? -1 : 1));
}

/** A duration in words. */
export function ageText(since: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - since) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
