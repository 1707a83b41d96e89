/**
 * Counts a tenant's open watches in PD's etcd. A stream of watches has many. Each begins by a request, and etcd answers the requests in
 * their order:
 *
 *   create -> created              the watch is open, under the id of the answer
 *          -> created, canceled    etcd has refused it
 *   later  -> canceled             the watch has ended: the client wanted it, or etcd
 *
 * etcd may tell twice that a watch has ended. So the ids of open ones are kept. A watch beyond the limit goes on with an empty range, which
 * etcd refuses (mvcc/watcher.go: ErrEmptyWatcherRange): the other watches of the stream go on.
 */
import * as names from '../keys/namespace';
import { endFieldOf, recordOf } from '../schema/messages';
import { writeStatus } from '../texts/statuses';
import * as writer from '../texts/writer';
import { Ascii, ascii, equals } from '../wire/bytes';
import { Status } from '../wire/status';
import { varintSize } from '../wire/varint';
import * as current from './current';
import { replaceField } from './edits';
import { nameRange } from './etcd';
import { Exchange } from './exchange';
import * as find from './find';
import { findField, findVarint } from './find';
import { Level } from './level';
import { countRefusal } from './refusal-counts';

/** Fields of etcdserverpb.WatchResponse. */
const WATCH_ID: u32 = 2;
const CREATED: u32 = 3;
const CANCELED: u32 = 4;
const REASON: u32 = 6;
const REASON_TAG: u32 = (REASON << 3) | 2;

const EMPTY_RANGE: Ascii = ascii('mvcc: watcher range is empty');
const FIRST_IDS: u32 = 4;
/** Maximum of watches on one stream: the end of each is looked for among all. */
const MAX_STREAM_WATCHES: u32 = 10_000;

/** The watches of a stream. */
@unmanaged
export class Watches {
  /** Requests that have no answer yet: those that went on, and those that were refused. */
  creating: u32 = 0;
  refused: u32 = 0;
  /** Ids of the open ones: u64. */
  ids: usize = 0;
  count: u32 = 0;
  capacity: u32 = 0;

  open(id: u64): void {
    if (this.count == this.capacity) {
      this.capacity = max(this.capacity * 2, FIRST_IDS);
      const more = heap.alloc((<usize>this.capacity) << 3);
      memory.copy(more, this.ids, (<usize>this.count) << 3);
      if (this.ids != 0) heap.free(this.ids);
      this.ids = more;
    }
    store<u64>(this.ids + ((<usize>this.count) << 3), id);
    this.count++;
  }

  get isFull(): bool {
    return this.count + this.creating >= MAX_STREAM_WATCHES;
  }

  /** False if no such watch is open. */
  close(id: u64): bool {
    for (let i: u32 = 0; i < this.count; i++) {
      const at = this.ids + ((<usize>i) << 3);
      if (load<u64>(at) != id) continue;
      this.count--;
      store<u64>(at, load<u64>(this.ids + ((<usize>this.count) << 3)));
      return true;
    }
    return false;
  }
}

/** The watches of the stream of this event. */
function ofStream(): Watches {
  const x = current.exchange;
  if (x.watches == 0) {
    x.watches = changetype<usize>(new Watches());
    x.heldBytes += offsetof<Watches>();
  }
  return changetype<Watches>(x.watches);
}

/** Forgets the watches of a stream that closes. Returns how many counted as open. */
export function closeWatches(x: Exchange): u32 {
  if (x.watches == 0) return 0;
  const watches = changetype<Watches>(x.watches);
  const count = watches.count + watches.creating;
  if (watches.ids != 0) heap.free(watches.ids);
  heap.free(x.watches);
  x.watches = 0;
  return count;
}

/** Maps the range of a watch that a request begins, in the field `field` and the next one. Beyond the limit it is emptied. */
export function watchRange(level: Level, field: u32): Status {
  const account = current.terms.account;
  const endField = endFieldOf(recordOf(level.message));
  const last = level.last;
  const watches = ofStream();
  if (account.mayWatch && !watches.isFull) {
    const status = nameRange(field, level.first, endField, last, level.reads);
    if (status != Status.OK) return status;
    watches.creating++;
    account.addWatches(1);
    return Status.OK;
  }
  last.standAt(level.end);
  const at = last.at;
  const end = last.end;
  last.set(level.end, level.end, level.end, level.end);
  const status = nameRange(field, level.first, endField, last, level.reads);
  if (status != Status.OK) return status;
  // etcd takes an empty end for no end, and has no key without bytes.
  if (names.namedLength == 0) return Status.TOO_MANY_WATCHES;
  replaceField((endField << 3) | 2, at, end, names.namedAt, names.namedLength);
  watches.refused++;
  countRefusal(Status.TOO_MANY_WATCHES);
  account.addRefusals(Status.TOO_MANY_WATCHES, 1);
  return Status.OK;
}

/** Takes note of an answer that may begin or end a watch. */
export function sawWatch(level: Level): void {
  if (!level.has(CREATED) && !level.has(CANCELED)) return;
  const isCreated = findVarint(level.start, level.end, CREATED) != 0;
  const isCanceled = findVarint(level.start, level.end, CANCELED) != 0;
  const watches = ofStream();
  if (isCreated && isCanceled && watches.refused != 0 && sayWhy(level)) watches.refused--;
  else if (isCreated && watches.creating != 0) {
    watches.creating--;
    if (isCanceled) current.terms.account.removeWatches(1);
    else {
      const before = watches.capacity;
      watches.open(findVarint(level.start, level.end, WATCH_ID));
      current.exchange.heldBytes += (<usize>(watches.capacity - before)) << 3;
    }
  } else if (isCanceled && watches.close(findVarint(level.start, level.end, WATCH_ID)))
    current.terms.account.removeWatches(1);
}

/** Replaces etcd's reason by the filter's, if etcd has refused an empty range. */
function sayWhy(level: Level): bool {
  const reason = findField(level.start, level.end, REASON);
  if (reason == 0 || !equals(reason, find.foundEnd - reason, EMPTY_RANGE)) return false;
  const end = find.foundEnd;
  // etcd writes a length in as few bytes as it needs.
  const at = reason - <usize>varintSize(end - reason) - 1;
  if (load<u8>(at) != <u8>REASON_TAG) return false;
  writeStatus(Status.TOO_MANY_WATCHES);
  replaceField(REASON_TAG, at, end, writer.textAt, writer.textLength);
  return true;
}
