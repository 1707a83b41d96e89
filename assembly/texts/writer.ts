/** Builds a text of ASCII parts in the arena; what goes beyond MAX_TEXT is left out. */
import { alloc } from '../memory/arena';
import { Ascii } from '../wire/bytes';
import { textOf } from './text';

const MAX_TEXT: usize = 1024;
const QUESTION_MARK: u8 = 0x3f;

export let textAt: usize = 0;
export let textLength: usize = 0;

export function beginText(): void {
  textAt = alloc(MAX_TEXT);
  textLength = 0;
}

/** Begins again in the place of the text that was begun last. */
export function clearText(): void {
  textLength = 0;
}

/** One of the texts that the filter knows. */
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
  if (value >= 10) addNumber(value / 10);
  addByte(<u8>(0x30 + (value % 10)));
}

/** What somebody else wrote: at most `most` bytes of it, with '?' for what is not printable ASCII and for quotes and backslashes. */
export function addForeign(p: usize, length: usize, most: usize): void {
  for (let i: usize = 0; i < min(length, most); i++) {
    const c = load<u8>(p + i);
    addByte(c < 0x20 || c > 0x7e || c == 0x22 || c == 0x5c ? QUESTION_MARK : c);
  }
}
