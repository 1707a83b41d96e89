/**
 * Compares two key spaces at one timestamp, while both are used. The stores compute checksums over the logical keys; where they differ, the
 * range is halved until its keys can be compared. Commit timestamps are the same on both sides, so every difference is one.
 */
import { forEach } from './for-each.ts';
import { commonSegments, tableIdOf, type Range, type Segment } from './key-space.ts';
import { Snapshot, type Checksum } from './snapshot.ts';
import type { Side } from './storage.ts';
import type { Throttle } from './throttle.ts';

/** A key that is not the same on both sides. */
export interface Difference {
  /** Logical, in hex. */
  readonly key: string;
  readonly tableId: string | undefined;
  readonly what: 'missing at the target' | 'only at the target' | 'different values';
}

export interface DiffResult {
  readonly ts: bigint;
  /** Of the source. */
  readonly keys: number;
  readonly bytes: number;
  /** The first ones. */
  readonly differences: readonly Difference[];
  /** True if there may be more. */
  readonly isCut: boolean;
  /** Keys that only the target has, of tables that were dropped: no difference that anybody could read. */
  readonly dropped: Dropped;
}

export interface Dropped {
  readonly keys: number;
  /** The first ones. */
  readonly tableIds: readonly string[];
}

export interface DiffOptions {
  readonly source: Side;
  readonly target: Side;
  /** Not above what is applied to the target: Follower.resolvedTs. */
  readonly ts: bigint;
  readonly throttle: Throttle;
  readonly signal?: AbortSignal | undefined;
  readonly concurrency?: number;
  readonly mostDifferences?: number;
  /**
   * Ids of tables that there are at the source. It is asked when the target has keys that the source has not. Where it fails, or is not
   * given, all of them are differences.
   */
  readonly knownIds?: () => Promise<ReadonlySet<string>>;
  readonly onProgress?: (done: number, of: number) => void;
}

interface Part extends Range {
  readonly a: Segment;
  readonly b: Segment;
}

const CONCURRENCY = 4;
const MOST_DIFFERENCES = 100;
const MOST_DROPPED = 20;
/** Ranges with fewer keys are compared key by key. */
const FEW_KEYS = 2048n;
const HALVING_BYTES = 32;

/** The parts to compare: where both sides have one segment, cut at the source's regions. */
async function partsOf(source: Side, target: Side): Promise<Part[]> {
  const { storage, space } = source;
  const regions = await storage.regions({ start: space.start, end: space.end }, space);
  const borders = regions.slice(1).flatMap(({ start }) => {
    const boundary = space.logicalBoundary(space.fromPd(start));
    return boundary && boundary.length > 0 ? [boundary] : [];
  });
  return commonSegments(space, target.space).flatMap(({ start, end, a, b }) => {
    const inner = borders.filter(
      (border) => Buffer.compare(border, start) > 0 && (end.length === 0 || Buffer.compare(border, end) < 0),
    );
    return [start, ...inner].map((from, index): Part => ({ start: from, end: inner[index] ?? end, a, b }));
  });
}

/** A key about half-way between two, of which the second may be empty for no bound; undefined when there is none. */
export function between(start: Buffer, end: Buffer): Buffer | undefined {
  const size = Math.max(start.length, end.length) + 1;
  if (size > HALVING_BYTES * 8) return undefined;
  const number = (key: Buffer): bigint =>
    BigInt(`0x${Buffer.concat([key, Buffer.alloc(size - key.length)]).toString('hex')}`);
  const from = number(start);
  const to = end.length === 0 ? 1n << BigInt(size * 8) : number(end);
  let middle = Buffer.from(((from + to) / 2n).toString(16).padStart(size * 2, '0'), 'hex');
  // Shorter keys are boundaries as well, and keep their length from growing.
  for (let length = 1; length < size; length++) {
    const short = middle.subarray(0, length);
    const inside = Buffer.compare(short, start) > 0 && (end.length === 0 || Buffer.compare(short, end) < 0);
    if (inside && length > Math.max(start.length, end.length) - 1) {
      middle = short;
      break;
    }
  }
  const isInside = Buffer.compare(middle, start) > 0 && (end.length === 0 || Buffer.compare(middle, end) < 0);
  return isInside ? middle : undefined;
}

class Comparison {
  readonly differences: Difference[] = [];
  keys = 0;
  bytes = 0;
  readonly dropped = { keys: 0, tableIds: new Set<string>() };
  private readonly a: Snapshot;
  private readonly b: Snapshot;
  private known: Promise<ReadonlySet<string> | undefined> | undefined;

