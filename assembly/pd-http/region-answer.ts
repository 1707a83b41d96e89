/**
 * Reads one region of PD's HTTP API (`/pd/api/v1/region/id/{id}`) without allocating: id, version and bounds, which are hex of PD's
 * form of keys. PD writes `id` first, and `version` within `epoch` only.
 */
import { Ascii, ascii, isSameBytes } from '../wire/bytes';
import { readHex } from '../wire/escape';

const ID: Ascii = ascii('"id"');
const VERSION: Ascii = ascii('"version"');
const START: Ascii = ascii('"start_key"');
const END: Ascii = ascii('"end_key"');

export let regionId: u64 = 0;
export let regionVersion: u64 = 0;
export let startAt: usize = 0;
export let startLength: usize = 0;
export let endAt: usize = 0;
export let endLength: usize = 0;

/** The address of a member's value; 0 if the member is absent. */
function member(name: Ascii, p: usize, end: usize): usize {
  const size = <usize>name.length;
  for (; p + size < end; p++) {
    if (load<u8>(p) != 0x22 || !isSameBytes(p, changetype<usize>(name), size)) continue;
    p += size;
    while (p < end && (load<u8>(p) == 0x20 || load<u8>(p) == 0x3a)) p++;
    return p < end ? p : 0;
  }
  return 0;
}

/** Reads a number without sign or fraction; 0 if it is none. */
function number(p: usize, end: usize): u64 {
  if (p == 0) return 0;
  let value: u64 = 0;
  for (; p < end && load<u8>(p) - 0x30 <= 9; p++) value = value * 10 + (load<u8>(p) - 0x30);
  return value;
}

/** Reads the answer into the variables above. The bounds are in the arena. False if it is no region. */
export function readRegion(p: usize, length: usize): bool {
  const end = p + length;
  regionId = number(member(ID, p, end), end);
  regionVersion = number(member(VERSION, p, end), end);
  const start = member(START, p, end);
  const stop = member(END, p, end);
  if (regionId == 0 || regionVersion == 0 || start == 0 || stop == 0) return false;
  return readStart(start, end) && readEnd(stop, end);
}

/** The end of the string that begins at `p`; 0 if it does not end. */
function stringEnd(p: usize, end: usize): usize {
  if (load<u8>(p) != 0x22) return 0;
  for (p++; p < end; p++) if (load<u8>(p) == 0x22) return p;
  return 0;
}

function readStart(p: usize, end: usize): bool {
  const stop = stringEnd(p, end);
  if (stop == 0) return false;
  startLength = (stop - p - 1) / 2;
  startAt = readHex(p + 1, stop - p - 1);
  return startAt != 0 || startLength == 0;
}

function readEnd(p: usize, end: usize): bool {
  const stop = stringEnd(p, end);
  if (stop == 0) return false;
  endLength = (stop - p - 1) / 2;
  endAt = readHex(p + 1, stop - p - 1);
  return endAt != 0 || endLength == 0;
}
