/** One HTTP stream's state, pooled; found by Envoy's context id. */
import { Space } from '../keys/space';
import { Budget, StreamBuffer, release } from '../memory/stream-buffer';
import { NO_OPERATION } from '../policy/names';
import { DryRun } from '../tenant/tenant';
import { Status } from '../wire/status';
import { Exchange, clearExchange, countExchange } from '../rewrite/exchange';

export const enum Phase {
  /** No headers yet. */
  NEW,
  /** Bodies pass unread. */
  PASS,
  /** gRPC bodies are rewritten. */
  MAP,
  /** HTTP: the body and the answer are rewritten when they are whole. */
  HTTP,
  /** A refusal was sent; nothing more goes through. */
  ENDED,
}

@unmanaged
export class Stream {
  context: u32;
  root: u32;
  phase: Phase;
  requestMessage: u32;
  responseMessage: u32;
  isGrpc: bool;
  tenantNumber: u32;
  /** The tenant's, as long as its configuration; null until it is known. */
  space: Space | null;
  /** The tenant's name, as long as its configuration. */
  nameAt: usize;
  nameLength: usize;
  namespaceAt: usize;
  namespaceLength: usize;
  /** The tenant's; null until it is known. */
  budget: Budget | null;
  maxMessageBytes: u32;
  /** How far in the future its timestamps may be, ms. */
  maxDriftMs: u64;
  /** How far back it may hold GC, s. */
  maxHoldBackSeconds: u32;
  /** How long its leases in etcd may last, s. */
  maxEtcdLeaseSeconds: u32;
  /** What policy refuses the tenant, as long as its configuration; 0: nothing. And the extent of its dry run. */
  policyBits: usize;
  dryRun: DryRun;
  /** PD can be asked whose a region is. */
  looksUp: bool;
  /** The method or endpoint, see policy/names; NO_OPERATION: none that the tables know. */
  operation: u32;
  /** The answer's headers have gone on: the caller can read no refusal any more. */
  answered: bool;
  /** Index of the HTTP endpoint. */
  endpoint: i32;
  /** The HTTP answer is no success. */
  failed: bool;
  /** A stream of BatchCommands. */
  isBatch: bool;
  /** Its request may act on whole regions, and waits until it is known whose they are, see waiting.ts. */
  acts: bool;
  /** The end of its request has come. */
  isWhole: bool;
  /** Lookups that it waits for. */
  lookups: u32;
  /** Regions of which nothing was known when it began to wait last. */
  unknown: u32;
  /** When it began to wait, ms since 1970. */
  waitsSince: u64;
  /** When its headers came, ms since 1970. */
  beganAt: u64;
  /** Its caller is somebody else under the configuration in force, or nobody: it is to end. */
  draining: bool;
  /** Serial of the configuration that this was found out with. */
  reviewed: u32;
  /** Pieces of bodies since the last tick. */
  bodies: u32;
  /** A refusal that waits for the next tick, on the heap; 0: none. See late.ts. */
  lateAt: usize;
  lateLength: usize;
  lateStatus: Status;
  request: StreamBuffer = new StreamBuffer();
  response: StreamBuffer = new StreamBuffer();
  exchange: Exchange = new Exchange();
  next: Stream | null;
}

const FIRST_SLOTS: u32 = 1024;

let slots: usize = 0;
let mask: u32 = 0;
let count: u32 = 0;
let pool: Stream | null = null;

/** Streams in flight. */
export function streamCount(): u32 {
  return count;
}

function slot(i: u32): usize {
  return slots + ((<usize>(i & mask)) << 2);
}

function home(context: u32): u32 {
  return context * 0x9e3779b1;
}

function insert(stream: Stream): void {
  let i = home(stream.context);
  while (load<usize>(slot(i)) != 0) i++;
  store<usize>(slot(i), changetype<usize>(stream));
}

function growSlots(): void {
  const old = slots;
  const oldCount: u32 = slots == 0 ? 0 : mask + 1;
  const size = oldCount == 0 ? FIRST_SLOTS : oldCount * 2;
  slots = heap.alloc((<usize>size) << 2);
  memory.fill(slots, 0, (<usize>size) << 2);
  mask = size - 1;
  for (let i: u32 = 0; i < oldCount; i++) {
    const stream = load<usize>(old + ((<usize>i) << 2));
    if (stream != 0) insert(changetype<Stream>(stream));
  }
  if (old != 0) heap.free(old);
}

/** A fresh stream for Envoy's context. */
export function openStream(context: u32, root: u32): Stream {
  if (slots == 0 || count * 2 > mask) growSlots();
  let stream = pool;
  if (stream == null) {
    stream = new Stream();
  } else pool = stream.next;
  stream.context = context;
  stream.root = root;
  stream.phase = Phase.NEW;
  stream.budget = null;
  stream.space = null;
  stream.nameLength = 0;
  stream.operation = NO_OPERATION;
  stream.answered = false;
  stream.policyBits = 0;
  stream.dryRun = DryRun.NONE;
  stream.isGrpc = false;
  stream.isBatch = false;
  stream.acts = false;
  stream.isWhole = false;
  stream.lookups = 0;
  stream.unknown = u32.MAX_VALUE;
  stream.waitsSince = 0;
  stream.beganAt = 0;
  stream.draining = false;
  stream.reviewed = 0;
  stream.bodies = 0;
  stream.lateAt = 0;
  stream.next = null;
  insert(stream);
  count++;
  return stream;
}

/** Calls for every stream; none may come or go meanwhile. */
export function eachStream(visit: (stream: Stream) => void): void {
  if (slots == 0) return;
  for (let i: u32 = 0; i <= mask; i++) {
    const at = load<usize>(slot(i));
    if (at != 0) visit(changetype<Stream>(at));
  }
}

/** The stream of this context, or null. */
export function findStream(context: u32): Stream | null {
  if (slots == 0) return null;
  let i = home(context);
  let at = load<usize>(slot(i));
  while (at != 0 && changetype<Stream>(at).context != context) at = load<usize>(slot(++i));
  return at == 0 ? null : changetype<Stream>(at);
}

/** Forgets the stream and gives back all that it held. */
export function closeStream(context: u32): void {
  if (slots == 0) return;
  let i = home(context);
  while (true) {
    const at = load<usize>(slot(i));
    if (at == 0) return;
    if (changetype<Stream>(at).context == context) break;
    i++;
  }
  const stream = changetype<Stream>(load<usize>(slot(i)));
  const budget = stream.budget;
  if (budget != null) {
    release(stream.request, budget);
    release(stream.response, budget);
  }
  clearExchange(stream.exchange);
  if (budget != null) countExchange(stream.exchange, budget);
  stream.budget = null;
  stream.next = pool;
  pool = stream;
  count--;
  // Close the gap, so that later entries of the same run are still found.
  let gap = i;
  for (let j = i + 1; ; j++) {
    const at = load<usize>(slot(j));
    if (at == 0) break;
    if (((j - home(changetype<Stream>(at).context)) & mask) >= ((j - gap) & mask)) {
      store<usize>(slot(gap), at);
      gap = j;
    }
  }
  store<usize>(slot(gap), 0);
}
