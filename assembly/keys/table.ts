/**
 * The table codec: a tenant's keys inside the free bits of TiDB's own key layout.
 *
 *   logical  'm...'                              -> 't' 80+n:2 00:6 | 'm...'         (9 bytes longer: everything below T)
 *   logical  't' 80 00 | id:6 (>= 1) | rest      -> 't' 80+n:2 | id:6 | rest         (same length, two bytes patched)
 *   logical  >= 't' 80 01                        -> no TiDB key: refused, or the tenant's end
 *
 *   P = 't' 80+n:2 00:6    first key of the tenant     T = 't' 80 00 00 00 00 00 00 01    first taggable logical key
 *   E = 't' 80+n+1:2 00:6  first key behind it         (nine bytes long: TiKV refuses shorter coprocessor bounds)
 */
import { alloc } from '../memory/arena';
import * as memcomparable from './memcomparable';

/** What a mapping did with the bytes it was given. */
export const enum Mapped {
  /** They stay as they are. */
  SAME,
  /** They were changed where they lie. */
  IN_PLACE,
  /** The new bytes are `mappedAt`, `mappedLength`. */
  REPLACED,
  /** They are not the tenant's. */
  OUTSIDE,
  /** They are not what they should be (undecodable). */
  BROKEN,
}

export const MIN_TENANT: u32 = 1;
/** With 32767 the tenant's end would leave the `t` space. */
export const MAX_TENANT: u32 = 32766;

const T: u8 = 0x74;
const PREFIX_BYTES: usize = 9;
/** The eight bytes behind `t` as one big-endian number. */
const FIRST_TAGGABLE: u64 = 0x8000000000000001;
const LIMIT: u64 = 0x8001000000000000;
const ID_MASK: u64 = 0x0000ffffffffffff;
const FIRST_GROUP_ID_MASK: u64 = 0x000000ffffffffff;

/** The tenant's number, and its tag as it lies in memory (big endian). */
let number: u32 = 0;
let tag: u16 = 0;
/** The eight bytes behind `t` in P and in E. */
let low: u64 = 0;
let high: u64 = 0;

export let mappedAt: usize = 0;
export let mappedLength: usize = 0;

/** Makes tenant `n` the one that the functions below map for. */
export function useTenant(n: u32): void {
  number = n;
  tag = bswap<u16>(<u16>(0x8000 + n));
  low = (0x8000 + <u64>n) << 48;
  high = low + ((<u64>1) << 48);
}

/** The number that `useTenant` was given. */
export function tenantNumber(): u32 {
  return number;
}

/** Bytes 1..8 of a key as a big-endian number, zero padded. */
function behindT(p: usize, length: usize): u64 {
  if (length >= PREFIX_BYTES) return bswap<u64>(load<u64>(p, 1));
  let v: u64 = 0;
  for (let i: usize = 1; i < length; i++) v |= (<u64>load<u8>(p + i)) << (64 - 8 * <u64>i);
  return v;
}

function writeBound(v: u64): Mapped {
  mappedAt = alloc(16);
  store<u8>(mappedAt, T);
  store<u64>(mappedAt, bswap<u64>(v), 1);
  mappedLength = PREFIX_BYTES;
  return Mapped.REPLACED;
}

function prefixed(p: usize, length: usize): Mapped {
  const at = alloc(PREFIX_BYTES + length);
  store<u8>(at, T);
  store<u64>(at, bswap<u64>(low), 1);
  memory.copy(at + PREFIX_BYTES, p, length);
  mappedAt = at;
  mappedLength = PREFIX_BYTES + length;
  return Mapped.REPLACED;
}

/** A logical key to its physical one. OUTSIDE: it is not a TiDB key. */
export function encodeKey(p: usize, length: usize): Mapped {
  if (length == 0) return prefixed(p, 0);
  const first = load<u8>(p);
  if (first > T) return Mapped.OUTSIDE;
  if (first == T) {
    const v = behindT(p, length);
    if (v >= LIMIT) return Mapped.OUTSIDE;
    if (v >= FIRST_TAGGABLE) {
      store<u16>(p, tag, 1);
      return Mapped.IN_PLACE;
    }
  }
  return prefixed(p, length);
}

/** A range's lower bound; empty is the tenant's first key, and what lies above every key is the tenant's very end. */
export function encodeLower(p: usize, length: usize): Mapped {
  const mapped = encodeKey(p, length);
  return mapped == Mapped.OUTSIDE ? writeBound(high) : mapped;
}

/** A range's upper bound; empty and what lies above every key are the tenant's end. */
export function encodeUpper(p: usize, length: usize): Mapped {
  if (length == 0) return writeBound(high);
  const mapped = encodeKey(p, length);
  return mapped == Mapped.OUTSIDE ? writeBound(high) : mapped;
}

/** A physical key back to the logical one. OUTSIDE: another tenant's. */
export function decodeKey(p: usize, length: usize): Mapped {
  if (length < 3 || load<u8>(p) != T || load<u16>(p, 1) != tag) return Mapped.OUTSIDE;
  const id = behindT(p, length) & ID_MASK;
  if (id != 0) {
    store<u16>(p, 0x0080, 1);
    return Mapped.IN_PLACE;
  }
  if (length < PREFIX_BYTES) return Mapped.OUTSIDE;
  mappedAt = p + PREFIX_BYTES;
  mappedLength = length - PREFIX_BYTES;
  return Mapped.REPLACED;
}

