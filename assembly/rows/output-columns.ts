/**
 * Finds where a coprocessor's plan (tipb.DAGRequest) asks for `_tidb_tid`, the partition that a row lies in. TiKV reads it from the row's
 * key, so it contains the tenant's tag. TiDB builds lock keys from it.
 *
 * A plan scans a table or an index. With a pushed-down look-up it scans both: first the index, then the rows found there.
 *
 *   executors   index scan, selection ..., table scan, index look-up, selection ...
 *   answer      rows with the table scan's columns; and, for index entries whose rows lie in other regions, rows with the index's own
 *               columns as an "intermediate output" of the look-up
 *
 * Layout kept per request ("columns"):   bytes behind this:u32 | list of the answer's rows | list of each intermediate output
 *   list:   count:u32 | one byte per output column: its fixed width, 0 for variable; PARTITION_ID for ours
 *   A list is empty when the rows do not hold the column.
 *
 * Sources: tipb select.proto, executor.proto, schema.proto (2026-07-16); TiKV tidb_query_executors/src/runner.rs, index_lookup_executor.rs;
 * TiDB pkg/executor/builder.go, pkg/util/chunk/codec.go.
 */
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';
import * as fields from './fields';
import { BYTES, VARINT } from './fields';

/** `model.ExtraPhysTblID`; older versions call it `ExtraPidColID`. */
const PHYSICAL_TABLE_COLUMN: i64 = -3;
const PARTITION_COLUMN: i64 = -2;
export const PARTITION_ID: u8 = 0xff;
/** TiDB allows 4096 columns in a table. */
const MAX_COLUMNS: u32 = 8192;
const COUNT_BYTES: usize = 4;
/** Room for all lists of a plan. TiDB asks for two. */
const OUTPUT_BYTES: usize = 4 * <usize>MAX_COLUMNS;

/** tipb.DAGRequest */
const EXECUTORS: u32 = 2;
const OUTPUT_OFFSETS: u32 = 5;
const INTERMEDIATE_CHANNELS: u32 = 20;
/** tipb.Executor: its type, and the scans. */
const TYPE: u32 = 1;
const TABLE_SCAN_FIELD: u32 = 2;
const INDEX_SCAN_FIELD: u32 = 3;
const PARTITION_TABLE_SCAN_FIELD: u32 = 14;
/** Fields of the scans: their columns. */
const TABLE_COLUMNS: u32 = 2;
const INDEX_COLUMNS: u32 = 3;
/** tipb.ColumnInfo */
const COLUMN_ID: u32 = 1;
const COLUMN_TYPE: u32 = 2;
/** tipb.IntermediateOutputChannel */
const CHANNEL_EXECUTOR: u32 = 1;
const CHANNEL_OFFSETS: u32 = 2;

const enum Executor {
  TABLE_SCAN = 0,
  INDEX_SCAN = 1,
  SELECTION = 2,
  AGGREGATION = 3,
  TOPN = 4,
  LIMIT = 5,
  STREAM_AGGREGATION = 6,
  PARTITION_TABLE_SCAN = 12,
  INDEX_LOOK_UP = 20,
}

/** What happens to the columns of a scan. */
const enum Rows {
  SCANNED,
  /** An aggregation answers with columns of its own. The scan's columns never leave the store. */
  OWN,
  /** An executor changes the columns in an unknown way. */
  UNKNOWN,
}

/** The columns of one scan, after the executor that was read last. */
@unmanaged
class Scan {
  /** One byte for each column. */
  widths: usize;
  count: u32;
  rows: Rows;
  /** True when one of the columns is the partition's id. */
  holds: bool;
}

/** The layout that `findPartitionId` found, valid until its next call. 0 when the answer holds no such column. */
export let columnsAt: usize = 0;
export let columnsLength: usize = 0;

