/**
 * Rewrites the JSON of PD's HTTP API, by proto/pd/endpoints.ts.
 *
 * A request has one reading only: the names of its table, in this case, each once. Go's decoder takes names in any case, and the last of
 * two. An answer is filtered: an object that is not the tenant's leaves its list (alone it becomes null). A string that may quote keys is
 * withheld, unless the table says that it is the tenant's own.
 */
import { Bound, Mapped, decodeEncoded, encodeEncoded, mappedAt, mappedLength } from '../keys/space';
import { mayQuoteKeys } from '../keys/text';
import { alloc, isOverspent } from '../memory/arena';
import { HTTP_MEMBERS, HTTP_SHAPES, Json, ShapeBits } from '../schema/http';
import { textOf } from '../texts/text';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';
import { escapedLength, readHex, writeHex } from '../wire/escape';
import { Status } from '../wire/status';
import {
  COLON,
  COMMA,
  QUOTE,
  begin,
  cutAt,
  expect,
  fail,
  jsonAt,
  jsonLength,
  peek,
  put,
  putByte,
  putText,
  readText,
  readWord,
  status,
  take,
  textAt,
  textLength,
} from './json-text';
import {
  decodeGroup,
  decodeLabelId,
  encodeGroup,
  encodeLabelId,
  encodeNobody,
  isPlainlyWritten,
  nameAt,
  nameLength,
} from './rule-names';

export { jsonAt, jsonLength } from './json-text';

/** PD's answers have six levels. */
const MAX_JSON_DEPTH: i32 = 24;
const MAX_DIGITS: usize = 9;
/** TiDB's highest index, for TiFlash. */
const MAX_GROUP_INDEX: u32 = 120;

const OPEN_LIST: u8 = 0x5b;
const CLOSE_LIST: u8 = 0x5d;
const OPEN: u8 = 0x7b;
const CLOSE: u8 = 0x7d;
const SPACE: u8 = 0x20;
const DOLLAR: u8 = 0x24;

const NULL: Ascii = ascii('null');
const TRUE: Ascii = ascii('true');
const FALSE: Ascii = ascii('false');
const START_KEY: Ascii = ascii('start_key');
const END_KEY: Ascii = ascii('end_key');
const COUNT: Ascii = ascii('count');
const REGIONS: Ascii = ascii('regions');
const KEY_RANGE: Ascii = ascii('key-range');
const RESERVED_LABEL: Ascii = ascii('tidb-mesh');
const EXCLUSIVE: Ascii = ascii('exclusive');
const ENGINE: Ascii = ascii('engine');
const NOT_IN: Ascii = ascii('notIn');
const TIFLASH: Ascii = ascii('tiflash');

/** True for a request, in which unknown names are refused; false for an answer. */
let strict: bool = true;
let depth: i32 = 0;
/** Items of the list that ended last. */
let kept: u32 = 0;

/** The operator and key of the constraint that is being read. */
let namesEngine: bool = false;
let avoids: bool = false;
let namesTiflash: bool = false;

function shapeWord(shape: u32, i: usize): u32 {
  return load<u16>(HTTP_SHAPES + ((<usize>shape) << 3) + (i << 1));
}

function isText(text: Ascii): bool {
  return equals(textAt, textLength, text);
}

/** Rewrites a request's body. NAME_OUTSIDE: it uses a name that is not for tenants. */
export function rewriteBody(shape: u32, p: usize, length: usize): Status {
  strict = true;
  return rewriteJson(shape, p, length);
}

/** Rewrites an answer. */
export function rewriteAnswer(shape: u32, p: usize, length: usize): Status {
  strict = false;
  return rewriteJson(shape, p, length);
}

function rewriteJson(shape: u32, p: usize, length: usize): Status {
  begin(p, length);
  depth = 0;
  if (!value(shape)) put(changetype<usize>(NULL), NULL.length);
  if (peek() != 0) fail(Status.MALFORMED);
  return status;
}

/** False if the value is not the tenant's and nothing was written. Only in answers. */
function value(shape: u32): bool {
  if (isOverspent()) fail(Status.TOO_MANY_CHANGES);
  if (status != Status.OK) return true;
  const kind = shapeWord(shape, 0);
  const c = peek();
  if (c == 0x6e && (!strict || shapeWord(shape, 3) & ShapeBits.OR_NULL)) {
    only(NULL);
    return true;
  }
  if (kind == Json.OBJECT || (kind == Json.ANY && c == OPEN)) return object(shape);
  if (kind == Json.LIST) list(shapeWord(shape, 1));
  else if (kind == Json.ANY && c == OPEN_LIST) list(shape);
  else if (kind == Json.WHOLE || kind == Json.GROUP_INDEX) whole(kind);
  else if (kind == Json.FLAG) {
    if (c == 0x74) only(TRUE);
    else only(FALSE);
  } else if (kind != Json.ANY || c == QUOTE) return text(kind);
  else {
    readWord();
    if (mayQuoteKeys(textAt, textLength)) fail(Status.MALFORMED);
    put(textAt, textLength);
  }
  return true;
}

