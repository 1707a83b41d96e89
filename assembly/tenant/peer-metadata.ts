/**
 * The peer's metadata as its own proxy writes it into `x-envoy-peer-metadata`: base64 over a google.protobuf.Struct. The sender of
 * the request wrote it, so reading is bounded and allows one reading only.
 *
 *   Struct  { map<string, Value> fields = 1 }     an entry: 1 key, 2 Value
 *   Value   { string_value = 3, struct_value = 5 }
 */
import * as base64 from '../wire/base64';
import { Ascii, equals } from '../wire/bytes';
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';
import { Fact } from './facts';

/** Envoy accepts 60 KiB of headers; sidecars send one or two KiB of metadata. */
const MOST_BYTES: usize = 16 * 1024;

const FIELDS: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
const STRING_VALUE: u32 = 3;
const STRUCT_VALUE: u32 = 5;

let structAt: usize = 0;
let structEnd: usize = 0;
/** False if the bytes that were read so far are ambiguous. */
let sound = false;

/** The result of the last search; 0 if nothing was found. */
export let metadataAt: usize = 0;
export let metadataLength: usize = 0;

/** The length-delimited field that `nextField` read. */
let field: u32 = 0;
let bodyAt: usize = 0;
let bodyEnd: usize = 0;

/** Reads a field and returns the address behind it. Returns 0 at the end, and for fields that no Struct has. */
function nextField(p: usize, end: usize): usize {
  if (p == end) return 0;
  const tag = readVarint(p, end);
  const at = varint.readEnd;
  const length = at == 0 ? 0 : readVarint(at, end);
  sound =
    sound &&
    at != 0 &&
    varint.readEnd != 0 &&
    (tag & 7) == 2 &&
    tag < 128 &&
    length <= <u64>(end - varint.readEnd);
  if (!sound) return 0;
  field = <u32>(tag >> 3);
  bodyAt = varint.readEnd;
  bodyEnd = varint.readEnd + <usize>length;
  return bodyEnd;
}

/** Finds the one field with this number in a message whose fields come once. */
function single(at: usize, end: usize, wanted: u32): bool {
  let found: usize = 0;
  let foundEnd: usize = 0;
  for (let p = nextField(at, end); p != 0; p = nextField(p, end)) {
    if (field != wanted) continue;
    sound = sound && found == 0;
    found = bodyAt;
    foundEnd = bodyEnd;
  }
  bodyAt = found;
  bodyEnd = foundEnd;
  return sound && found != 0;
}

/** Finds the Value of a key, as `bodyAt` and `bodyEnd`. */
function valueOf(at: usize, end: usize, key: Ascii): bool {
  let found: usize = 0;
  let foundEnd: usize = 0;
  for (let p = nextField(at, end); p != 0; p = nextField(p, end)) {
    sound = sound && field == FIELDS;
    const entryAt = bodyAt;
    const entryEnd = bodyEnd;
    if (!single(entryAt, entryEnd, ENTRY_KEY) || !equals(bodyAt, bodyEnd - bodyAt, key)) continue;
    sound = sound && found == 0;
    if (!single(entryAt, entryEnd, ENTRY_VALUE)) continue;
    found = bodyAt;
    foundEnd = bodyEnd;
  }
  bodyAt = found;
  bodyEnd = foundEnd;
  return sound && found != 0;
}

/** Reads the header's value; false if it is no metadata. */
export function openMetadata(header: usize, length: usize): bool {
  const bytes = length > MOST_BYTES ? <usize>0 : base64.decodeBase64(header, length);
  structAt = bytes;
  structEnd = bytes + base64.decodedLength;
  return bytes != 0;
}

/** Finds a fact in the metadata; false if the metadata is unreadable. */
export function findMetadata(fact: Fact): bool {
  metadataLength = 0;
  sound = true;
  if (!valueOf(structAt, structEnd, fact.key)) return sound;
  if (fact.labelKey.length != 0) {
    if (!single(bodyAt, bodyEnd, STRUCT_VALUE)) return sound;
    if (!valueOf(bodyAt, bodyEnd, fact.labelKey)) return sound;
  }
  if (!single(bodyAt, bodyEnd, STRING_VALUE)) return sound;
  metadataAt = bodyAt;
  metadataLength = bodyEnd - bodyAt;
  return true;
}
