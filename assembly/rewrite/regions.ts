/**
 * Remembers whose a region is, for requests that act on a whole region without naming keys. At one PD, a pair of region id and version always
 * means the same keys: a split or a merge raises the version (docs/decisions/0005). Each PD counts regions from small numbers.
 *
 * The table has buckets of four entries, chosen by region id. A new entry replaces the oldest of its bucket.
 *   entry: region:u64 | version:u64 | place of the key range, at its PD:u64 | learned at, ms:44 configuration:19 inside:1
 */
import { spacePlace } from '../keys/space';
import { PdClock } from '../terms/pd-clock';

export const enum Verdict {
  UNKNOWN,
  INSIDE,
  OUTSIDE,
}

/** Number of entries. A tenant's large transactions and GC rounds go through its regions one by one. */
export const MAX_REGIONS: u32 = 16384;
/** Maximum of regions that one message may look up. */
export const MAX_WANTED: u32 = 64;
/** Age after which PD is asked again, for requests that name no version. The known answer stays valid meanwhile. */
export const FRESH_MS: u64 = 30_000;
/** Age after which a known answer is no longer used for such requests. */
export const STALE_MS: u64 = 600_000;
/** How long answers of PD and TiKV are read for their regions, after a request that acted on one. */
export const LEARNING_MS: u64 = 600_000;

const ENTRY_BYTES: usize = 32;
const WAYS: u32 = 4;
const CONFIGURATION_BITS: u64 = 19;
const CONFIGURATIONS: u64 = (1 << CONFIGURATION_BITS) - 1;

let entries: usize = 0;
let now: u64 = 0;
/** Number of the current configuration. Boundaries of tenants change only with a configuration. */
let configuration: u64 = 0;
let learningUntil: u64 = 0;
/** Tells the regions of this PD and cluster from those of others. */
let layer: u64 = 0;

const wantedList: usize = memory.data(512, 8);
/** Number of regions to look up: the last messages named them, and they are unknown or were last learned too long ago. */
export let wantedCount: u32 = 0;
/** Number of unknown regions that the last message acts on. When it is not 0, the message may have to wait. */
export let unknownCount: u32 = 0;
/** Number of acts sent on in a form that the store or PD turns away. */
export let turnedAwayCount: u32 = 0;
/** True while answers are read for their regions. */
export let isLearning: bool = false;

/** Sets the time, ms since 1970. */
export function setRegionClock(ms: u64): void {
  now = ms;
  isLearning = now < learningUntil;
}

/** Begins another configuration: earlier answers are no longer valid for a region without its version. */
export function doubtRegions(): void {
  configuration = (configuration + 1) & CONFIGURATIONS;
}

/** Whatever is learned or asked now is about regions of this PD. A PD that was made anew has another cluster. */
export function useRegionsOf(pd: PdClock): void {
  layer = ((<u64>changetype<usize>(pd)) ^ pd.latestCluster) * 0x9e3779b97f4a7c15;
}

/** @inline */
function placeInUse(): u64 {
  return spacePlace() ^ layer;
}

function bucketOf(region: u64): usize {
  const hash = <u32>((region * 0x9e3779b97f4a7c15) >> 40);
  return entries + <usize>(hash & (MAX_REGIONS / WAYS - 1)) * WAYS * ENTRY_BYTES;
}

/** @inline */
function isOf(entry: usize, region: u64, place: u64): bool {
  return load<u64>(entry) == region && load<u64>(entry, 16) == place;
}

/** @inline */
function isInside(entry: usize): bool {
  return (load<u8>(entry, 24) & 1) != 0;
}

/** Remembers whether the region with this version lies inside the key range in use. */
export function learnRegion(region: u64, version: u64, inside: bool): void {
  if (entries == 0) {
    entries = heap.alloc(<usize>MAX_REGIONS * ENTRY_BYTES);
    memory.fill(entries, 0, <usize>MAX_REGIONS * ENTRY_BYTES);
  }
  const place = placeInUse();
  const bucket = bucketOf(region);
  let entry = bucket;
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (isOf(at, region, place) && load<u64>(at, 8) == version) {
      entry = at;
      break;
    }
    if (load<u64>(at, 24) < load<u64>(entry, 24)) entry = at;
  }
  store<u64>(entry, region);
  store<u64>(entry, version, 8);
  store<u64>(entry, place, 16);
  store<u64>(entry, (((now << CONFIGURATION_BITS) | configuration) << 1) | (inside ? 1 : 0), 24);
}

/** True when any version of the region is known. A later version that lies outside must then be learned too. */
export function hasRegion(region: u64): bool {
  if (entries == 0) return false;
  const place = placeInUse();
  const bucket = bucketOf(region);
  for (let i: u32 = 0; i < WAYS; i++) if (isOf(bucket + <usize>i * ENTRY_BYTES, region, place)) return true;
  return false;
}

function want(region: u64): void {
  for (let i: u32 = 0; i < wantedCount; i++) if (load<u64>(wantedList + ((<usize>i) << 3)) == region) return;
  if (wantedCount == MAX_WANTED) return;
  store<u64>(wantedList + ((<usize>wantedCount) << 3), region);
  wantedCount++;
}

function unknown(region: u64): Verdict {
  unknownCount++;
  want(region);
  return Verdict.UNKNOWN;
}

/** Starts reading answers for their regions, because a request acts on regions. */
function beginLearning(): void {
  learningUntil = now + LEARNING_MS;
  isLearning = true;
}

/** Whose the region was at this version. An unknown region is added to those to look up. */
export function verdictAt(region: u64, version: u64): Verdict {
  beginLearning();
  if (entries == 0) return unknown(region);
  const place = placeInUse();
  const bucket = bucketOf(region);
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (isOf(at, region, place) && load<u64>(at, 8) == version)
      return isInside(at) ? Verdict.INSIDE : Verdict.OUTSIDE;
  }
  return unknown(region);
}

/**
 * Whose the region is now, as far as is known. A region that is unknown, or was last learned too long ago, is added to those to look up.
 */
export function verdictNow(region: u64): Verdict {
  beginLearning();
  if (entries == 0) return unknown(region);
  const place = placeInUse();
  const bucket = bucketOf(region);
  let newest: usize = 0;
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (isOf(at, region, place) && (newest == 0 || load<u64>(at, 8) > load<u64>(newest, 8))) newest = at;
  }
  if (newest == 0) return unknown(region);
  const state = load<u64>(newest, 24) >> 1;
  const learnedAt = state >> CONFIGURATION_BITS;
  if ((state & CONFIGURATIONS) != configuration || learnedAt + STALE_MS < now) return unknown(region);
  if (learnedAt + FRESH_MS < now) want(region);
  return isInside(newest) ? Verdict.INSIDE : Verdict.OUTSIDE;
}

/** The i-th region to look up. */
export function wantedRegion(i: u32): u64 {
  return load<u64>(wantedList + ((<usize>i) << 3));
}

export function clearWanted(): void {
  wantedCount = 0;
}

/** Prepares for messages that may act on regions. */
export function beginActs(): void {
  unknownCount = 0;
  turnedAwayCount = 0;
}

/** Counts the current request as one that the store or PD turns away. */
export function countTurnedAway(): void {
  turnedAwayCount++;
}
