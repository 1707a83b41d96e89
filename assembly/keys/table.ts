/**
 * The table codec puts a tenant's number into the free bits of TiDB's own key layout.
 *
 *   logical  'm...'                              -> 't' 80+n:2 00:6 | 'm...'         (9 bytes longer: everything below T)
 *   logical  't' 80 00 | id:6 (>= 1) | rest      -> 't' 80+n:2 | id:6 | rest         (same length, two bytes patched)
 *   logical  >= 't' 80 01                        -> no TiDB key: refused, or the tenant's end
 *
 *   P = 't' 80+n:2 00:6    first key of the tenant     T = 't' 80 00 00 00 00 00 00 01    first taggable logical key
 *   E = 't' 80+n+1:2 00:6  first key behind it         (nine bytes long: TiKV refuses shorter coprocessor bounds)
 */
import { alloc } from '../memory/arena';
import * as mapping from './mapped';
import { Mapped } from './mapped';
import { isEncoded } from './memcomparable';
import { BOUND_BYTES, LIMIT, T, behindT, writeBound, writeFarPlace } from './tidb-keys';

export const MIN_TENANT: u32 = 1;
/** The largest tenant number. With 32767 the tenant's end would lie outside the `t` keys. */
export const MAX_TENANT: u32 = 32766;

/** The eight bytes behind `t` as one big-endian number. */
const FIRST_TAGGABLE: u64 = 0x8000000000000001;
const ID_MASK: u64 = 0x0000ffffffffffff;
const UNTAGGED: u16 = 0x0080;

/** The tenant's tag as it lies in memory (big endian). */
let tag: u16 = 0;
/** The eight bytes behind `t` in P and in E. */
let low: u64 = 0;
let high: u64 = 0;

/** The eight bytes behind `t` in the first key of tenant `n`. */
export function firstOf(n: u32): u64 {
  return (0x8000 + <u64>n) << 48;
}

/** Makes the functions below map for tenant `n`. */
export function useTenant(n: u32): void {
  tag = bswap<u16>(<u16>(0x8000 + n));
  low = firstOf(n);
  high = firstOf(n + 1);
}

/** True for `t`, the given tag, and a table id other than 0. @inline */
function isOfTable(p: usize, expected: u16): bool {
  const behind = load<u64>(p, 1);
  return load<u8>(p) == T && <u16>behind == expected && behind >> 16 != 0;
}

function prefixed(p: usize, length: usize): Mapped {
  const at = alloc(BOUND_BYTES + length);
  store<u8>(at, T);
  store<u64>(at, bswap<u64>(low), 1);
  memory.copy(at + BOUND_BYTES, p, length);
  return mapping.replacedBy(at, BOUND_BYTES + length);
}

