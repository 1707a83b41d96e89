/**
 * What is known of whose a region is, for requests that act on a whole region without naming keys. A pair of region id and version
 * never changes its meaning: a split or a merge raises the version.
 *
 * A set of buckets of four entries, chosen by the region's id; the oldest of a bucket makes room.
 *   entry: region:u64 | version:u64 | learned at, ms:u64 | tenant:u32 | inside:u32
 */

export const enum Verdict {
  UNKNOWN,
  INSIDE,
  OUTSIDE,
}

/** Entries in all; a tenant's large transactions and GC rounds go through its regions one by one. */
export const MAX_REGIONS: u32 = 16384;
/** Regions that one message may ask to look up; the client comes back for the others. */
export const MAX_WANTED: u32 = 64;
/** An answer for requests that say no version holds for this long. */
export const FRESH_MS: u64 = 30_000;

const ENTRY_BYTES: usize = 32;
const WAYS: u32 = 4;

let entries: usize = 0;
let now: u64 = 0;

const wantedList: usize = memory.data(512, 8);
/** Regions that the last messages named and of which nothing is known. */
export let wantedCount: u32 = 0;

/** Sets the time, ms since 1970. */
export function setRegionClock(ms: u64): void {
  now = ms;
}

function bucketOf(region: u64): usize {
  const hash = <u32>((region * 0x9e3779b97f4a7c15) >> 40);
  return entries + <usize>(hash & (MAX_REGIONS / WAYS - 1)) * WAYS * ENTRY_BYTES;
}

/** Remembers whether the region with this version lies inside the tenant's key space. */
export function learnRegion(region: u64, version: u64, tenant: u32, inside: bool): void {
  if (entries == 0) {
    entries = heap.alloc(<usize>MAX_REGIONS * ENTRY_BYTES);
    memory.fill(entries, 0, <usize>MAX_REGIONS * ENTRY_BYTES);
  }
  const bucket = bucketOf(region);
  let place = bucket;
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (load<u64>(at) == region && load<u64>(at, 8) == version && load<u32>(at, 24) == tenant) {
      place = at;
      break;
    }
    if (load<u64>(at, 16) < load<u64>(place, 16)) place = at;
  }
  store<u64>(place, region);
  store<u64>(place, version, 8);
  store<u64>(place, now, 16);
  store<u32>(place, tenant, 24);
  store<u32>(place, inside ? 1 : 0, 28);
}

function want(region: u64): Verdict {
  for (let i: u32 = 0; i < wantedCount; i++)
    if (load<u64>(wantedList + ((<usize>i) << 3)) == region) return Verdict.UNKNOWN;
  if (wantedCount < MAX_WANTED) {
    store<u64>(wantedList + ((<usize>wantedCount) << 3), region);
    wantedCount++;
  }
  return Verdict.UNKNOWN;
}

/** Whose the region was at this version. Not known: it is noted as wanted. */
export function verdictAt(region: u64, version: u64, tenant: u32): Verdict {
  if (entries == 0) return want(region);
  const bucket = bucketOf(region);
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (load<u64>(at) == region && load<u64>(at, 8) == version && load<u32>(at, 24) == tenant)
      return load<u32>(at, 28) != 0 ? Verdict.INSIDE : Verdict.OUTSIDE;
  }
  return want(region);
}

/** Whose the region is now, as far as was learned within FRESH_MS. Not known: it is noted as wanted. */
export function verdictNow(region: u64, tenant: u32): Verdict {
  if (entries == 0) return want(region);
  const bucket = bucketOf(region);
  let newest: usize = 0;
  for (let i: u32 = 0; i < WAYS; i++) {
    const at = bucket + <usize>i * ENTRY_BYTES;
    if (load<u64>(at) != region || load<u32>(at, 24) != tenant || load<u64>(at, 16) + FRESH_MS < now)
      continue;
    if (newest == 0 || load<u64>(at, 8) > load<u64>(newest, 8)) newest = at;
  }
  if (newest == 0) return want(region);
  return load<u32>(newest, 28) != 0 ? Verdict.INSIDE : Verdict.OUTSIDE;
}

/** The i-th region that is wanted. */
export function wantedRegion(i: u32): u64 {
  return load<u64>(wantedList + ((<usize>i) << 3));
}

export function clearWanted(): void {
  wantedCount = 0;
}
