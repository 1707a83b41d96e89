/**
 * A layout: what messages of one type and length have in common when they are walked the same way. A mask selects the bytes that determine
 * fields, lengths and choices; these are compared. Every other byte is checked as the walker would check it, or does not matter.
 */

@unmanaged
export class Layout {
  /** Key range of the tenant and direction; 0 for none. */
  space: u64;
  /** Type, first byte and length of the message. */
  what: u64;
  /** How many others must still claim this place before the layout is replaced. */
  trust: u32;
  /** Number of fields, as the walker counts them. */
  fields: u32;
  /** Bytes by which the message grows. */
  growth: i32;
  /** The rewriting in which the layout was followed last. */
  followedIn: u32;
  vectors: u8;
  checks: u8;
  tags: u8;
  edits: u8;
  /** True when the only thing known is that such messages cannot be learned. */
  isHopeless: bool;

  /** A part that is equal in all such messages, such as a coprocessor's plan: its offset and length; 0 when there is none. */
  sameAt: u16;
  sameLength: u16;

  /** The i-th vector: mask:16 expected:16 */
  @inline
  vector(i: u32): usize {
    return changetype<usize>(this) + VECTORS + ((<usize>i) << 5);
  }

  /** Offset of the i-th vector in the message: u16 */
  @inline
  offset(i: u32): usize {
    return changetype<usize>(this) + OFFSETS + ((<usize>i) << 1);
  }

  /** The i-th check: kind:u16 offset:u16 length:u16 edit:u16, as one u64. Only contexts have an edit; for AT_MOST it is the limit's place. */
  @inline
  check(i: u32): usize {
    return changetype<usize>(this) + CHECKS + ((<usize>i) << 3);
  }

  /** Offset of the i-th key that is patched in place: u16 */
  @inline
  tagged(i: u32): usize {
    return changetype<usize>(this) + TAGGED + ((<usize>i) << 1);
  }

  /** The bytes that are equal in all such messages. */
  @inline
  same(): usize {
    return changetype<usize>(this) + SAME;
  }

  /** The i-th edit. It replaces [from, to) by `length` bytes: from:u16 to:u16 length:u32 bytes:EDIT_BYTES */
  @inline
  edit(i: u32): usize {
    return changetype<usize>(this) + EDITS + <usize>i * EDIT_STEP;
  }
}

/** What is checked of bytes that may differ. For keys, the values of Regular. */
export const enum Check {
  CONTEXT = 16,
  TIMESTAMP = 17,
  TIMESTAMP_OR_MAX = 18,
  READ_TIMESTAMP_OR_MAX = 19,
  AT_MOST = 20,
  NEW_TIME = 21,
  TXN_START = 22,
}

/** Deepest nesting of messages in a layout. */
export const MAX_NESTING: i32 = 8;
/** Longest message: offsets are u16. A longer one spends its time elsewhere. */
export const LONGEST: usize = 4096;
/** Shortest message: two vectors, which may overlap. */
export const SHORTEST: usize = 32;

/** Least length of the equal part, which is compared sixteen bytes at a time. */
export const LEAST_SAME: usize = 16;
export const MOST_SAME: usize = 512;
export const MAX_VECTORS: u32 = 12;
export const MAX_CHECKS: u32 = 24;
export const MAX_EDITS: u32 = 24;
/** Maximum of bytes that one edit inserts: tag and length of a field, and a prefix of four. */
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