function only(word: Ascii): void {
  readWord();
  if (!isText(word)) fail(Status.MALFORMED);
  put(textAt, textLength);
}

function whole(kind: u32): void {
  readWord();
  let number: u32 = 0;
  let good = textLength <= MAX_DIGITS;
  for (let i: usize = 0; good && i < textLength; i++) {
    const digit = load<u8>(textAt + i) - 0x30;
    good = digit <= 9;
    number = number * 10 + digit;
  }
  // PD counts versions and seconds in larger numbers than a request may hold.
  if (!good && strict) fail(Status.MALFORMED);
  if (kind == Json.GROUP_INDEX && strict && number > MAX_GROUP_INDEX) fail(Status.NAME_OUTSIDE);
  put(textAt, textLength);
}

function text(kind: u32): bool {
  readText();
  if (status != Status.OK) return true;
  if (kind == Json.LOWER) return bound(Bound.LOWER);
  if (kind == Json.UPPER) return bound(Bound.UPPER);
  if (kind == Json.ANY) {
    putText(textAt, !mayQuoteKeys(textAt, textLength) ? textLength : 0);
    return true;
  }
  if (kind == Json.GROUP || kind == Json.LABEL_ID || kind == Json.DELETED_ID) {
    if (!name(kind)) {
      if (strict) fail(Status.NAME_OUTSIDE);
      return strict;
    }
    putText(nameAt, nameLength);
    return true;
  }
  if (strict && !isAllowed(kind)) fail(Status.NAME_OUTSIDE);
  putText(textAt, textLength);
  return true;
}

/** Maps the name that was read. False: not for tenants, or not the tenant's. */
function name(kind: u32): bool {
  if (kind == Json.GROUP) return strict ? encodeGroup(textAt, textLength) : decodeGroup(textAt, textLength);
  if (!strict) return decodeLabelId(textAt, textLength);
  const good = encodeLabelId(textAt, textLength);
  if (good || kind == Json.LABEL_ID) return good;
  encodeNobody();
  return true;
}

function isAllowed(kind: u32): bool {
  if (kind == Json.RULE_TYPE) return isText(KEY_RANGE);
  if (kind == Json.LABEL_KEY)
    return isPlainlyWritten(textAt, textLength) && !startsWith(textAt, textLength, RESERVED_LABEL);
  if (kind == Json.STORE_LABEL) {
    if (textLength == 0 || !isPlainlyWritten(textAt, textLength)) return false;
    namesEngine = isText(ENGINE);
    return load<u8>(textAt) != DOLLAR && !isText(EXCLUSIVE);
  }
  if (kind == Json.CONSTRAINT_OP) avoids = isText(NOT_IN);
  else if (kind == Json.CONSTRAINT_VALUE && isText(TIFLASH)) namesTiflash = true;
  return true;
}

/** Maps the bound that was read, hex of PD's form, and keeps its letter case. False: the range lies outside. */
function bound(which: Bound): bool {
  let at: usize = 0;
  let length: usize = 0;
  // TiDB writes rules in lower case and compares answers as text. PD writes regions in upper case.
  let lower = strict;
  if (textLength != 0) {
    at = readHex(textAt, textLength);
    if (at == 0) {
      fail(Status.MALFORMED);
      return true;
    }
    length = escapedLength;
    lower = false;
    for (let i: usize = 0; !lower && i < textLength; i++) lower = load<u8>(textAt + i) >= 0x61;
  }
  const mapped = strict ? encodeEncoded(at, length, which) : decodeEncoded(at, length, which);
  if (mapped == Mapped.OUTSIDE) {
    if (!strict) return false;
    fail(Status.KEY_OUTSIDE);
    return true;
  }
  if (mapped == Mapped.BROKEN) fail(Status.MALFORMED);
  if (mapped == Mapped.REPLACED) {
    at = mappedAt;
    length = mappedLength;
  }
  const hex = alloc(length * 2);
  writeHex(hex, at, length);
  if (lower)
    for (let i: usize = 0; i < length * 2; i++)
      if (load<u8>(hex + i) > 0x40) store<u8>(hex + i, load<u8>(hex + i) | 0x20);
  putText(hex, length * 2);
  return true;
}

/** The table entry of the member whose name is in `textAt`. */
let memberPlace: u32 = 0;

/** Finds the entry of the member whose name was read. */
function memberOf(shape: u32): bool {
  const first = shapeWord(shape, 1);
  const count = shapeWord(shape, 2);
  for (memberPlace = 0; memberPlace < count; memberPlace++) {
    const name = load<u16>(HTTP_MEMBERS + ((<usize>(first + memberPlace)) << 2));
    if (isText(textOf(name))) return true;
  }
  return false;
}

