/**
 * The layout of TiDB's own keys, and where it ends (tidb/pkg/tablecodec). Keys are `m...`, or `t` with a table id: eight bytes, big endian,
 * sign bit flipped. Ids lie below 2^48, so every key of an unshared TiDB lies below `t` 80 01.
 */
import { alloc } from '../memory/arena';
import { Mapped, replacedBy } from './mapped';

/** `t` */
export const T: u8 = 0x74;
/** The eight bytes behind `t` in the first key that no TiDB writes, as one big-endian number. */
export const LIMIT: u64 = 0x8001000000000000;
/** The same for the first key with a table id. */
export const FIRST: u64 = 0x8000000000000000;
/** Length of `t` and a whole table id. TiKV's coprocessor refuses shorter bounds. */
export const BOUND_BYTES: usize = 9;

/** Bytes 1..8 of a key as a big-endian number, zero padded. */
export function behindT(p: usize, length: usize): u64 {
  if (length >= BOUND_BYTES) return bswap<u64>(load<u64>(p, 1));
  let v: u64 = 0;
  for (let i: usize = 1; i < length; i++) v |= (<u64>load<u8>(p + i)) << (64 - 8 * <u64>i);
  return v;
}

/** Writes `t` and these eight bytes into the arena. */
export function writeBound(v: u64): Mapped {
  const at = alloc(16);
  store<u8>(at, T);
  store<u64>(at, bswap<u64>(v), 1);
  return replacedBy(at, BOUND_BYTES);
}

/** Bytes before the key in a far place. They hold more FF bytes than any key of TiDB has behind its tag. */
const FAR_BYTES: usize = 64;

/**
 * Writes a place for a key that no TiDB writes: in the last region of the keys with the tag of these eight bytes. Order is kept.
 *
 *   't' tag:2 FF:61 | key
 */
export function writeFarPlace(v: u64, p: usize, length: usize): Mapped {
  const at = alloc(FAR_BYTES + length);
  memory.fill(at, 0xff, FAR_BYTES);
  store<u8>(at, T);
  store<u16>(at, bswap<u16>(<u16>(v >> 48)), 1);
  memory.copy(at + FAR_BYTES, p, length);
  return replacedBy(at, FAR_BYTES + length);
}
