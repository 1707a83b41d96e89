/**
 * Follows the changes of a key space by the stores' change feeds (cdcpb.ChangeData/EventFeed), and has them applied. Each range of keys has a
 * checkpoint of its own: everything committed at or before it is at the target. After any error the range is registered again from there.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import {
  ChangeDataEventSchema,
  ChangeDataRequestSchema,
  type ChangeDataEvent,
  type Error as EventError,
} from '../../pd/generated/tikv/cdcpb_pb.ts';
import { millisOf } from '../../pd/timestamp.ts';
import { isRow, type Applier, type Rollback, type Row } from './apply.ts';
import { Gate } from './gate.ts';
import type { Range } from './key-space.ts';
import { FeedError, Matcher, type Prewritten } from './matcher.ts';
import { stopper } from './stopper.ts';
import { pauseOf, type Located, type Side } from './storage.ts';

/** Where to go on, as JSON keeps it. Keys are logical, in hex; an empty end is the key space's. */
export interface FollowState {
  readonly spans: readonly { readonly start: string; readonly end: string; readonly checkpoint: string }[];
}

export interface FollowOptions {
  readonly source: Side;
  readonly applier: Pick<Applier, 'apply'>;
  /** Sees each row before it is applied. What it throws ends the following. */
  readonly onRow?: (row: Row) => void;
  /** Hears of errors that are overcome by registering again. */
  readonly onError?: (why: string) => void;
}

/** How long an error is told: longer than the longest pause before it comes again. */
const TROUBLE_MS = 10_000;
const PATH = '/cdcpb.ChangeData/EventFeed';
/** From 5.3 on, TiKV checks the cluster id (components/cdc/src/endpoint.rs). */
const CLIENT_VERSION = '8.5.0';
/** Regions that send what they hold at once: each keeps it in memory until it is complete. */
const INITIALIZING = 4;
/** One that has said nothing for so long has no part in that, and lets the next one begin. */
const FIRST_ANSWER_MS = 5000;
/** What may wait for the target in all regions of all moves together. */
const QUEUED_BYTES = 64 << 20;
/** Rows between two checkpoints: as many as are applied in about so long. A worker that dies has its next one repeat no more. */
const SLICE_MS = 300;
const FEWEST_ROWS = 32;
const MOST_ROWS = 1024;
/** Resolved timestamps come each second; a silent stream is dead. */
const SILENCE_MS = 30_000;
const LOOK_MS = 20;

const asIs = (message: Buffer): Buffer => message;

/** Counts what waits for the targets in a worker's memory. */
export class QueueBudget {
  private bytes = 0;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly most: number) {}

  get isFull(): boolean {
    return this.bytes > this.most;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    if (bytes < 0 && !this.isFull) this.wake();
  }

  /** Resolves when it is worth while to look again. */
  async changed(): Promise<void> {
    await new Promise<void>((resolve) => this.waiting.add(resolve));
  }

  wake(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }
}

/** Of this process. */
const QUEUED = new QueueBudget(QUEUED_BYTES);

/** What is to be applied, and timestamps behind which all of it is. */
type Item = Row | Rollback | bigint;

/** Items on their way to the target, in order. */
export class Pipeline {
  private queue: { readonly item: Row | Rollback; readonly bytes: number }[] = [];
  private bytes = 0;
  /** Everything committed at or before it has come. */
  private resolved = 0n;
  private told = 0n;
  private rowsAtOnce = FEWEST_ROWS;
  private isWorking = false;
  private worked: Promise<void> = Promise.resolve();
  private failure: unknown;

  /** @param passed hears a timestamp when everything at or before it is at the target */
  constructor(
    private readonly applier: FollowOptions['applier'],
    private readonly passed: (checkpoint: bigint) => void,
    private readonly failed: () => void,
    private readonly budget = QUEUED,
  ) {}

