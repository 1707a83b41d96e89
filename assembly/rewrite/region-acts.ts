/**
 * Requests that act on a whole region without naming keys. They go on untouched only when the region, in the version that the request
 * names, is known to lie inside the tenant. One that is not known is waited for where nobody else waits along (streams/waiting.ts).
 * Otherwise the version becomes 0, which no region ever has: the store itself answers EpochNotMatch, the client asks again, and meanwhile
 * PD says whose the region is.
 */
import { Status } from '../wire/status';
import { writePaddedVarint } from '../wire/varint';
import { setTouched } from './edits';
import { Verdict, countTurnedAway, verdictAt } from './regions';
import { Span } from './span';

let region: u64 = 0;
let version: u64 = 0;
/** Where the version's varint lies; 0 when the request has none. */
let versionAt: usize = 0;
let versionEnd: usize = 0;

/** False when nobody can tell whose a region is: such requests are refused. */
let canLookUp = false;

/** Says whether PD can be asked. */
export function useLookups(possible: bool): void {
  canLookUp = possible;
}

/** A request that may act on a region begins. */
export function beginRegion(): void {
  region = 0;
  version = 0;
  versionAt = 0;
}

export function sawRegion(id: u64): void {
  region = id;
}

export function sawVersion(value: u64, field: Span): void {
  version = value;
  versionAt = field.bytes;
  versionEnd = field.end;
}

/** The request that began last does act on its region. */
export function actsOnRegion(): Status {
  if (!canLookUp) return Status.REGION_NOT_PROVEN;
  if (region == 0 || versionAt == 0) return Status.REGION_NOT_NAMED;
  if (verdictAt(region, version) == Verdict.INSIDE) return Status.OK;
  countTurnedAway();
  // Lengths around it are settled by now: a zero as long as the version was.
  writePaddedVarint(versionAt, 0, <i32>(versionEnd - versionAt));
  setTouched(true);
  return Status.OK;
}
