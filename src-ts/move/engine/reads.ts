/**
 * What a tenant still reads of old versions, for a move between two PDs: its TiDBs' open transactions, and the service safe points of its
 * changefeeds and dumps. Each PD keeps garbage collection from what it knows, and the one that the tenant moves to knows nothing of it.
 */
import { safePoints, type ServiceSafePoint } from '../../pd/cluster.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { entries } from '../../pd/etcd.ts';
import { isTenantsOwn } from '../../tenants/belongings.ts';
import { minStartFolder, timestampIn } from '../../tenants/holders.ts';
import { releaseHistory, updateSafePoint } from './space.ts';
import type { Storage } from './storage.ts';

/** Where TiDB's collector writes the safe point that sessions compare with, 100 s before any version goes (gc_worker.go, runGCJob). */
const SAVED_SAFE_POINT = '/tidb/store/gcworker/saved_safe_point';

const isAlive = ({ expiresAt }: ServiceSafePoint): boolean => Number(expiresAt) * 1000 > Date.now();

/** The earliest one; undefined of none. */
function earliest(all: readonly bigint[]): bigint | undefined {
  return all.reduce<bigint | undefined>((a, b) => (a !== undefined && a < b ? a : b), undefined);
}

/**
 * Which versions of a PD a tenant still needs: those after this timestamp. Undefined when PD knows of none.
 * @param along a service that counts as the tenant's
 */
export async function readSince(pd: Endpoint, tenant: string, along?: string): Promise<bigint | undefined> {
  const [starts, { services }] = await Promise.all([entries(pd, minStartFolder(tenant)), safePoints(pd)]);
  const own = services.filter((one) => isTenantsOwn(one.service, tenant) || one.service === along);
  return earliest([
    ...own.filter(isAlive).map(({ safePoint }) => safePoint),
    // As TiDB's collector: at the timestamp itself, it would end the transaction's locks (calcSafePointByMinStartTS).
    ...starts.flatMap(({ value }) => timestampIn(value) ?? []).map((start) => start - 1n),
  ]);
}

/** Since when a service keeps versions; undefined when it does not. */
export async function keptBy(pd: Endpoint, service: string): Promise<bigint | undefined> {
  return (await safePoints(pd)).services.find((one) => one.service === service && isAlive(one))?.safePoint;
}

/**
 * Nothing older than this can be read there: garbage collection has passed it, or is about to. A round that begins later is one that
 * sessions hear of in time.
 */
export async function collectedTo(pd: Endpoint): Promise<bigint> {
  const [saved, { safePoint }] = await Promise.all([entries(pd, SAVED_SAFE_POINT), safePoints(pd)]);
  const told = saved.flatMap(({ key, value }) =>
    key === SAVED_SAFE_POINT ? (timestampIn(value) ?? []) : [],
  );
  return [...told, safePoint].reduce((a, b) => (a > b ? a : b), 0n);
}

/** PD where a tenant's service safe points are. */
export type ServiceSide = Pick<Storage, 'pd' | 'clusterId'>;

const ofTenant = async (pd: Endpoint, tenant: string): Promise<ServiceSafePoint[]> =>
  (await safePoints(pd)).services.filter(({ service }) => isTenantsOwn(service, tenant));

/**
 * Gives the target the service safe points that the tenant has at the source, for the rest of their time. PD does not take one that garbage
 * collection has passed there, and who owns it finds out as on any PD: it sets it again, and gets a later one.
 */
export async function carryServices(source: ServiceSide, target: ServiceSide, tenant: string): Promise<void> {
  const there = await ofTenant(target.pd, tenant);
  const alive = (await ofTenant(source.pd, tenant)).filter(isAlive);
  for (const { service, safePoint, expiresAt } of alive) {
    const seconds = expiresAt - BigInt(Math.floor(Date.now() / 1000));
    await updateSafePoint(target, service, safePoint, Number(seconds));
  }
  const kept = new Set(alive.map(({ service }) => service));
  // Of an earlier stay, or of a switch that was not done.
  await release(
    target,
    there.filter(({ service }) => !kept.has(service)),
  );
}

/** Removes those at a place that the tenant has left. Nobody renews them, and they would hold garbage collection back for a day. */
export async function dropServices(side: ServiceSide, tenant: string): Promise<void> {
  await release(side, await ofTenant(side.pd, tenant));
}

async function release(side: ServiceSide, services: readonly ServiceSafePoint[]): Promise<void> {
  for (const { service } of services) await releaseHistory(side, service);
}
