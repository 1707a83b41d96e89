/**
 * Copies a key space chunk by chunk, while it is used. A chunk is what one region of the source held when the copy was planned. It is read
 * at a timestamp of its own, and written with that as the commit timestamp; its changes are followed from there (feed.ts).
 */
import { create, toBinary, type MessageInitShape } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CallError } from '../../pd/endpoint.ts';
import { ScatterRegionRequestSchema, ScatterRegionResponseSchema } from '../../pd/generated/pd/pdpb_pb.ts';
import type { Error as RegionError } from '../../pd/generated/tikv/errorpb_pb.ts';
import {
  WriteRequestSchema,
  type SSTMetaSchema,
  type WriteResponse,
} from '../../pd/generated/tikv/import_sstpb_pb.ts';
import type { Peer } from '../../pd/regions.ts';
import { memcomparable } from '../../tenants/tenant.ts';
import type { KeyMap, Range } from './key-space.ts';
import { keyRefused } from './locks.ts';
import { MULTI_INGEST, SPLIT_REGION, WRITE } from './methods.ts';
import { after, Snapshot } from './snapshot.ts';
import { pauseOf, staysAt, type Located, type Side, type Storage, type Try } from './storage.ts';
import type { Throttle } from './throttle.ts';

/** One chunk, as JSON keeps it. Keys are logical, in hex. */
export interface Chunk {
  readonly start: string;
  /** Empty: up to the end of the key space. */
  readonly end: string;
  /** What it is read at, decimal. Set before anything is written. */
  readTs?: string;
  /** Everything below is written. */
  next?: string;
  isDone?: true;
  bytes: number;
  keys: number;
}

export interface CopyState {
  readonly chunks: Chunk[];
  /** PD's estimate of the whole, bytes. */
  readonly ofBytes: number;
  /** Where its pieces began when it was read (copy-state.ts). */
  readonly firsts?: readonly number[];
}

export interface CopyOptions {
  readonly source: Side;
  readonly target: Side;
  readonly map: KeyMap;
  readonly state: CopyState;
  readonly throttle: Throttle;
  readonly signal?: AbortSignal | undefined;
  /** Chunks at once. Each holds one file, FILE_BYTES. */
  readonly concurrency?: number;
  /**
   * Is awaited before a chunk's first write, at its end, and now and then between: the state must be safe when it resolves. A file that is
   * written again has the same effect.
   */
  readonly saved?: (state: CopyState, changed: Chunk) => Promise<void>;
  /** A chunk is complete: follow it from this timestamp. */
  readonly onChunk?: (range: Range, readTs: bigint) => void;
}

const CONCURRENCY = 3;
const FILE_BYTES = 8 << 20;
const BATCH_BYTES = 256 << 10;
/** A state is kept in the middle of a chunk behind so much, or so long. PD's etcd keeps each one for an hour, of all moves. */
const SAVE_BYTES = 64 << 20;
const SAVE_MS = 10_000;
const UPLOAD_MS = 60_000;
/** How long a file that is written waits at a busy store until it is written anew. */
const INGEST_MS = 60_000;
const MIB = 1 << 20;
const TABLE = 't';

const SCATTER = {
  path: '/pdpb.PD/ScatterRegion',
  request: ScatterRegionRequestSchema,
  answer: ScatterRegionResponseSchema,
} as const;

const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');
const unhex = (text: string): Buffer => Buffer.from(text, 'hex');

export function rangeOfChunk({ start, end }: Pick<Chunk, 'start' | 'end'>): Range {
  return { start: unhex(start), end: unhex(end) };
}

