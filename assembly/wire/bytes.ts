/** Comparing bytes with ASCII constants. */

/** A constant: an unmanaged reference to its bytes. Its length is in front of them. */
@unmanaged
export class Ascii {
  get length(): i32 {
    return load<i32>(changetype<usize>(this) - LENGTH_BYTES);
  }
}

/** A constant's length is in front of it. */
export const LENGTH_BYTES: usize = 4;

/** The bytes of an ASCII text; for constants, at start. */
export function ascii(text: string): Ascii {
  const at = heap.alloc(LENGTH_BYTES + <usize>text.length) + LENGTH_BYTES;
  store<i32>(at - LENGTH_BYTES, text.length);
  for (let i = 0; i < text.length; i++) store<u8>(at + <usize>i, <u8>text.charCodeAt(i));
  return changetype<Ascii>(at);
}

/** Frees a temporary constant. */
export function freeAscii(text: Ascii): void {
  heap.free(changetype<usize>(text) - LENGTH_BYTES);
}

/** True when these bytes are the same. Not memory.compare: the compiler repeats its two hundred bytes wherever it is called. */
export function isSameBytes(p: usize, q: usize, length: usize): bool {
  const end = p + length;
  for (; end - p >= 8; p += 8, q += 8) if (load<u64>(p) != load<u64>(q)) return false;
  for (; p < end; p++, q++) if (load<u8>(p) != load<u8>(q)) return false;
  return true;
}

export function startsWith(p: usize, length: usize, prefix: Ascii): bool {
  const size = <usize>prefix.length;
  return length >= size && isSameBytes(p, changetype<usize>(prefix), size);
}

export function equals(p: usize, length: usize, text: Ascii): bool {
  return length == <usize>text.length && isSameBytes(p, changetype<usize>(text), length);
}

/** Copies bytes. Returns the end. */
export function append(to: usize, from: usize, length: usize): usize {
  memory.copy(to, from, length);
  return to + length;
}

/** The next multiple of 8: tables of u64 stay aligned. @inline */
export function toEight(size: usize): usize {
  return (size + 7) & ~(<usize>7);
}

/** FNV-1a, 32 bits. */
export function hashBytes(p: usize, length: usize): u32 {
  let hash: u32 = 2166136261;
  for (let i: usize = 0; i < length; i++) hash = (hash ^ load<u8>(p + i)) * 16777619;
  return hash;
}

/** Compares `length` bytes, 16 at least. @inline */
export function isSameLong(a: usize, b: usize, length: usize): bool {
  // The last ones overlap those before.
  const last = length - 16;
  let unlike = v128.xor(v128.load(a + last), v128.load(b + last));
  for (let i: usize = 0; i < last; i += 16)
    unlike = v128.or(unlike, v128.xor(v128.load(a + i), v128.load(b + i)));
  return !v128.any_true(unlike);
}
