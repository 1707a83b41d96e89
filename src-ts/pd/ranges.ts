/**
 * Works through a range of keys at the stores themselves, region by region, as a TiKV client does: PD's numbers are estimates, the stores
 * know.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { stores } from './cluster.ts';
import { CallError, type Endpoint } from './endpoint.ts';
import { regionsIn, type Region } from './regions.ts';
import { timestamp } from './timestamp.ts';
import { Message, bytes, number } from './wire.ts';

const API_V2 = 2;
/** A region that is split or elects a leader is there again within seconds. */
const TRIES = 30;
const PAUSE_MS = 500;

/** A range of keys as the store has them, and how PD has them. */
export interface StoreRange {
  readonly start: Buffer;
  /** Empty for the store's end. */
  readonly end: Buffer;
  readonly mode: 'txn' | 'raw';
  /** Set for a keyspace of API V2. */
  readonly keyspaceId: number | undefined;
  /** From the store's form of a key to PD's, and back; undefined for bytes that are not in PD's form. */
  toPd(key: Buffer): Buffer;
  fromPd(key: Buffer): Buffer | undefined;
}

/** The part of a range in one region. */
interface Part {
  readonly context: Buffer;
  readonly start: Buffer;
  readonly end: Buffer;
  /** One call to the store that leads the region. */
  call(method: string, message: Uint8Array): Promise<Message>;
}

/** What to do next: `again` when the region is not there as PD said. */
type Next = 'again' | 'next' | 'stop';

/** kvrpcpb.Context: region_id = 1, region_epoch = 2, peer = 3, api_version = 21, keyspace_id = 32. */
function contextOf(
  { id, epoch }: Region,
  leader: NonNullable<Region['leader']>,
  keyspaceId: number | undefined,
): Buffer {
  const space = keyspaceId === undefined ? [] : [number(21, API_V2), number(32, keyspaceId)];
  return bytes(
    1,
    number(1, id),
    bytes(2, number(1, epoch.confVer), number(2, epoch.version)),
    bytes(3, number(1, leader.id), number(2, leader.storeId)),
    ...space,
  );
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
        throw new CallError(`region ${region.id} ends at a key that is not in the form of this key space`, 0);
      const context = contextOf(region, region.leader, range.keyspaceId);
      const call = async (method: string, message: Uint8Array): Promise<Message> =>
        new Message(await pd.grpc(`/tikvpb.Tikv/${method}`, message, { address }));
      next = await visit({ context, start, end, call });
      if (next === 'stop' || (next === 'next' && reaches(region.end))) return;
      if (next === 'next') start = end;
    }
    tries = next === 'again' ? tries + 1 : 0;
    if (tries >= TRIES)
      throw new CallError(
        `region ${region?.id ?? '?'} cannot be asked: it has no leader, or changes all the time; try again later`,
        0,
      );
    if (next === 'again') await sleep(PAUSE_MS);
  }
}

/**
 * How many keys lie in a range, `limit` at most; a lock counts as one. Deleted keys do not count, whatever is left of their versions.
 * @throws CallError when a store cannot be asked
 */
export async function countKeysIn(pd: Endpoint, range: StoreRange, limit: number): Promise<number> {
  const raw = range.mode === 'raw';
  const now = raw ? 0n : await timestamp(pd);
  let count = 0;
  await overRegions(pd, range, async ({ context, start, end, call }) => {
    // RawScanRequest has key_only = 4; ScanRequest has version = 4 and key_only = 5.
    const rest = raw ? [number(4, 1)] : [number(4, now), number(5, 1)];
    const answer = await call(
      raw ? 'RawScan' : 'KvScan',
      Buffer.concat([context, bytes(2, start), number(3, limit - count), bytes(7, end), ...rest]),
    );
    if (answer.has(1)) return 'again';
    // An error in the place of all pairs is a lock, too.
    count += answer.messages(2).length + (!raw && answer.has(3) ? 1 : 0);
    return count >= limit ? 'stop' : 'next';
  });
  return count;
}

/**
 * Destroys all keys of a range, with all versions and locks, in all replicas: at every store, past Raft, as TiDB does with dropped tables.
 * @returns at how many stores
 * @throws CallError when a store refuses or cannot be asked
 */
export async function destroyKeysIn(pd: Endpoint, { start, end }: StoreRange): Promise<number> {
  // The stores would take an empty bound for the whole of what they have.
  if (start.length === 0 || end.length === 0)
    throw new CallError('a range without both ends is not destroyed', 0);
  const all = (await stores(pd)).filter(({ state }) => state !== 'Tombstone');
  for (const { id, address } of all) {
    const request = Buffer.concat([bytes(2, start), bytes(3, end)]);
    const answer = new Message(await pd.grpc('/tikvpb.Tikv/UnsafeDestroyRange', request, { address }));
    if (answer.has(1)) throw new CallError(`store ${id} could not destroy the range; try again`, 0);
    if (answer.has(2)) throw new CallError(`store ${id} could not destroy the range: ${answer.text(2)}`, 0);
  }
  return all.length;
}