  constructor(private readonly options: DiffOptions) {
    const { source, target, ts, signal } = options;
    this.a = new Snapshot(source, ts, { locks: 'meet', signal });
    this.b = new Snapshot(target, ts, { locks: 'ignore', signal });
  }

  get isFull(): boolean {
    return this.differences.length >= (this.options.mostDifferences ?? MOST_DIFFERENCES);
  }

  private physical(part: Part): [Range, Range] {
    const { source, target } = this.options;
    // Where a segment ends at the end of its space, so does the range.
    return [source.space.physicalRange(part), target.space.physicalRange(part)];
  }

  /** Counts the keys of a part once, when `isFirst`. */
  async compare(part: Part, isFirst = true): Promise<void> {
    const { throttle, signal } = this.options;
    if (this.isFull) return;
    signal?.throwIfAborted();
    await throttle.take(0, signal);
    const [rangeA, rangeB] = this.physical(part);
    const [a, b] = await Promise.all([this.a.checksum(rangeA, part.a), this.b.checksum(rangeB, part.b)]);
    if (!a || !b) return this.compareKeys(part, isFirst);
    if (isFirst) {
      this.keys += Number(a.keys);
      this.bytes += Number(a.bytes);
      await throttle.take(Number(a.bytes) + Number(b.bytes), signal);
    }
    if (isSame(a, b)) return;
    const middle = a.keys + b.keys > FEW_KEYS ? between(part.start, part.end) : undefined;
    if (!middle) return this.compareKeys(part, false);
    await this.compare({ ...part, end: middle }, false);
    await this.compare({ ...part, start: middle }, false);
  }

  private async compareKeys(part: Part, isFirst: boolean): Promise<void> {
    const { source, target } = this.options;
    const [rangeA, rangeB] = this.physical(part);
    const left = this.pairs(this.a, source, rangeA);
    const right = this.pairs(this.b, target, rangeB);
    let a = await left.next();
    let b = await right.next();
    while (!(a.done && b.done) && !this.isFull) {
      const order = a.done ? 1 : b.done ? -1 : Buffer.compare(a.value.key, b.value.key);
      if (isFirst && !a.done && order <= 0) {
        this.keys += 1;
        this.bytes += a.value.key.length + a.value.value.length;
      }
      if (order < 0 && !a.done) this.differ(a.value.key, 'missing at the target');
      else if (order > 0 && !b.done) await this.surplus(b.value.key);
      else if (!a.done && !b.done && Buffer.compare(a.value.value, b.value.value) !== 0)
        this.differ(a.value.key, 'different values');
      if (order <= 0) a = await left.next();
      if (order >= 0) b = await right.next();
    }
  }

  private async *pairs(
    snapshot: Snapshot,
    { space }: Side,
    range: Range,
  ): AsyncGenerator<{ key: Buffer; value: Uint8Array }, undefined> {
    for await (const page of snapshot.pages(range)) {
      await this.options.throttle.take(page.bytes, this.options.signal);
      for (const { key, value } of page.pairs) {
        const logical = space.decode(key);
        if (logical) yield { key: logical, value };
      }
    }
    return undefined;
  }

  /** The target has a key that the source has not. The source destroys those of tables that were dropped by itself. */
  private async surplus(key: Buffer): Promise<void> {
    const id = tableIdOf(key)?.toString();
    this.known ??= this.options.knownIds?.().catch(() => undefined) ?? Promise.resolve(undefined);
    const known = id === undefined ? undefined : await this.known;
    this.options.signal?.throwIfAborted();
    if (id === undefined || !known || known.has(id)) return this.differ(key, 'only at the target');
    this.dropped.keys += 1;
    if (this.dropped.tableIds.size < MOST_DROPPED) this.dropped.tableIds.add(id);
  }

  private differ(key: Buffer, what: Difference['what']): void {
    if (this.isFull) return;
    this.differences.push({ key: key.toString('hex'), tableId: tableIdOf(key)?.toString(), what });
  }
}

function isSame(a: Checksum, b: Checksum): boolean {
  return a.crc === b.crc && a.keys === b.keys && a.bytes === b.bytes;
}

export async function diff(options: DiffOptions): Promise<DiffResult> {
  const parts = await partsOf(options.source, options.target);
  const comparison = new Comparison(options);
  let done = 0;
  await forEach(parts, options.concurrency ?? CONCURRENCY, async (part) => {
    await comparison.compare(part);
    options.onProgress?.(++done, parts.length);
  });
  const { keys, bytes, differences, isFull } = comparison;
  const dropped = { keys: comparison.dropped.keys, tableIds: [...comparison.dropped.tableIds] };
  return { ts: options.ts, keys, bytes, differences, isCut: isFull, dropped };
}
