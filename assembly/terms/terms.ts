/**
 * A tenant's terms: all that the filter needs to know of a tenant under one configuration. Made when the configuration is loaded. A stream
 * points to the terms of its caller, and installs them for each event, see rewrite/current.ts.
 */
import { Space, freeSpace } from '../keys/space';
import { Budget } from '../memory/stream-buffer';
import { Account, NO_ACCOUNT } from './account';
import { MovePhase } from './move';
import { NO_CLOCK, PdClock } from './pd-clock';
import { State } from './state';

/** The extent of a tenant's dry run. */
export const enum DryRun {
  NONE,
  /** What policy refuses; it is still rewritten. */
  POLICY,
  /** The same, and the methods and endpoints that the tables refuse, which pass unread. */
  ALL,
}

/** PD's timestamps are milliseconds since 1970, above this many bits of a counter. */
export const LOGICAL_BITS: u64 = 18;
/** Marks the place of a tenant that is served elsewhere: no bits of a key range's. */
const AWAY: u64 = 0xa3a1_5e91_7c4b_2d67;

/** It lives as long as its config version, and as long as a stream that has changed over to it. */
@unmanaged
export class Terms {
  /** Number of streams that have changed over to it, and whether its config version is gone. */
  pins: u32 = 0;
  isAbandoned: bool = false;
  /** What policy refuses, see policy/policy-bits; 0: nothing. */
  policyBits: usize = 0;
  /** What is let through, counted and logged, where it would be refused. */
  dryRun: DryRun = DryRun.NONE;
  /** What the configuration says; what counts is the account's. */
  state: State = State.ACTIVE;
  /** What is added to the versions of regions on their way to the tenant. */
  epochOffset: u64 = 0;
  /** The same for their configuration versions. */
  confVerOffset: u64 = 0;
  /** The id of PD's cluster that the tenant knows, and the one that PD has. Both 0: the same. */
  seenClusterId: u64 = 0;
  ownClusterId: u64 = 0;
  /** The latest timestamp that the tenant got from another PD, in ms: none that is no later may reach it. */
  latestSeenMs: u64 = 0;
  /** What leads to the storage layer that serves the tenant by now, in front of paths: ASCII, on the heap; 0 bytes: it is this one. */
  awayAt: usize = 0;
  awayLength: usize = 0;
  /** The earliest timestamp that the tenant may read at. */
  readableSince: u64 = 0;
  /** How far its move to another key range is, by the configuration, which move, and when a hold ends, ms since 1970. */
  movePhase: MovePhase = MovePhase.NONE;
  moveSerial: u32 = 0;
  moveUntil: u64 = 0;
  /** What the VM keeps of the tenant. */
  account: Account = NO_ACCOUNT;
  /** True when PD can be asked whose a region is. */
  looksUp: bool = false;
  /** The clock of its PD. */
  clock: PdClock = NO_CLOCK;
  /** The longest message or body, in bytes. */
  maxMessageBytes: u32 = u32.MAX_VALUE;
  /** How far ahead of PD's clock timestamps may lie, in ms. */
  maxDriftMs: u64 = 0;
  /** How far back GC may be held, and for how long without renewing it, in seconds. */
  maxHoldBackSeconds: i64 = i64.MAX_VALUE;
  /** How long leases in etcd may last, in seconds. */
  maxLeaseSeconds: i64 = i64.MAX_VALUE;
  /** How many bytes of partial frames and notes the streams may hold. */
  maxHeldBytes: u32 = u32.MAX_VALUE;
  /** How many streams may be open in this VM. */
  maxStreams: u32 = u32.MAX_VALUE;
  /** How many requests and bytes may be sent a second; 0: no limit. See rates.ts. */
  requestsPerSecond: u32 = 0;
  bytesPerSecond: u32 = 0;
  pdRequestsPerSecond: u32 = 0;
  /** How many watches, keys and leases in etcd, resource groups and records of PD there may be; 0: no limit. */
  etcdWatches: u32 = 0;
  etcdKeys: u32 = 0;
  etcdLeases: u32 = 0;
  resourceGroups: u32 = 0;
  pdRecords: u32 = 0;
  /** True when the tenant has series of its own among the metrics. */
  hasSeries: bool = true;
  /** True when the latency of its requests is measured. */
  isMeasured: bool = false;
  /** Calls that were refused in the second that began then, see streams/late.ts. */
  refusals: u32 = 0;
  refusedAt: u64 = 0;

