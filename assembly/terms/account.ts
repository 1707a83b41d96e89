/**
 * What this VM keeps of a tenant over all configurations: its state in the one that is in force, what it holds, and what was counted. Made
 * with the tenant's first stream, and kept as long as the VM. So a new configuration reaches open streams at once, whatever configuration
 * they began under, and counts go on.
 */
import { Budget } from '../memory/stream-buffer';
import { ErrorClass } from '../schema/table';
import { isSameBytes } from '../wire/bytes';
import { Status } from '../wire/status';
import { Holdings } from './holdings';
import { Labels } from './labels';
import { MovePhase, Standing, hasDeadline } from './move';
import { Rate, Rates } from './rates';
import { State } from './state';

/**
 * What is counted. Below CALLS: requests by kind, see Call. From ERRORS on: what the store answered, see countOfErrors. From DELAYED on:
 * delayed requests by the limit that delayed them, see Rate, up to DELAYED_MS.
 */
export const enum Count {
  CALLS = 11,
  REQUEST_BYTES = 11,
  RESPONSE_BYTES,
  REWRITES,
  STREAMS,
  ERRORS,
  DELAYED = 20,
  /** Milliseconds in which requests were delayed. */
  DELAYED_MS = 23,
  ALL,
}

/** The place of the errors of a class, one of ErrorClass but UNSPECIFIED. */
export function countOfErrors(errorClass: u32): i32 {
  return Count.ERRORS + <i32>(errorClass - ErrorClass.REGION);
}

/** Buckets of latencies. The bound of the first one is 2^8 us, that of the next twice as much, up to 2^21 us; the last one has none. */
export const enum Latency {
  BUCKETS = 15,
  SUM = 15,
  ALL,
}
const FIRST_BUCKET_BITS: i32 = 8;

/** An upper bound for the number of statuses. */
export const MAX_STATUSES: usize = 128;

@unmanaged
export class Account {
  /** In the configuration in force. */
  state: State = State.ACTIVE;
  /** How far the tenant's move is, which move, and when the phase ends, ms since 1970. See useMove and lift. */
  phase: MovePhase = MovePhase.NONE;
  moveSerial: u32 = 0;
  private moveUntil: u64 = 0;
  /** The move of which this VM has ended a phase by itself; 0: none. */
  liftedSerial: u32 = 0;
  /** The latest phase of a move that was obeyed in this Envoy, the key range and the state then; 0: none. See accept. */
  latestSerial: u32 = 0;
  latestPhase: MovePhase = MovePhase.NONE;
  latestPlace: u64 = 0;
  latestState: State = State.ACTIVE;
  /** What the configuration in force is to that. */
  standing: Standing = Standing.CURRENT;
  /** Number of requests that were held back. */
  held: u64 = 0;
  /** True when requests are judged by the tenant's state or its move. */
  judges: bool = false;
  /** The tenant's number, and what identifies its key range, by the configuration in force; 0 before the first. */
  number: u32 = 0;
  range: u64 = 0;
  /** The latest timestamp that the tenant got from another PD, in ms, by the configuration in force. */
  latestSeenMs: u64 = 0;
  /** True when another storage layer serves the tenant, by the configuration in force. */
  isAway: bool = false;
  /** How many requests the store has not answered: all, and by kind. Counted by streams/moves.ts. */
  outstanding: i32 = 0;
  writesOutstanding: i32 = 0;
  finishesOutstanding: i32 = 0;
  /** The same of what is refused to a tenant that moves: it was let through before. */
  bulkOutstanding: i32 = 0;
  /** True when the tenant has series of its own among the metrics. */
  hasSeries: bool = true;
  /** True when something has changed since Envoy was told. */
  isChanged: bool = false;
  /** How many streams may be open, by the configuration in force. */
  maxStreams: u32 = u32.MAX_VALUE;
  /** Number of open streams. */
  openStreams: u32 = 0;
  /** How much may be sent a second. */
  rates: Rates = new Rates();
  /** How many watches of etcd may be open, 0: no limit, and how many are. */
  maxWatches: u32 = 0;
  watches: u32 = 0;
  /** What PD keeps of the tenant. */
  holdings: Holdings = new Holdings();
  /** The sources of requests and the groups that the tenant has named to TiKV. */
  sources: Labels = new Labels();
  groups: Labels = new Labels();
  /** Counts the partial frames and notes that the streams hold. */
  budget: Budget = new Budget();
  /** u64 by Count. */
  counts: usize = newCounts(Count.ALL);
  /** Number of all refusals. */
  refused: u64 = 0;
  /** Requests and bytes per second, lately. */
  requestRate: u64 = 0;
  byteRate: u64 = 0;
  private measuredRequests: u64 = 0;
  private measuredBytes: u64 = 0;
  /** Refusals: u64 by Status; 0 before the first. */
  refusals: usize = 0;
  /** The earliest transaction that a TiDB of the tenant has told of since the last tick: a timestamp of PD; 0: none has. */
  oldestTransaction: u64 = 0;
  /** When one last told of it, ms since 1970, 0: not, or Envoy was told that it is over. Then the gauge plus one; 0: not defined. */
  oldestToldAt: u64 = 0;
  oldestGauge: u32 = 0;
  /** What Envoy was told of counts and of refusals, see streams/tenant-metrics.ts; 0 before the first time. */
  told: usize = 0;
  refusalsTold: usize = 0;
  /** Requests by bucket of latency since the last tick, then the sum of their microseconds: u64; 0 before the first. */
  latencies: usize = 0;
  /** Metrics of the buckets, the sum and the count, plus one: u32; 0 before the first time. */
  latencyMetrics: usize = 0;
  /** What the sum is of, in microseconds, that Envoy was not told: it counts milliseconds. */
  untoldMicroseconds: u64 = 0;
  /** The next account of the same plugin. */
  next: Account | null = null;

