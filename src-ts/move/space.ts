/** What a move does with whole key spaces: is one empty, destroy one, and keep one's history from garbage collection. */
import { CommandError } from '../errors.ts';
import {
  UpdateServiceGCSafePointRequestSchema,
  UpdateServiceGCSafePointResponseSchema,
} from '../pd/generated/pd/pdpb_pb.ts';
import { destroyKeysIn } from '../pd/ranges.ts';
import { isEmpty as hasNoKeys } from '../tenants/belongings.ts';
import { MOVE_SERVICE } from '../tenants/holders.ts';
import { HistoryGone } from './engine.ts';
import { dropLocks, scanLocks } from './locks.ts';
import type { Side, Storage } from './storage.ts';

const UPDATE_SERVICE_SAFE_POINT = {
  path: '/pdpb.PD/UpdateServiceGCSafePoint',
  request: UpdateServiceGCSafePointRequestSchema,
  answer: UpdateServiceGCSafePointResponseSchema,
} as const;

/** A service safe point of the mover. The slash keeps it apart from those that the filter names for a tenant, `tidb-mesh:<tenant>:…`. */
function serviceId(tenant: string): string {
  return MOVE_SERVICE + tenant;
}

/** True if a key space has neither keys nor locks. */
export async function isEmpty({ storage, space }: Side): Promise<boolean> {
  return (await hasNoKeys(storage.pd, space.space)) && (await scanLocks({ storage, space })).length === 0;
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
 * @throws HistoryGone when they may be gone already
 */
export async function keepHistory(
  storage: Storage,
  tenant: string,
  ts: bigint,
  ttlSeconds: number,
): Promise<void> {
  const lowest = await updateSafePoint(storage, tenant, ts, ttlSeconds);
  if (lowest > ts) throw new HistoryGone(ts, lowest);
}

export async function releaseHistory(storage: Storage, tenant: string): Promise<void> {
  await updateSafePoint(storage, tenant, 0n, 0);
}

/** A time to live of 0 removes it (PD server/grpc_service.go UpdateServiceGCSafePoint). */
async function updateSafePoint(
  storage: Storage,
  tenant: string,
  safePoint: bigint,
  ttl: number,
): Promise<bigint> {
  const { minSafePoint } = await storage.pd.grpc(UPDATE_SERVICE_SAFE_POINT, {
    header: { clusterId: await storage.clusterId() },
    serviceId: Buffer.from(serviceId(tenant)),
    TTL: BigInt(ttl),
    safePoint,
  });
  return minSafePoint;
}
