/**
 * Rewrites the JSON of PD's HTTP API, by proto/pd/endpoints.ts.
 *
 * A request has one reading only: the names of its table, in this case, each once. Go's decoder takes names in any case, and the last of
 * two. An answer is filtered: an object that is not the tenant's leaves its list (alone it becomes null). A string that may quote keys is
 * withheld, unless the table says that it is the tenant's own.
 */
import * as keys from '../keys/space';
import { Bound, Mapped } from '../keys/space';
import { mayQuoteKeys } from '../keys/text';
import { alloc, isOverspent } from '../memory/arena';
import { HTTP_MEMBERS, HTTP_SHAPES, Json, ShapeBits } from '../schema/http';
import { textOf } from '../texts/text';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';
import { digitsOf, readDecimal, writeDecimal } from '../wire/decimal';
import * as escaping from '../wire/escape';
import { Status } from '../wire/status';
import * as json from './json-text';
import { COLON, COMMA, QUOTE } from './json-text';
import * as ruleNames from './rule-names';

export { jsonAt, jsonLength } from './json-text';

/** PD's answers have six levels. */
const MAX_JSON_DEPTH: i32 = 24;
/** Of a number in a request. */
const MAX_DIGITS: usize = 9;
/** Of a time in milliseconds. */
const TIME_DIGITS: usize = 13;
/** TiDB's highest index, for TiFlash. */
const MAX_GROUP_INDEX: u64 = 120;
/**
 * Of a placement rule. PD tries in which ways a region's peers fit its rules: 2^n of them for n peers that fit (pkg/schedule/placement/fit.go).
 * TiDB's policies have 8 followers at most (pkg/ddl/placement/bundle.go).
 */
const MAX_REPLICAS: u64 = 9;

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
const READ: Ascii = ascii('read');
const WRITE: Ascii = ascii('write');
const MINUS: u8 = 0x2d;

/** True for a request, in which unknown names are refused; false for an answer. */
let strict: bool = true;
let depth: i32 = 0;
/** Items of the list that ended last. */
let kept: u32 = 0;

/** Number of objects in a body of which PD keeps each. */
export let records: u32 = 0;
/** True when the group that is being read has something that PD keeps. */
let isGroupKept: bool = false;

/** The operator and key of the constraint that is being read. */
let namesEngine: bool = false;
let avoids: bool = false;
let namesTiflash: bool = false;
/** The types of hot regions that were named. */
let namesRead: bool = false;
let namesWrite: bool = false;

function shapeWord(shape: u32, i: usize): u32 {
  return load<u16>(HTTP_SHAPES + ((<usize>shape) << 3) + (i << 1));
}

function isText(text: Ascii): bool {
  return equals(json.textAt, json.textLength, text);
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
  json.begin(p, length);
  depth = 0;
  records = 0;
  namesRead = false;
  namesWrite = false;
  if (!value(shape)) json.put(changetype<usize>(NULL), NULL.length);
  if (json.peek() != 0) json.fail(Status.MALFORMED);
  return json.status;
}

/** False if the value is not the tenant's and nothing was written. Only in answers. */
function value(shape: u32): bool {
  if (isOverspent()) json.fail(Status.TOO_MANY_CHANGES);
  if (json.status != Status.OK) return true;
  const kind = shapeWord(shape, 0);
  const c = json.peek();
  if (c == 0x6e && (!strict || shapeWord(shape, 3) & ShapeBits.OR_NULL)) {
    only(NULL);
    return true;
  }
  if (kind == Json.OBJECT || (kind == Json.ANY && c == OPEN)) return object(shape);
  if (kind == Json.LIST) list(shapeWord(shape, 1), shapeWord(shape, 2));
  else if (kind == Json.ANY && c == OPEN_LIST) list(shape, 0);
  else if (kind == Json.WHOLE || kind == Json.GROUP_INDEX || kind == Json.REPLICAS) whole(kind);
  else if (kind == Json.ID || kind == Json.TIME) longNumber(kind);
  else if (kind == Json.FLAG || kind == Json.GROUP_OVERRIDE) {
    if (c == 0x74) only(TRUE);
    else only(FALSE);
    if (c == 0x74 && kind == Json.GROUP_OVERRIDE) isGroupKept = true;
  } else if (kind != Json.ANY || c == QUOTE) return text(kind);
  else {
    json.readWord();
    if (mayQuoteKeys(json.textAt, json.textLength)) json.fail(Status.MALFORMED);
    json.put(json.textAt, json.textLength);
  }
  return true;
}

function only(word: Ascii): void {
  json.readWord();
  if (!isText(word)) json.fail(Status.MALFORMED);
  json.put(json.textAt, json.textLength);
}

