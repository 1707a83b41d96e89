/** Key ranges in the query of PD's HTTP API: two parameters that hold a range in PD's memcomparable form. */
import { Bound, Mapped, encodeEncoded, mappedAt, mappedLength } from '../keys/space';
import { alloc } from '../memory/arena';
import { escapedLength, readHex, unescape, writeEscaped, writeHex } from '../wire/escape';
import { Status } from '../wire/status';
import { Ascii, equals } from '../wire/bytes';

export let queryAt: usize = 0;
export let queryLength: usize = 0;

const AMPERSAND: u8 = 0x26;
const EQUALS: u8 = 0x3d;

/** Where one parameter's value is: set by `find`. */
let valueAt: usize = 0;
let valueLength: usize = 0;

/** How many times the parameter is there; `valueAt` is the last one's. Names with escapes do not count as equal. */
function find(p: usize, end: usize, name: Ascii): i32 {
  let found = 0;
  valueLength = 0;
  while (p < end) {
    let stop = p;
    while (stop < end && load<u8>(stop) != AMPERSAND) stop++;
    let sign = p;
    while (sign < stop && load<u8>(sign) != EQUALS) sign++;
    if (equals(p, sign - p, name)) {
      found++;
      valueAt = sign < stop ? sign + 1 : stop;
      valueLength = stop - valueAt;
    }
    p = stop + 1;
  }
  return found;
}

function hasEscapedName(p: usize, end: usize): bool {
  let inName = true;
  for (; p < end; p++) {
    const c = load<u8>(p);
    if (c == AMPERSAND) inName = true;
    else if (c == EQUALS) inName = false;
    else if (inName && (c == 0x25 || c == 0x2b || c == 0x3b)) return true;
  }
  return false;
}

function appendBytes(to: usize, p: usize, length: usize): usize {
  memory.copy(to, p, length);
  return to + length;
}

/** The bound that `mapBound` found last, as it goes on. */
let boundAt: usize = 0;
let boundLength: usize = 0;

/** Maps one bound. False on bad escapes or bytes that are no encoded key. */
function mapBound(p: usize, end: usize, name: Ascii, bound: Bound, hex: bool): bool {
  if (find(p, end, name) > 1) return false;
  boundAt = 0;
  boundLength = valueLength;
  if (boundLength != 0) {
    boundAt = hex ? readHex(valueAt, boundLength) : unescape(valueAt, boundLength);
    if (boundAt == 0) return false;
    boundLength = escapedLength;
  }
  const mapped = encodeEncoded(boundAt, boundLength, bound);
  if (mapped == Mapped.REPLACED) {
    boundAt = mappedAt;
    boundLength = mappedLength;
  }
  return mapped != Mapped.BROKEN;
}

/** Bytes that `name=value` takes at most: an escaped byte is three characters. */
function roomFor(name: Ascii, valueBytes: usize): usize {
  return name.length + 1 + valueBytes * 3;
}

function appendBound(to: usize, name: Ascii, at: usize, length: usize, hex: bool): usize {
  to = appendBytes(to, changetype<usize>(name), name.length);
  store<u8>(to++, EQUALS);
  return hex ? writeHex(to, at, length) : writeEscaped(to, at, length);
}

/**
 * Builds the query that goes on, in the arena: both bounds mapped (and put in where absent), every other parameter as it was.
 * MALFORMED: a bound twice, an escape cut short, or bytes that are no encoded key.
 */
export function rewriteQuery(p: usize, length: usize, start: Ascii, stop: Ascii, hex: bool): Status {
  const end = p + length;
  if (hasEscapedName(p, end)) return Status.MALFORMED;
  if (!mapBound(p, end, start, Bound.LOWER, hex)) return Status.MALFORMED;
  const lowerAt = boundAt;
  const lowerLength = boundLength;
  if (!mapBound(p, end, stop, Bound.UPPER, hex)) return Status.MALFORMED;
  // What else is in the query comes behind, each part with one more `&`.
  const out = alloc(roomFor(start, lowerLength) + 1 + roomFor(stop, boundLength) + length + 1);
  let to = appendBound(out, start, lowerAt, lowerLength, hex);
  store<u8>(to++, AMPERSAND);
  to = appendBound(to, stop, boundAt, boundLength, hex);
  while (p < end) {
    let next = p;
    while (next < end && load<u8>(next) != AMPERSAND) next++;
    let sign = p;
    while (sign < next && load<u8>(sign) != EQUALS) sign++;
    if (next > p && !equals(p, sign - p, start) && !equals(p, sign - p, stop)) {
      store<u8>(to++, AMPERSAND);
      to = appendBytes(to, p, next - p);
    }
    p = next + 1;
  }
  queryAt = out;
  queryLength = to - out;
  return Status.OK;
}
