/** Writes JSON of any length into the arena. */
import { alloc } from '../memory/arena';
import { writeBase64 } from '../wire/base64';
import { Ascii } from '../wire/bytes';
import { writeDecimal } from '../wire/decimal';

const FIRST_BYTES: usize = 4096;
const COMMA: u8 = 0x2c;
const COLON: u8 = 0x3a;
const QUOTE: u8 = 0x22;
const OPEN: u8 = 0x7b;
const CLOSE: u8 = 0x7d;
const OPEN_LIST: u8 = 0x5b;
const CLOSE_LIST: u8 = 0x5d;

/** What was written since `beginJson`. */
export let jsonAt: usize = 0;
export let jsonLength: usize = 0;
let capacity: usize = 0;
/** True when the next member or item needs a comma. */
let needsComma: bool = false;

export function beginJson(): void {
  capacity = FIRST_BYTES;
  jsonAt = alloc(capacity);
  jsonLength = 0;
  needsComma = false;
}

/** Adds bytes as they are. */
export function addRaw(p: usize, length: usize): void {
  if (jsonLength + length > capacity) {
    capacity = (jsonLength + length) * 2;
    const bigger = alloc(capacity);
    memory.copy(bigger, jsonAt, jsonLength);
    jsonAt = bigger;
  }
  memory.copy(jsonAt + jsonLength, p, length);
  jsonLength += length;
}

function addByte(byte: u8): void {
  store<u8>(scratch, byte);
  addRaw(scratch, 1);
}
const scratch: usize = memory.data(32, 4);
const scratchEnd: usize = scratch + 32;

function separate(): void {
  if (needsComma) addByte(COMMA);
  needsComma = true;
}

/** Begins a member of an object with a name that needs no escapes. */
export function addName(p: usize, length: usize): void {
  separate();
  addQuoted(p, length);
  addByte(COLON);
  needsComma = false;
}

export function addMember(name: Ascii): void {
  addName(changetype<usize>(name), name.length);
}

function addQuoted(p: usize, length: usize): void {
  addByte(QUOTE);
  addRaw(p, length);
  addByte(QUOTE);
}

/** Adds a text that needs no escapes. */
export function addText(p: usize, length: usize): void {
  separate();
  addQuoted(p, length);
}

/** Adds bytes in base64. */
export function addBase64(p: usize, length: usize): void {
  const text = alloc(((length + 2) / 3) * 4);
  addText(text, writeBase64(text, p, length) - text);
}

export function addAscii(text: Ascii): void {
  addText(changetype<usize>(text), text.length);
}

export function addNumber(value: u64): void {
  separate();
  const at = writeDecimal(scratchEnd, value);
  addRaw(at, scratchEnd - at);
}

export function openObject(): void {
  separate();
  addByte(OPEN);
  needsComma = false;
}

export function closeObject(): void {
  addByte(CLOSE);
  needsComma = true;
}

export function openList(): void {
  separate();
  addByte(OPEN_LIST);
  needsComma = false;
}

export function closeList(): void {
  addByte(CLOSE_LIST);
  needsComma = true;
}

/** Adds an item or a value that was written before. */
export function addValue(p: usize, length: usize): void {
  separate();
  addRaw(p, length);
}
