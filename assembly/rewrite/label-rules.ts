/**
 * PD's region label rules as a tenant may set them: a pause of PD's schedulers over ranges of its own, which TiDB's fast ADD INDEX and
 * IMPORT INTO ask for. Every other label could move or merge regions across tenants.
 *
 *   rule    {"id":"<id>","index":0,"labels":[{"key":"schedule","value":"deny","ttl":"5m0s"}],"rule_type":"key-range",
 *            "data":[{"start_key":"<hex>","end_key":"<hex>"}]}
 *   patch   {"sets":null | [rule],"deletes":null | ["<id>"]}
 *
 * Go's decoder takes names in any case and the last of two: here only these names pass, each once. PD joins ids to a path
 * (pkg/storage/endpoint): only plain ones pass, behind the tenant's prefix. Source: pd pkg/schedule/labeler.
 */
import { encodeName, namedAt, namedLength } from '../keys/namespace';
import { Bound, Mapped, encodeEncoded, mappedAt, mappedLength } from '../keys/space';
import { alloc } from '../memory/arena';
import { Ascii, ascii, equals } from '../wire/bytes';
import { escapedLength, readHex, writeHex } from '../wire/escape';
import { Status } from '../wire/status';

/** Longest text; TiDB's have a few hundred bytes. */
export const MAX_RULE_BYTES: usize = 64 * 1024;
const MAX_ID_BYTES: usize = 200;

const QUOTE: u8 = 0x22;
const COMMA: u8 = 0x2c;
const COLON: u8 = 0x3a;
const OPEN_LIST: u8 = 0x5b;
const CLOSE_LIST: u8 = 0x5d;
const OPEN: u8 = 0x7b;
const CLOSE: u8 = 0x7d;
const BACKSLASH: u8 = 0x5c;

const ID: Ascii = ascii('id');
const INDEX: Ascii = ascii('index');
const LABELS: Ascii = ascii('labels');
const RULE_TYPE: Ascii = ascii('rule_type');
const DATA: Ascii = ascii('data');
const KEY: Ascii = ascii('key');
const VALUE: Ascii = ascii('value');
const TTL: Ascii = ascii('ttl');
const START_KEY: Ascii = ascii('start_key');
const END_KEY: Ascii = ascii('end_key');
const SETS: Ascii = ascii('sets');
const DELETES: Ascii = ascii('deletes');
const NULL: Ascii = ascii('null');
const SCHEDULE: Ascii = ascii('schedule');
const DENY: Ascii = ascii('deny');
const KEY_RANGE: Ascii = ascii('key-range');

/** What goes on, in the arena. */
export let rulesAt: usize = 0;
export let rulesLength: usize = 0;
let capacity: usize = 0;

let cursor: usize = 0;
let stop: usize = 0;
let status: Status = Status.OK;
/** The text that `readText` read last. */
let textAt: usize = 0;
let textLength: usize = 0;

function begin(p: usize, length: usize): void {
  cursor = p;
  stop = p + length;
  status = length > MAX_RULE_BYTES ? Status.TOO_LONG : Status.OK;
  capacity = length + 1024;
  rulesAt = alloc(capacity);
  rulesLength = 0;
}

/** Room for `size` more bytes. */
function reserve(size: usize): usize {
  if (rulesLength + size > capacity) {
    capacity = (rulesLength + size) * 2;
    const bigger = alloc(capacity);
    memory.copy(bigger, rulesAt, rulesLength);
    rulesAt = bigger;
  }
  return rulesAt + rulesLength;
}

function put(p: usize, length: usize): void {
  memory.copy(reserve(length), p, length);
  rulesLength += length;
}

function putByte(byte: u8): void {
  store<u8>(reserve(1), byte);
  rulesLength++;
}

function putText(p: usize, length: usize): void {
  putByte(QUOTE);
  put(p, length);
  putByte(QUOTE);
}

function fail(why: Status): void {
  if (status == Status.OK) status = why;
}

function peek(): u8 {
  while (cursor < stop) {
    const c = load<u8>(cursor);
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return c;
    cursor++;
  }
  return 0;
}

function take(expected: u8): bool {
  if (peek() != expected) return false;
  cursor++;
  return true;
}

function expect(expected: u8): void {
  if (!take(expected)) fail(Status.MALFORMED);
}

/** A string without escapes: none of those that pass needs one. */
function readText(): void {
  expect(QUOTE);
  textAt = cursor;
  while (cursor < stop && load<u8>(cursor) != QUOTE) {
    const c = load<u8>(cursor++);
    if (c == BACKSLASH) cursor++;
    if (c == BACKSLASH || c < 0x20 || c > 0x7e) fail(Status.NAME_OUTSIDE);
  }
  if (cursor >= stop) {
    cursor = stop;
    fail(Status.MALFORMED);
  }
  textLength = cursor - textAt;
  expect(QUOTE);
}

function isText(name: Ascii): bool {
  return equals(textAt, textLength, name);
}

/** Passes a string on that must be this one. */
function only(value: Ascii): void {
  readText();
  if (!isText(value)) fail(Status.NAME_OUTSIDE);
  putText(textAt, textLength);
}

/** Letters, digits, `_ - . : /`, no empty and no dot segment: what PD can join to a path without leaving it. */
function isPlainId(p: usize, length: usize): bool {
  if (length == 0 || length > MAX_ID_BYTES) return false;
  let before: u8 = 0x2f;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(p + i);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    if (!letter && !(c >= 0x2d && c <= 0x3a) && c != 0x5f) return false;
    if (before == 0x2f && (c == 0x2f || c == 0x2e)) return false;
    before = c;
  }
  return before != 0x2f;
}

