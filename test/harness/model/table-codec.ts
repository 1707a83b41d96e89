/** The table codec once more, slowly: whole keys compared as bytes. See DESIGN of key spaces in assembly/keys/table.ts. */
import { compare, concat, EMPTY, unhex } from './bytes.ts';

export const OUTSIDE = 'outside';
export const BROKEN = 'broken';
/** Bytes, or what is wrong with them. */
export type Result = Uint8Array | typeof OUTSIDE | typeof BROKEN;
export type Bound = 'key' | 'lower' | 'upper';

/** First key that carries a tag, and the first one that no TiDB writes. */
export const TAGGABLE = unhex('74 8000 000000000001');
export const LIMIT = unhex('74 8001');

const ID_BYTES = 6;
const TAGGED = 3;
const PREFIX = TAGGED + ID_BYTES;

function tagOf(tenant: number): number[] {
  const tag = 0x8000 + tenant;
  return [0x74, tag >> 8, tag & 0xff];
}

/** The tenant's first key. */
export function first(tenant: number): Uint8Array {
  return concat(tagOf(tenant), new Uint8Array(ID_BYTES));
}

/** The first key behind the tenant, as it is sent to the store. */
export function behind(tenant: number): Uint8Array {
  return first(tenant + 1);
}

export function encodeKey(tenant: number, key: Uint8Array): Result {
  if (compare(key, LIMIT) >= 0) return OUTSIDE;
  if (compare(key, TAGGABLE) >= 0) return concat(tagOf(tenant), key.subarray(TAGGED));
  return concat(first(tenant), key);
}

export function encodeLower(tenant: number, key: Uint8Array): Result {
  const mapped = encodeKey(tenant, key);
  return mapped === OUTSIDE ? behind(tenant) : mapped;
}

export function encodeUpper(tenant: number, key: Uint8Array): Result {
  return key.length === 0 ? behind(tenant) : encodeLower(tenant, key);
}

function hasTag(tenant: number, key: Uint8Array): boolean {
  return compare(key.subarray(0, TAGGED), Uint8Array.from(tagOf(tenant))) === 0;
}

export function decodeKey(tenant: number, key: Uint8Array): Result {
  if (!hasTag(tenant, key)) return OUTSIDE;
  if (key.subarray(TAGGED, PREFIX).some((byte) => byte !== 0))
    return concat([0x74, 0x80, 0x00], key.subarray(TAGGED));
  return key.length < PREFIX ? OUTSIDE : key.slice(PREFIX);
}

function inside(tenant: number, key: Uint8Array): Result {
  const mapped = decodeKey(tenant, key);
  const prefixed = key.subarray(TAGGED, PREFIX).every((byte) => byte === 0);
  return prefixed && mapped instanceof Uint8Array && compare(mapped, TAGGABLE) >= 0 ? TAGGABLE : mapped;
}

export function decodeStart(tenant: number, key: Uint8Array): Result {
  if (compare(key, first(tenant)) <= 0) return EMPTY;
  return hasTag(tenant, key) ? inside(tenant, key) : OUTSIDE;
}

export function decodeEnd(tenant: number, key: Uint8Array): Result {
  if (key.length === 0) return EMPTY;
  if (compare(key, first(tenant)) <= 0) return OUTSIDE;
  return hasTag(tenant, key) ? inside(tenant, key) : EMPTY;
}

/** TiKV's memcomparable form: groups of eight bytes, each with 0xFF - padding behind it. */
export function memcomparable(key: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at <= key.length; at += 8) {
    const group = [...key.subarray(at, at + 8)];
    const padding = 8 - group.length;
    out.push(...group, ...new Array<number>(padding).fill(0), 0xff - padding);
  }
  return Uint8Array.from(out);
}

/** Undefined when the bytes are not one whole encoded key. */
export function fromMemcomparable(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length === 0 || bytes.length % 9 !== 0) return undefined;
  const out: number[] = [];
  for (let at = 0; at < bytes.length; at += 9) {
    const padding = 0xff - (bytes[at + 8] ?? 0);
    const isLast = at + 9 === bytes.length;
    if (padding > 8 || padding > 0 !== isLast) return undefined;
    if (bytes.subarray(at + 8 - padding, at + 8).some((byte) => byte !== 0)) return undefined;
    out.push(...bytes.subarray(at, at + 8 - padding));
  }
  return Uint8Array.from(out);
}

const ENCODE = { key: encodeKey, lower: encodeLower, upper: encodeUpper };
const DECODE = { key: decodeKey, lower: decodeStart, upper: decodeEnd };

export function encodeEncoded(tenant: number, bytes: Uint8Array, bound: Bound): Result {
  const raw = bytes.length === 0 ? EMPTY : fromMemcomparable(bytes);
  if (raw === undefined) return BROKEN;
  // The encoded empty key is a key before all others, not the absence of an end.
  if (raw.length === 0 && bytes.length > 0 && bound === 'upper') bound = 'lower';
  const mapped = ENCODE[bound](tenant, raw);
  return mapped instanceof Uint8Array ? memcomparable(mapped) : mapped;
}

export function decodeEncoded(tenant: number, bytes: Uint8Array, bound: Bound): Result {
  if (bytes.length === 0) return bound === 'key' ? OUTSIDE : EMPTY;
  const raw = fromMemcomparable(bytes);
  if (raw !== undefined) {
    // The encoded empty key is a key before every tenant, not the absence of a bound.
    if (raw.length === 0) return bound === 'lower' ? EMPTY : OUTSIDE;
    const mapped = DECODE[bound](tenant, raw);
    return mapped instanceof Uint8Array && mapped.length > 0 ? memcomparable(mapped) : mapped;
  }
  if (bound === 'key') return OUTSIDE;
  const group = bytes.subarray(0, 8);
  if (hasTag(tenant, group)) return BROKEN;
  const before = compare(group, Uint8Array.from(tagOf(tenant))) < 0;
  if (bound === 'lower') return before ? EMPTY : OUTSIDE;
  return before ? OUTSIDE : EMPTY;
}
