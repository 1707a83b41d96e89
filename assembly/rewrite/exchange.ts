/** Keeps notes about requests that their answers need. They are kept per stream, limited, and freed with the stream. */

import { Budget, charge } from '../memory/stream-buffer';
import { freeTable } from './id-times';
import { Call } from '../schema/table';
import { callOfCommand } from '../terms/state';

/** Maximum of notes on one stream. client-go sends a few hundred requests at once. */
export const MAX_PENDING: u32 = 4096;

const ENTRY_BYTES: usize = 16;

/** One note: id:u64 | columns:u32 (heap) or 0 | command << 8 | Status, where OK means a write that went on, or 0 */
@unmanaged
export class Exchange {
  /** The safe point that SAFE_POINT_IN took out of a unary request. */
  remembered: u64;
  /** Requests of a batch stream that have no answer yet. */
  outstanding: i32;
  /** How many of them are not in the store's hands: they were refused or held back, and went on as nothing. */
  empties: i32;
  /** True while writes are noted, because the tenant moves: how many have no answer yet, by kind. */
  isTracked: bool;
  writes: i32;
  finishes: i32;
  /** Requests that were open when this began, and the first id behind them; 0 before it is known. Their kinds are not known. */
  earlier: i32;
  firstId: u64;
  entries: usize;
  count: u32;
  capacity: u32;
  /** When the requests of a batch stream were sent, see id-times.ts; 0 where that is not measured. */
  times: usize;
  /** The watches of a stream of watches, see watches.ts; 0 before the first. */
  watches: usize;
  /** Heap bytes in use, and how many of them the budgets have counted. */
  heldBytes: usize;
  counted: usize;
}

/** Counts the notes against the limits. False: the stream must end. */
export function countExchange(x: Exchange, tenant: Budget): bool {
  const more = <isize>x.heldBytes - <isize>x.counted;
  x.counted = x.heldBytes;
  return more == 0 || charge(more, tenant);
}

export function clearExchange(x: Exchange): void {
  for (let i: u32 = 0; i < x.count; i++) {
    const columns = load<usize>(x.entries + <usize>i * ENTRY_BYTES, 8);
    if (columns != 0) heap.free(columns);
  }
  if (x.entries != 0) heap.free(x.entries);
  x.entries = 0;
  x.count = 0;
  x.capacity = 0;
  x.heldBytes = 0;
  x.remembered = 0;
  x.outstanding = 0;
  freeTable(x.times);
  x.times = 0;
  x.empties = 0;
  x.isTracked = false;
  x.writes = 0;
  x.finishes = 0;
  x.earlier = 0;
  x.firstId = 0;
}

/** Begins or ends noting writes. */
export function track(x: Exchange, isTracked: bool): void {
  x.isTracked = isTracked;
  x.earlier = isTracked ? max(outstandingIn(x) - x.writes - x.finishes, 0) : 0;
  x.firstId = 0;
}

/** True when a request in the store's hands may be a write. */
export function mayWrite(x: Exchange): bool {
  return x.isTracked ? x.writes + x.finishes + x.earlier > 0 : outstandingIn(x) > 0;
}

/** Number of requests in the store's hands. */
export function outstandingIn(x: Exchange): i32 {
  return max(x.outstanding - x.empties, 0);
}

/** Counts a note by what it says. */
function count(x: Exchange, refusal: u32, by: i32): void {
  if (isRefusal(refusal)) x.empties += by;
  else if (refusal != 0 && callOfCommand(refusal >> 8) == Call.WRITE) x.writes += by;
  else if (refusal != 0) x.finishes += by;
}

/** True for a note of a request that did not go on; false for one of a write that did. */
export function isRefusal(refusal: u32): bool {
  return (refusal & 0xff) != 0;
}

/** Takes note of an answer that is not to a noted write or refusal. Ids grow on a stream, so a smaller one than the first is an earlier request's. */
export function sawAnswer(x: Exchange, id: u64): void {
  if (x.earlier > 0 && (x.firstId == 0 || id < x.firstId)) x.earlier--;
}

/**
 * Keeps a note for the answer with this id, which is 0 on a unary stream. The note is a copy of the column layout of `length` bytes, or
 * the request's refusal. False when there are already MAX_PENDING notes.
 */
export function remember(x: Exchange, id: u64, refusal: u32, columns: usize, length: usize): bool {
  if (x.count == x.capacity) {
    if (x.capacity >= MAX_PENDING) return false;
    const capacity: u32 = x.capacity == 0 ? 4 : x.capacity * 2;
    const entries = heap.alloc(<usize>capacity * ENTRY_BYTES);
    memory.copy(entries, x.entries, <usize>x.count * ENTRY_BYTES);
    if (x.entries != 0) heap.free(x.entries);
    x.entries = entries;
    x.heldBytes += <usize>(capacity - x.capacity) * ENTRY_BYTES;
    x.capacity = capacity;
  }
  let copy: usize = 0;
  if (columns != 0) {
    copy = heap.alloc(length);
    memory.copy(copy, columns, length);
    x.heldBytes += length;
  }
  const entry = x.entries + <usize>x.count * ENTRY_BYTES;
  x.count++;
  count(x, refusal, 1);
  store<u64>(entry, id);
  store<usize>(entry, copy, 8);
  store<u32>(entry, refusal, 12);
  return true;
}

/** Index of the request with this id, or -1. */
export function pendingIndex(x: Exchange, id: u64): i32 {
  for (let i: u32 = 0; i < x.count; i++) if (load<u64>(x.entries + <usize>i * ENTRY_BYTES) == id) return i;
  return -1;
}

/** Why a pending request was refused: command << 8 | Status; see isRefusal. */
export function pendingRefusal(x: Exchange, index: i32): u32 {
  return load<u32>(x.entries + <usize>index * ENTRY_BYTES, 12);
}

/** The column layout of a pending request, or 0. */
export function pendingColumns(x: Exchange, index: i32): usize {
  return load<usize>(x.entries + <usize>index * ENTRY_BYTES, 8);
}

/** Forgets an answered request. */
export function forget(x: Exchange, index: i32): void {
  const columns = pendingColumns(x, index);
  count(x, pendingRefusal(x, index), -1);
  if (columns != 0) {
    x.heldBytes -= 4 + load<u32>(columns);
    heap.free(columns);
  }
  x.count--;
  const last = x.entries + <usize>x.count * ENTRY_BYTES;
  const entry = x.entries + <usize>index * ENTRY_BYTES;
  if (entry != last) memory.copy(entry, last, ENTRY_BYTES);
}
