/**
 * What time it is for PD, in ms since 1970. A timestamp far ahead of PD's clock raises TiKV's `max_ts` for everybody, and TiKV 9.0 and newer
 * stop on one that is more than a minute ahead. Envoy's own clock can be wrong, and PD's can have been pushed ahead. So PD is asked for its
 * clock, see streams/pd-time.ts, and the time since is added.
 */
import { isSameBytes } from '../wire/bytes';

/** How far in the future timestamps may lie at least while nobody can say what time it is for PD, in ms. */
const UNKNOWN_DRIFT_MS: u64 = 600_000;

/** PD lets nobody push its clock further at once (`max-gap-reset-ts`), in ms. */
const MOST_PUSH_MS: u64 = 24 * 3600 * 1000;

/** An answer of PD decides for so long that a timestamp is too late. Later, PD must be asked anew. Longer than a tick. */
const FRESH_MS: u64 = 1500;

/** The clock of one PD. An Envoy mostly has one; storage layers that share it have one each. */
@unmanaged
export class PdClock {
  /** What PD said, 0: nothing yet; and when that was by Envoy's clock. */
  said: u64 = 0;
  saidAt: u64 = 0;
  /** True when a question had no good answer while nothing was known. */
  hasFailed: bool = false;
  /** True when a timestamp was held back until PD is asked anew. */
  isWanted: bool = false;
  /** PD's cluster; 0: not known. */
  cluster: u64 = 0;
  /** The cluster that was known last; 0: none yet. What is known of its regions holds while PD does not answer. */
  latestCluster: u64 = 0;
  /** The question in flight, 0: there is none; when it was sent, and whether it is about the cluster. */
  token: u32 = 0;
  sentAt: u64 = 0;
  asksForCluster: bool = false;
  /** The configuration under which PD is asked, on one tick: its root context; 0: none. */
  asker: u32 = 0;
  next: PdClock | null = null;

  constructor(
    /** The name of PD's cluster in Envoy, on the heap. */
    public nameAt: usize,
    public nameLength: usize,
  ) {}

  /** Takes over which cluster PD has; 0: it does not say. */
  useCluster(cluster: u64): void {
    this.cluster = cluster;
    if (cluster != 0) this.latestCluster = cluster;
  }

  /** Takes over what PD said, and when it was asked; 0: it did not say. */
  take(time: u64, askedAt: u64, failed: bool): void {
    this.said = time;
    this.saidAt = askedAt;
    this.hasFailed = failed;
  }

  /** The latest time that a timestamp may name now. `asks`: PD can be asked. */
  latestTime(now: u64, driftMs: u64, asks: bool): u64 {
    if (asks && this.said != 0) return this.said + (now - min(now, this.saidAt)) + driftMs;
    return now + (asks && !this.hasFailed ? driftMs : max(driftMs, UNKNOWN_DRIFT_MS));
  }

  /** How far beyond the latest time a timestamp may lie that PD, asked anew, may say is good: 0 after an answer, and where it cannot be asked. */
  doubtMs(now: u64, asks: bool): u64 {
    if (!asks) return 0;
    const isDoubtful = this.said == 0 ? !this.hasFailed : now - min(now, this.saidAt) > FRESH_MS;
    return isDoubtful ? MOST_PUSH_MS : 0;
  }
}

/** Stands for the clock where no PD is named. */
export const NO_CLOCK: PdClock = new PdClock(0, 0);

/** The clocks of all PDs that a configuration has named. */
export let firstClock: PdClock | null = null;

/** The clock of the PD with this name, which is not empty. */
export function clockOf(name: ArrayBuffer): PdClock {
  const at = changetype<usize>(name);
  const length = <usize>name.byteLength;
  let clock = firstClock;
  while (clock != null) {
    if (clock.nameLength == length && isSameBytes(clock.nameAt, at, length)) return clock;
    clock = clock.next;
  }
  const copy = heap.alloc(length);
  memory.copy(copy, at, length);
  const made = new PdClock(copy, length);
  made.next = firstClock;
  firstClock = made;
  return made;
}
