/** A storage layer as the mover uses it: PD and all stores, called as a system principal, past the filter's key mapping. */
import { fromBinary, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import { stores, type Store } from '../../pd/cluster.ts';
import { CallError, type Endpoint, type Method } from '../../pd/endpoint.ts';
import type { Error as RegionError } from '../../pd/generated/tikv/errorpb_pb.ts';
import type { ContextSchema } from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import { CommandPri } from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import { regionPages, regionsIn, type Region } from '../../pd/regions.ts';
import { clusterId, millisOf, timestamp } from '../../pd/timestamp.ts';
import { Connections } from './connections.ts';
import { lowerEnd, type MoveSpace, type Range } from './key-space.ts';
import { COPROCESSOR, SCAN, SCAN_LOCK } from './methods.ts';

export type Context = MessageInitShape<typeof ContextSchema>;

/** A region, cut to a key space. */
export interface Located {
  readonly region: Region;
  readonly context: Context;
  /** Physical bounds, both set except for the start of tenant 0. */
  readonly start: Buffer;
  readonly end: Buffer;
  /** Of the leader's store. */
  readonly address: string;
  /** Ends the calls that are made there. */
  readonly signal?: AbortSignal | undefined;
}

/** One side of a move. */
export interface Side {
  readonly storage: Storage;
  readonly space: MoveSpace;
}

export interface RetryOptions {
  readonly signal?: AbortSignal | undefined;
  /** Ms until a region that cannot be asked is an error. */
  readonly budgetMs?: number | undefined;
}

/** The answer of one try: an error of the region, after which the key is looked up again, or a value. */
export type Try<T> = { readonly regionError: RegionError | string } | { readonly value: T };

/** All others change something at a store, or may. */
const READS: ReadonlySet<string> = new Set([SCAN, SCAN_LOCK, COPROCESSOR].map(({ path }) => path));

const BUDGET_MS = 60_000;
/** How far the clocks of two PDs may be apart: as at a switch. */
const CLOCK_MS = 2000;
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 2000;

/** Exponential, with a random half, so that callers spread. */
export function pauseOf(attempt: number, longestMs = LONGEST_PAUSE_MS): number {
  const whole = Math.min(longestMs, FIRST_PAUSE_MS * 2 ** attempt);
  return whole / 2 + Math.random() * (whole / 2);
}

/** What is wrong, in one word of errorpb. */
export function regionErrorName(error: RegionError | string): string {
  if (typeof error === 'string') return error;
  const named = Object.entries(error).find(
    ([name, value]) => name !== 'message' && !name.startsWith('$') && value !== undefined,
  );
  return named?.[0] ?? error.message;
}

/** Errors after which the region is where it was: asking PD again would not help. */
const STAYS: ReadonlySet<string> = new Set([
  'serverIsBusy',
  'maxTimestampNotSynced',
  'readIndexNotReady',
  'proposalInMergingMode',
  'dataIsNotReady',
  'diskFull',
  'recoveryInProgress',
]);

/** True when the same request may succeed later, at the same leader. */
export function staysAt(error: RegionError | string): boolean {
  return STAYS.has(regionErrorName(error));
}

export class Storage {
  private cluster: Promise<bigint> | undefined;
  private known: Promise<ReadonlyMap<number, Store>> | undefined;
  /** By their start in PD's form, in order, without overlap. */
  private cached: Region[] = [];
  private clockAheadMs = 0;
  /** The last timestamp that was read of PD. */
  private latest = 0n;

  /** Of change feeds: one stream for each region. */
  readonly feeds: Connections;

  /**
   * @param streams how many feeds share a connection to a store
   * @param isMine is asked right before each call that is no read, and throws when another worker has the move: its keys may be somebody
   * else's by now. So no caller can forget it, and each try asks anew.
   */
  constructor(
    readonly pd: Endpoint,
    streams?: number,
    readonly isMine = async (): Promise<void> => undefined,
  ) {
    this.feeds = new Connections(pd, 'feed', streams);
  }

  clusterId(): Promise<bigint> {
    this.cluster ??= clusterId(this.pd).catch((error: unknown) => {
      this.cluster = undefined;
      throw error;
    });
    return this.cluster;
  }

  async timestamp(): Promise<bigint> {
    const now = await timestamp(this.pd, this.clusterId());
    this.clockAheadMs = millisOf(now) - Date.now();
    if (now > this.latest) this.latest = now;
    return now;
  }

  /**
   * Resolves when PD has given a later timestamp. A request at a timestamp that PD has not given yet, such as another PD's, raises the
   * store's max_ts to it (TiKV check_txn_status.rs, update_max_ts). Asynchronous commits of all tenants would end in PD's future then, and
   * TiKV 9.0 may stop for it.
   * @throws CommandError when PD's clock is too far behind
   */
  async passed(ts: bigint, signal?: AbortSignal): Promise<void> {
    const deadline = Date.now() + CLOCK_MS;
    while (this.latest <= ts) {
      const now = await this.timestamp();
      if (now > ts) return;
      const behindMs = millisOf(ts) - millisOf(now);
      if (Date.now() + behindMs > deadline)
        throw new CommandError(
          'REFUSED',
          `the clock of PD at ${this.pd.url.host} is ${(behindMs / 1000).toFixed(1)} s behind that of the other side`,
          'set the clocks of both PDs right (NTP); the move goes on by itself',
        );
      await sleep(Math.max(1, behindMs), undefined, signal ? { signal } : {});
    }
  }

  /** What PD's clock shows by now, ms since 1970, as far as the last timestamp tells. It need not be this machine's. */
  nowMs(): number {
    return Date.now() + this.clockAheadMs;
  }

  /** The stores by id. */
  stores(): Promise<ReadonlyMap<number, Store>> {
    this.known ??= stores(this.pd)
      .then((all) => new Map(all.map((store) => [store.id, store])))
      .catch((error: unknown) => {
        this.known = undefined;
        throw error;
      });
    return this.known;
  }

  /** Reads all regions of a physical range from PD, and remembers them. */
  async regions({ start, end }: Range, space: MoveSpace): Promise<Region[]> {
    const found = await regionsIn(this.pd, space.toPd(start), space.toPd(end));
    for (const region of found) this.remember(region);
    return found;
  }

  /** The same, page by page, and remembers none of them. */
  regionPages({ start, end }: Range, space: MoveSpace): AsyncGenerator<Region[]> {
    return regionPages(this.pd, space.toPd(start), space.toPd(end));
  }

  private indexOf(key: Buffer): number {
    let low = 0;
    let high = this.cached.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (Buffer.compare(this.cached[middle]?.start ?? key, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  private lookUp(key: Buffer): Region | undefined {
    const region = this.cached[this.indexOf(key)];
    return region && (region.end.length === 0 || Buffer.compare(key, region.end) < 0) ? region : undefined;
  }

  private remember(region: Region): void {
    let from = this.indexOf(region.start);
    const before = this.cached[from];
    if (!before || (before.end.length > 0 && Buffer.compare(before.end, region.start) <= 0)) from += 1;
    let to = from;
    for (; to < this.cached.length; to++) {
      const next = this.cached[to];
      if (next && region.end.length > 0 && Buffer.compare(next.start, region.end) >= 0) break;
    }
    this.cached.splice(from, to - from, region);
  }

  /** Looks a region up again at its next use. */
  forget({ id }: Pick<Region, 'id'>): void {
    this.cached = this.cached.filter((region) => region.id !== id);
    this.known = undefined;
  }

  /** Looks up the region of a physical key again at its next use. */
  forgetAt(space: MoveSpace, key: Buffer): void {
    const region = this.lookUp(space.toPd(key));
    if (region) this.forget(region);
  }

  /** The region of a physical key; undefined while it has no leader. */
  async locate(space: MoveSpace, key: Buffer): Promise<Located | undefined> {
    const at = space.toPd(key);
    let region = this.lookUp(at);
    if (!region?.leader) {
      const [found] = await regionsIn(this.pd, at, Buffer.concat([at, Buffer.from([0])]));
      if (!found?.leader) return undefined;
      this.remember(found);
      region = found;
    }
    const { leader } = region;
    const address = (await this.stores()).get(leader?.storeId ?? 0)?.address;
    if (!leader || address === undefined) {
      this.forget(region);
      return undefined;
    }
    const start = Buffer.compare(region.start, space.pdStart) <= 0 ? space.start : space.fromPd(region.start);
    const end = lowerEnd(region.end, space.pdEnd).equals(space.pdEnd) ? space.end : space.fromPd(region.end);
    const context: Context = {
      regionId: BigInt(region.id),
      regionEpoch: { confVer: BigInt(region.epoch.confVer), version: BigInt(region.epoch.version) },
      peer: { id: BigInt(leader.id), storeId: BigInt(leader.storeId) },
      ...space.context,
      requestSource: 'tidb-mesh-move',
      priority: CommandPri.Low,
      notFillCache: true,
    };
    return { region, context, start, end, address };
  }

  /**
   * Does something at the region of a physical key, again after errors of the region and of connections.
   * @throws CallError when the region cannot be asked within the budget; CommandError of what is no error of a region
   */
  async atRegion<T>(
    space: MoveSpace,
    key: Buffer,
    act: (located: Located) => Promise<Try<T>>,
    { signal, budgetMs = BUDGET_MS }: RetryOptions = {},
  ): Promise<T> {
    const deadline = Date.now() + budgetMs;
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const located = await this.locate(space, key);
      const outcome = located ? await this.once({ ...located, signal }, act) : { regionError: 'noLeader' };
      if ('value' in outcome) return outcome.value;
      const name = regionErrorName(outcome.regionError);
      if (located && !staysAt(outcome.regionError)) this.forget(located.region);
      if (Date.now() > deadline)
        throw new CallError(
          `region ${located?.region.id ?? '?'} cannot be asked for ${Math.round(budgetMs / 1000)} s: ${name}`,
          0,
          'run `tidb-mesh doctor`, which names stores that are not up; the move goes on by `move resume`',
        );
      await sleep(pauseOf(attempt), undefined, signal ? { signal } : {});
    }
  }

  private async once<T>(located: Located, act: (located: Located) => Promise<Try<T>>): Promise<Try<T>> {
    try {
      return await act(located);
    } catch (error) {
      // A store that is gone, or restarts: PD knows when another one leads.
      const lost = error instanceof CommandError && error.code === 'UNREACHABLE';
      if (lost) return { regionError: 'unreachable' };
      throw error;
    }
  }

  /** One unary call to a region's leader. Answers of the stores have `regionError`. */
  async ask<Request extends DescMessage, Answer extends DescMessage>(
    method: Method<Request, Answer>,
    fields: MessageInitShape<Request>,
    { address, signal }: Pick<Located, 'address' | 'signal'>,
  ): Promise<MessageShape<Answer>> {
    if (!READS.has(method.path)) await this.isMine();
    return this.pd.grpc(method, fields, address, { signal });
  }

  /**
   * Sends a stream of messages and waits for the one answer.
   * @param messages encoded
   * @throws ServiceError of gRPC
   */
  async upload<Request extends DescMessage, Answer extends DescMessage>(
    { path, answer }: Method<Request, Answer>,
    messages: readonly Buffer[],
    address: string,
    { deadlineMs, signal }: { deadlineMs: number; signal: AbortSignal },
  ): Promise<MessageShape<Answer>> {
    await this.isMine();
    const bytes = await new Promise<Buffer>((resolve, reject) => {
      const call = this.pd.client(address).makeClientStreamRequest(
        path,
        (message: Buffer) => message,
        (message: Buffer) => message,
        new grpc.Metadata(),
        { deadline: Date.now() + deadlineMs },
        (error, whole) => (error ? reject(error) : resolve(whole ?? Buffer.alloc(0))),
      );
      const cancel = (): void => call.cancel();
      if (signal.aborted) cancel();
      signal.addEventListener('abort', cancel);
      call.once('close', () => signal.removeEventListener('abort', cancel));
      void (async () => {
        for (const message of messages) {
          if (!call.write(message))
            await new Promise((drained) => call.once('drain', drained).once('close', drained));
          if (call.destroyed) return;
        }
        call.end();
      })().catch(reject);
    });
    return fromBinary(answer, bytes);
  }

  close(): void {
    this.pd.close();
  }
}
