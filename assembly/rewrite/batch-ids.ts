/**
 * Reads the ids of a batch: one for each of its messages, in the same order. Go encodes them packed. TiKV's Rust encodes them one by one.
 * Other encoders may write several pieces. The ids may come before, behind or between the messages. Most batches need no id, so ids are
 * searched only on demand.
 *
 * A batch with fewer ids than messages is ambiguous: the stream ends when a missing id is needed. Ids without a message mean nothing.
 */
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';
import * as find from './find';
import { Level } from './level';

/** Field request_ids of both messages. */
export const BATCH_IDS: u32 = 2;

/** The id that `nextId` found. */
export let givenId: u64 = 0;

/** Starts reading the ids of the batch. */
export function beginIds(level: Level): void {
  level.idsAt = level.start;
  level.idsEnd = level.start;
}

/** Stops reading the ids of the batch. */
export function endIds(level: Level): void {
  level.idsAt = 0;
}

/** Reads the next id of the batch into `givenId`. False when there is none, or when it is not a number. */
export function nextId(level: Level): bool {
  while (level.idsAt == level.idsEnd) {
    const piece = find.findNumbers(level.idsAt, level.end, BATCH_IDS);
    if (piece == 0) return false;
    level.idsAt = piece;
    level.idsEnd = find.foundEnd;
  }
  givenId = readVarint(level.idsAt, level.idsEnd);
  if (varint.readEnd == 0) return false;
  level.idsAt = varint.readEnd;
  return true;
}