  constructor(
    /** The name, ASCII, on the heap. */
    public nameAt: usize,
    public nameLength: usize,
  ) {}

  useState(state: State): void {
    this.state = state;
    this.judges = state != State.ACTIVE || this.phase != MovePhase.NONE;
  }

  /** True if a phase comes before the latest one. Phases of one serial follow each other, and none comes twice. */
  private isBefore(serial: u32, phase: MovePhase): bool {
    return serial < this.latestSerial || (serial == this.latestSerial && phase < this.latestPhase);
  }

  /** Takes over what is known of the latest phase. */
  recall(serial: u32, phase: MovePhase, place: u64, state: State): void {
    if (serial == 0 || this.isBefore(serial, phase)) return;
    this.latestSerial = serial;
    this.latestPhase = phase;
    this.latestPlace = place;
    this.latestState = state;
  }

  /**
   * Judges a configuration by what was obeyed in this Envoy, whatever VM did. `serial` of the move is 0 where there is none: that is the
   * end of a move if the keys are where they were, and the filters were told that it is over.
   */
  accept(serial: u32, phase: MovePhase, place: u64, state: State): Standing {
    if (phase == MovePhase.UNKNOWN) this.standing = Standing.UNKNOWN;
    else if (serial != 0) this.standing = this.isBefore(serial, phase) ? Standing.OUTDATED : Standing.CURRENT;
    else this.standing = this.standingWithout(place);
    if (this.standing == Standing.CURRENT) this.recall(serial, phase, place, state);
    return this.standing;
  }

  /**
   * The state under the configuration that was accepted last. One that does not know the move opens nothing that the move has closed: a
   * tenant that is imported is suspended until it is served here.
   */
  stateIn(state: State): State {
    return this.standing == Standing.CURRENT ? state : max(state, this.latestState);
  }

  /** The standing of a configuration without a move. A filter that knew no phases has left NONE. */
  private standingWithout(place: u64): Standing {
    if (this.latestSerial == 0) return Standing.CURRENT;
    if (place != this.latestPlace) return Standing.OUTDATED;
    const isOver = this.latestPhase == MovePhase.OVER || this.latestPhase == MovePhase.NONE;
    return isOver ? Standing.CURRENT : Standing.UNTOLD;
  }

  /** Takes over what a configuration says of the tenant's move. */
  useMove(phase: MovePhase, serial: u32, until: u64, now: u64): void {
    this.phase = phase == MovePhase.OVER ? MovePhase.PREPARE : phase;
    this.moveSerial = serial;
    this.moveUntil = until;
    this.useState(this.state);
    this.lift(now);
  }

  /** Goes on with the phase that was obeyed last. When it ends is not known to a VM that has not obeyed it: it is over for that one. */
  keepMove(now: u64): void {
    const isOwn = this.moveSerial == this.latestSerial && this.latestPhase != MovePhase.FINAL;
    if (isOwn) this.lift(now);
    else this.useMove(this.latestPhase, this.latestSerial, 0, now);
  }

  /** Ends a phase whose time is over, because whoever leads the move may have died. The tenant goes on as in PREPARE. */
  lift(now: u64): void {
    if (!hasDeadline(this.phase) || now < this.moveUntil) return;
    this.phase = MovePhase.PREPARE;
    this.liftedSerial = this.moveSerial;
  }

  isNamed(at: usize, length: usize): bool {
    return length == this.nameLength && isSameBytes(at, this.nameAt, length);
  }

