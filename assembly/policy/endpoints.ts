/** Looks up a request to PD's HTTP API in the table of proto/pd/endpoints.ts. Unknown requests are refused. */
import { HTTP_ENDPOINTS, HTTP_ENDPOINT_COUNT, HttpDecision } from '../schema/http';
import { textOf } from '../texts/text';
import { addAscii, addByte } from '../texts/writer';
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';

/** The mapped segments as people write them, in proto/pd/endpoints.ts and in `policy`. */
const GROUP_NAME: Ascii = ascii('{group}');
const LABEL_ID_NAME: Ascii = ascii('{label-id}');
const KEY_NAME: Ascii = ascii('{key}');

/** u16 per endpoint. */
const WORDS: u32 = 7;

const ROOT: Ascii = ascii('/pd/api/');
/** In the order of their numbers in the table, from 1. */
const METHODS: Ascii[] = [ascii('GET'), ascii('POST'), ascii('PATCH'), ascii('DELETE'), ascii('PUT')];
const GET: u32 = 1;
const NOT_FOUND: u32 = u32.MAX_VALUE;

const STAR: u8 = 0x2a;
const SLASH: u8 = 0x2f;
const SPACE: u8 = 0x20;
const GROUP: u8 = 0x24;
const LABEL_ID: u8 = 0x26;
const KEY: u8 = 0x25;

/** The kind of a mapped segment of a path. */
export const enum Segment {
  NONE,
  GROUP,
  LABEL_ID,
  KEY,
}

/** The endpoint that was found last. */
export let endpoint: u32 = NOT_FOUND;
/** The mapped segment of its path. */
export let segment: Segment = Segment.NONE;
export let segmentAt: usize = 0;
export let segmentLength: usize = 0;

function word(place: u32, i: usize): u32 {
  return load<u16>(HTTP_ENDPOINTS + ((<usize>(place * WORDS)) << 1) + (i << 1));
}

export function decisionOf(place: u32): u32 {
  return (word(place, 1) >> 4) & 15;
}

/** True for GET. */
export function isGet(place: u32): bool {
  return (word(place, 1) & 15) == GET;
}

/** HttpQuery. */
export function queryOf(place: u32): u32 {
  return word(place, 1) >> 8;
}

/** The body's entry plus one; 0 if the body is not read. */
export function bodyOf(place: u32): u32 {
  return word(place, 2);
}

/** The same for a good answer; 0: a text. */
export function answerOf(place: u32): u32 {
  return word(place, 3);
}

/** A text: why it is refused, or the answer. */
export function reasonOf(place: u32): u32 {
  return word(place, 4);
}

/** The names of a range's parameters, as places in the texts. */
export function startNameOf(place: u32): u32 {
  return word(place, 5);
}

export function endNameOf(place: u32): u32 {
  return word(place, 6);
}

/** True if the answer must be read. */
export function isMapped(place: u32): bool {
  const decision = decisionOf(place);
  return decision == HttpDecision.MAP || decision == HttpDecision.REGIONS;
}

/** The end of the segment that begins at `p`. */
function segmentEnd(p: usize, end: usize): usize {
  while (p < end && load<u8>(p) != SLASH) p++;
  return p;
}

/** Matches a path, without the root, with an endpoint's pattern. */
function matches(pattern: Ascii, p: usize, end: usize): bool {
  let q = changetype<usize>(pattern);
  const patternEnd = q + <usize>pattern.length;
  segment = Segment.NONE;
  while (q < patternEnd) {
    const c = load<u8>(q++);
    const wild = c == STAR || c == GROUP || c == LABEL_ID || c == KEY;
    if (!wild) {
      if (p == end || load<u8>(p++) != c) return false;
      continue;
    }
    const from = p;
    p = segmentEnd(p, end);
    if (p == from) return false;
    if (c == STAR) {
      // `**` matches the rest.
      if (q < patternEnd && load<u8>(q) == STAR) return true;
      continue;
    }
    segment = c == GROUP ? Segment.GROUP : c == LABEL_ID ? Segment.LABEL_ID : Segment.KEY;
    segmentAt = from;
    segmentLength = p - from;
  }
  return p == end;
}

function methodNumber(p: usize, length: usize): u32 {
  for (let i = 0; i < METHODS.length; i++) if (equals(p, length, METHODS[i])) return i + 1;
  return 0;
}

/** Writes an endpoint's name as in proto/pd/endpoints.ts with texts/writer: `GET /pd/api/v1/region/key/{key}`. */
export function nameEndpoint(place: u32): void {
  const method = word(place, 1) & 15;
  if (method == 0) addByte(STAR);
  else addAscii(METHODS[method - 1]);
  addByte(SPACE);
  addAscii(ROOT);
  const pattern = textOf(word(place, 0));
  for (let i = 0; i < pattern.length; i++) {
    const c = load<u8>(changetype<usize>(pattern) + <usize>i);
    if (c == GROUP) addAscii(GROUP_NAME);
    else if (c == LABEL_ID) addAscii(LABEL_ID_NAME);
    else if (c == KEY) addAscii(KEY_NAME);
    else addByte(c);
  }
}

/** Finds the endpoint of a method and a path without its query. False: it is unknown, and refused. */
export function findEndpoint(method: usize, methodLength: usize, path: usize, pathLength: usize): bool {
  endpoint = NOT_FOUND;
  if (!startsWith(path, pathLength, ROOT)) return false;
  const number = methodNumber(method, methodLength);
  for (let i: u32 = 0; i < HTTP_ENDPOINT_COUNT; i++) {
    const wanted = word(i, 1) & 15;
    if (wanted != 0 && wanted != number) continue;
    if (!matches(textOf(word(i, 0)), path + ROOT.length, path + pathLength)) continue;
    endpoint = i;
    return true;
  }
  return false;
}
