/** Reads one JSON text and writes another at the same time. One is in progress at a time. The result is in the arena. */
import { alloc, beginWork } from '../memory/arena';
import { Status } from '../wire/status';

export const QUOTE: u8 = 0x22;
export const COMMA: u8 = 0x2c;
export const COLON: u8 = 0x3a;
const BACKSLASH: u8 = 0x5c;

/** The text that was written so far. */
export let jsonAt: usize = 0;
export let jsonLength: usize = 0;
let capacity: usize = 0;

/** The address of the next byte to read. */
let cursor: usize = 0;
let stop: usize = 0;
/** The first error. */
export let status: Status = Status.OK;
/** The string that was read last, without its quotes, with its escapes. */
export let textAt: usize = 0;
export let textLength: usize = 0;

export function begin(p: usize, length: usize): void {
  beginWork(length);
  cursor = p;
  stop = p + length;
  status = Status.OK;
  capacity = length + (length >> 1) + 1024;
  jsonAt = alloc(capacity);
  jsonLength = 0;
}

export function fail(why: Status): void {
  if (status == Status.OK) status = why;
}

/** Makes room for `size` more bytes. */
function reserve(size: usize): usize {
  if (jsonLength + size > capacity) {
    capacity = (jsonLength + size) * 2;
    const bigger = alloc(capacity);
    memory.copy(bigger, jsonAt, jsonLength);
    jsonAt = bigger;
  }
  return jsonAt + jsonLength;
}

export function put(p: usize, length: usize): void {
  memory.copy(reserve(length), p, length);
  jsonLength += length;
}

export function putByte(byte: u8): void {
  store<u8>(reserve(1), byte);
  jsonLength++;
}

export function putText(p: usize, length: usize): void {
  putByte(QUOTE);
  put(p, length);
  putByte(QUOTE);
}

/** Removes what was written after this length. */
export function cutAt(length: usize): void {
  jsonLength = length;
}

/** Returns the next byte that is no space; 0 at the end. */
export function peek(): u8 {
  while (cursor < stop) {
    const c = load<u8>(cursor);
    if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return c;
    cursor++;
  }
  return 0;
}

export function take(expected: u8): bool {
  if (peek() != expected) return false;
  cursor++;
  return true;
}

export function expect(expected: u8): void {
  if (!take(expected)) fail(Status.MALFORMED);
}

export function readText(): void {
  textLength = 0;
  expect(QUOTE);
  if (status != Status.OK) return;
  textAt = cursor;
  while (cursor < stop) {
    const c = load<u8>(cursor);
    if (c == QUOTE) {
      textLength = cursor - textAt;
      cursor++;
      return;
    }
    if (c < 0x20) break;
    cursor += c == BACKSLASH ? 2 : 1;
  }
  cursor = stop;
  fail(Status.MALFORMED);
}

/** Reads a number or a word into `textAt`. */
export function readWord(): void {
  peek();
  textAt = cursor;
  while (cursor < stop) {
    const c = load<u8>(cursor);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    if (!letter && !(c >= 0x30 && c <= 0x39) && c != 0x2b && c != 0x2d && c != 0x2e) break;
    cursor++;
  }
  textLength = cursor - textAt;
  if (textLength == 0) fail(Status.MALFORMED);
}