/** Where a store's boundary lies: -1 at or below P, 1 at or above E, 0 inside. */
function place(p: usize, length: usize): i32 {
  if (length == 0) return -1;
  const first = load<u8>(p);
  if (first != T) return first < T ? -1 : 1;
  const v = behindT(p, length);
  if (v < low || (v == low && length <= PREFIX_BYTES)) return -1;
  return v >= high ? 1 : 0;
}

function empty(): Mapped {
  mappedAt = 0;
  mappedLength = 0;
  return Mapped.REPLACED;
}

function decodeInside(p: usize, length: usize): Mapped {
  const mapped = decodeKey(p, length);
  if (mapped != Mapped.REPLACED || mappedLength == 0) return mapped;
  // P + x with x at or above T belongs to no logical key below T: the next one is T itself.
  if (load<u8>(mappedAt) < T) return mapped;
  if (load<u8>(mappedAt) == T && behindT(mappedAt, mappedLength) < FIRST_TAGGABLE) return mapped;
  return writeBound(FIRST_TAGGABLE);
}

/** A store's region or range start as the tenant sees it: clamped to '' below; OUTSIDE when it starts behind the tenant. */
export function decodeStart(p: usize, length: usize): Mapped {
  const where = place(p, length);
  if (where < 0) return length == 0 ? Mapped.SAME : empty();
  return where > 0 ? Mapped.OUTSIDE : decodeInside(p, length);
}

/** A store's region or range end as the tenant sees it: clamped to '' above; OUTSIDE when it ends before the tenant. */
export function decodeEnd(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const where = place(p, length);
  if (where < 0) return Mapped.OUTSIDE;
  return where > 0 ? empty() : decodeInside(p, length);
}

/** Which bound or key an encoded mapping is for. */
export const enum Bound {
  KEY,
  LOWER,
  UPPER,
}

/**
 * True when the tag of an encoded key can be patched where it lies: two groups at least, `t`, the given tag, a table id.
 *   't' tag:2 id[0..5] FF id[5] ...
 */
function patchable(p: usize, length: usize, expected: u16): bool {
  if (length < 18 || load<u8>(p) != T || load<u16>(p, 1) != expected || load<u8>(p, 8) != 0xff) return false;
  return (bswap<u64>(load<u64>(p)) & FIRST_GROUP_ID_MASK) != 0 || load<u8>(p, 9) != 0;
}

function reencode(mapped: Mapped, p: usize, length: usize): Mapped {
  if (mapped == Mapped.OUTSIDE) return mapped;
  if (mapped == Mapped.REPLACED) {
    if (mappedLength == 0) return mapped;
    p = mappedAt;
    length = mappedLength;
  }
  mappedAt = memcomparable.encode(p, length);
  mappedLength = memcomparable.resultLength;
  return Mapped.REPLACED;
}

/** PD's memcomparable form of a logical key or bound to the physical one. */
export function encodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (patchable(p, length, 0x0080)) {
    store<u16>(p, tag, 1);
    return Mapped.IN_PLACE;
  }
  let raw: usize = 0;
  let rawLength: usize = 0;
  if (length != 0) {
    raw = memcomparable.decode(p, length);
    if (raw == 0) return Mapped.BROKEN;
    rawLength = memcomparable.resultLength;
  }
  const mapped =
    bound == Bound.KEY
      ? encodeKey(raw, rawLength)
      : bound == Bound.LOWER
        ? encodeLower(raw, rawLength)
        : encodeUpper(raw, rawLength);
  return reencode(mapped, raw, rawLength);
}

/** PD's memcomparable form of a physical key or boundary back to the logical one. */
export function decodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (patchable(p, length, tag)) {
    store<u16>(p, 0x0080, 1);
    return Mapped.IN_PLACE;
  }
  if (length == 0) return bound == Bound.KEY ? Mapped.OUTSIDE : Mapped.SAME;
  const raw = memcomparable.decode(p, length);
  if (raw == 0) return undecodable(p, length, bound);
  const rawLength = memcomparable.resultLength;
  // The encoded empty key is a boundary before every tenant, not an absent one.
  if (rawLength == 0) return bound == Bound.LOWER ? empty() : Mapped.OUTSIDE;
  const mapped =
    bound == Bound.KEY
      ? decodeKey(raw, rawLength)
      : bound == Bound.LOWER
        ? decodeStart(raw, rawLength)
        : decodeEnd(raw, rawLength);
  return reencode(mapped, raw, rawLength);
}

/** A boundary that is no encoded key still lies before or behind the tenant, unless it begins with the tenant's own tag. */
function undecodable(p: usize, length: usize, bound: Bound): Mapped {
  if (bound == Bound.KEY) return Mapped.OUTSIDE;
  const first = load<u8>(p);
  const v = first == T ? behindT(p, min<usize>(length, 8)) : 0;
  const before = first < T || (first == T && v < low);
  if (!before && first == T && v < high) return Mapped.BROKEN;
  if (bound == Bound.LOWER) return before ? empty() : Mapped.OUTSIDE;
  return before ? Mapped.OUTSIDE : empty();
}