  constructor(
    /** The key range. */
    public space: Space,
    /** The name, ASCII: a part of the prefix. */
    public nameAt: usize,
    public nameLength: usize,
    /** The prefix of the keys in etcd, on the heap. */
    public prefixAt: usize,
    public prefixLength: usize,
  ) {}

  /** The tenant's number. */
  @inline
  get number(): u32 {
    return this.space.number;
  }

  /** True when what PD keeps is limited. */
  get hasHoldings(): bool {
    return (this.etcdKeys | this.etcdLeases | this.resourceGroups | this.pdRecords) != 0;
  }

  /** Counts the partial frames and notes that the streams hold. */
  @inline
  get budget(): Budget {
    return this.account.budget;
  }

  /** The latest timestamp that a request may name at the time `now`, in ms; 0 before the first tick. */
  latestTimestamp(now: u64): u64 {
    return now == 0
      ? u64.MAX_VALUE
      : this.clock.latestTime(now, this.maxDriftMs, this.looksUp) << LOGICAL_BITS;
  }

  /** How much later a timestamp may be and is not refused before PD was asked anew. */
  timestampDoubt(now: u64): u64 {
    return this.clock.doubtMs(now, this.looksUp) << LOGICAL_BITS;
  }

  /** True for a tenant that another storage layer serves by now. */
  @inline
  get isAway(): bool {
    return this.awayLength != 0;
  }

  /** Identifies where the tenant's keys are, in any configuration; not 0. */
  @inline
  get place(): u64 {
    return this.space.place ^ (this.isAway ? AWAY : 0);
  }

  /** Identifies the key range and how its regions are shown, in any configuration; not 0. */
  @inline
  get range(): u64 {
    return this.place ^ (this.epochOffset << 1) ^ (this.confVerOffset << 33);
  }

  /** True when the contexts of requests hold what the store knows under other numbers. */
  @inline
  get changesContexts(): bool {
    return this.epochOffset != 0 || this.confVerOffset != 0 || this.isFromElsewhere;
  }

  /** True for a tenant that has moved here from another storage layer: its clients know the cluster of there. */
  @inline
  get isFromElsewhere(): bool {
    return this.ownClusterId != 0;
  }

  /** The id of a cluster as the other side knows it. Any other id stays, and is refused by who gets it. */
  @inline
  clusterOf(id: u64, request: bool): u64 {
    const seen = this.seenClusterId;
    const own = this.ownClusterId;
    if (own == 0) return id;
    if (request) return id == seen ? own : id;
    return id == own ? seen : id;
  }

  /** The earliest timestamp that may be kept from GC. */
  oldestTimestamp(now: u64): u64 {
    const span = <u64>this.maxHoldBackSeconds * 1000;
    return now < span ? 0 : (now - span) << LOGICAL_BITS;
  }
}

/** Keeps terms for a stream that does not belong to their config version. */
export function pin(terms: Terms): void {
  terms.pins++;
}

export function unpin(terms: Terms): void {
  terms.pins--;
  if (terms.isAbandoned && terms.pins == 0) free(terms);
}

/** Gives up the terms of a config version that is gone. No stream of that version may be left. */
export function abandon(terms: Terms): void {
  terms.isAbandoned = true;
  if (terms.pins == 0) free(terms);
}

function free(terms: Terms): void {
  freeSpace(terms.space);
  if (terms.policyBits != 0) heap.free(terms.policyBits);
  heap.free(terms.prefixAt);
  if (terms.awayAt != 0) heap.free(terms.awayAt);
  heap.free(changetype<usize>(terms));
}
