/** A key space as a transaction of one timestamp sees it: pages of pairs, and checksums. */
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { setTimeout as sleep } from 'node:timers/promises';
import { CallError } from '../../pd/endpoint.ts';
import type { KvPair, LockInfo } from '../../pd/generated/tikv/kvrpcpb_pb.ts';
import { ChecksumRequestSchema } from '../../pd/generated/tipb/tipb_pb.ts';
import type { Range, Segment } from './key-space.ts';
import { keyRefused, meetLock } from './locks.ts';
import { COPROCESSOR, SCAN } from './methods.ts';
import { pauseOf, type Located, type Side } from './storage.ts';

const CHECKSUM = 105n;
/** Answers of about this size keep the memory of store and mover small. */
const PAGE_BYTES = 1 << 20;
const FIRST_LIMIT = 256;
const MOST_PAIRS = 10_240;
const LONGEST_WAIT_MS = 500;

export interface Page {
  readonly pairs: readonly KvPair[];
  readonly bytes: number;
  /** Where the next page begins, physical. */
  readonly next: Buffer;
}

/** Of logical keys with their values; equal for equal pairs. */
export interface Checksum {
  readonly crc: bigint;
  readonly keys: bigint;
  readonly bytes: bigint;
}

export interface SnapshotOptions {
  /**
   * `meet`: locks are met as any client meets them. `ignore`: they belong to what commits behind the timestamp, as those of the applier
   * do at or below its resolved timestamp.
   */
  readonly locks: 'meet' | 'ignore';
  readonly signal?: AbortSignal | undefined;
}

export function after(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}

export class Snapshot {
  /** Start timestamps of transactions that are not of this snapshot, whatever becomes of them. */
  private readonly passed = new Set<bigint>();
  private limit = FIRST_LIMIT;

  constructor(
    private readonly side: Side,
    readonly ts: bigint,
    private readonly options: SnapshotOptions,
  ) {}

  private contextOf({ context }: Located): Located['context'] {
    return { ...context, resolvedLocks: [...this.passed] };
  }

  private async meet(lock: LockInfo, attempt: number): Promise<void> {
    const { signal, locks } = this.options;
    const outcome = locks === 'ignore' ? 'passed' : await meetLock(this.side, lock, this.ts, signal);
    if (outcome === 'passed') this.passed.add(lock.lockVersion);
    if (outcome !== 'waits') return;
    await sleep(pauseOf(attempt, LONGEST_WAIT_MS), undefined, signal ? { signal } : {});
  }

  /** Asks until no lock is in the way. */
  private async past<T>(ask: () => Promise<T | { readonly locked: LockInfo }>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const answer = await ask();
      if (typeof answer !== 'object' || answer === null || !('locked' in answer)) return answer as T;
      await this.meet((answer as { locked: LockInfo }).locked, attempt);
    }
  }

  /** The first pairs of a physical range, at most those of one region. */
  async page({ start, end }: Range, { keyOnly = false }: { keyOnly?: boolean } = {}): Promise<Page> {
    const { storage, space } = this.side;
    const { limit } = this;
    const page = await this.past<Page>(() =>
      storage.atRegion<Page | { locked: LockInfo }>(
        space,
        start,
        async (located) => {
          const bound = Buffer.compare(located.end, end) < 0 ? located.end : end;
          const answer = await storage.ask(
            SCAN,
            {
              context: this.contextOf(located),
              startKey: start,
              endKey: bound,
              limit,
              version: this.ts,
              keyOnly,
            },
            located,
          );
          if (answer.regionError) return { regionError: answer.regionError };
          const error = answer.error ?? answer.pairs.find((pair) => pair.error)?.error;
          if (error?.locked) return { value: { locked: error.locked } };
          if (error) throw keyRefused('KvScan', error);
          const { pairs } = answer;
          const last = pairs.at(-1);
          const bytes = pairs.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
          return { value: { pairs, bytes, next: last && pairs.length >= limit ? after(last.key) : bound } };
        },
        { signal: this.options.signal },
      ),
    );
    this.adapt(page);
    return page;
  }

  private adapt({ pairs, bytes }: Page): void {
    if (pairs.length === 0) return;
    const fits = Math.floor(PAGE_BYTES / Math.max(1, bytes / pairs.length));
    this.limit = Math.max(1, Math.min(MOST_PAIRS, fits, this.limit * 4));
  }

  /** All pages of a physical range. */
  async *pages(range: Range, options: { keyOnly?: boolean } = {}): AsyncGenerator<Page> {
    for (let { start } = range; Buffer.compare(start, range.end) < 0;) {
      const page = await this.page({ start, end: range.end }, options);
      yield page;
      start = page.next;
    }
  }

  /**
   * The checksum that the stores compute over the logical keys of a physical range in one segment.
   * @returns undefined where they cannot
   */
  async checksum(range: Range, segment: Segment): Promise<Checksum | undefined> {
    const { storage, space } = this.side;
    const rule = segment.logicalPrefix.equals(segment.physicalPrefix)
      ? {}
      : { rule: { oldPrefix: segment.logicalPrefix, newPrefix: segment.physicalPrefix } };
    const data = toBinary(ChecksumRequestSchema, create(ChecksumRequestSchema, rule));
    let sum: Checksum = { crc: 0n, keys: 0n, bytes: 0n };
    for (let { start } = range; Buffer.compare(start, range.end) < 0;) {
      const from = start;
      const part = await this.past<{ readonly sum: Checksum | undefined; readonly end: Buffer }>(() =>
        storage.atRegion<{ sum: Checksum | undefined; end: Buffer } | { locked: LockInfo }>(
          space,
          from,
          async (located) => {
            const end = Buffer.compare(located.end, range.end) < 0 ? located.end : range.end;
            // Coprocessor ranges lie in tables; others are scanned.
            if (!canChecksum({ start: from, end })) return { value: { sum: undefined, end } };
            const answer = await storage.ask(
              COPROCESSOR,
              {
                context: this.contextOf(located),
                tp: CHECKSUM,
                data,
                ranges: [{ start: from, end }],
                startTs: this.ts,
              },
              located,
            );
            if (answer.regionError) return { regionError: answer.regionError };
            if (answer.locked) return { value: { locked: answer.locked } };
            return {
              value: { sum: answer.otherError === '' ? readChecksum(answer.data) : undefined, end },
            };
          },
          { signal: this.options.signal },
        ),
      );
      if (!part.sum) return undefined;
      sum = {
        crc: sum.crc ^ part.sum.crc,
        keys: sum.keys + part.sum.keys,
        bytes: sum.bytes + part.sum.bytes,
      };
      start = part.end;
    }
    return sum;
  }
}

const TABLE = 0x74;
const TABLE_BYTES = 9;

function canChecksum({ start, end }: Range): boolean {
  return [start, end].every((key) => key[0] === TABLE && key.length >= TABLE_BYTES);
}

/** tipb.ChecksumResponse: checksum, total_kvs and total_bytes, of pingcap/tipb checksum.proto. */
function readChecksum(data: Uint8Array): Checksum {
  const reader = new BinaryReader(data);
  const fields = new Map<number, bigint>();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type !== 0) throw new CallError('a checksum cannot be read', 0);
    fields.set(field, BigInt(reader.uint64()));
  }
  return { crc: fields.get(1) ?? 0n, keys: fields.get(2) ?? 0n, bytes: fields.get(3) ?? 0n };
}