function whole(kind: u32): void {
  json.readWord();
  const number = json.textLength > MAX_DIGITS ? u64.MAX_VALUE : readDecimal(json.textAt, json.textLength);
  // PD counts versions and seconds in larger numbers than a request may hold.
  if (strict && number == u64.MAX_VALUE) json.fail(Status.MALFORMED);
  if (kind == Json.GROUP_INDEX) {
    if (strict && number > MAX_GROUP_INDEX) json.fail(Status.NAME_OUTSIDE);
    if (number != 0) isGroupKept = true;
  }
  if (kind == Json.REPLICAS && strict && number > MAX_REPLICAS) json.fail(Status.VALUE_OUTSIDE);
  json.put(json.textAt, json.textLength);
}

/** A number that only requests hold, with more digits. A time may lie before 1970. */
function longNumber(kind: u32): void {
  json.readWord();
  const isTime = kind == Json.TIME;
  const sign: usize = isTime && json.textLength > 1 && load<u8>(json.textAt) == MINUS ? 1 : 0;
  const digits = json.textLength - sign;
  const isTooLong = isTime && digits > TIME_DIGITS;
  if (isTooLong || readDecimal(json.textAt + sign, digits) == u64.MAX_VALUE) json.fail(Status.MALFORMED);
  json.put(json.textAt, json.textLength);
}

function text(kind: u32): bool {
  json.readText();
  if (json.status != Status.OK) return true;
  if (kind == Json.LOWER) return bound(Bound.LOWER);
  if (kind == Json.UPPER) return bound(Bound.UPPER);
  if (kind == Json.ANY) {
    json.putText(json.textAt, !mayQuoteKeys(json.textAt, json.textLength) ? json.textLength : 0);
    return true;
  }
  if (kind == Json.GROUP || kind == Json.LABEL_ID || kind == Json.DELETED_ID) {
    if (!name(kind)) {
      if (strict) json.fail(Status.NAME_OUTSIDE);
      return strict;
    }
    json.putText(ruleNames.nameAt, ruleNames.nameLength);
    return true;
  }
  if (strict && !isAllowed(kind)) json.fail(Status.NAME_OUTSIDE);
  json.putText(json.textAt, json.textLength);
  return true;
}

/** Maps the name that was read. False: not for tenants, or not the tenant's. */
function name(kind: u32): bool {
  if (kind == Json.GROUP)
    return strict
      ? ruleNames.encodeGroup(json.textAt, json.textLength)
      : ruleNames.decodeGroup(json.textAt, json.textLength);
  if (!strict) return ruleNames.decodeLabelId(json.textAt, json.textLength);
  const good = ruleNames.encodeLabelId(json.textAt, json.textLength);
  if (good || kind == Json.LABEL_ID) return good;
  ruleNames.encodeNobody();
  return true;
}

/** True for a type of hot regions that was not there yet. PD takes it in any case. */
function isNewHotType(): bool {
  if (!namesRead && equalsLower(READ)) namesRead = true;
  else if (!namesWrite && equalsLower(WRITE)) namesWrite = true;
  else return false;
  return true;
}

/** Compares the text that was read with one of small letters. */
function equalsLower(text: Ascii): bool {
  if (json.textLength != <usize>text.length) return false;
  for (let i: usize = 0; i < json.textLength; i++) {
    const c = load<u8>(json.textAt + i);
    const lower: u8 = c >= 0x41 && c <= 0x5a ? c | 0x20 : c;
    if (lower != load<u8>(changetype<usize>(text) + i)) return false;
  }
  return true;
}

