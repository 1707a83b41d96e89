/**
 * How much a tenant may send a second. Each limit is a bucket: what is spent comes out of it, and it fills with time up to what one second
 * gives. All VMs of an Envoy fill from one bucket, see streams/rates.ts; here is the part that one VM has taken.
 *
 * Numbers are thousandths: a millisecond fills a bucket by its rate.
 */
import { Call } from '../schema/table';

/** What a limit counts. */
export const enum Rate {
  /** Requests to TiKV. */
  REQUESTS,
  /** Bytes of bodies, both ways. */
  BYTES,
  /** Requests to PD and its etcd. */
  PD,
  ALL,
}

export const UNIT: i64 = 1000;
/** A VM takes what a 20th of a second gives, when half of that is gone. */
const PARTS: u64 = 20;
/** A debt is at most what so many seconds give. */
const DEBT_SECONDS: i64 = 10;
/**
 * A request that is delayed comes again at once, soon ten times a second, then twice a second. So many delays for each request that goes
 * on mean a wait of about five seconds.
 */
const LONG_WAIT: u32 = 16;
const WINDOW_MS: u64 = 1000;

@unmanaged
export class Bucket {
  /** What a second gives; 0: no limit. */
  rate: u64 = 0;
  /** Below 0: a debt. */
  left: i64 = 0;

  /** True if one more may be spent. */
  @inline
  get has(): bool {
    return this.rate == 0 || this.left > 0;
  }

  /** True if as much is owed as can be. */
  get owesMost(): bool {
    return this.rate != 0 && this.left <= -(<i64>this.rate * UNIT * DEBT_SECONDS);
  }

  /** What to take before so many are spent, at most what a second gives; 0 if there is enough. */
  missing(count: u64): u64 {
    const full = <i64>this.rate * UNIT;
    const needed = min<i64>(<i64>count * UNIT, full);
    const part = full / <i64>PARTS;
    if (this.rate == 0 || this.left >= max<i64>(needed, part / 2)) return 0;
    return <u64>(max<i64>(needed, part) - this.left);
  }

  @inline
  spend(count: u64): void {
    this.left -= <i64>count * UNIT;
  }

  setRate(rate: u64): void {
    if (rate == this.rate) return;
    this.rate = rate;
    this.left = 0;
  }

  /** Takes over what was taken, and ends what is beyond the longest debt. */
  take(taken: u64): void {
    this.left += <i64>taken;
    this.left = max<i64>(this.left, -(<i64>this.rate * UNIT * DEBT_SECONDS));
  }
}

@unmanaged
export class Rates {
  requests: Bucket = new Bucket();
  bytes: Bucket = new Bucket();
  pd: Bucket = new Bucket();
  /** True if there is a limit. */
  isOn: bool = false;
  /** True while each request of a batch is judged by itself: not all may go on. */
  isShort: bool = false;
  /** True while requests have to wait for seconds. */
  isLong: bool = false;
  /** Number of calls that wait in streams/delays.ts: of TiKV, of PD. */
  waiting: u32 = 0;
  waitingForPd: u32 = 0;
  /** True when a request was delayed since the last tick. */
  hasDelayed: bool = false;
  /** The shared bucket is asked no earlier, ms since 1970. */
  asksAt: u64 = 0;
  private since: u64 = 0;
  private passed: u32 = 0;
  private delayed: u32 = 0;

  setLimits(requests: u64, bytes: u64, pd: u64): void {
    this.requests.setRate(requests);
    this.bytes.setRate(bytes);
    this.pd.setRate(pd);
    this.isOn = (requests | bytes | pd) != 0;
    this.isShort = false;
  }

  bucket(rate: Rate): Bucket {
    return rate == Rate.REQUESTS ? this.requests : rate == Rate.BYTES ? this.bytes : this.pd;
  }

  /** True if a request to TiKV may go on. */
  @inline
  get mayRequest(): bool {
    return this.requests.has && this.bytes.has;
  }

  /** Counts requests to TiKV that go on. */
  spendRequests(count: u32): void {
    this.requests.spend(count);
    this.passed += count;
  }

  /** Counts a delayed request to TiKV. Returns the limit that delays it. */
  countDelay(): Rate {
    this.delayed++;
    return this.requests.has ? Rate.BYTES : Rate.REQUESTS;
  }

  /** Judges once a second how long requests wait. */
  measure(now: u64): void {
    if (now >= this.since && now < this.since + WINDOW_MS) return;
    this.isLong = this.delayed > LONG_WAIT * max<u32>(this.passed, 1);
    this.since = now;
    this.passed = 0;
    this.delayed = 0;
  }
}

/** True for a request that may be delayed. What ends a transaction frees others, so it counts and goes on. */
export function isDelayable(call: u32): bool {
  return call == Call.READ || call == Call.SCAN || call == Call.COPROCESSOR || call == Call.WRITE;
}
