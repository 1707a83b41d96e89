/** What the fields of a message leave for its end: one of these for each level of nesting, so that walking stays within few variables. */

@unmanaged
export class Level {
  /** Where the message begins. */
  start: usize;
  /** Patches before those of this message. */
  firstPatch: u32;
  /** Singular fields from 64 on that were met, by their number less 64. */
  seenHigh: u64;
  /** A range's first bound, a name, a path: where its field begins, its bytes begin, and both end; 0 while it was not met. */
  startAt: usize;
  startBytes: usize;
  startTo: usize;
  /** A range's other bound, or the value that belongs to the name. */
  endAt: usize;
  endBytes: usize;
  endTo: usize;
  /** Where the next id of a batch is looked for, and where the piece ends that holds it, see batch-ids.ts; 0 when none is wanted. */
  idsAt: usize;
  idsEnd: usize;
  copType: u64;
  /** Messages in a request of a batch. */
  members: u32;
  /** The range runs backwards. */
  reverse: bool;
  /** A key was there. */
  keyed: bool;
  /** The field that a required list begins in was there. */
  listed: bool;
  /** The name is read only. */
  reads: bool;

  begin(start: usize, firstPatch: u32): void {
    this.start = start;
    this.firstPatch = firstPatch;
    this.seenHigh = 0;
    this.startAt = 0;
    this.startBytes = 0;
    this.startTo = 0;
    this.endAt = 0;
    this.endBytes = 0;
    this.endTo = 0;
    this.idsAt = 0;
    this.idsEnd = 0;
    this.copType = 0;
    this.members = 0;
    this.reverse = false;
    this.keyed = false;
    this.listed = false;
    this.reads = false;
  }
}

/** Deepest nesting; upstream's deepest message has 9 levels. */
export const MAX_DEPTH: i32 = 32;

const LEVELS_BYTES: usize = 2112;
const levels: usize = memory.data(2112, 16);

/** `depth` is 0 to MAX_DEPTH. */
export function levelAt(depth: i32): Level {
  if (offsetof<Level>() * (<usize>MAX_DEPTH + 1) > LEVELS_BYTES) ERROR('the levels need more room');
  return changetype<Level>(levels + <usize>depth * offsetof<Level>());
}