/** Maps a logical key to its physical key. OUTSIDE: it is no TiDB key. */
export function encodeKey(p: usize, length: usize): Mapped {
  if (length >= BOUND_BYTES && isTaggable(p)) {
    store<u16>(p, tag, 1);
    return Mapped.IN_PLACE;
  }
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

/** Maps a range's lower bound. Empty means the tenant's first key. A bound above every key means the tenant's end. */
export function encodeLower(p: usize, length: usize): Mapped {
  const mapped = encodeKey(p, length);
  return mapped == Mapped.OUTSIDE ? writeBound(high) : mapped;
}

/** Maps a range's upper bound. Empty, or above every key, means the tenant's end. */
export function encodeUpper(p: usize, length: usize): Mapped {
  return length == 0 ? writeBound(high) : encodeLower(p, length);
}

/** Maps a logical key to its place among the regions. A key above every TiDB key lies in the tenant's last region. */
export function encodePlace(p: usize, length: usize): Mapped {
  const mapped = encodeKey(p, length);
  return mapped == Mapped.OUTSIDE ? writeFarPlace(low, p, length) : mapped;
}

/** Maps a physical key to its logical key. OUTSIDE: it is another tenant's. */
export function decodeKey(p: usize, length: usize): Mapped {
  if (length >= BOUND_BYTES && isTagged(p)) {
    store<u16>(p, UNTAGGED, 1);
    return Mapped.IN_PLACE;
  }
  if (length < 3 || load<u8>(p) != T || load<u16>(p, 1) != tag) return Mapped.OUTSIDE;
  const id = behindT(p, length) & ID_MASK;
  if (id != 0) {
    store<u16>(p, UNTAGGED, 1);
    return Mapped.IN_PLACE;
  }
  if (length < BOUND_BYTES) return Mapped.OUTSIDE;
  return mapping.replacedBy(p + BOUND_BYTES, length - BOUND_BYTES);
}

/** Compares a store's boundary with the tenant's range: -1 at or below P, 1 at or above E, 0 inside. */
function place(p: usize, length: usize): i32 {
  if (length == 0) return -1;
  const first = load<u8>(p);
  if (first != T) return first < T ? -1 : 1;
  const v = behindT(p, length);
  if (v < low || (v == low && length <= BOUND_BYTES)) return -1;
  return v >= high ? 1 : 0;
}

function decodeInside(p: usize, length: usize): Mapped {
  const mapped = decodeKey(p, length);
  if (mapped != Mapped.REPLACED || mapping.mappedLength == 0) return mapped;
  // A physical key P + x with x at or above T comes from no logical key. The next logical key is T itself.
  if (load<u8>(mapping.mappedAt) < T) return mapped;
  if (load<u8>(mapping.mappedAt) == T && behindT(mapping.mappedAt, mapping.mappedLength) < FIRST_TAGGABLE)
    return mapped;
  return writeBound(FIRST_TAGGABLE);
}

/** Maps the start of a store's region or range. Below the tenant it becomes ''. OUTSIDE: it lies behind the tenant. */
export function decodeStart(p: usize, length: usize): Mapped {
  const where = place(p, length);
  if (where < 0) return length == 0 ? Mapped.SAME : mapping.unbounded();
  return where > 0 ? Mapped.OUTSIDE : decodeInside(p, length);
}

/** Maps the end of a store's region or range. Above the tenant it becomes ''. OUTSIDE: it lies before the tenant. */
export function decodeEnd(p: usize, length: usize): Mapped {
  if (length == 0) return Mapped.SAME;
  const where = place(p, length);
  if (where < 0) return Mapped.OUTSIDE;
  return where > 0 ? mapping.unbounded() : decodeInside(p, length);
}

/**
 * True when the tag of an encoded key can be patched in place: two groups or more, `t`, the given tag, a table id.
 *   't' tag:2 id[0..5] FF id[5] ...
 */
function patchable(p: usize, length: usize, expected: u16): bool {
  if (length < 18 || load<u8>(p) != T || load<u16>(p, 1) != expected || load<u8>(p, 8) != 0xff) return false;
  // The first group holds five bytes of the id, the next group the sixth.
  const hasId = load<u64>(p) >> 24 != 0 || load<u8>(p, 9) != 0;
  return hasId && isEncoded(p, length);
}

/** True when the tag fits in place into this logical key of at least BOUND_BYTES. @inline */
export function isTaggable(p: usize): bool {
  return isOfTable(p, UNTAGGED);
}

/** True when this physical key of at least BOUND_BYTES can lose its tag in place. @inline */
export function isTagged(p: usize): bool {
  return isOfTable(p, tag);
}

/** The same for memcomparable keys. */
export function isTaggableEncoded(p: usize, length: usize): bool {
  return patchable(p, length, UNTAGGED);
}

export function isTaggedEncoded(p: usize, length: usize): bool {
  return patchable(p, length, tag);
}

/** The tag behind `t`: in a key of the store, or in a client's key. @inline */
export function tagOf(stored: bool): u16 {
  return stored ? tag : UNTAGGED;
}

/** Patches the tag into a memcomparable logical key in place. False: the key has another form, and nothing was changed. */
export function tagEncoded(p: usize, length: usize): bool {
  if (!patchable(p, length, UNTAGGED)) return false;
  store<u16>(p, tag, 1);
  return true;
}

/** Removes the tag from a memcomparable physical key in place. False: the key has another form, and nothing was changed. */
export function untagEncoded(p: usize, length: usize): bool {
  if (!patchable(p, length, tag)) return false;
  store<u16>(p, UNTAGGED, 1);
  return true;
}