const scans: usize = memory.data(2 * 16, 8);
/** The scan whose rows go on, and the index scan below a look-up. Buffers are kept: a batch may hold very many small plans. */
let last: Scan = changetype<Scan>(scans);
let below: Scan = changetype<Scan>(scans + 16);
let scanCount: u32 = 0;
/** Index of the executor that looks up rows; u32.MAX_VALUE when there is none. */
let lookUp: u32 = 0;

let output: usize = 0;
let written: usize = 0;
let answers: bool = false;

/** Bytes of a value in TiDB's chunk format, by MySQL type. 0 means variable. */
function fixedWidth(mysqlType: u64): u8 {
  switch (<i32>mysqlType) {
    case 4: // float
      return 4;
    case 1: // tiny
    case 2: // short
    case 3: // long
    case 5: // double
    case 7: // timestamp
    case 8: // longlong
    case 9: // int24
    case 10: // date
    case 11: // duration
    case 12: // datetime
    case 13: // year
    case 14: // new date
      return 8;
    case 246: // decimal
      return 40;
    default:
      return 0;
  }
}

function beginPlan(): void {
  columnsAt = 0;
  if (output == 0) {
    last.widths = heap.alloc(MAX_COLUMNS);
    below.widths = heap.alloc(MAX_COLUMNS);
    output = heap.alloc(OUTPUT_BYTES);
  }
  last.count = 0;
  last.holds = false;
  last.rows = Rows.SCANNED;
  below.count = 0;
  below.holds = false;
  below.rows = Rows.SCANNED;
  scanCount = 0;
  lookUp = u32.MAX_VALUE;
}

/** Begins a scan. The scan before it is the index of a look-up. */
function beginScan(): void {
  if (++scanCount == 1) return;
  // With three scans, it is unknown what happens to the columns of the first.
  const holds = scanCount > 2 && below.holds;
  const spare = below;
  below = last;
  last = spare;
  last.count = 0;
  last.rows = Rows.SCANNED;
  last.holds = false;
  if (!holds) return;
  below.holds = true;
  below.rows = Rows.UNKNOWN;
}

/** Reads the columns of a table or index scan; `list` is the number of the field that repeats ColumnInfo. */
function scanColumns(p: usize, end: usize, list: u32): bool {
  beginScan();
  while (p < end) {
    p = fields.readField(p, end);
    if (p == 0) return false;
    if (!fields.isField(list, BYTES)) continue;
    if (last.count == MAX_COLUMNS) return false;
    let id: i64 = 0;
    let type: u64 = 0;
    let at = fields.bytesAt;
    const columnEnd = fields.bytesAt + fields.bytesLength;
    while (at < columnEnd) {
      at = fields.readField(at, columnEnd);
      if (at == 0) return false;
      if (fields.isField(COLUMN_ID, VARINT)) id = <i64>fields.fieldValue;
      else if (fields.isField(COLUMN_TYPE, VARINT)) type = fields.fieldValue;
    }
    let width = fixedWidth(type);
    if (id == PHYSICAL_TABLE_COLUMN || id == PARTITION_COLUMN) {
      width = PARTITION_ID;
      last.holds = true;
    }
    store<u8>(last.widths + last.count++, width);
  }
  return true;
}