/** Passes the id that was read last on, behind the tenant's prefix. */
function putId(): void {
  if (encodeName(textAt, textLength) == Mapped.OUTSIDE) fail(Status.NAME_OUTSIDE);
  putText(namedAt, namedLength);
}

function putWhole(): void {
  peek();
  const from = cursor;
  while (cursor < stop && load<u8>(cursor) - 0x30 <= 9) cursor++;
  if (cursor == from || cursor - from > 9) fail(Status.MALFORMED);
  put(from, cursor - from);
}

/** A bound in hex of PD's form. */
function putBound(bound: Bound): void {
  readText();
  let at = textLength == 0 ? 0 : readHex(textAt, textLength);
  let length = textLength == 0 ? 0 : escapedLength;
  if (textLength != 0 && at == 0) fail(Status.MALFORMED);
  if (status != Status.OK) return;
  const mapped = encodeEncoded(at, length, bound);
  if (mapped == Mapped.BROKEN) fail(Status.MALFORMED);
  if (mapped == Mapped.REPLACED) {
    at = mappedAt;
    length = mappedLength;
  }
  putByte(QUOTE);
  writeHex(reserve(length * 2), at, length);
  rulesLength += length * 2;
  putByte(QUOTE);
}

/** Reads the name of the next member, passes it on, and gives its place among `names`; -1 at the object's end or after an error. */
function member(names: Ascii[], seen: u32): i32 {
  if (status != Status.OK) return -1;
  if (take(CLOSE)) return -1;
  if (seen != 0) {
    expect(COMMA);
    putByte(COMMA);
  }
  readText();
  for (let i = 0; i < names.length; i++) {
    if (!isText(names[i])) continue;
    if (seen & (1 << i)) break;
    putText(textAt, textLength);
    expect(COLON);
    putByte(COLON);
    return i;
  }
  fail(Status.NAME_OUTSIDE);
  return -1;
}

const RULE: Ascii[] = [ID, INDEX, LABELS, RULE_TYPE, DATA];
const RULE_NEEDS: u32 = 0b11101;
const LABEL: Ascii[] = [KEY, VALUE, TTL];
const LABEL_NEEDS: u32 = 0b011;
const RANGE: Ascii[] = [START_KEY, END_KEY];
const RANGE_NEEDS: u32 = 0b11;
const PATCH: Ascii[] = [SETS, DELETES];

function object(names: Ascii[], needs: u32, each: (i: i32) => void): void {
  expect(OPEN);
  putByte(OPEN);
  let seen: u32 = 0;
  for (let i = member(names, seen); i >= 0; i = member(names, seen)) {
    each(i);
    seen |= 1 << i;
  }
  putByte(CLOSE);
  if ((seen & needs) != needs) fail(Status.MALFORMED);
}

function list(each: () => void): void {
  expect(OPEN_LIST);
  putByte(OPEN_LIST);
  if (!take(CLOSE_LIST)) {
    do {
      each();
      if (peek() == COMMA) putByte(COMMA);
    } while (status == Status.OK && take(COMMA));
    expect(CLOSE_LIST);
  }
  putByte(CLOSE_LIST);
}

/** `null`, or a list. */
function listOrNull(each: () => void): void {
  if (peek() != load<u8>(changetype<usize>(NULL))) {
    list(each);
    return;
  }
  if (<usize>NULL.length > stop - cursor || !equals(cursor, NULL.length, NULL)) fail(Status.MALFORMED);
  put(changetype<usize>(NULL), NULL.length);
  cursor += NULL.length;
}

function putLabel(): void {
  object(LABEL, LABEL_NEEDS, (i) => {
    if (i == 0) only(SCHEDULE);
    else if (i == 1) only(DENY);
    else {
      readText();
      putText(textAt, textLength);
    }
  });
}

function putRange(): void {
  object(RANGE, RANGE_NEEDS, (i) => {
    putBound(i == 0 ? Bound.LOWER : Bound.UPPER);
  });
}

function putRule(): void {
  object(RULE, RULE_NEEDS, (i) => {
    if (i == 0) {
      readText();
      if (!isPlainId(textAt, textLength)) fail(Status.NAME_OUTSIDE);
      putId();
    } else if (i == 1) putWhole();
    else if (i == 2) list(putLabel);
    else if (i == 3) only(KEY_RANGE);
    else list(putRange);
  });
}

/** An id to delete. One that no tenant can have set becomes one that nobody has. */
function putDeleted(): void {
  const before = status;
  readText();
  if (before == Status.OK && status == Status.NAME_OUTSIDE) status = before;
  if (!isPlainId(textAt, textLength)) textLength = 0;
  putId();
}

function finish(): Status {
  if (status == Status.OK && peek() != 0) fail(Status.MALFORMED);
  return status;
}

/** Maps one rule. NAME_OUTSIDE: a rule that is not for tenants. */
export function rewriteRule(p: usize, length: usize): Status {
  begin(p, length);
  if (status == Status.OK) putRule();
  return finish();
}

/** Maps a patch of rules. */
export function rewritePatch(p: usize, length: usize): Status {
  begin(p, length);
  if (status == Status.OK)
    object(PATCH, 0, (i) => {
      if (i == 0) listOrNull(putRule);
      else listOrNull(putDeleted);
    });
  return finish();
}
