/**
 * Works through a range of keys at the stores, region by region, as a TiKV client does. PD has only estimates; the stores have the facts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { CommandError } from '../errors.ts';
import { keyStores, stores, type Store } from './cluster.ts';
import { CallError, type Endpoint } from './endpoint.ts';
import { regionsIn, type Region } from './regions.ts';
import { timestamp } from './timestamp.ts';
import {
  APIVersion,
  RawDeleteRangeRequestSchema,
  RawDeleteRangeResponseSchema,
  RawScanRequestSchema,
  RawScanResponseSchema,
  ScanRequestSchema,
  ScanResponseSchema,
  UnsafeDestroyRangeRequestSchema,
  UnsafeDestroyRangeResponseSchema,
  type ContextSchema,
} from './generated/tikv/kvrpcpb_pb.ts';

const SCAN = {
  path: '/tikvpb.Tikv/KvScan',
  request: ScanRequestSchema,
  answer: ScanResponseSchema,
} as const;
const RAW_SCAN = {
  path: '/tikvpb.Tikv/RawScan',
  request: RawScanRequestSchema,
  answer: RawScanResponseSchema,
} as const;
export const UNSAFE_DESTROY_RANGE = {
  path: '/tikvpb.Tikv/UnsafeDestroyRange',
  request: UnsafeDestroyRangeRequestSchema,
  answer: UnsafeDestroyRangeResponseSchema,
  // As TiDB waits: client-go tikvrpc UnsafeDestroyRangeTimeout.
  timeoutMs: 300_000,
} as const;
const RAW_DELETE_RANGE = {
  path: '/tikvpb.Tikv/RawDeleteRange',
  request: RawDeleteRangeRequestSchema,
  answer: RawDeleteRangeResponseSchema,
  timeoutMs: 300_000,
} as const;

/** An answer that took longer may be old by now. A worker's claim lasts for several times as long. */
const LATE_MS = 1000;

/** How often a region is tried. A region that splits or elects a leader is back within seconds. */
const TRIES = 30;
const PAUSE_MS = 500;

/** A range of keys in the store's form, and how PD writes them. */
export interface StoreRange {
  readonly start: Buffer;
  /** Empty for the store's end. */
  readonly end: Buffer;
  readonly mode: 'txn' | 'raw';
  /** Set for a keyspace of API V2. */
  readonly keyspaceId: number | undefined;
  /** Maps a key from the store's form to PD's, and back. undefined for bytes that are not in PD's form. */
  toPd(key: Buffer): Buffer;
  fromPd(key: Buffer): Buffer | undefined;
}

type Context = MessageInitShape<typeof ContextSchema>;

/** The part of a range in one region. */
interface Part {
  readonly context: Context;
  readonly start: Buffer;
  readonly end: Buffer;
  /** Address of the store that leads the region. */
  readonly address: string;
}

/** What to do next. `again`: the region is not where PD said. */
type Next = 'again' | 'next' | 'stop';

function contextOf(
  { id, epoch }: Region,
  leader: NonNullable<Region['leader']>,
  keyspaceId: number | undefined,
): Context {
  return {
    regionId: BigInt(id),
    regionEpoch: { confVer: BigInt(epoch.confVer), version: BigInt(epoch.version) },
    peer: { id: BigInt(leader.id), storeId: BigInt(leader.storeId) },
    ...(keyspaceId === undefined ? {} : { apiVersion: APIVersion.V2, keyspaceId }),
  };
}

/** Calls `visit` for the range's part in each region, in order. */
async function overRegions(
  pd: Endpoint,
  range: StoreRange,
  visit: (part: Part) => Promise<Next>,
): Promise<void> {
  const addresses = new Map((await stores(pd)).map(({ id, address }) => [id, address]));
  const reaches = (end: Buffer): boolean =>
    end.length === 0 || (range.end.length > 0 && Buffer.compare(end, range.toPd(range.end)) >= 0);
  let start = range.start;
  let tries = 0;
  for (;;) {
    const from = range.toPd(start);
    const [region] = await regionsIn(pd, from, Buffer.concat([from, Buffer.from([0])]));
    const address = addresses.get(region?.leader?.storeId ?? 0);
    let next: Next = 'again';
    if (region?.leader && address !== undefined) {
      const end = reaches(region.end) ? range.end : range.fromPd(region.end);
      if (end === undefined)
        throw new CallError(
          `region ${region.id} ends at a key that is not in the form of this key range`,
          0,
          'run `tidb-mesh doctor`, which names overlapping key ranges',
        );
      const context = contextOf(region, region.leader, range.keyspaceId);
      next = await visit({ context, start, end, address });
      if (next === 'stop' || (next === 'next' && reaches(region.end))) return;
      if (next === 'next') start = end;
    }
    tries = next === 'again' ? tries + 1 : 0;
    if (tries >= TRIES)
      throw new CallError(
        `region ${region?.id ?? '?'} cannot be asked: it has no leader, or changes all the time`,
        0,
        'run this again later; `tidb-mesh doctor` names stores that are not up',
      );
    if (next === 'again') await sleep(PAUSE_MS);
  }
}

