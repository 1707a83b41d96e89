/**
 * Handles requests that act on a whole region without naming keys. Such a request goes on unchanged only when its region is known to lie
 * inside the tenant, in the version that the request names. When the region is unknown, a request alone on its stream waits
 * (streams/waiting.ts). Any other goes on with version 0, which no region ever has. The store then answers EpochNotMatch and the client
 * tries again. Meanwhile PD says whose the region is.
 */
import { Status } from '../wire/status';
import { writePaddedVarint } from '../wire/varint';
import * as current from './current';
import { setTouched } from './edits';
import { Verdict, countTurnedAway, verdictAt } from './regions';
import { Span } from './span';

let region: u64 = 0;
let version: u64 = 0;
/** Where the varint of the version lies; 0 when the request has none. */
let versionAt: usize = 0;
let versionEnd: usize = 0;

/** Begins a request that may act on a region. */
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

/** Handles the current request as one that does act on its region. */
export function actsOnRegion(): Status {
  // Nobody could say whose the region is.
  if (!current.terms.looksUp) return Status.REGION_NOT_PROVEN;
  if (region == 0 || versionAt == 0) return Status.REGION_NOT_NAMED;
  if (verdictAt(region, version) == Verdict.INSIDE) return Status.OK;
  countTurnedAway();
  // The lengths around it are already written, so the zero takes as many bytes as the version did.
  writePaddedVarint(versionAt, 0, <i32>(versionEnd - versionAt));
  setTouched(true);
  return Status.OK;
}