/** Reads the `index`-th executor. False when it is malformed. */
function readExecutor(p: usize, end: usize, index: u32): bool {
  let type: u64 = 0;
  while (p < end) {
    p = fields.readField(p, end);
    if (p == 0) return false;
    if (fields.isField(TYPE, VARINT)) type = fields.fieldValue;
    else if (fields.isField(TABLE_SCAN_FIELD, BYTES) || fields.isField(PARTITION_TABLE_SCAN_FIELD, BYTES)) {
      if (!scanColumns(fields.bytesAt, fields.bytesAt + fields.bytesLength, TABLE_COLUMNS)) return false;
    } else if (fields.isField(INDEX_SCAN_FIELD, BYTES)) {
      if (!scanColumns(fields.bytesAt, fields.bytesAt + fields.bytesLength, INDEX_COLUMNS)) return false;
    }
  }
  switch (<i32>type) {
    case Executor.TABLE_SCAN:
    case Executor.INDEX_SCAN:
    case Executor.PARTITION_TABLE_SCAN:
    case Executor.SELECTION:
    case Executor.TOPN:
    case Executor.LIMIT:
      break;
    case Executor.INDEX_LOOK_UP:
      lookUp = index;
      break;
    case Executor.AGGREGATION:
    case Executor.STREAM_AGGREGATION:
      last.rows = Rows.OWN;
      break;
    default:
      if (last.rows == Rows.SCANNED) last.rows = Rows.UNKNOWN;
  }
  return true;
}

/** Looks for the column in a tipb.DAGRequest and leaves the answer's layout in `columnsAt`. */
export function findPartitionId(p: usize, length: usize): Status {
  beginPlan();
  const end = p + length;
  let executors: u32 = 0;
  let at = p;
  while (at < end) {
    at = fields.readField(at, end);
    if (at == 0) return Status.MALFORMED;
    if (
      fields.isField(EXECUTORS, BYTES) &&
      !readExecutor(fields.bytesAt, fields.bytesAt + fields.bytesLength, executors++)
    )
      return Status.MALFORMED;
  }
  if (!last.holds && !below.holds) return Status.OK;
  written = output + COUNT_BYTES;
  answers = false;
  let status = list(last, p, end, OUTPUT_OFFSETS);
  at = p;
  while (at < end && status == Status.OK) {
    at = fields.readField(at, end);
    if (fields.isField(INTERMEDIATE_CHANNELS, BYTES))
      status = channel(fields.bytesAt, fields.bytesAt + fields.bytesLength);
  }
  if (status != Status.OK || !answers) return status;
  store<u32>(output, <u32>(written - output - COUNT_BYTES));
  columnsAt = output;
  columnsLength = written - output;
  return Status.OK;
}

/** Writes the list of an intermediate output: the index's columns, when the look-up makes the output. */
function channel(p: usize, end: usize): Status {
  let executor: u64 = 0;
  for (let at = p; at < end;) {
    at = fields.readField(at, end);
    if (at == 0) return Status.MALFORMED;
    if (fields.isField(CHANNEL_EXECUTOR, VARINT)) executor = fields.fieldValue;
  }
  return executor == <u64>lookUp ? list(below, p, end, CHANNEL_OFFSETS) : Status.ROW_DATA;
}

/** Writes the list of a scan's columns in the answer. The numbers in `field` of the message [p, end) name them. */
function list(scan: Scan, p: usize, end: usize, field: u32): Status {
  const out = written;
  if (out + COUNT_BYTES + <usize>MAX_COLUMNS > output + OUTPUT_BYTES) return Status.MALFORMED;
  written = out + COUNT_BYTES;
  store<u32>(out, 0);
  if (!scan.holds || scan.rows == Rows.OWN) return Status.OK;
  if (scan.rows == Rows.UNKNOWN) return Status.ROW_DATA;
  let count: u32 = 0;
  let holds = false;
  while (p < end) {
    p = fields.readField(p, end);
    if (!fields.holdsNumbers(field)) continue;
    let at = fields.bytesAt;
    const behind = fields.bytesAt + fields.bytesLength;
    while (at < behind) {
      const offset = readVarint(at, behind);
      if (varint.readEnd == 0 || offset >= <u64>scan.count || count == MAX_COLUMNS) return Status.MALFORMED;
      at = varint.readEnd;
      const width = load<u8>(scan.widths + <usize>offset);
      if (width == PARTITION_ID) holds = true;
      store<u8>(written + count++, width);
    }
  }
  if (!holds) return Status.OK;
  answers = true;
  store<u32>(out, count);
  written += count;
  return Status.OK;
}
