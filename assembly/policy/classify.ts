/**
 * Decides what a request is, in one reading for the filter and for Envoy's route. gRPC is POST, an exact `/pkg.Service/Method`, no query,
 * content type application/grpc or application/grpc+proto. Everything else is HTTP. Ambiguous requests are refused, never
 * normalised.
 */
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';

export const enum RequestKind {
  REFUSED,
  GRPC,
  HTTP,
}

const GRPC_TYPE: Ascii = ascii('application/grpc');
const GRPC_PROTO_TYPE: Ascii = ascii('application/grpc+proto');
const POST: Ascii = ascii('POST');
const CONNECT: Ascii = ascii('CONNECT');

/** Length of the path without its query. */
export function pathBytes(p: usize, length: usize): usize {
  for (let i: usize = 0; i < length; i++) if (load<u8>(p + i) == 0x3f) return i;
  return length;
}

/** Paths whose last segment is a key or a rule's id, with escapes. */
const REGION_BY_KEY: Ascii = ascii('/pd/api/v1/region/key/');
const LABEL_RULE: Ascii = ascii('/pd/api/v1/config/region-label/rule/');

/** The begin of the path's segment that may have escapes; 0 if there is none. */
export function escapedSegment(p: usize, length: usize): usize {
  if (startsWith(p, length, REGION_BY_KEY)) return p + REGION_BY_KEY.length;
  return startsWith(p, length, LABEL_RULE) ? p + LABEL_RULE.length : 0;
}

/** Letters, digits, `-._~+` and escapes, as Go's url.QueryEscape writes a key. */
function isEscaped(p: usize, end: usize): bool {
  if (p == end) return false;
  for (; p < end; p++) {
    const c = load<u8>(p);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    const digit = c >= 0x30 && c <= 0x39;
    const mark = c == 0x2d || c == 0x2e || c == 0x5f || c == 0x7e || c == 0x2b || c == 0x25;
    if (!letter && !digit && !mark) return false;
  }
  return true;
}

/** Letters, digits and `-._~/,=:` only, no empty or dot segment. Percent-escapes are for queries, a key and a rule's id. */
function isPlainPath(p: usize, length: usize): bool {
  const escaped = escapedSegment(p, length);
  if (escaped != 0) return isEscaped(escaped, p + length);
  if (length == 0 || load<u8>(p) != 0x2f) return false;
  let segment: usize = 0;
  for (let i: usize = 1; i <= length; i++) {
    const c = i < length ? load<u8>(p + i) : 0x2f;
    if (c == 0x2f) {
      if (segment == 0 && i < length) return false;
      const dots =
        segment <= 2 && load<u8>(p + i - 1) == 0x2e && (segment == 1 || load<u8>(p + i - 2) == 0x2e);
      if (segment != 0 && dots) return false;
      segment = 0;
      continue;
    }
    segment++;
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    const digit = c >= 0x30 && c <= 0x39;
    if (
      !letter &&
      !digit &&
      c != 0x2d &&
      c != 0x2e &&
      c != 0x5f &&
      c != 0x7e &&
      c != 0x2c &&
      c != 0x3d &&
      c != 0x3a
    )
      return false;
  }
  return true;
}

export function classify(
  method: usize,
  methodLength: usize,
  path: usize,
  pathLength: usize,
  contentType: usize,
  contentTypeLength: usize,
): RequestKind {
  const plain = pathBytes(path, pathLength);
  if (!isPlainPath(path, plain) || equals(method, methodLength, CONNECT)) return RequestKind.REFUSED;
  if (!startsWith(contentType, contentTypeLength, GRPC_TYPE)) return RequestKind.HTTP;
  const exact =
    equals(contentType, contentTypeLength, GRPC_TYPE) ||
    equals(contentType, contentTypeLength, GRPC_PROTO_TYPE);
  return exact && plain == pathLength && equals(method, methodLength, POST)
    ? RequestKind.GRPC
    : RequestKind.REFUSED;
}