/**
 * Counts the keys in a range, up to `limit`. A lock counts as a key. A deleted key does not count, even with old versions left.
 * @throws CallError when a store cannot be asked
 */
export async function countKeysIn(pd: Endpoint, range: StoreRange, limit: number): Promise<number> {
  const raw = range.mode === 'raw';
  const now = raw ? 0n : await timestamp(pd);
  let count = 0;
  await overRegions(pd, range, async ({ context, start: startKey, end: endKey, address }) => {
    const part = { context, startKey, endKey, limit: limit - count, keyOnly: true };
    if (raw) {
      const { regionError, kvs } = await pd.grpc(RAW_SCAN, part, address);
      if (regionError) return 'again';
      count += kvs.length;
    } else {
      const { regionError, pairs, error } = await pd.grpc(SCAN, { ...part, version: now }, address);
      if (regionError) return 'again';
      // An error in place of all pairs means a lock, too.
      count += pairs.length + (error ? 1 : 0);
    }
    return count >= limit ? 'stop' : 'next';
  });
  return count;
}

/**
 * Destroys all keys of a range for good.
 * @param isMine is asked right before each call, and throws when the range may be somebody else's
 * @returns the number of stores
 * @throws CommandError when a store refuses or cannot be asked
 */
export async function destroyKeysIn(
  pd: Endpoint,
  range: StoreRange,
  isMine?: () => Promise<void>,
): Promise<number> {
  // With an empty bound, the stores would destroy all they have.
  if (range.start.length === 0 || range.end.length === 0)
    throw new Error('a range without both ends is not destroyed');
  const all = await keyStores(pd);
  // Keys of RawKV lie in the stores as they are, and UnsafeDestroyRange encodes both ends: it would destroy keys behind the range. With
  // API V2, the stores encode the keys of RawKV, too.
  if (range.mode === 'raw' && range.keyspaceId === undefined) await deleteRawKeys(pd, range);
  else await destroyEncoded(pd, range, all, isMine);
  return all.length;
}

/** Calls every store, past Raft, as TiDB does for dropped tables: all versions and locks are gone, in all replicas. */
async function destroyEncoded(
  pd: Endpoint,
  { start, end }: StoreRange,
  all: readonly Store[],
  isMine?: () => Promise<void>,
): Promise<void> {
  for (const { id, address } of all) {
    const fields = { startKey: start, endKey: end };
    if (isMine) await askInTime(pd, address, isMine);
    // What is sent again by itself may come much later.
    const method = { ...UNSAFE_DESTROY_RANGE, isOnce: isMine !== undefined };
    const answer = await pd.grpc(method, fields, address).catch((error: unknown) => {
      throw error instanceof CommandError && error.code === 'UNREACHABLE' ? goesOn(error) : error;
    });
    const why = answer.error || (answer.regionError ? 'its region changed' : '');
    if (why !== '')
      throw new CallError(`store ${id} could not destroy the range: ${why}`, 0, 'run this again');
  }
}

/**
 * Asks when the call can leave at once: nothing but this process may stand still between the answer and the call.
 * @throws CommandError when there is no connection
 */
async function askInTime(pd: Endpoint, address: string, isMine: () => Promise<void>): Promise<void> {
  for (;;) {
    await pd.connected(address);
    const asked = performance.now();
    await isMine();
    if (performance.now() - asked < LATE_MS) return;
  }
}

function goesOn(cause: CommandError): CommandError {
  const hint = `see that the store runs, and run this again: it goes on (${cause.hint})`;
  return new CommandError('UNREACHABLE', cause.message, hint, { cause });
}

async function deleteRawKeys(pd: Endpoint, range: StoreRange): Promise<void> {
  await overRegions(pd, range, async ({ context, start: startKey, end: endKey, address }) => {
    const { regionError, error } = await pd.grpc(RAW_DELETE_RANGE, { context, startKey, endKey }, address);
    if (regionError) return 'again';
    if (error !== '') throw new CallError(`the range could not be deleted: ${error}`, 0, 'run this again');
    return 'next';
  });
}