/** One chunk for each region of the source. What TiDB keeps about its tables comes last. */
export async function planCopy({ storage, space }: Side): Promise<CopyState> {
  const regions = await storage.regions({ start: space.start, end: space.end }, space);
  const inner = regions.slice(1).flatMap(({ start }) => {
    const boundary = space.logicalBoundary(space.fromPd(start));
    return boundary && boundary.length > 0 ? [hex(boundary)] : [];
  });
  const borders = [...new Set(inner)].sort();
  const chunks = ['', ...borders].map((start, index): Chunk => ({
    start,
    end: borders[index] ?? '',
    bytes: 0,
    keys: 0,
  }));
  const isTable = ({ start }: Chunk): boolean => unhex(start).toString('latin1').startsWith(TABLE);
  return {
    chunks: [...chunks.filter(isTable), ...chunks.filter((chunk) => !isTable(chunk))],
    ofBytes: regions.reduce((sum, { approximateSize }) => sum + approximateSize * MIB, 0),
  };
}

/** Splits the target where the chunks begin, and asks PD to spread its regions. */
export async function presplit(
  { storage, space }: Side,
  { chunks }: CopyState,
  signal?: AbortSignal,
): Promise<void> {
  let rest = chunks
    .map(({ start }) => space.boundary(unhex(start)))
    .filter((key) => Buffer.compare(key, space.start) > 0 && Buffer.compare(key, space.end) < 0)
    .sort((a, b) => Buffer.compare(a, b));
  const made: bigint[] = [];
  while (rest.length > 0) {
    const [first] = rest as [Buffer];
    const before = rest;
    const done = await storage.atRegion(
      space,
      first,
      async (located) => {
        const part = before.filter((key) => Buffer.compare(key, located.end) < 0);
        const keys = part.filter((key) => Buffer.compare(key, located.start) > 0);
        if (keys.length === 0) return { value: { count: part.length, ids: [] } };
        const answer = await storage.ask(
          SPLIT_REGION,
          { context: located.context, splitKeys: keys },
          located,
        );
        if (answer.regionError) return { regionError: answer.regionError };
        const [error] = answer.errors;
        if (error) throw keyRefused('SplitRegion', error);
        storage.forget(located.region);
        return { value: { count: part.length, ids: answer.regions.map(({ id }) => id) } };
      },
      { signal },
    );
    made.push(...done.ids);
    rest = rest.slice(done.count);
  }
  if (made.length === 0) return;
  const header = { clusterId: await storage.clusterId() };
  await storage.isMine();
  // With one store, or while PD is busy, it refuses: the copy goes on all the same.
  await storage.pd.grpc(SCATTER, { header, regionsId: made, group: 'tidb-mesh-move' }).catch(() => undefined);
}

/** Copies all chunks that are not done. */
export async function copy(options: CopyOptions): Promise<void> {
  const todo = options.state.chunks.filter(({ isDone }) => !isDone);
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const worker = async (): Promise<void> => {
    for (let chunk = todo.shift(); chunk; chunk = todo.shift())
      await copyChunk({ ...options, signal }, chunk);
  };
  const workers = Array.from({ length: options.concurrency ?? CONCURRENCY }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    stop.abort();
    await Promise.allSettled(workers);
    throw error;
  }
}

interface Pair {
  readonly key: Buffer;
  readonly value: Uint8Array;
}

/** Whether the state is kept in the middle of a chunk, by what was copied and how long it took since it was. */
export function isToKeep(bytes: number, ms: number): boolean {
  return bytes >= SAVE_BYTES || ms >= SAVE_MS;
}

