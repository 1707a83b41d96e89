/** Keeps the state of each HTTP stream. States are pooled, and found by Envoy's context id. */
import { StreamBuffer, release } from '../memory/stream-buffer';
import { NO_OPERATION } from '../policy/names';
import { Terms, pin, unpin } from '../terms/terms';
import { Status } from '../wire/status';
import { Exchange, clearExchange, countExchange } from '../rewrite/exchange';
import { ShortFrames } from '../rewrite/short-frames';
import { closeWatches } from '../rewrite/watches';

export const enum Phase {
  /** No headers have come yet. */
  NEW,
  /** Bodies pass unread. */
  PASS,
  /** gRPC messages pass unread, but must be short; an HTTP request must have no body. */
  SHORT,
  /** gRPC bodies are rewritten. */
  MAP,
  /** An HTTP body and its answer are rewritten once they are complete. */
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
  /** What is known of the tenant, which lives as long as the stream. null for a system caller, and until the caller is known. */
  terms: Terms | null;
  /** True when a proxy of another storage layer calls for the tenant. */
  isOnBehalf: bool;
  /** The operation: a method or an endpoint, see policy/names. NO_OPERATION: none that the tables know. */
  operation: u32;
  /** True when it counts as an open stream of its tenant. */
  isAdmitted: bool;
  /** What its requests are for, see Call. */
  call: u32;
  /** True when the answer's headers have gone on: the caller can no longer read a refusal. */
  answered: bool;
  /** Index of the HTTP endpoint. */
  endpoint: i32;
  /** True when the HTTP answer is no success. */
  failed: bool;
  /** True for a stream of BatchCommands. */
  isBatch: bool;
  /** True for requests to a region of the store, alone or in a batch. */
  isOfStore: bool;
  /** True for a stream of PD or etcd whose messages count against the tenant's rate, and once the first has come. */
  isRated: bool;
  hasSent: bool;
  /** True for a request alone on its stream that was held back. */
  isHeld: bool;
  /** True when the request may act on whole regions. It waits until the owners of the regions are known, see waiting.ts. */
  acts: bool;
  /** True when the end of the request has come. */
  isWhole: bool;
  /** Number of lookups that the stream waits for. */
  lookups: u32;
  /** Number of unknown regions when the stream last began to wait. */
  unknown: u32;
  /** When the stream began to wait, ms since 1970. */
  waitsSince: u64;
  /** When the headers came, ms since 1970. */
  beganAt: u64;
  /** The same in us, where the latency of a unary call is measured; 0: it is not. */
  measuredFrom: u64;
  /** True when the stream is to end, because the caller is another one, or none, under the configuration in force. */
  draining: bool;
  /** True when the tenant's keys are elsewhere by now, since when, ms since 1970, and whether its terms are pinned. See move-over.ts. */
  isMoving: bool;
  movingSince: u64;
  isPinned: bool;
  /** Serial of the configuration that decided this. */
  reviewed: u32;
  /** True when it is to end now, but another callback must do it, see turns.ts. */
  mustEnd: bool;
  /** Number of body pieces since the last tick. */
  bodies: u32;
  /** A refusal that waits for the next tick, on the heap; 0: none. See late.ts. */
  lateAt: usize;
  lateLength: usize;
  lateStatus: Status;
  /** The clock when it began to wait. */
  lateSince: u64;
  request: StreamBuffer = new StreamBuffer();
  response: StreamBuffer = new StreamBuffer();
  exchange: Exchange = new Exchange();
  shortFrames: ShortFrames = new ShortFrames();
  /** The next in the pool, or in the list of open streams. */
  next: Stream | null;
  previous: Stream | null;
}

const FIRST_SLOTS: u32 = 1024;

let slots: usize = 0;
let mask: u32 = 0;
let count: u32 = 0;
let pool: Stream | null = null;
/** All open streams: the slots never become fewer, and most are empty after a burst. */
let firstOpen: Stream | null = null;

/** Number of streams with pinned terms. */
export let pinnedCount: u32 = 0;

/** Number of open streams. */
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

function link(stream: Stream): void {
  const second = firstOpen;
  stream.previous = null;
  stream.next = second;
  if (second != null) second.previous = stream;
  firstOpen = stream;
}

function unlink(stream: Stream): void {
  const previous = stream.previous;
  const next = stream.next;
  if (previous == null) firstOpen = next;
  else previous.next = next;
  if (next != null) next.previous = previous;
}

/** Opens a stream for Envoy's context. */
export function openStream(context: u32, root: u32): Stream {
  if (slots == 0 || count * 2 > mask) growSlots();
  let stream = pool;
  if (stream == null) {
    stream = new Stream();
  } else pool = stream.next;
  stream.context = context;
  stream.root = root;
  stream.phase = Phase.NEW;
  stream.terms = null;
  stream.operation = NO_OPERATION;
  stream.isAdmitted = false;
  stream.isOnBehalf = false;
  stream.answered = false;
  stream.isGrpc = false;
  stream.isBatch = false;
  stream.isOfStore = false;
  stream.isRated = false;
  stream.hasSent = false;
  stream.isHeld = false;
  stream.acts = false;
  stream.isWhole = false;
  stream.lookups = 0;
  stream.unknown = u32.MAX_VALUE;
  stream.waitsSince = 0;
  stream.beganAt = 0;
  stream.measuredFrom = 0;
  stream.draining = false;
  stream.mustEnd = false;
  stream.isMoving = false;
  stream.isPinned = false;
  stream.reviewed = 0;
  stream.bodies = 0;
  stream.lateAt = 0;
  stream.lateSince = 0;
  stream.shortFrames.begin();
  link(stream);
  insert(stream);
  count++;
  return stream;
}

/** Makes other terms of the same tenant those of the stream. */
export function changeTerms(stream: Stream, terms: Terms): void {
  const former = stream.terms;
  pin(terms);
  if (former != null && stream.isPinned) unpin(former);
  else pinnedCount++;
  stream.terms = terms;
  stream.isPinned = true;
}

/** Calls `visit` for every stream. No stream may open or close meanwhile. */
export function eachStream(visit: (stream: Stream) => void): void {
  let stream = firstOpen;
  while (stream != null) {
    const next = stream.next;
    visit(stream);
    stream = next;
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

/** Closes the stream and frees everything it holds. */
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
  const terms = stream.terms;
  if (terms != null) terms.account.removeWatches(closeWatches(stream.exchange));
  clearExchange(stream.exchange);
  if (terms != null) {
    if (stream.isAdmitted) terms.account.openStreams--;
    terms.account.isChanged = true;
    release(stream.request, terms.budget);
    release(stream.response, terms.budget);
    countExchange(stream.exchange, terms.budget);
    if (stream.isPinned) {
      unpin(terms);
      pinnedCount--;
    }
  }
  stream.terms = null;
  unlink(stream);
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
