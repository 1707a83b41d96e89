/**
 * What is known of whose a region is, for requests that act on a whole region without naming keys. A pair of region id and version
 * never changes its meaning: a split or a merge raises the version (docs/decisions/0005).
 *
 * A set of buckets of four entries, chosen by the region's id; the oldest of a bucket makes room.
 *   entry: region:u64 | version:u64 | place of the key space:u64 | learned at, ms:44 configuration:19 inside:1
 */
import { spacePlace } from '../keys/space';

export const enum Verdict {
  UNKNOWN,
  INSIDE,
  OUTSIDE,
}

/** Entries in all; a tenant's large transactions and GC rounds go through its regions one by one. */
export const MAX_REGIONS: u32 = 16384;
/** Regions that one message may ask to look up at once. */
export const MAX_WANTED: u32 = 64;
/** PD is asked anew after so long, for requests that name no version; what was known holds meanwhile. */
export const FRESH_MS: u64 = 30_000;
/** But no longer than this. */
export const STALE_MS: u64 = 600_000;
/** Answers of PD and TiKV are read for their regions as long after a request that acted on one. */
export const LEARNING_MS: u64 = 600_000;

const ENTRY_BYTES: usize = 32;
const WAYS: u32 = 4;
const CONFIGURATION_BITS: u64 = 19;
const CONFIGURATIONS: u64 = (1 << CONFIGURATION_BITS) - 1;

let entries: usize = 0;
let now: u64 = 0;
/** Counts configurations: borders of tenants move with them only. */
let configuration: u64 = 0;
let learningUntil: u64 = 0;

const wantedList: usize = memory.data(512, 8);
/** Regions that the last messages named and of which nothing is known, or nothing new. */
export let wantedCount: u32 = 0;
/** Of how many that the last message acts on nothing is known: it may have to wait. */
export let unknownCount: u32 = 0;
/** Acts that go on as ones that the store or PD itself turns away. */
export let turnedAwayCount: u32 = 0;
/** Answers are to be read for their regions. */
export let isLearning: bool = false;

/** Sets the time, ms since 1970. */
export function setRegionClock(ms: u64): void {
  now = ms;
  isLearning = now < learningUntil;
}

/** Another configuration is there: what was learned before says nothing more of a region without its version. */
export function doubtRegions(): void {
  configuration = (configuration + 1) & CONFIGURATIONS;
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

/** Remembers whether the region with this version lies inside the key space in use. */
export function learnRegion(region: u64, version: u64, inside: bool): void {
  if (entries == 0) {
    entries = heap.alloc(<usize>MAX_REGIONS * ENTRY_BYTES);
    memory.fill(entries, 0, <usize>MAX_REGIONS * ENTRY_BYTES);
  }
  const place = spacePlace();
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

/** Any version of the region is known to be inside, or not: a later one that is not must not go unnoticed. */
export function hasRegion(region: u64): bool {
  if (entries == 0) return false;
  const place = spacePlace();
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

/** A request acts on regions: what passes from now on is worth reading. */
function beginLearning(): void {
  learningUntil = now + LEARNING_MS;
  isLearning = true;
}

/** Whose the region was at this version. Not known: it is noted as wanted. */
export function verdictAt(region: u64, version: u64): Verdict {
  beginLearning();
  if (entries == 0) return unknown(region);
  const place = spacePlace();
  const bucket = bucketOf(region);
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (isOf(at, region, place) && load<u64>(at, 8) == version)
      return isInside(at) ? Verdict.INSIDE : Verdict.OUTSIDE;
  }
  return unknown(region);
}

/** Whose the region is now, as far as is known; what is not known, or not newly, is noted as wanted. */
export function verdictNow(region: u64): Verdict {
  beginLearning();
  if (entries == 0) return unknown(region);
  const place = spacePlace();
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

/** The i-th region that is wanted. */
export function wantedRegion(i: u32): u64 {
  return load<u64>(wantedList + ((<usize>i) << 3));
}

export function clearWanted(): void {
  wantedCount = 0;
}

/** Messages are about to be walked that may act on regions. */
export function beginActs(): void {
  unknownCount = 0;
  turnedAwayCount = 0;
}

/** The request that is being walked goes on as one that is turned away. */
export function countTurnedAway(): void {
  turnedAwayCount++;
}
