/** Key ranges in the query of PD's HTTP API: two parameters that hold a range in PD's memcomparable form. */
import { Bound, Mapped, encodeEncoded, mappedAt, mappedLength } from '../keys/space';
import { alloc } from '../memory/arena';
import { escapedLength, readHex, unescape, writeEscaped, writeHex } from '../wire/escape';
import { Status } from '../wire/status';
import { equals } from '../wire/bytes';

export let queryAt: usize = 0;
export let queryLength: usize = 0;

const AMPERSAND: u8 = 0x26;
const EQUALS: u8 = 0x3d;

/** Where one parameter's value is: set by `find`. */
let valueAt: usize = 0;
let valueLength: usize = 0;

/** How many times the parameter is there; `valueAt` is the last one's. Names with escapes do not count as equal. */
function find(p: usize, end: usize, name: StaticArray<u8>): i32 {
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

/** Maps one bound and appends `name=value`. 0 on bad escapes or bytes that are no encoded key. */
function appendBound(to: usize, p: usize, end: usize, name: StaticArray<u8>, bound: Bound, hex: bool): usize {
  if (find(p, end, name) > 1) return 0;
  let length = valueLength;
  let at: usize = 0;
  if (length != 0) {
    at = hex ? readHex(valueAt, length) : unescape(valueAt, length);
    if (at == 0) return 0;
    length = escapedLength;
  }
  const mapped = encodeEncoded(at, length, bound);
  if (mapped == Mapped.BROKEN) return 0;
  if (mapped == Mapped.REPLACED) {
    at = mappedAt;
    length = mappedLength;
  }
  to = appendBytes(to, changetype<usize>(name), name.length);
  store<u8>(to++, EQUALS);
  return hex ? writeHex(to, at, length) : writeEscaped(to, at, length);
}

/**
 * Builds the query that goes on, in the arena: both bounds mapped (and put in where absent), every other parameter as it was.
 * MALFORMED: a bound twice, an escape cut short, or bytes that are no encoded key.
 */
export function rewriteQuery(
  p: usize,
  length: usize,
  start: StaticArray<u8>,
  stop: StaticArray<u8>,
  hex: bool,
): Status {
  const end = p + length;
  if (hasEscapedName(p, end)) return Status.MALFORMED;
  // An encoded bound grows by less than 32 bytes before it is escaped three to one.
  const out = alloc(length * 4 + 512);
  let to = appendBound(out, p, end, start, Bound.LOWER, hex);
  if (to == 0) return Status.MALFORMED;
  store<u8>(to++, AMPERSAND);
  to = appendBound(to, p, end, stop, Bound.UPPER, hex);
  if (to == 0) return Status.MALFORMED;
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
