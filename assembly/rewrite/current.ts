/** What the functions of this folder work for: the tenant and the stream of this event, then the message and its direction. */
import { useNamespace } from '../keys/namespace';
import { useSpace } from '../keys/space';
import { NO_ACCOUNT } from '../terms/account';
import { MovePhase } from '../terms/move';
import { Terms } from '../terms/terms';
import { Status } from '../wire/status';
import { Exchange, track } from './exchange';
import { useRegionsOf } from './regions';

export const enum Direction {
  REQUEST,
  RESPONSE,
}

export let direction: Direction = Direction.REQUEST;
/** The terms of the caller's tenant. */
export let terms: Terms = changetype<Terms>(0);
/** Where the tenant's calls are counted, by Call: u64. */
export let callCounts: usize = NO_ACCOUNT.counts;
/** The notes of the stream. */
export let exchange: Exchange = changetype<Exchange>(0);
/** True when the latency of the stream's requests is measured, see latency.ts. */
export let isMeasured: bool = false;
/** True when the contexts of requests may need changes that depend on more than their bytes. */
export let walksContexts: bool = false;
/** True when the request goes on in a form that the store turns away, so that its client tries again: it is alone on its stream. */
export let holdsMessage: bool = false;
/** True when all requests of a batch are held back: the tenant's keys are elsewhere by now. */
export let holdsAll: bool = false;
/** The earliest timestamp that the tenant may read at, and whether what is newest cannot be read now. */
let readableSince: u64 = 0;
let holdsLatest: bool = false;
/** The latest timestamp that the tenant has got from another PD, in ms. */
let latestSeenMs: u64 = 0;
/** The latest timestamp that the tenant may name, and how much later one may be that is not refused before PD was asked anew. */
let latestTimestamp: u64 = u64.MAX_VALUE;
let timestampDoubt: u64 = 0;
/** The earliest timestamp that the tenant may keep from GC. */
export let oldestTimestamp: u64 = 0;
/** Random bits for a lease id, used when a client lets etcd choose the id. 48 bits. */
export let leaseSeed: u64 = 0;
/** Column layout of the answer; 0 when its request did not ask for `_tidb_tid`. */
export let answerColumns: usize = 0;
/** True when the request acts on the region that its context names. */
export let namesRegion: bool = false;

/** The message and field that caused a refusal, for the refusal's text. */
export let failedMessage: u32 = 0;
export let failedField: u32 = 0;

/**
 * Installs a tenant and a stream for one event: all that comes is rewritten for them. The last four depend on the time of the event:
 * the latest timestamp and the doubt about it, the oldest one, and random bits for a lease or 0.
 */
export function install(
  its: Terms,
  notes: Exchange,
  latest: u64,
  doubt: u64,
  oldest: u64,
  randomLease: u64,
): void {
  terms = its;
  const account = its.account;
  callCounts = account.counts;
  walksContexts = its.changesContexts || account.phase != MovePhase.NONE;
  holdsMessage = false;
  holdsAll = its.isAway || hasMovedAway(its);
  // What is held for good leaves nothing new to note.
  const tracks = account.phase != MovePhase.NONE || (holdsAll && notes.isTracked);
  if (notes.isTracked != tracks) track(notes, tracks);
  readableSince = its.readableSince;
  latestSeenMs = account.latestSeenMs;
  holdsLatest = account.phase >= MovePhase.FENCE;
  exchange = notes;
  isMeasured = notes.times != 0;
  latestTimestamp = latest;
  timestampDoubt = doubt;
  oldestTimestamp = oldest;
  leaseSeed = randomLease;
  useSpace(its.space);
  useRegionsOf(its.clock);
  useNamespace(its.prefixAt, its.prefixLength, its.number);
}

/** True when the configuration in force gives the same tenant other keys. */
export function hasMovedAway(its: Terms): bool {
  const account = its.account;
  return account.range != 0 && account.range != its.range && account.number == its.number;
}

/** Holds back the requests of this event, each alone on its stream. */
export function holdMessages(): void {
  holdsMessage = true;
  walksContexts = true;
}

/** True for a timestamp that the tenant may read at; the greatest number means what is newest. @inline */
export function isReadable(timestamp: u64): bool {
  if (timestamp == u64.MAX_VALUE) return !holdsLatest;
  return timestamp <= latestTimestamp && timestamp >= readableSince;
}

/**
 * True for the milliseconds of a new timestamp that are later than all that the tenant's clients have got elsewhere. TiDB ends itself on
 * any other one (PD's client, checkMonotonicity). @inline
 */
export function isLater(milliseconds: u64): bool {
  return latestSeenMs == 0 || <i64>milliseconds > <i64>latestSeenMs;
}

/** True for a timestamp that the tenant may name. With `orMax`, also for the greatest number, which means none. @inline */
export function isTimely(timestamp: u64, orMax: bool): bool {
  return timestamp <= latestTimestamp || (orMax && timestamp == u64.MAX_VALUE);
}

/** True if PD may say, asked anew, that a timestamp beyond the latest one is good. */
export function mayBeTimely(timestamp: u64): bool {
  return timestamp - latestTimestamp <= timestampDoubt;
}

export function useDirection(way: Direction): void {
  direction = way;
  answerColumns = 0;
}

export function useAnswerColumns(columns: usize): void {
  answerColumns = columns;
}

export function setNamesRegion(names: bool): void {
  namesRegion = names;
}

/** Clears the place of the last failure: the next failure may have none. */
export function forgetFailure(): void {
  failedMessage = 0;
  failedField = 0;
}

/** Notes where a failure happened, and returns its status. DROP is no failure. */
export function fail(status: Status, message: u32, field: u32): Status {
  if (status == Status.DROP) return status;
  failedMessage = message;
  failedField = field;
  return status;
}
