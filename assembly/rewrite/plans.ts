/** Reads the data of a coprocessor request. Keeps what the answer needs to know of a plan. Walks what names a table, a key or a timestamp. */
import { mapsTableIds } from '../keys/space';
import * as columns from '../rows/output-columns';
import { Msg } from '../schema/table';
import { Status } from '../wire/status';
import * as batch from './batch';
import * as current from './current';
import { fail } from './current';
import { remember } from './exchange';
import { findVarint } from './find';
import { Level } from './level';

/** coprocessor.Request.tp, and its values for a plan with executors and for a checksum (tipb DAG, Analyze and Checksum). */
const TYPE_FIELD: u32 = 2;
const DAG: u64 = 103;
const ANALYZE: u64 = 104;
const CHECKSUM: u64 = 105;

/** start_ts_fallback in a plan with executors and in a checksum, and in an ANALYZE. */
const FALLBACK_FIELD: u32 = 1;
const ANALYZE_FALLBACK_FIELD: u32 = 2;

/** The type of the message in the field of `level`, by its request's type; 0 when nothing in it is read. */
export function planMessage(level: Level): u32 {
  if (level.copType == 0) level.copType = findVarint(level.field.end, level.end, TYPE_FIELD);
  if (level.copType == ANALYZE) return Msg.ANALYZE_REQUEST;
  if (level.copType == CHECKSUM) return Msg.CHECKSUM_REQUEST;
  return level.copType == DAG ? Msg.DAG_REQUEST : 0;
}

/** True for a plan that may have a timestamp of its own, in tipb's start_ts_fallback: what is judged anew each time. */
export function namesTimestamp(at: usize, end: usize): bool {
  return findVarint(at, end, FALLBACK_FIELD) != 0 || findVarint(at, end, ANALYZE_FALLBACK_FIELD) != 0;
}

/** Notes for the answer where a plan asks for `_tidb_tid`, which holds the tenant's tag with the table codec only. */
export function keepColumns(level: Level): Status {
  if (level.copType != DAG || !mapsTableIds()) return Status.OK;
  const status = columns.findPartitionId(level.field.bytes, level.field.length);
  if (status != Status.OK) return fail(status, level.message, 0);
  if (columns.columnsAt == 0) return Status.OK;
  if (batch.batchIndex >= 0) batch.noteColumns(columns.columnsAt, columns.columnsLength);
  else if (!remember(current.exchange, 0, 0, columns.columnsAt, columns.columnsLength))
    return fail(Status.TOO_MANY_PENDING, level.message, 0);
  return Status.OK;
}
