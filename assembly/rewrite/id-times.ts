/**
 * Keeps when each request of a batch stream was sent, by its id. An id has one place in the stream's table, so that keeping and finding it
 * takes no search. client-go counts ids up. So a request loses its place only if it still waits when thousands have followed; it is not
 * measured then.
 *
 *   table   mask:u32 | 0:u32 | entries
 *   entry   id:u64 | sent at, us since 1970:u64; 0: free
 */
const HEADER_BYTES: usize = 8;
const ENTRY_BYTES: usize = 16;
/** Places of a new table, and of the largest. client-go sends a few hundred requests at once. */
const FIRST_PLACES: u32 = 32;
const MOST_PLACES: u32 = 4096;
/** Of all tables in this VM. Beyond it they grow no more, and new streams are not measured. */
const MOST_BYTES: usize = 16 * 1024 * 1024;

let allBytes: usize = 0;

/** @inline */
function sizeOf(places: u32): usize {
  return HEADER_BYTES + <usize>places * ENTRY_BYTES;
}

/** @inline */
function placesOf(table: usize): u32 {
  return load<u32>(table) + 1;
}

/** @inline */
function entryOf(table: usize, id: u64): usize {
  return table + HEADER_BYTES + ((<usize>id) & (<usize>load<u32>(table))) * ENTRY_BYTES;
}

/** A table with a power of two places; 0 when there is no memory for it. */
function tableOf(places: u32): usize {
  const size = sizeOf(places);
  if (allBytes + size > MOST_BYTES) return 0;
  allBytes += size;
  const table = heap.alloc(size);
  memory.fill(table, 0, size);
  store<u32>(table, places - 1);
  return table;
}

/** A table for a new stream; 0 when there is no memory for it. */
export function newTable(): usize {
  return tableOf(FIRST_PLACES);
}

export function freeTable(table: usize): void {
  if (table == 0) return;
  allBytes -= sizeOf(placesOf(table));
  heap.free(table);
}

/** Copies the table into one of twice the size. Gives the old one where there is no larger one. */
function grow(table: usize): usize {
  const places = placesOf(table);
  if (places == MOST_PLACES) return table;
  const larger = tableOf(places * 2);
  if (larger == 0) return table;
  for (let at = table + HEADER_BYTES, end = table + sizeOf(places); at < end; at += ENTRY_BYTES) {
    if (load<u64>(at, 8) == 0) continue;
    memory.copy(entryOf(larger, load<u64>(at)), at, ENTRY_BYTES);
  }
  freeTable(table);
  return larger;
}

/** Keeps that a request was sent. Returns the table, which may be another one. */
export function keepTime(table: usize, id: u64, time: u64): usize {
  let entry = entryOf(table, id);
  while (load<u64>(entry, 8) != 0 && load<u64>(entry) != id) {
    const larger = grow(table);
    if (larger == table) break;
    table = larger;
    entry = entryOf(table, id);
  }
  store<u64>(entry, id);
  store<u64>(entry, time, 8);
  return table;
}

/** When the request with this id was sent, and forgets it; 0 when that is not known. @inline */
export function takeTime(table: usize, id: u64): u64 {
  const entry = entryOf(table, id);
  const time = load<u64>(entry, 8);
  if (time == 0 || load<u64>(entry) != id) return 0;
  store<u64>(entry, 0, 8);
  return time;
}
