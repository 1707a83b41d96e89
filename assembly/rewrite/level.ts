/** State of a message that is being walked, and what its fields leave for its end. There is one for each level of nesting. */
import { Span } from './span';

@unmanaged
export class Level {
  /** The field that is being read. Then a range's first bound, a name or a path. Then the other bound, or the name's value. */
  private field16: v128;
  private first16: v128;
  private last16: v128;
  /** Bits of the singular fields that were met: by number below 64; from 64 on by number minus 64. */
  seen: u64;
  seenHigh: u64;
  copType: u64;
  message: u32;
  depth: i32;
  /** Where the message begins and ends. */
  start: usize;
  end: usize;
  /** Number of patches before those of this message. */
  firstPatch: u32;
  /** Where the search for a batch's next id goes on, and where the current piece of ids ends. 0 when no id is needed. See batch-ids.ts. */
  idsAt: usize;
  idsEnd: usize;
  /** Number of commands in a request of a batch. */
  members: u32;
  /** Number of items of a required list. */
  listed: u32;
  /** The range runs backwards. */
  reverse: bool;
  /** True when a key was met. */
  keyed: bool;
  /** True for a prewrite of a pessimistic transaction. */
  pessimistic: bool;
  /** True when a transaction's start was met that is not 0. */
  begun: bool;
  /** True when the name is only read. */
  reads: bool;

  @inline
  get field(): Span {
    return changetype<Span>(changetype<usize>(this));
  }

  @inline
  get first(): Span {
    return changetype<Span>(changetype<usize>(this) + 16);
  }

  @inline
  get last(): Span {
    return changetype<Span>(changetype<usize>(this) + 32);
  }

  @inline
  begin(message: u32, start: usize, end: usize, depth: i32, firstPatch: u32): void {
    const nothing = i64x2.splat(0);
    v128.store(changetype<usize>(this), nothing, 16);
    v128.store(changetype<usize>(this), nothing, 32);
    this.seenHigh = 0;
    this.copType = 0;
    this.message = message;
    this.depth = depth;
    this.start = start;
    this.end = end;
    this.firstPatch = firstPatch;
    this.idsAt = 0;
    this.idsEnd = 0;
    this.members = 0;
    this.listed = 0;
    this.reverse = false;
    this.keyed = false;
    this.pessimistic = false;
    this.begun = false;
    this.reads = false;
  }

  /** True when the message's singular field of this number was met. Valid once all fields are read. */
  has(field: u32): bool {
    return (((field < 64 ? this.seen : this.seenHigh) >> ((<u64>field) & 63)) & 1) != 0;
  }
}

/** Deepest allowed nesting. Upstream's deepest message has 9 levels. */
export const MAX_DEPTH: i32 = 32;

const LEVELS_BYTES: usize = 4224;
const levels: usize = memory.data(4224, 16);

/** The state of nesting level `depth`, 0 to MAX_DEPTH. */
export function levelAt(depth: i32): Level {
  if (offsetof<Level>() * (<usize>MAX_DEPTH + 1) > LEVELS_BYTES) ERROR('the levels need more room');
  return changetype<Level>(levels + <usize>depth * offsetof<Level>());
}
