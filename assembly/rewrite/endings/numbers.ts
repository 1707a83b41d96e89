/** Judges fields that matter together, and fields that must be there: what TiKV and PD would stop on. */
import {
  Entry,
  Flag,
  Kind,
  endFieldOf,
  entryOf,
  kindIn,
  recordOf,
  startFieldOf,
} from '../../schema/messages';
import { compareBytes } from '../../keys/range';
import { judgeColumns } from '../../rows/analyzed-columns';
import { Msg } from '../../schema/table';
import { Status } from '../../wire/status';
import { fail } from '../current';
import { isDistinct } from '../distinct';
import { setTouched } from '../edits';
import { findDouble, findField, findVarint } from '../find';
import * as find from '../find';
import { Level } from '../level';
import { endTokens } from './tokens';

/** kvrpcpb.ResolveLockRequest.keys; kvrpcpb.TxnInfo has no such field. */
const KEYS: u32 = 5;

export function endNumbers(level: Level, flags: u32): Status {
  const self = recordOf(level.message);
  if (flags & (Flag.RANGE | Flag.ENCODED_RANGE)) return ordered(level, self, flags);
  if (flags & Flag.TXN_START) {
    if (!level.begun) return fail(Status.VALUE_OUTSIDE, level.message, 0);
    const list = endFieldOf(self);
    if (entryOf(self, list) & Entry.REPEATED && !isDistinct(level.message, level.start, level.end, list))
      return fail(Status.VALUE_OUTSIDE, level.message, list);
  }
  if (flags & Flag.NOT_ZERO) {
    const field = endFieldOf(self);
    if (findVarint(level.start, level.end, field) == 0)
      return fail(Status.VALUE_OUTSIDE, level.message, field);
  }
  if (!(flags & Flag.COMPARED)) return Status.OK;
  if (level.message == Msg.ANALYZE_REQUEST) {
    const status = judgeColumns(level.start, level.end);
    return status == Status.OK ? status : fail(status, level.message, 0);
  }
  if (level.message == Msg.TOKEN_BUCKETS_REQUEST || level.message == Msg.REQUEST_UNITS)
    return endTokens(level);
  if (kindIn(entryOf(self, startFieldOf(self))) == Kind.FIXED64) boundSqlTime(level, self);
  else if (!isTxn(level, self)) return fail(Status.VALUE_OUTSIDE, level.message, startFieldOf(self));
  return Status.OK;
}

/** Refuses a range whose start lies behind its end: TiKV looks up such ranges in its maps, which panic (Rust's BTreeMap::range). */
function ordered(level: Level, self: usize, flags: u32): Status {
  const start = findField(level.start, level.end, startFieldOf(self));
  const startLength = start == 0 ? 0 : find.foundEnd - start;
  const end = findField(level.start, level.end, endFieldOf(self));
  const endLength = end == 0 ? 0 : find.foundEnd - end;
  const isOrdered =
    startLength != 0 && endLength != 0
      ? compareBytes(start, startLength, end, endLength) <= 0
      : !(flags & Flag.NOT_ZERO);
  return isOrdered ? Status.OK : fail(Status.VALUE_OUTSIDE, level.message, startFieldOf(self));
}

/**
 * True for a transaction that begins before it commits. TiKV stops on keys of no transaction (src/storage/txn/commands/mod.rs). It commits
 * keys at any timestamp that ResolveLock names (resolve_lock_lite.rs), and stops later on a commit before the start (check_txn_status.rs).
 */
function isTxn(level: Level, self: usize): bool {
  const start = findVarint(level.start, level.end, startFieldOf(self));
  const commit = findVarint(level.start, level.end, endFieldOf(self));
  if (start == 0 && findField(level.start, level.end, KEYS) != 0) return false;
  if (commit != 0 && commit <= start) return false;
  return isDistinct(level.message, level.start, level.end, KEYS);
}

/**
 * PD adds the difference of both to a counter, which panics on a negative number: pkg/mcs/resourcemanager/server/manager.go. It does so only
 * where the whole is more than nothing, so no time of SQL is as good as an absent one.
 */
function boundSqlTime(level: Level, self: usize): void {
  const all = findDouble(level.start, level.end, startFieldOf(self));
  const sql = findDouble(level.start, level.end, endFieldOf(self));
  if (find.foundEnd == 0 || sql == 0 || sql <= all) return;
  store<f64>(find.foundEnd - sizeof<f64>(), all);
  setTouched(true);
}
