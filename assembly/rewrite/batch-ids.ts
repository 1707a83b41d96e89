/**
 * The ids of a batch, one for each of its messages, in their order. Encoders write them packed (Go), one by one (TiKV's, in Rust) or in
 * several pieces, before the messages, behind or between them. They are looked for when one is wanted: most batches are not asked.
 *
 * A batch with fewer ids than messages has no reading: whoever wants the missing one ends the stream. Ids without a message mean nothing.
 */
import { readVarint, varintEnd } from '../wire/varint';
import { findNumbers, foundEnd } from './find';
import { Level } from './level';

/** Both messages' request_ids. */
export const BATCH_IDS: u32 = 2;

/** The id that `nextId` found. */
export let givenId: u64 = 0;

/** The ids of the batch will be wanted. */
export function beginIds(level: Level): void {
  level.idsAt = level.start;
  level.idsEnd = level.start;
}

/** The ids of the batch are wanted no more. */
export function endIds(level: Level): void {
  level.idsAt = 0;
}

/** Goes on to the next id of the batch, and leaves it in `givenId`. False when there is none, or no number. */
export function nextId(level: Level): bool {
  while (level.idsAt == level.idsEnd) {
    const piece = findNumbers(level.idsAt, level.end, BATCH_IDS);
    if (piece == 0) return false;
    level.idsAt = piece;
    level.idsEnd = foundEnd;
  }
  givenId = readVarint(level.idsAt, level.idsEnd);
  if (varintEnd == 0) return false;
  level.idsAt = varintEnd;
  return true;
}
