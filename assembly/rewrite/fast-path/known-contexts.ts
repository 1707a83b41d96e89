/**
 * Remembers request contexts that need no change, or only the tenant's number in front of the resource group `default`. Most requests of a
 * TiDB to a region begin with the same hundred bytes. Comparing them takes a tenth of the time of walking them. Measured on a batch of 128
 * gets: see docs/performance.md.
 */
import { spaceSerial } from '../../keys/space';
import { isSameLong } from '../../wire/bytes';
import * as current from '../current';

/** One known context: serial of the key range:u64 | length:u32 | edit:u32 | its bytes */
const ENTRY_BYTES: usize = 256;
const HEADER_BYTES: usize = 16;
const LONGEST: usize = ENTRY_BYTES - HEADER_BYTES;
const SHORTEST: usize = 16;
const ENTRY_BITS: u64 = 6;
const entries: usize = memory.data(16384, 16);

/** Where the context that was looked up last is kept. */
let place: usize = 0;

/**
 * What a context that is known needs: nothing for 0. Otherwise where the field with the name `default` lies in it, and (<< 8) the length of
 * the message around this field. Contexts of equal length with equal edits change in the same way.
 */
export let knownEdit: u32 = 0;

/** True when these bytes are known for the key range in use. */
export function isKnownContext(p: usize, length: usize): bool {
  place = 0;
  if (current.walksContexts || length < SHORTEST || length > LONGEST) return false;
  // A context begins with its region's id. Its middle differs between statements.
  const mixed =
    (load<u64>(p) ^ rotl<u64>(load<u64>(p + (length >> 1)), 32) ^ spaceSerial()) * 0x9e3779b97f4a7c15;
  place = entries + <usize>(mixed >> (64 - ENTRY_BITS)) * ENTRY_BYTES;
  knownEdit = load<u32>(place, 12);
  return (
    load<u64>(place) == spaceSerial() &&
    load<u32>(place, 8) == <u32>length &&
    isSameLong(p, place + HEADER_BYTES, length)
  );
}

/** Remembers the context that was just looked up and not found. */
export function rememberContext(p: usize, length: usize, edit: u32): void {
  if (place == 0) return;
  store<u64>(place, spaceSerial());
  store<u32>(place, <u32>length, 8);
  store<u32>(place, edit, 12);
  memory.copy(place + HEADER_BYTES, p, length);
}