  @inline
  add(count: i32, amount: u64): void {
    const at = this.counts + ((<usize>count) << 3);
    store<u64>(at, load<u64>(at) + amount);
    this.isChanged = true;
  }

  @inline
  valueOf(count: i32): u64 {
    return load<u64>(this.counts + ((<usize>count) << 3));
  }

  sawOldestTransaction(timestamp: u64): void {
    if (this.oldestTransaction == 0 || timestamp < this.oldestTransaction) this.oldestTransaction = timestamp;
  }

  addRefusals(status: Status, amount: u64): void {
    if (<usize>status >= MAX_STATUSES) return;
    if (this.refusals == 0) this.refusals = newCounts(<i32>MAX_STATUSES);
    this.refused += amount;
    const at = this.refusals + ((<usize>status) << 3);
    store<u64>(at, load<u64>(at) + amount);
    this.isChanged = true;
  }

  /** Counts a request that took so long. */
  addLatency(microseconds: u64): void {
    if (this.latencies == 0) this.latencies = newCounts(Latency.ALL);
    addTo(this.latencies, bucketOf(microseconds), 1);
    addTo(this.latencies, Latency.SUM, microseconds);
    this.isChanged = true;
  }

  /** Counts what another account has counted since the last tick. */
  addLatencies(others: usize): void {
    if (this.latencies == 0) this.latencies = newCounts(Latency.ALL);
    for (let place: i32 = 0; place < Latency.ALL; place++)
      addTo(this.latencies, place, load<u64>(others + ((<usize>place) << 3)));
    this.isChanged = true;
  }

  /** Measures the rates over the last so many milliseconds. */
  measureRates(milliseconds: u64): void {
    if (milliseconds == 0) return;
    let requests: u64 = 0;
    for (let call: i32 = 0; call < Count.CALLS; call++) requests += this.valueOf(call);
    const bytes = this.valueOf(Count.REQUEST_BYTES) + this.valueOf(Count.RESPONSE_BYTES);
    this.requestRate = ((requests - this.measuredRequests) * 1000) / milliseconds;
    this.byteRate = ((bytes - this.measuredBytes) * 1000) / milliseconds;
    this.measuredRequests = requests;
    this.measuredBytes = bytes;
  }

  addDelay(rate: Rate): void {
    this.add(Count.DELAYED + <i32>rate, 1);
    this.rates.hasDelayed = true;
  }

  /** Counts the milliseconds since this was called last, if requests were delayed meanwhile or wait now. */
  measureDelays(milliseconds: u64): void {
    const rates = this.rates;
    if (rates.hasDelayed || rates.waiting + rates.waitingForPd != 0) this.add(Count.DELAYED_MS, milliseconds);
    rates.hasDelayed = false;
  }

  /** True if one more watch may be opened. */
  get mayWatch(): bool {
    return this.maxWatches == 0 || this.watches < this.maxWatches;
  }

  addWatches(count: u32): void {
    this.watches += count;
    this.isChanged = true;
  }

  removeWatches(count: u32): void {
    if (count == 0) return;
    this.watches -= min(count, this.watches);
    this.isChanged = true;
  }

  refusalsOf(status: Status): u64 {
    return this.refusals == 0 ? 0 : load<u64>(this.refusals + ((<usize>status) << 3));
  }
}

function addTo(counts: usize, place: i32, amount: u64): void {
  const at = counts + ((<usize>place) << 3);
  store<u64>(at, load<u64>(at) + amount);
}

/** The bucket of a latency: the first whose bound is no less. */
function bucketOf(microseconds: u64): i32 {
  const bits = microseconds == 0 ? 0 : 64 - <i32>clz<u64>(microseconds - 1);
  return min(max(bits - FIRST_BUCKET_BITS, 0), Latency.BUCKETS - 1);
}

/** The bound of a bucket in microseconds, inclusive. The last bucket has none. */
export function boundOf(bucket: i32): u64 {
  const one: u64 = 1;
  const bits = <u64>(FIRST_BUCKET_BITS + bucket);
  return one << bits;
}

/** New counts, all 0. */
export function newCounts(length: i32): usize {
  const size = (<usize>length) << 3;
  const counts = heap.alloc(size);
  memory.fill(counts, 0, size);
  return counts;
}

/** Stands for the account of a tenant that has no stream yet, and of a caller that is no tenant. */
export const NO_ACCOUNT: Account = new Account(0, 0);

/** Makes an account with a copy of the name. */
export function newAccount(nameAt: usize, nameLength: usize): Account {
  const copy = heap.alloc(nameLength);
  memory.copy(copy, nameAt, nameLength);
  return new Account(copy, nameLength);
}
