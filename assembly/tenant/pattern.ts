/**
 * Patterns over ASCII texts: `*` is any run of characters without '/', `{tenant}` captures a tenant's name, and all else matches itself.
 * A pattern without either is an exact match. Between two slashes there is at most one of them:
 *
 *   spiffe://cluster.local/ns/{tenant}-tidb/sa/*      prefix {tenant} suffix / ...
 *
 * So there is one reading only, and a match takes one pass.
 */
import { isSameBytes } from '../wire/bytes';
export const CAPTURE: string = '{tenant}';

const CAPTURE_BYTES: usize = 8;
const STAR: u8 = 0x2a;
const BRACE: u8 = 0x7b;
const SLASH: u8 = 0x2f;
const SPACE: i32 = 0x20;
const TILDE: i32 = 0x7e;
const MAX_NAME_BYTES: usize = 63;
const MAX_PATTERN_LENGTH: i32 = 1024;

/** The capture of the last match; 0 bytes if its pattern captures nothing. */
export let captureAt: usize = 0;
export let captureLength: usize = 0;

/** True if there are two of '*' and {tenant} between the same slashes. */
function isAmbiguous(pattern: string): bool {
  let tokens = 0;
  for (let i = 0; i < pattern.length; i++) {
    const c = <u8>pattern.charCodeAt(i);
    if (c == SLASH) tokens = 0;
    else if ((c == STAR || c == BRACE) && ++tokens > 1) return true;
  }
  return false;
}

/** Why a pattern is invalid, or ''. */
export function patternError(pattern: string): string {
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern.charCodeAt(i);
    if (c <= SPACE || c > TILDE) return 'must be printable ASCII without spaces';
  }
  if (pattern.length > MAX_PATTERN_LENGTH)
    return 'must have at most ' + MAX_PATTERN_LENGTH.toString() + ' characters';
  const first = pattern.indexOf(CAPTURE);
  const rest =
    first < 0 ? pattern : pattern.substring(0, first) + '/' + pattern.substring(first + CAPTURE.length);
  if (rest.indexOf(CAPTURE) >= 0) return 'captures {tenant} twice';
  if (rest.indexOf('{') >= 0 || rest.indexOf('}') >= 0) return 'has a brace that does not belong to {tenant}';
  if (pattern.indexOf('**') >= 0) return "has '**'; one '*' stands for any run of characters without '/'";
  if (pattern.indexOf('*' + CAPTURE) >= 0 || pattern.indexOf(CAPTURE + '*') >= 0)
    return "has '*' beside {tenant}: where the name begins or ends would be ambiguous";
  if (isAmbiguous(pattern))
    return "has more than one of '*' and {tenant} between two slashes: what each stands for would be ambiguous";
  return '';
}

/** True for a pattern that matches one text only. */
export function isExact(pattern: string): bool {
  return pattern.indexOf('*') < 0 && pattern.indexOf(CAPTURE) < 0;
}

function isNameCharacter(c: i32): bool {
  return (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c == 0x2d;
}

/** True for `[a-z0-9-]{1,63}`. */
export function isTenantName(name: string): bool {
  if (name.length == 0 || name.length > <i32>MAX_NAME_BYTES) return false;
  for (let i = 0; i < name.length; i++) if (!isNameCharacter(name.charCodeAt(i))) return false;
  return true;
}

function isNameAt(at: usize, length: usize): bool {
  if (length == 0 || length > MAX_NAME_BYTES) return false;
  for (let i: usize = 0; i < length; i++) if (!isNameCharacter(load<u8>(at + i))) return false;
  return true;
}

/** True for a text of printable ASCII without spaces, as SPIFFE ids and the names of Kubernetes are. */
export function isPrintable(at: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i++) {
    const c = <i32>load<u8>(at + i);
    if (c <= SPACE || c > TILDE) return false;
  }
  return true;
}

/** The end of the segment that begins at this place. */
function segmentEnd(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) != SLASH) at++;
  return at;
}

/** Matches the whole text of `length` bytes at `text`. The capture is in `captureAt` and `captureLength`. */
export function matches(pattern: ArrayBuffer, text: usize, length: usize): bool {
  let p = changetype<usize>(pattern);
  const patternEnd = p + <usize>pattern.byteLength;
  const end = text + length;
  captureLength = 0;
  while (p < patternEnd) {
    const c = load<u8>(p);
    if (c != STAR && c != BRACE) {
      if (text == end || load<u8>(text) != c) return false;
      text++;
      p++;
      continue;
    }
    const suffix = p + (c == STAR ? 1 : CAPTURE_BYTES);
    p = segmentEnd(suffix, patternEnd);
    const last = segmentEnd(text, end);
    const suffixLength = p - suffix;
    if (last - text < suffixLength) return false;
    const cut = last - suffixLength;
    if (!isSameBytes(cut, suffix, suffixLength)) return false;
    if (c == BRACE) {
      captureAt = text;
      captureLength = cut - text;
      if (!isNameAt(captureAt, captureLength) && !(covering && isCapture(captureAt, captureLength)))
        return false;
    }
    text = last;
  }
  return text == end;
}

/** True if the text is itself a pattern. */
let covering = false;

function isCapture(at: usize, length: usize): bool {
  return length == CAPTURE_BYTES && load<u8>(at) == BRACE;
}

/** True if `pattern` matches every text that `other` matches, as far as their forms show it: taken as a text, `other` matches. */
export function covers(pattern: ArrayBuffer, other: ArrayBuffer): bool {
  covering = true;
  const all = matches(pattern, changetype<usize>(other), other.byteLength);
  covering = false;
  return all;
}
