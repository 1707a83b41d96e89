/** Builds a text of ASCII in the arena. Bytes beyond MAX_TEXT are left out. */
import { alloc } from '../memory/arena';
import { Ascii } from '../wire/bytes';
import { MAX_DIGITS, writeDecimal } from '../wire/decimal';
import { textOf } from './text';

const MAX_TEXT: usize = 1024;
const QUESTION_MARK: u8 = 0x3f;
const OPEN: u8 = 0x7b;
const CLOSE: u8 = 0x7d;
const ZERO: u8 = 0x30;

/** Values for a template's places: pointer:usize, length:usize. */
const PLACES: usize = 7;
const VALUE_BYTES: usize = 8;
const values: usize = memory.data(56, 4);

const digitsEnd: usize = heap.alloc(MAX_DIGITS) + MAX_DIGITS;

export let textAt: usize = 0;
export let textLength: usize = 0;

export function beginText(): void {
  textAt = alloc(MAX_TEXT);
  textLength = 0;
}

/** Clears the current text, and reuses its memory. */
export function clearText(): void {
  textLength = 0;
}

/** Adds one of the filter's texts. */
export function addText(text: u32): void {
  addAscii(textOf(text));
}

export function addByte(byte: u8): void {
  if (textLength < MAX_TEXT) store<u8>(textAt + textLength++, byte);
}

export function addBytes(p: usize, length: usize): void {
  const size = min<usize>(length, MAX_TEXT - textLength);
  memory.copy(textAt + textLength, p, size);
  textLength += size;
}

export function addAscii(text: Ascii): void {
  addBytes(changetype<usize>(text), text.length);
}

export function addNumber(value: u32): void {
  const at = writeDecimal(digitsEnd, value);
  addBytes(at, digitsEnd - at);
}

/** Adds foreign text, at most `most` bytes of it. Replaces quotes, backslashes and what is not printable ASCII by '?'. */
export function addForeign(p: usize, length: usize, most: usize): void {
  for (let i: usize = 0; i < min(length, most); i++) {
    const c = load<u8>(p + i);
    addByte(c < 0x20 || c > 0x7e || c == 0x22 || c == 0x5c ? QUESTION_MARK : c);
  }
}

/** Sets the value for a place of the next template. The value must not move until then. */
export function fill(place: usize, p: usize, length: usize): void {
  const value = values + place * VALUE_BYTES;
  store<usize>(value, p);
  store<usize>(value, length, 4);
}

/** Sets one of the filter's texts for a place. */
export function fillText(place: usize, text: u32): void {
  const value = textOf(text);
  fill(place, changetype<usize>(value), value.length);
}

/** Sets for a place what was written since `beginText`. */
export function fillWritten(place: usize): void {
  fill(place, textAt, textLength);
}

export function fillNumber(place: usize, value: u32): void {
  beginText();
  addNumber(value);
  fillWritten(place);
}

/** Writes a template, with {0} and so on replaced by the values of these places. Other braces stay. */
export function addTemplate(text: u32): void {
  const template = textOf(text);
  const at = changetype<usize>(template);
  const length = <usize>template.length;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(at + i);
    if (c == OPEN && i + 2 < length && load<u8>(at + i + 2) == CLOSE) {
      const place = <usize>load<u8>(at + i + 1) - ZERO;
      if (place < PLACES) {
        const value = values + place * VALUE_BYTES;
        addBytes(load<usize>(value), load<usize>(value, 4));
        i += 2;
        continue;
      }
    }
    addByte(c);
  }
}

/** Begins a text with a template. */
export function writeTemplate(text: u32): void {
  beginText();
  addTemplate(text);
}