function memberShape(shape: u32, place: u32): u32 {
  return load<u16>(HTTP_MEMBERS + ((<usize>(shapeWord(shape, 1) + place)) << 2), 2);
}

/** True if all required members are there. */
function hasNeeded(shape: u32, seen: u32): bool {
  const count = shapeWord(shape, 2);
  for (let i: u32 = 0; i < count; i++)
    if (memberShape(shape, i) & ShapeBits.NEEDED && !(seen & (1 << i))) return false;
  return true;
}

/** The meaning of the member in an object without a table; -1: none. */
function anyMember(): i32 {
  return isText(START_KEY) ? <i32>Json.LOWER : isText(END_KEY) ? <i32>Json.UPPER : -1;
}

function object(shape: u32): bool {
  const from = jsonLength;
  const isAny = shapeWord(shape, 0) == Json.ANY;
  const isConstraint = (shapeWord(shape, 3) & ShapeBits.CONSTRAINT) != 0;
  let inside = true;
  let seen: u32 = 0;
  let countAt: usize = 0;
  let countLength: usize = 0;
  let regions: i32 = -1;
  if (isConstraint) {
    namesEngine = false;
    avoids = false;
    namesTiflash = false;
  }
  if (depth++ > MAX_JSON_DEPTH) fail(Status.MALFORMED);
  expect(OPEN);
  putByte(OPEN);
  let first = true;
  while (status == Status.OK) {
    if (first && take(CLOSE)) break;
    readText();
    if (status != Status.OK) break;
    if (!first) putByte(COMMA);
    first = false;
    putText(textAt, textLength);
    const kind = isAny ? anyMember() : -1;
    const isCount = isAny && isText(COUNT);
    const isRegions = isAny && isText(REGIONS);
    let member: u32 = 0;
    if (!isAny && memberOf(shape)) {
      if (strict && seen & (1 << memberPlace)) fail(Status.NAME_OUTSIDE);
      seen |= 1 << memberPlace;
      member = memberShape(shape, memberPlace) & ~ShapeBits.NEEDED;
    } else if (strict) fail(Status.NAME_OUTSIDE);
    else if (mayQuoteKeys(textAt, textLength)) fail(Status.MALFORMED);
    expect(COLON);
    putByte(COLON);
    const isObject = peek() == OPEN;
    const isList = peek() == OPEN_LIST;
    const before = jsonLength;
    if (!(kind < 0 ? value(member) : peek() == QUOTE ? text(<u32>kind) : missingBound())) {
      if (isObject) put(changetype<usize>(NULL), NULL.length);
      else inside = false;
    }
    if (isCount) {
      countAt = before;
      countLength = jsonLength - before;
    } else if (isRegions && isList) regions = kept;
    if (take(CLOSE)) break;
    expect(COMMA);
  }
  depth--;
  putByte(CLOSE);
  const whole = isAny || status != Status.OK || hasNeeded(shape, seen);
  // A region without bounds is nobody's.
  if (!inside || (!strict && !whole)) {
    cutAt(from);
    return false;
  }
  if (countAt != 0 && regions >= 0) putCount(countAt, countLength, <u32>regions);
  if (!whole) fail(Status.MALFORMED);
  if (strict && isConstraint && namesEngine && !(avoids && namesTiflash)) fail(Status.NAME_OUTSIDE);
  return true;
}

/** A bound in an answer may be no string. */
function missingBound(): bool {
  fail(Status.MALFORMED);
  return true;
}

/** Overwrites a count with the number of regions that are left. A longer number is none of PD's. */
function putCount(at: usize, length: usize, number: u32): void {
  let digits: usize = 1;
  for (let rest = number; rest >= 10; rest /= 10) digits++;
  if (digits > length) {
    fail(Status.MALFORMED);
    return;
  }
  const place = jsonAt + at;
  memory.fill(place + digits, SPACE, length - digits);
  for (let i = digits; i > 0; i--) {
    store<u8>(place + i - 1, <u8>(0x30 + (number % 10)));
    number /= 10;
  }
}

function list(item: u32): void {
  if (depth++ > MAX_JSON_DEPTH) fail(Status.MALFORMED);
  let count: u32 = 0;
  expect(OPEN_LIST);
  putByte(OPEN_LIST);
  if (status == Status.OK && !take(CLOSE_LIST)) {
    do {
      const before = jsonLength;
      if (count > 0) putByte(COMMA);
      if (value(item)) count++;
      else cutAt(before);
    } while (status == Status.OK && take(COMMA));
    expect(CLOSE_LIST);
  }
  putByte(CLOSE_LIST);
  depth--;
  kept = count;
}