async function copyChunk(options: CopyOptions, chunk: Chunk): Promise<void> {
  const { source, map, state, throttle, signal, saved: save, onChunk } = options;
  const range = rangeOfChunk(chunk);
  if (chunk.readTs === undefined) {
    chunk.readTs = String(await source.storage.timestamp());
    // Files of another timestamp beside these would bring back keys that are deleted in between.
    await save?.(state, chunk);
  }
  const readTs = BigInt(chunk.readTs);
  const snapshot = new Snapshot(source, readTs, { locks: 'meet', signal });
  const physical = source.space.physicalRange(range);
  let start = chunk.next === undefined ? physical.start : source.space.boundary(unhex(chunk.next));
  let pairs: Pair[] = [];
  let bytes = 0;
  let saved = { bytes: chunk.bytes, at: performance.now() };
  const flush = async (): Promise<void> => {
    const last = pairs.at(-1);
    if (!last) return;
    await importPairs(options, pairs, readTs);
    const logical = options.target.space.decode(last.key);
    if (logical) chunk.next = hex(after(logical));
    chunk.bytes += bytes;
    chunk.keys += pairs.length;
    pairs = [];
    bytes = 0;
    if (!isToKeep(chunk.bytes - saved.bytes, performance.now() - saved.at)) return;
    await save?.(state, chunk);
    saved = { bytes: chunk.bytes, at: performance.now() };
  };
  while (Buffer.compare(start, physical.end) < 0) {
    signal?.throwIfAborted();
    const page = await snapshot.page({ start, end: physical.end });
    await throttle.take(page.bytes, signal);
    for (const { key, value } of page.pairs) pairs.push({ key: map.map(key), value });
    bytes += page.bytes;
    start = page.next;
    if (bytes >= FILE_BYTES) await flush();
  }
  await flush();
  chunk.isDone = true;
  await save?.(state, chunk);
  onChunk?.(range, readTs);
}

/** Writes pairs, in order and of one timestamp, into the target's regions: one file for each. */
async function importPairs(
  { target, throttle, signal }: CopyOptions,
  pairs: readonly Pair[],
  commitTs: bigint,
): Promise<void> {
  for (let at = 0; at < pairs.length;) {
    const first = pairs[at];
    if (!first) return;
    const from = at;
    at += await target.storage.atRegion(
      target.space,
      first.key,
      async (located) => {
        let to = from;
        while (to < pairs.length && Buffer.compare(pairs[to]?.key ?? located.end, located.end) < 0) to++;
        const part = pairs.slice(from, to);
        // The bytes are counted where they are read.
        await throttle.take(0, signal);
        return importFile(target, located, { pairs: part, commitTs, signal });
      },
      { signal },
    );
  }
}

function messagesOf(
  meta: MessageInitShape<typeof SSTMetaSchema>,
  context: Located['context'],
  pairs: readonly Pair[],
  commitTs: bigint,
): Buffer[] {
  const encoded = (chunk: MessageInitShape<typeof WriteRequestSchema>['chunk'] & object): Buffer =>
    Buffer.from(toBinary(WriteRequestSchema, create(WriteRequestSchema, { chunk, context })));
  const messages = [encoded({ case: 'meta', value: meta })];
  let from = 0;
  let bytes = 0;
  for (const [index, { key, value }] of pairs.entries()) {
    bytes += key.length + value.length;
    if (bytes < BATCH_BYTES && index + 1 < pairs.length) continue;
    messages.push(encoded({ case: 'batch', value: { commitTs, pairs: pairs.slice(from, index + 1) } }));
    from = index + 1;
    bytes = 0;
  }
  return messages;
}

interface File {
  readonly pairs: readonly Pair[];
  readonly commitTs: bigint;
  readonly signal: AbortSignal | undefined;
}

async function importFile(
  { storage }: Side,
  located: Located,
  { pairs, commitTs, signal }: File,
): Promise<Try<number>> {
  const { context } = located;
  const busy = await busyIn(storage, located);
  if (busy !== undefined) return { regionError: busy };
  const ends = [pairs[0], pairs.at(-1)].map((pair) => memcomparable(pair?.key ?? Buffer.alloc(0)));
  const [start, end] = ends as [Buffer, Buffer];
  const meta: MessageInitShape<typeof SSTMetaSchema> = {
    uuid: randomBytes(16),
    range: { start, end },
    ...(context.regionId === undefined ? {} : { regionId: context.regionId }),
    ...(context.regionEpoch === undefined ? {} : { regionEpoch: context.regionEpoch }),
    ...(context.apiVersion === undefined ? {} : { apiVersion: context.apiVersion }),
  };
  const written = await writeToPeers(storage, located, messagesOf(meta, context, pairs, commitTs));
  if ('regionError' in written) return written;
  const deadline = Date.now() + INGEST_MS;
  for (let attempt = 0; ; attempt++) {
    const { error } = await storage.ask(MULTI_INGEST, { context, ssts: written.value }, located);
    if (!error) return { value: pairs.length };
    // A file that is gone has been ingested, or is not there: it is written again, to the same effect. One that waits at a busy store is
    // used: TiKV removes it only when its region has changed (raftstore store.rs, on_validate_sst_result).
    if (!staysAt(error) || Date.now() > deadline) return { regionError: error };
    await sleep(pauseOf(attempt), undefined, signal ? { signal } : {});
  }
}

