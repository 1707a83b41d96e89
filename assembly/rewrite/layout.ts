/**
 * A layout: what messages of one type and one length have in common that are walked in the same way. Bytes that tell fields, lengths
 * and choices apart are compared under a mask; of the others each is checked as the walker would check it, or matters to nobody.
 */

@unmanaged
export class Layout {
  /** The key space and the direction; 0 for none. */
  space: u64;
  /** Type, first byte and length of the message. */
  what: u64;
  /** How many others must claim this place before it is given away. */
  trust: u32;
  /** Fields, as the walker counts them. */
  fields: u32;
  /** Bytes by which the message grows. */
  growth: i32;
  /** The rewriting in which it was followed last. */
  followedIn: u32;
  vectors: u8;
  checks: u8;
  tags: u8;
  edits: u8;
  /** Nothing is known but that such messages cannot be learned. */
  isHopeless: bool;

  /** A part that is the same in all of them, a coprocessor's plan: its place in the message and its length; 0 when there is none. */
  sameAt: u16;
  sameLength: u16;

  /** The i-th vector: mask:16 expected:16 */
  @inline
  vector(i: u32): usize {
    return changetype<usize>(this) + VECTORS + ((<usize>i) << 5);
  }

  /** Where the i-th vector lies in the message: u16 */
  @inline
  offset(i: u32): usize {
    return changetype<usize>(this) + OFFSETS + ((<usize>i) << 1);
  }

  /** The i-th check: kind:u16 offset:u16 length:u16 0:u16, as one u64. */
  @inline
  check(i: u32): usize {
    return changetype<usize>(this) + CHECKS + ((<usize>i) << 3);
  }

  /** Where the i-th of the keys begins that are patched where they lie: u16 */
  @inline
  tagged(i: u32): usize {
    return changetype<usize>(this) + TAGGED + ((<usize>i) << 1);
  }

  /** The bytes that are the same. */
  @inline
  same(): usize {
    return changetype<usize>(this) + SAME;
  }

  /** The i-th edit, which puts `length` bytes in the place of [from, to): from:u16 to:u16 length:u32 bytes:EDIT_BYTES */
  @inline
  edit(i: u32): usize {
    return changetype<usize>(this) + EDITS + <usize>i * EDIT_STEP;
  }
}

/** What is asked of the bytes that are free; with Regular's values for keys. */
export const enum Check {
  CONTEXT = 16,
  TIMESTAMP = 17,
  TIMESTAMP_OR_MAX = 18,
}

/** Messages within each other. */
export const MAX_NESTING: i32 = 8;
/** Offsets are u16; what is longer spends its time elsewhere. */
export const LONGEST: usize = 4096;
/** Two vectors, which may overlap. */
export const SHORTEST: usize = 32;

/** Bytes of the part that is the same; it is compared sixteen at once. */
export const LEAST_SAME: usize = 16;
export const MOST_SAME: usize = 512;
export const MAX_VECTORS: u32 = 12;
export const MAX_CHECKS: u32 = 24;
export const MAX_EDITS: u32 = 24;
/** Most bytes that one edit puts in: the tag and the length of a field, and a prefix of four. */
export const EDIT_BYTES: usize = 16;

export const EDIT_STEP: usize = 8 + EDIT_BYTES;

const VECTORS: usize = 48;
const OFFSETS: usize = VECTORS + <usize>MAX_VECTORS * 32;
const CHECKS: usize = OFFSETS + <usize>MAX_VECTORS * 2;
const TAGGED: usize = CHECKS + <usize>MAX_CHECKS * 8;
const EDITS: usize = TAGGED + <usize>MAX_CHECKS * 2;
const SAME: usize = EDITS + <usize>MAX_EDITS * EDIT_STEP;
/** A multiple of 16. */
export const LAYOUT_BYTES: usize = (SAME + MOST_SAME + 15) & ~(<usize>15);
