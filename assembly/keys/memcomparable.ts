/**
 * Encodes and decodes TiKV's memcomparable bytes, which PD uses (tikv/codec `encode_bytes`):
 *
 *   [8 bytes of the key] [marker] ... ; the marker is 0xFF - (padding bytes in this group); all groups but the last have 0xFF
 */
import { alloc } from '../memory/arena';

const GROUP: usize = 8;
const ENCODED_GROUP: usize = 9;
/** Marker of a group that holds only padding. */
const NO_KEY_BYTES: u8 = 0xf7;

/** Length of the last result of `decode` or `encode`. */
export let resultLength: usize = 0;

/** True when the bytes are exactly one encoded key. */
export function isEncoded(p: usize, length: usize): bool {
  if (length == 0 || length % ENCODED_GROUP != 0) return false;
  const last = p + length - ENCODED_GROUP;
  for (; p < last; p += ENCODED_GROUP) if (load<u8>(p, GROUP) != 0xff) return false;
  const padding = <usize>(0xff - load<u8>(last, GROUP));
  if (padding == 0 || padding > GROUP) return false;
  // Padding must be zero: check what remains of the group without its key bytes.
  const kept = (GROUP - padding) << 3;
  return kept == 0 ? load<u64>(last) == 0 : load<u64>(last) >> kept == 0;
}

/** Decodes into the arena. 0 when the bytes are not exactly one encoded key. */
export function decode(p: usize, length: usize): usize {
  if (length == 0 || length % ENCODED_GROUP != 0) return 0;
  const out = alloc(length);
  let to = out;
  const end = p + length;
  while (p < end) {
    store<u64>(to, load<u64>(p));
    const padding = <usize>(0xff - load<u8>(p, GROUP));
    p += ENCODED_GROUP;
    if (padding == 0) {
      to += GROUP;
      continue;
    }
    if (padding > GROUP || p != end) return 0;
    for (let i: usize = GROUP - padding; i < GROUP; i++) if (load<u8>(to + i) != 0) return 0;
    resultLength = to + GROUP - padding - out;
    return out;
  }
  return 0;
}

/** True when the bytes given to `decodeCeiling` were exactly one encoded key. */
export let isExact: bool = false;

/**
 * Finds the smallest key whose encoded form is not below these bytes, in the arena. Any bytes have a place among encoded keys.
 *
 *   whole groups with marker FF | rest        the rest may or may not be the last group of an encoded key
 */
export function decodeCeiling(p: usize, length: usize): usize {
  const out = alloc(length + GROUP);
  const end = p + length;
  let to = out;
  while (end - p >= ENCODED_GROUP && load<u8>(p, GROUP) == 0xff) {
    store<u64>(to, load<u64>(p));
    p += ENCODED_GROUP;
    to += GROUP;
  }
  const rest = end - p;
  let kept = min<usize>(rest, GROUP);
  memory.copy(to, p, kept);
  // Encoding adds zeros behind a key. So zeros at the end of the rest can be left out.
  while (kept > 0 && load<u8>(to + kept - 1) == 0) kept--;
  isExact = false;
  if (rest >= ENCODED_GROUP && load<u8>(p, GROUP) >= NO_KEY_BYTES) {
    const named = <usize>(load<u8>(p, GROUP) - NO_KEY_BYTES);
    isExact = rest == ENCODED_GROUP && kept <= named;
    if (isExact) kept = named;
    // A key that ends here would be below the bytes, so it must be one byte longer.
    else if (kept <= named) kept = named + 1;
  }
  resultLength = to + kept - out;
  return out;
}

/** Encodes into the arena. */
export function encode(p: usize, length: usize): usize {
  const groups = length / GROUP + 1;
  const out = alloc(groups * ENCODED_GROUP);
  let to = out;
  let left = length;
  while (left >= GROUP) {
    store<u64>(to, load<u64>(p));
    store<u8>(to, 0xff, GROUP);
    p += GROUP;
    left -= GROUP;
    to += ENCODED_GROUP;
  }
  store<u64>(to, 0);
  memory.copy(to, p, left);
  store<u8>(to, <u8>(0xff - (GROUP - left)), GROUP);
  resultLength = groups * ENCODED_GROUP;
  return out;
}

/**
 * How many bytes at the start of an encoded key are shared by all keys that begin with it: those before the padding. `length` is the key's.
 */
export function sharedLength(length: usize): usize {
  return (length / GROUP) * ENCODED_GROUP + (length % GROUP);
}
