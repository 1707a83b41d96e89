/** What a move does with whole key spaces: is one empty, destroy one, and keep one's history from garbage collection. */
import { randomUUID } from 'node:crypto';
import { CommandError } from '../../errors.ts';
import { stores } from '../../pd/cluster.ts';
import {
  UpdateServiceGCSafePointRequestSchema,
  UpdateServiceGCSafePointResponseSchema,
} from '../../pd/generated/pd/pdpb_pb.ts';
import { destroyKeysIn } from '../../pd/ranges.ts';
import { millisOf } from '../../pd/timestamp.ts';
import { isEmpty as hasNoKeys } from '../../tenants/belongings.ts';
import { DIFF_SERVICE, MOVE_SERVICE } from '../../tenants/holders.ts';
import { HistoryGone } from './engine.ts';
import { dropLocks, scanLocks } from './locks.ts';
import type { Side, Storage } from './storage.ts';

const UPDATE_SERVICE_SAFE_POINT = {
  path: '/pdpb.PD/UpdateServiceGCSafePoint',
  request: UpdateServiceGCSafePointRequestSchema,
  answer: UpdateServiceGCSafePointResponseSchema,
} as const;

/** A service safe point of the mover. The slash keeps it apart from those that the filter names for a tenant, `tidb-mesh:<tenant>:…`. */
export function moveService(tenant: string): string {
  return MOVE_SERVICE + tenant;
}

/** One of a comparison. Several may run beside each other. */
export function diffService(tenant: string): string {
  return `${DIFF_SERVICE}${tenant}/${randomUUID()}`;
}

/** True if a key space has neither keys nor locks. */
export async function isEmpty({ storage, space }: Side): Promise<boolean> {
  return (await hasNoKeys(storage.pd, space.space)) && (await scanLocks({ storage, space })).length === 0;
}

/** Stores that do not send PD a heartbeat (PD server/api/store.go). */
const SILENT: readonly string[] = ['Disconnected', 'Down'];

/**
 * Why keys of a key space may be lost, in words. PD also answers where its stores are lost, or are new ones. No key space of a tenant that
 * is served is empty: it has the schema.
 * @throws CommandError when the stores do not answer
 */
export async function lossOf({ storage, space }: Side): Promise<string | undefined> {
  const silent = (await stores(storage.pd)).filter(({ state }) => SILENT.includes(state));
  if (silent.length > 0)
    return silent.map(({ id, address, state }) => `store ${id} (${address}) is ${state}`).join(', ');
  return (await hasNoKeys(storage.pd, space.space)) ? `it has no key of ${space.text}` : undefined;
}

/**
 * Destroys all keys of a key space with all versions, in all replicas.
 * @param isMine see Engine.destroyTarget
 * @throws CommandError for the key space of tenant 0, which has no first key
 */
export async function destroy(side: Side, isMine?: () => Promise<void>): Promise<void> {
  const { storage, space } = side;
  if (space.start.length === 0)
    throw new CommandError(
      'REFUSED',
      'the keys of tenant 0 cannot be destroyed as a range: the cluster’s own lie among them',
      'leave them, or drop its databases with a TiDB of the storage layer',
    );
  await dropLocks(side, isMine);
  await destroyKeysIn(storage.pd, space.range, isMine);
}

/** The highest version and configuration version of the regions in a key space. */
export async function highestEpoch({ storage, space }: Side): Promise<{ version: number; confVer: number }> {
  let [version, confVer] = [0, 0];
  for await (const page of storage.regionPages({ start: space.start, end: space.end }, space))
    for (const { epoch } of page)
      [version, confVer] = [Math.max(version, epoch.version), Math.max(confVer, epoch.confVer)];
  return { version, confVer };
}

/**
 * Keeps versions after `ts` from garbage collection for a while. Set it again before that ends.
 * @param service see `moveService`
 * @param since an earlier one: those that PD still keeps are kept from there on
 * @throws HistoryGone when those after `ts` may be gone already
 */
export async function keepHistory(
  storage: Storage,
  service: string,
  ts: bigint,
  ttlSeconds: number,
  since = ts,
): Promise<void> {
  let at = since < ts ? since : ts;
  for (;;) {
    // PD takes nothing below the lowest safe point of all, which never goes back (PD pkg/gc/safepoint.go).
    const lowest = await updateSafePoint(storage, service, at, ttlSeconds);
    if (lowest <= at) return;
    if (lowest > ts) throw new HistoryGone(ts, lowest);
    at = lowest;
  }
}

export async function releaseHistory(
  storage: Pick<Storage, 'pd' | 'clusterId'>,
  service: string,
): Promise<void> {
  await updateSafePoint(storage, service, 0n, 0);
}

/**
 * A time to live of 0 removes it (PD server/grpc_service.go UpdateServiceGCSafePoint).
 * @returns the lowest safe point of all services; it is higher than this one when PD has not taken it
 */
export async function updateSafePoint(
  storage: Pick<Storage, 'pd' | 'clusterId'>,
  service: string,
  safePoint: bigint,
  ttl: number,
): Promise<bigint> {
  const { minSafePoint } = await storage.pd.grpc(UPDATE_SERVICE_SAFE_POINT, {
    header: { clusterId: await storage.clusterId() },
    serviceId: Buffer.from(service),
    TTL: BigInt(ttl),
    safePoint,
  });
  return minSafePoint;
}

/** A comparison that has died keeps nothing for longer, s. */
const DIFF_SECONDS = 300;
const RENEW_MS = 60_000;

/**
 * Keeps the versions of one timestamp at some storage layers while something reads at it, however long that takes.
 * @param act gets a signal that comes when they may be gone
 * @throws CommandError when they are: what was read may be wrong then
 */
export async function whileKept<T>(
  storages: readonly Storage[],
  service: string,
  ts: bigint,
  act: (signal: AbortSignal) => Promise<T>,
  renewMs = RENEW_MS,
): Promise<T> {
  const keep = async (): Promise<void> => {
    try {
      await Promise.all(storages.map((storage) => keepHistory(storage, service, ts, DIFF_SECONDS)));
    } catch (error) {
      throw error instanceof HistoryGone ? historyPassed(ts) : error;
    }
  };
  const gone = new AbortController();
  // What does not answer is asked again; at the end, it must.
  const renew = (): void =>
    void keep().catch((error: unknown) => {
      if (error instanceof Passed) gone.abort(error);
    });
  let beat: NodeJS.Timeout | undefined;
  try {
    await keep();
    beat = setInterval(renew, renewMs);
    const done = await act(gone.signal).catch((error: unknown) => {
      gone.signal.throwIfAborted();
      throw error;
    });
    // It may have ended meanwhile, where PD was away for long.
    await keep();
    return done;
  } finally {
    clearInterval(beat);
    await Promise.allSettled(storages.map((storage) => releaseHistory(storage, service)));
  }
}

/** Garbage collection has passed what is being compared. */
class Passed extends CommandError {}

function historyPassed(ts: bigint): Passed {
  const time = new Date(millisOf(ts)).toISOString();
  return new Passed(
    'REFUSED',
    `garbage collection has passed the time that is compared, ${time}: versions of it may be gone`,
    'compare again, at a later time; if that is refused as well, see that a worker runs: tidb-mesh move doctor',
  );
}