  /**
   * Resolves when there is room for more.
   * @param isCounted false for what is in memory anyway: it makes nobody wait, so that what comes behind it is heard
   */
  async push(items: readonly Item[], isCounted = true): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    for (const item of items) {
      if (typeof item === 'bigint') {
        if (item > this.resolved) this.resolved = item;
        continue;
      }
      const bytes = isCounted ? item.key.length + (isRow(item) ? item.value.length : 0) : 0;
      this.queue.push({ item, bytes });
      this.count(bytes);
    }
    // It may end at once, where there are checkpoints only.
    if (!this.isWorking) this.worked = this.work();
    // What waits for others only would wait for ever where these have gone.
    while (this.bytes > 0 && this.budget.isFull && this.failure === undefined) await this.budget.changed();
    if (this.failure !== undefined) throw this.failure;
  }

  private count(bytes: number): void {
    this.bytes += bytes;
    this.budget.add(bytes);
  }

  /** Waits for what is being applied; the rest is dropped. */
  async stop(): Promise<void> {
    this.queue = [];
    this.resolved = 0n;
    await this.worked;
    this.count(-this.bytes);
    if (this.failure !== undefined) throw this.failure;
  }

  /** Tells how far the target is by now, also between the rows that a region held when it was registered. What failed is in the queue. */
  private tell(): void {
    let safe = this.resolved;
    for (const { item } of this.queue) {
      const ts = isRow(item) ? item.commitTs : item.startTs;
      if (ts <= safe) safe = ts - 1n;
    }
    if (safe <= this.told) return;
    this.told = safe;
    this.passed(safe);
  }

  private async work(): Promise<void> {
    this.isWorking = true;
    try {
      this.tell();
      while (this.queue.length > 0) {
        const slice = this.queue.slice(0, this.rowsAtOnce);
        const began = performance.now();
        await this.applier.apply(slice.map(({ item }) => item));
        this.queue = this.queue.slice(slice.length);
        const isQuick = performance.now() - began < SLICE_MS;
        this.rowsAtOnce = Math.min(MOST_ROWS, Math.max(FEWEST_ROWS, this.rowsAtOnce * (isQuick ? 2 : 0.5)));
        this.count(-slice.reduce((sum, { bytes }) => sum + bytes, 0));
        if (this.bytes === 0) this.budget.wake();
        this.tell();
      }
    } catch (error) {
      this.failure = error;
      this.budget.wake();
      this.failed();
    } finally {
      this.isWorking = false;
    }
  }
}

/** A range of logical keys in one region, as far as is known. */
interface Span {
  readonly start: Buffer;
  end: Buffer;
  checkpoint: bigint;
  /** What was prewritten when its registration ended. */
  prewritten: readonly Prewritten[];
}

function why(error: EventError): string {
  const [name] =
    Object.entries(error).find(([field, value]) => !field.startsWith('$') && value !== undefined) ?? [];
  return name ?? 'unknown error';
}

export class Follower {
  /** Rejects when it cannot go on. Never resolves. */
  readonly failed: Promise<never>;
  private readonly spans = new Set<Span>();
  private readonly running = new Set<Promise<void>>();
  /** Each range listens. */
  private readonly stopping = stopper();
  private readonly gate = new Gate(INITIALIZING);
  private fail: (error: unknown) => void = () => undefined;
  private nextRequest = 1n;
  private lastError: { readonly why: string; readonly at: number } | undefined;

  constructor(private readonly options: FollowOptions) {
    this.failed = new Promise((_, reject) => (this.fail = reject));
    this.failed.catch(() => undefined);
  }

  /** Goes on from a state. */
  static from(options: FollowOptions, { spans }: FollowState): Follower {
    const follower = new Follower(options);
    for (const { start, end, checkpoint } of spans)
      follower.add({ start: Buffer.from(start, 'hex'), end: Buffer.from(end, 'hex') }, BigInt(checkpoint));
    return follower;
  }