/** Why a replica takes no files at the moment, asked as TiDB does (pkg/lightning/backend/local checkWriteStall). */
async function busyIn(storage: Storage, { region: { peers } }: Located): Promise<RegionError | undefined> {
  const stores = await storage.stores();
  const answers = await Promise.all(
    peers.map(async ({ storeId }) => {
      const address = stores.get(storeId)?.fileAddress ?? '';
      // What does not answer shows when the file is written.
      return address === '' ? undefined : storage.ask(MULTI_INGEST, {}, { address }).catch(() => undefined);
    }),
  );
  return answers.find((answer) => answer?.error?.serverIsBusy !== undefined)?.error;
}

type Metas = WriteResponse['metas'];

/**
 * Writes one file to the stores of all peers, as TiDB's local backend does (pkg/lightning/backend/local doWrite). Each replica opens its own
 * file when it applies the command to ingest it, and a TiKV that has none stops (raftstore, handle_ingest_sst). A peer that comes later
 * changes the epoch, and the leader refuses the command.
 * @returns what the leader has written
 */
async function writeToPeers(
  storage: Storage,
  { region: { peers, leader } }: Located,
  messages: readonly Buffer[],
): Promise<Try<Metas>> {
  const stores = await storage.stores();
  const stop = new AbortController();
  const failed: (RegionError | string)[] = [];
  const write = async ({ storeId }: Peer): Promise<Metas> => {
    const address = stores.get(storeId)?.fileAddress ?? '';
    const outcome = await writeTo(storage, address, messages, stop.signal);
    if ('value' in outcome) return outcome.value;
    const { regionError } = outcome;
    failed.push(typeof regionError === 'string' ? `store ${storeId}: ${regionError}` : regionError);
    stop.abort();
    return [];
  };
  try {
    const metas = await Promise.all(peers.map(write));
    const [first] = failed;
    if (first !== undefined) return { regionError: first };
    const ofLeader = metas[peers.findIndex(({ id }) => id === leader?.id)];
    return ofLeader ? { value: ofLeader } : { regionError: 'noLeader' };
  } finally {
    stop.abort();
  }
}

async function writeTo(
  storage: Storage,
  address: string,
  messages: readonly Buffer[],
  signal: AbortSignal,
): Promise<Try<Metas>> {
  if (address === '') return { regionError: 'PD knows no address' };
  try {
    const { metas, error } = await storage.upload(WRITE, messages, address, {
      deadlineMs: UPLOAD_MS,
      signal,
    });
    return error ? { regionError: error.storeError ?? error.message } : { value: metas };
  } catch (error) {
    return importError(error, address);
  }
}

const NOT_WRITTEN: readonly (grpc.status | undefined)[] = [
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.CANCELLED,
];

/** TiKV tells in a text that the region has changed (src/import/sst_service.rs). */
function importError(error: unknown, address: string): { regionError: string } {
  const { code, details = '' } = error as Partial<grpc.ServiceError>;
  if (NOT_WRITTEN.includes(code)) return { regionError: `no answer from ${address}` };
  if (/RequestTooOld|RequestTooNew|[Ee]poch|not leader|NotLeader|ServerIsBusy|[Bb]usy/.test(details))
    return { regionError: 'epochNotMatch' };
  if (code === undefined) throw error;
  throw new CallError(`ImportSST.Write at ${address}: ${grpc.status[code] ?? code}: ${details}`, code);
}
