/**
 * Maps names in PD's shared lists: region label rules and groups of placement rules.
 *
 *   client's name    -> "tidb-mesh:" tenant ":" name      PD's routes take no empty segment, and no slash in a group
 *
 * Tenant 0 keeps its names. Others' names, the rules of their boundaries (tidb-mesh/<tenant>) and PD's own group do not exist for it.
 */
import * as names from '../keys/namespace';
import { alloc } from '../memory/arena';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';

const MAX_ID_BYTES: usize = 1024;
const MAX_GROUP_BYTES: usize = 200;

const SLASH: u8 = 0x2f;
const COLON: u8 = 0x3a;
const DOT: u8 = 0x2e;
const BACKSLASH: u8 = 0x5c;
const LETTER_U: u8 = 0x75;

const BOUNDARIES: Ascii = ascii('tidb-mesh/');
const TENANTS: Ascii = ascii('tidb-mesh:');
const PD: Ascii = ascii('pd');
const TIFLASH: Ascii = ascii('tiflash');
/** JSON's escapes of one character, without the slash's. */
const SHORT_ESCAPES: Ascii = ascii('"\\bfnrt');
/** Go writes these ASCII characters as \u00XX, besides control characters. */
const HTML: Ascii = ascii('<>&');

/** The result of the last mapping. */
export let nameAt: usize = 0;
export let nameLength: usize = 0;

function holds(text: Ascii, c: u8): bool {
  for (let i: usize = 0; i < <usize>text.length; i++)
    if (load<u8>(changetype<usize>(text) + i) == c) return true;
  return false;
}

function hexDigits(p: usize): i32 {
  let value = 0;
  for (let i: usize = 0; i < 4; i++) {
    const c = load<u8>(p + i);
    const lower = c | 0x20;
    if (c >= 0x30 && c <= 0x39) value = (value << 4) | (c - 0x30);
    else if (lower >= 0x61 && lower <= 0x66) value = (value << 4) | (lower - 0x57);
    else return -1;
  }
  return value;
}

/** True when no character of a JSON string that could be written plainly is written as an escape: so the text is what it looks like. */
export function isPlainlyWritten(p: usize, length: usize): bool {
  const end = p + length;
  while (p < end) {
    if (load<u8>(p++) != BACKSLASH) continue;
    if (p == end) return false;
    const c = load<u8>(p++);
    if (c != LETTER_U) {
      if (!holds(SHORT_ESCAPES, c)) return false;
      continue;
    }
    if (end - p < 4) return false;
    const value = hexDigits(p);
    if (value < 0 || (value >= 0x20 && value < 0x7f && !holds(HTML, <u8>value))) return false;
    p += 4;
  }
  return true;
}

/** PD joins ids to a path. Without empty and dot segments, no id leads out of the tenant's part. */
function isPathSafe(p: usize, length: usize): bool {
  let segment = p;
  const end = p + length;
  for (let q = p; q <= end; q++) {
    if (q < end && load<u8>(q) != SLASH) continue;
    const size = q - segment;
    if (size == 0) return false;
    if (size <= 2 && load<u8>(segment) == DOT && load<u8>(q - 1) == DOT) return false;
    segment = q + 1;
  }
  return true;
}

/** Returns the tenant's prefix with room for `length` bytes after it; 0 for tenant 0. Made from its etcd prefix, "/tidb-mesh/" tenant ":". */
function prefixAnd(length: usize): usize {
  names.encodeName(0, 0);
  if (names.namedLength == 0) return 0;
  const at = alloc(names.namedLength + length);
  nameLength = names.namedLength - 1;
  memory.copy(at, names.namedAt + 1, nameLength);
  store<u8>(at + TENANTS.length - 1, COLON);
  return at;
}

/** Adds the tenant's prefix. */
function join(p: usize, length: usize): void {
  nameAt = prefixAnd(length);
  if (nameAt == 0) {
    nameAt = p;
    nameLength = length;
    return;
  }
  memory.copy(nameAt + nameLength, p, length);
  nameLength += length;
}

/** Removes the tenant's prefix. False: it is not there, or for tenant 0 the name is another's. */
function strip(p: usize, length: usize): bool {
  const at = prefixAnd(0);
  const size: usize = at == 0 ? 0 : nameLength;
  nameAt = p + size;
  nameLength = length - size;
  if (at == 0) return !startsWith(p, length, TENANTS);
  return length >= size && isSameBytes(p, at, size);
}

/** False if tenant 0 uses another tenant's name. */
function encode(p: usize, length: usize): bool {
  join(p, length);
  return nameAt != p || !startsWith(p, length, TENANTS);
}

/** Maps an id of a region label rule, with JSON's escapes. False: it is not for tenants. */
export function encodeLabelId(p: usize, length: usize): bool {
  const good = length <= MAX_ID_BYTES && isPathSafe(p, length) && isPlainlyWritten(p, length);
  if (!good || startsWith(p, length, BOUNDARIES)) return false;
  return encode(p, length);
}

/** Writes an id that nobody has. */
export function encodeNobody(): void {
  join(0, 0);
}

/** Maps a stored id back. False: it is not the tenant's. */
export function decodeLabelId(p: usize, length: usize): bool {
  return !startsWith(p, length, BOUNDARIES) && strip(p, length);
}

/** Letters, digits and `_ - . : ~`. */
function isPlainGroup(p: usize, length: usize): bool {
  if (length == 0 || length > MAX_GROUP_BYTES) return false;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(p + i);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    if (!letter && !(c >= 0x30 && c <= COLON) && c != 0x2d && c != DOT && c != 0x5f && c != 0x7e)
      return false;
  }
  return true;
}

/** Maps a group of placement rules. False: it is not for tenants. */
export function encodeGroup(p: usize, length: usize): bool {
  if (!isPlainGroup(p, length) || equals(p, length, TIFLASH)) return false;
  return encode(p, length) && !equals(nameAt, nameLength, PD);
}

/** Maps a stored group back. False: it is not the tenant's. */
export function decodeGroup(p: usize, length: usize): bool {
  return strip(p, length) && !(nameAt == p && equals(p, length, PD));
}