  /** Follows a range of logical keys of which everything up to the checkpoint is at the target. */
  add({ start, end }: Range, checkpoint: bigint, prewritten: readonly Prewritten[] = []): void {
    const span: Span = { start, end, checkpoint, prewritten };
    this.spans.add(span);
    const run = this.follow(span).catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.fail(error);
    });
    this.running.add(run);
    void run.then(() => this.running.delete(run));
  }

  /** Everything that was committed at or before is at the target. 0 while a part of the key space is not followed. */
  resolvedTs(): bigint {
    const [only, ...more] = this.state().spans;
    return only && more.length === 0 && only.start === '' && only.end === '' ? BigInt(only.checkpoint) : 0n;
  }

  /** How far the target is behind the source, ms, by the clock of the source's PD. */
  lagMs(): number {
    const resolved = this.resolvedTs();
    return resolved === 0n ? Infinity : Math.max(0, this.options.source.storage.nowMs() - millisOf(resolved));
  }

  /** What kept it from going on lately. It has tried again since. */
  trouble(now = Date.now()): string | undefined {
    return this.lastError && now - this.lastError.at < TROUBLE_MS ? this.lastError.why : undefined;
  }

  /** Adjacent ranges are joined at the earlier checkpoint: what comes twice is left as it is. */
  state(): FollowState {
    const sorted = [...this.spans].sort((a, b) => Buffer.compare(a.start, b.start));
    const joined: { start: string; end: string; checkpoint: bigint }[] = [];
    for (const { start, end, checkpoint } of sorted) {
      const last = joined.at(-1);
      if (last && last.end === start.toString('hex')) {
        last.end = end.toString('hex');
        if (checkpoint < last.checkpoint) last.checkpoint = checkpoint;
      } else joined.push({ start: start.toString('hex'), end: end.toString('hex'), checkpoint });
    }
    return { spans: joined.map((span) => ({ ...span, checkpoint: String(span.checkpoint) })) };
  }

  /** Resolves when everything committed at or before is at the target. */
  async reach(ts: bigint, signal?: AbortSignal): Promise<void> {
    while (this.resolvedTs() < ts) {
      signal?.throwIfAborted();
      await Promise.race([sleep(LOOK_MS), this.failed]);
    }
  }

  /** Ends all streams. The state stays as it is then. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.all(this.running);
  }

  private get isStopped(): boolean {
    return this.stopping.signal.aborted;
  }

  private async follow(span: Span): Promise<void> {
    const { source, onError } = this.options;
    const { signal } = this.stopping;
    let attempt = 0;
    while (!this.isStopped) {
      const before = span.checkpoint;
      try {
        const start = source.space.boundary(span.start);
        const located = await source.storage.locate(source.space, start);
        if (!located) throw new FeedError('its region has no leader');
        this.cut(span, located);
        await this.session(span, located);
      } catch (error) {
        if (this.isStopped) return;
        if (error instanceof CommandError && error.code === 'REFUSED') throw error;
        const reason = error instanceof Error ? error.message : String(error);
        this.lastError = { why: reason, at: Date.now() };
        onError?.(reason);
        source.storage.forgetAt(source.space, source.space.boundary(span.start));
      }
      attempt = span.checkpoint > before ? 0 : attempt + 1;
      await sleep(pauseOf(attempt), undefined, { signal }).catch(() => undefined);
    }
  }

  /** What lies behind the region's end is followed by itself. */
  private cut(span: Span, { end }: Located): void {
    const { space } = this.options.source;
    const whole = space.physicalRange(span);
    if (Buffer.compare(end, whole.end) >= 0) return;
    const boundary = space.logicalBoundary(end);
    if (!boundary || Buffer.compare(boundary, span.start) <= 0) return;
    const rest = { start: boundary, end: span.end };
    span.end = boundary;
    this.add(rest, span.checkpoint, span.prewritten);
  }

  /** One registration, until it ends by an error. */
  private async session(span: Span, located: Located): Promise<void> {
    const { source, applier, onRow } = this.options;
    const { storage } = source;
    const leave = await this.gate.enter();
    const connection = storage.feeds.enter(located.address);
    const call = connection.client.makeBidiStreamRequest(PATH, asIs, asIs, new grpc.Metadata(), {});
    const cancel = (): void => call.cancel();
    this.stopping.signal.addEventListener('abort', cancel);
    // Cancelling ends the loop below, which is where its error is wanted.
    call.on('error', () => undefined);
    const range = source.space.physicalRange(span);
    const isHere = ({ key }: Prewritten): boolean =>
      Buffer.compare(key, range.start) >= 0 && Buffer.compare(key, range.end) < 0;
    const matcher = new Matcher(span.checkpoint, span.prewritten.filter(isHere));
    const pass = (ts: bigint): void => {
      if (ts > span.checkpoint) span.checkpoint = ts;
    };
    const pipeline = new Pipeline(applier, pass, cancel);
    let silence = setTimeout(cancel, SILENCE_MS);
    const first = setTimeout(leave, FIRST_ANSWER_MS);
    try {
      if (this.isStopped) return;
      call.write(Buffer.from(await this.request(span, located)));
      for await (const message of call) {
        // To wait for the target is no silence.
        clearTimeout(silence);
        clearTimeout(first);
        const isCounted = matcher.isInitialized;
        const items = this.read(fromBinary(ChangeDataEventSchema, message as Buffer), matcher, located);
        if (matcher.isInitialized) leave();
        for (const item of items) if (typeof item !== 'bigint' && isRow(item)) onRow?.(item);
        const news = items.filter((item) => this.isNews(item, span));
        if (news.length > 0) await pipeline.push(news, isCounted);
        silence = setTimeout(cancel, SILENCE_MS);
      }
      throw new FeedError('the stream has ended');
    } finally {
      clearTimeout(silence);
      clearTimeout(first);
      leave();
      connection.leave();
      this.stopping.signal.removeEventListener('abort', cancel);
      call.cancel();
      span.prewritten = matcher.prewritten;
      // Its error is why the call was cancelled.
      await pipeline.stop();
    }
  }

  private isNews(item: Item, { checkpoint }: Span): boolean {
    return typeof item !== 'bigint' || item > checkpoint;
  }

  private async request(span: Span, { region, context, end }: Located): Promise<Uint8Array> {
    const { storage, space } = this.options.source;
    const range = space.physicalRange(span);
    const bound = Buffer.compare(end, range.end) < 0 ? end : range.end;
    const fields = {
      header: { clusterId: await storage.clusterId(), ticdcVersion: CLIENT_VERSION },
      regionId: BigInt(region.id),
      ...(context.regionEpoch === undefined ? {} : { regionEpoch: context.regionEpoch }),
      checkpointTs: span.checkpoint,
      startKey: space.toPd(range.start),
      endKey: space.toPd(bound),
      requestId: this.nextRequest++,
    };
    return toBinary(ChangeDataRequestSchema, create(ChangeDataRequestSchema, fields));
  }

  private read({ events, resolvedTs }: ChangeDataEvent, matcher: Matcher, { region }: Located): Item[] {
    const items: Item[] = [];
    for (const { event } of events)
      switch (event.case) {
        case 'entries':
          items.push(...matcher.take(event.value.entries));
          break;
        case 'resolvedTs':
          if (matcher.isInitialized) items.push(event.value);
          break;
        case 'error':
          this.refused(event.value);
          break;
        default:
      }
    if (resolvedTs?.regions.includes(BigInt(region.id)) && matcher.isInitialized) items.push(resolvedTs.ts);
    return items;
  }

  private refused(error: EventError): never {
    const reason = why(error);
    // Trying again does not help.
    if (error.clusterIdMismatch ?? error.compatibility)
      throw new CommandError(
        'REFUSED',
        `the stores refuse to tell changes: ${reason}`,
        'check that --pd and the stores belong together, and their version',
      );
    throw new FeedError(reason);
  }
}
