/** Ranges of regions in the query of PD's HTTP API: two parameters in PD's memcomparable form. */
import * as keys from '../keys/space';
import { Bound, Mapped } from '../keys/space';
import { alloc } from '../memory/arena';
import * as escaping from '../wire/escape';
import { Status } from '../wire/status';
import { Ascii, ascii, equals } from '../wire/bytes';

/** How keys are written. */
export const enum KeyForm {
  /** Bytes with percent-escapes. */
  ESCAPED,
  HEX,
  /** Hex where the query says `format=hex`, else escaped. */
  BY_FORMAT,
  /** It cannot be told. */
  UNREADABLE,
}

export let queryAt: usize = 0;
export let queryLength: usize = 0;

const AMPERSAND: u8 = 0x26;
const EQUALS: u8 = 0x3d;

const FORMAT: Ascii = ascii('format');
const HEX: Ascii = ascii('hex');

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

/** The form that a query gives to keys: ESCAPED, HEX or UNREADABLE. */
export function formOf(p: usize, length: usize): KeyForm {
  const end = p + length;
  if (hasEscapedName(p, end)) return KeyForm.UNREADABLE;
  const found = find(p, end, FORMAT);
  if (found == 0) return KeyForm.ESCAPED;
  const value = escaping.unescape(valueAt, valueLength);
  if (found > 1 || value == 0) return KeyForm.UNREADABLE;
  return equals(value, escaping.escapedLength, HEX) ? KeyForm.HEX : KeyForm.ESCAPED;
}

/** A key out of a path or a query into the arena, of `escapedLength`; 0 when it is not written in this form. */
export function readKey(p: usize, length: usize, form: KeyForm): usize {
  const bytes = escaping.unescape(p, length);
  return bytes == 0 || form == KeyForm.ESCAPED ? bytes : escaping.readHex(bytes, escaping.escapedLength);
}

function appendBytes(to: usize, p: usize, length: usize): usize {
  memory.copy(to, p, length);
  return to + length;
}

/** The bound that `mapBound` found last, as it goes on. */
let boundAt: usize = 0;
let boundLength: usize = 0;

/** Maps one bound. False when it is not written in this form, or is there twice. */
function mapBound(p: usize, end: usize, name: Ascii, bound: Bound, form: KeyForm): bool {
  if (find(p, end, name) > 1) return false;
  boundAt = 0;
  boundLength = valueLength;
  if (boundLength != 0) {
    boundAt = readKey(valueAt, boundLength, form);
    if (boundAt == 0) return false;
    boundLength = escaping.escapedLength;
  }
  if (keys.encodePlace(boundAt, boundLength, bound) == Mapped.REPLACED) {
    boundAt = keys.mappedAt;
    boundLength = keys.mappedLength;
  }
  return true;
}

/** Bytes that `name=value` takes at most: an escaped byte is three characters. */
function roomFor(name: Ascii, valueBytes: usize): usize {
  return name.length + 1 + valueBytes * 3;
}

function appendBound(to: usize, name: Ascii, at: usize, length: usize, form: KeyForm): usize {
  to = appendBytes(to, changetype<usize>(name), name.length);
  store<u8>(to++, EQUALS);
  return form == KeyForm.HEX ? escaping.writeHex(to, at, length) : escaping.writeEscaped(to, at, length);
}

/**
 * Builds the query that goes on, in the arena: both bounds mapped (and put in where absent), every other parameter as it was.
 * By format, they go on escaped and without it: not every PD knows it. MALFORMED: a bound twice, or one that is not written in this form.
 */
export function rewriteQuery(p: usize, length: usize, start: Ascii, stop: Ascii, form: KeyForm): Status {
  const end = p + length;
  if (hasEscapedName(p, end)) return Status.MALFORMED;
  const isByFormat = form == KeyForm.BY_FORMAT;
  const given = isByFormat ? formOf(p, length) : form;
  if (given == KeyForm.UNREADABLE || !mapBound(p, end, start, Bound.LOWER, given)) return Status.MALFORMED;
  const lowerAt = boundAt;
  const lowerLength = boundLength;
  if (!mapBound(p, end, stop, Bound.UPPER, given)) return Status.MALFORMED;
  // What else is in the query comes behind, each part with one more `&`.
  const out = alloc(roomFor(start, lowerLength) + 1 + roomFor(stop, boundLength) + length + 1);
  let to = appendBound(out, start, lowerAt, lowerLength, form);
  store<u8>(to++, AMPERSAND);
  to = appendBound(to, stop, boundAt, boundLength, form);
  while (p < end) {
    let next = p;
    while (next < end && load<u8>(next) != AMPERSAND) next++;
    let sign = p;
    while (sign < next && load<u8>(sign) != EQUALS) sign++;
    const isMapped =
      equals(p, sign - p, start) || equals(p, sign - p, stop) || (isByFormat && equals(p, sign - p, FORMAT));
    if (next > p && !isMapped) {
      store<u8>(to++, AMPERSAND);
      to = appendBytes(to, p, next - p);
    }
    p = next + 1;
  }
  queryAt = out;
  queryLength = to - out;
  return Status.OK;
}
