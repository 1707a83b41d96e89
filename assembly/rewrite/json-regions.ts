/**
 * Regions in the answers of PD's HTTP API: JSON objects with `start_key` and `end_key` in hex of the memcomparable form. An object
 * wholly outside of the tenant leaves its list; a string that may quote keys is withheld.
 */
import { Bound, Mapped, decodeEncoded, mappedAt, mappedLength } from '../keys/space';
import { isPlainText } from '../keys/text';
import { alloc } from '../memory/arena';
import { escapedLength, readHex, writeHex } from '../wire/escape';
import { Status } from '../wire/status';

/** PD's answers nest five levels. */
const MAX_JSON_DEPTH: i32 = 24;
const QUOTE: u8 = 0x22;

export let jsonAt: usize = 0;
export let jsonLength: usize = 0;

let cursor: usize = 0;
let stop: usize = 0;
let out: usize = 0;
let broken: bool = false;

/** Rewrites a whole JSON text into the arena. */
export function rewriteRegions(p: usize, length: usize): Status {
  cursor = p;
  stop = p + length;
  broken = false;
  // Clamping shortens; a key that is the tenant's own keeps its length or loses nine bytes; texts are replaced by shorter ones.
  jsonAt = alloc(length + 64);
  out = jsonAt;
  if (!value(0)) write('null');
  space();
  if (broken || cursor != stop) return Status.MALFORMED;
  jsonLength = out - jsonAt;
  return Status.OK;
}

function write(text: string): void {
  for (let i = 0; i < text.length; i++) store<u8>(out++, <u8>text.charCodeAt(i));
}

function copyByte(): void {
  store<u8>(out++, load<u8>(cursor++));
}

function space(): void {
  while (cursor < stop) {
    const c = load<u8>(cursor);
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return;
    copyByte();
  }
}

function peek(): u8 {
  return cursor < stop ? load<u8>(cursor) : 0;
}

/** Copies a string and leaves the place and length of its characters in `textAt` and `textLength`. */
let textAt: usize = 0;
let textLength: usize = 0;

function copyString(): void {
  if (peek() != QUOTE) {
    broken = true;
    return;
  }
  const from = cursor++;
  while (cursor < stop && load<u8>(cursor) != QUOTE) cursor += load<u8>(cursor) == 0x5c ? 2 : 1;
  if (cursor >= stop) {
    cursor = stop;
    broken = true;
    return;
  }
  cursor++;
  textAt = from + 1;
  textLength = cursor - from - 2;
  memory.copy(out, from, cursor - from);
  out += cursor - from;
}

/** False: the value lies outside of the tenant and nothing was written. */
function value(depth: i32): bool {
  space();
  const c = peek();
  if (depth > MAX_JSON_DEPTH) {
    broken = true;
    return true;
  }
  if (c == 0x7b) return object(depth);
  if (c == 0x5b) {
    array(depth);
    return true;
  }
  if (c == QUOTE) {
    const from = out;
    copyString();
    if (!broken && !isPlainText(textAt, textLength)) {
      out = from;
      write('""');
    }
    return true;
  }
  const from = cursor;
  while (cursor < stop) {
    const b = load<u8>(cursor);
    if (b == 0x2c || b == 0x7d || b == 0x5d || b <= 0x20) break;
    copyByte();
  }
  if (cursor == from) broken = true;
  return true;
}

/** 1: the name is start_key, 2: end_key, else 0. */
function boundName(): i32 {
  if (textLength == 9 && isName('start_key')) return 1;
  return textLength == 7 && isName('end_key') ? 2 : 0;
}

function isName(name: string): bool {
  for (let i = 0; i < name.length; i++) if (load<u8>(textAt + i) != name.charCodeAt(i)) return false;
  return true;
}

/** Maps the hex string at the cursor. False: outside of the tenant. */
function boundValue(bound: Bound): bool {
  space();
  const from = out;
  copyString();
  if (broken) return true;
  let at = readHex(textAt, textLength);
  if (at == 0) {
    broken = true;
    return true;
  }
  let length = escapedLength;
  const mapped = decodeEncoded(at, length, bound);
  if (mapped == Mapped.OUTSIDE) return false;
  if (mapped == Mapped.BROKEN) broken = true;
  if (mapped == Mapped.REPLACED) {
    at = mappedAt;
    length = mappedLength;
  }
  out = from;
  store<u8>(out++, QUOTE);
  out = writeHex(out, at, length);
  store<u8>(out++, QUOTE);
  return true;
}

function object(depth: i32): bool {
  const from = out;
  let inside = true;
  copyByte();
  space();
  if (peek() == 0x7d) {
    copyByte();
    return true;
  }
  while (!broken) {
    space();
    copyString();
    if (broken) break;
    const bound = boundName();
    space();
    if (peek() != 0x3a) {
      broken = true;
      break;
    }
    copyByte();
    if (bound != 0 && !broken) {
      if (!boundValue(bound == 1 ? Bound.LOWER : Bound.UPPER)) inside = false;
    } else if (!value(depth + 1)) write('null');
    space();
    const c = peek();
    if (c == 0x7d) {
      copyByte();
      break;
    }
    if (c != 0x2c) broken = true;
    else copyByte();
  }
  if (!inside) out = from;
  return inside;
}

function array(depth: i32): void {
  copyByte();
  space();
  if (peek() == 0x5d) {
    copyByte();
    return;
  }
  let kept = 0;
  while (!broken) {
    const before = out;
    if (kept > 0) store<u8>(out++, 0x2c);
    if (value(depth + 1)) kept++;
    else out = before;
    space();
    const c = peek();
    cursor++;
    if (c == 0x5d) {
      store<u8>(out++, c);
      return;
    }
    if (c != 0x2c) broken = true;
  }
}