function isAllowed(kind: u32): bool {
  if (kind == Json.HOT_TYPE) return isNewHotType();
  if (kind == Json.RULE_TYPE) return isText(KEY_RANGE);
  if (kind == Json.LABEL_KEY)
    return (
      ruleNames.isPlainlyWritten(json.textAt, json.textLength) &&
      !startsWith(json.textAt, json.textLength, RESERVED_LABEL)
    );
  if (kind == Json.STORE_LABEL) {
    if (json.textLength == 0 || !ruleNames.isPlainlyWritten(json.textAt, json.textLength)) return false;
    namesEngine = isText(ENGINE);
    return load<u8>(json.textAt) != DOLLAR && !isText(EXCLUSIVE);
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
  if (json.textLength != 0) {
    at = escaping.readHex(json.textAt, json.textLength);
    if (at == 0) {
      json.fail(Status.MALFORMED);
      return true;
    }
    length = escaping.escapedLength;
    lower = false;
    for (let i: usize = 0; !lower && i < json.textLength; i++) lower = load<u8>(json.textAt + i) >= 0x61;
  }
  const mapped = strict ? keys.encodeEncoded(at, length, which) : keys.decodeEncoded(at, length, which);
  if (mapped == Mapped.OUTSIDE) {
    if (!strict) return false;
    json.fail(Status.KEY_OUTSIDE);
    return true;
  }
  if (mapped == Mapped.BROKEN) json.fail(Status.MALFORMED);
  if (mapped == Mapped.REPLACED) {
    at = keys.mappedAt;
    length = keys.mappedLength;
  }
  const hex = alloc(length * 2);
  escaping.writeHex(hex, at, length);
  if (lower)
    for (let i: usize = 0; i < length * 2; i++)
      if (load<u8>(hex + i) > 0x40) store<u8>(hex + i, load<u8>(hex + i) | 0x20);
  json.putText(hex, length * 2);
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
  const from = json.jsonLength;
  const isAny = shapeWord(shape, 0) == Json.ANY;
  const bits = shapeWord(shape, 3);
  const isConstraint = (bits & ShapeBits.CONSTRAINT) != 0;
  if (bits & ShapeBits.RECORD) records++;
  if (bits & ShapeBits.GROUP) isGroupKept = false;
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
  if (depth++ > MAX_JSON_DEPTH) json.fail(Status.MALFORMED);
  json.expect(OPEN);
  json.putByte(OPEN);
  let first = true;
  while (json.status == Status.OK) {
    if (first && json.take(CLOSE)) break;
    json.readText();
    if (json.status != Status.OK) break;
    if (!first) json.putByte(COMMA);
    first = false;
    json.putText(json.textAt, json.textLength);
    const kind = isAny ? anyMember() : -1;
    const isCount = isAny && isText(COUNT);
    const isRegions = isAny && isText(REGIONS);
    let member: u32 = 0;
    if (!isAny && memberOf(shape)) {
      if (strict && seen & (1 << memberPlace)) json.fail(Status.NAME_OUTSIDE);
      seen |= 1 << memberPlace;
      member = memberShape(shape, memberPlace) & ~ShapeBits.NEEDED;
    } else if (strict) json.fail(Status.NAME_OUTSIDE);
    else if (mayQuoteKeys(json.textAt, json.textLength)) json.fail(Status.MALFORMED);
    json.expect(COLON);
    json.putByte(COLON);
    const isObject = json.peek() == OPEN;
    const isList = json.peek() == OPEN_LIST;
    const before = json.jsonLength;
    if (!(kind < 0 ? value(member) : json.peek() == QUOTE ? text(<u32>kind) : missingBound())) {
      if (isObject) json.put(changetype<usize>(NULL), NULL.length);
      else inside = false;
    }
    if (isCount) {
      countAt = before;
      countLength = json.jsonLength - before;
    } else if (isRegions && isList) regions = kept;
    if (json.take(CLOSE)) break;
    json.expect(COMMA);
  }
  depth--;
  json.putByte(CLOSE);
  if (bits & ShapeBits.GROUP && isGroupKept) records++;
  const whole = isAny || json.status != Status.OK || hasNeeded(shape, seen);
  // A region without bounds is nobody's.
  if (!inside || (!strict && !whole)) {
    json.cutAt(from);
    return false;
  }
  if (countAt != 0 && regions >= 0) putCount(countAt, countLength, <u32>regions);
  if (!whole) json.fail(Status.MALFORMED);
  if (strict && isConstraint && namesEngine && !(avoids && namesTiflash)) json.fail(Status.NAME_OUTSIDE);
  return true;
}

/** A bound in an answer may be no string. */
function missingBound(): bool {
  json.fail(Status.MALFORMED);
  return true;
}

/** Overwrites a count with the number of regions that are left. A longer number is none of PD's. */
function putCount(at: usize, length: usize, number: u32): void {
  const digits = digitsOf(number);
  if (digits > length) {
    json.fail(Status.MALFORMED);
    return;
  }
  const place = json.jsonAt + at;
  memory.fill(place + digits, SPACE, length - digits);
  writeDecimal(place + digits, number);
}

/** `most`: maximum of items; 0 for any number. */
function list(item: u32, most: u32): void {
  if (depth++ > MAX_JSON_DEPTH) json.fail(Status.MALFORMED);
  let count: u32 = 0;
  json.expect(OPEN_LIST);
  json.putByte(OPEN_LIST);
  if (json.status == Status.OK && !json.take(CLOSE_LIST)) {
    do {
      const before = json.jsonLength;
      if (strict && most != 0 && count == most) json.fail(Status.VALUE_OUTSIDE);
      if (count > 0) json.putByte(COMMA);
      if (value(item)) count++;
      else json.cutAt(before);
    } while (json.status == Status.OK && json.take(COMMA));
    json.expect(CLOSE_LIST);
  }
  json.putByte(CLOSE_LIST);
  depth--;
  kept = count;
}
