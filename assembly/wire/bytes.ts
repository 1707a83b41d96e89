/** Comparing bytes with ASCII constants. */

/** The bytes of an ASCII text; for constants, at start. */
export function ascii(text: string): StaticArray<u8> {
  const bytes = new StaticArray<u8>(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = <u8>text.charCodeAt(i);
  return bytes;
}

export function startsWith(p: usize, length: usize, prefix: StaticArray<u8>): bool {
  const size = <usize>prefix.length;
  return length >= size && memory.compare(p, changetype<usize>(prefix), size) == 0;
}

export function equals(p: usize, length: usize, text: StaticArray<u8>): bool {
  return length == <usize>text.length && memory.compare(p, changetype<usize>(text), length) == 0;
}

/** FNV-1a, 32 bits. */
export function hashBytes(p: usize, length: usize): u32 {
  let hash: u32 = 2166136261;
  for (let i: usize = 0; i < length; i++) hash = (hash ^ load<u8>(p + i)) * 16777619;
  return hash;
}
