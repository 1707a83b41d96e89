/**
 * What a tipb.AnalyzeReq makes TiKV read and take memory for (src/coprocessor/statistics/analyze.rs). It takes each column by its place in
 * the request's list and panics where there is none: by the offsets of column groups, and in a mixed request as many as its handle has ids.
 * Before it reads a row, it makes a sketch for each column and each group, of the sizes that the request names.
 */
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';
import { BYTES, VARINT } from './fields';
import * as fields from './fields';

/** tipb.AnalyzeReq */
const TYPE: u32 = 1;
const INDEX_REQUEST: u32 = 5;
const COLUMNS_REQUEST: u32 = 6;
/** tipb.AnalyzeIndexReq */
const INDEX_DEPTH: u32 = 3;
const INDEX_WIDTH: u32 = 4;
/** tipb.AnalyzeColumnsReq */
const COLUMNS_INFO: u32 = 4;
const COLUMNS_DEPTH: u32 = 5;
const COLUMNS_WIDTH: u32 = 6;
const PRIMARY_COLUMN_IDS: u32 = 7;
const COLUMN_GROUPS: u32 = 10;
/** tipb.AnalyzeColumnGroup */
const OFFSETS: u32 = 1;
/** tipb.ColumnInfo */
const IS_HANDLE: u32 = 21;

/** tipb.AnalyzeType */
const MIXED: u64 = 4;

/** A table of TiDB's has so many columns and indexes at most (pkg/config, DefMaxOfTableColumnCountLimit and DefMaxOfIndexLimit). */
const MAX_COLUMNS: u64 = 4096;
const MAX_GROUPS: u64 = 512;
/** Counters of one count-min sketch, four bytes each: TiDB's own limit (pkg/planner/core, CMSketchSizeLimit). */
const MAX_COUNTERS: u64 = 1_258_291;
/** Counters of the sketches of all columns: a hundred times what ANALYZE asks for by default, 2,048 times 5, of 64 columns. */
const MAX_COUNTERS_OF_ALL: u64 = 1 << 26;

/** Judges the AnalyzeReq [p, end). VALUE_OUTSIDE: it reads a column that it does not list, or asks for too much memory. */
export function judgeColumns(p: usize, end: usize): Status {
  let type: u64 = 0;
  let at: usize = 0;
  let length: usize = 0;
  while (p < end) {
    p = fields.readField(p, end);
    if (p == 0) return Status.MALFORMED;
    if (fields.isField(TYPE, VARINT)) type = fields.fieldValue;
    else if (fields.isField(COLUMNS_REQUEST, BYTES)) {
      at = fields.bytesAt;
      length = fields.bytesLength;
    } else if (fields.isField(INDEX_REQUEST, BYTES)) {
      const from = fields.bytesAt;
      const counters = countersOf(from, from + fields.bytesLength, INDEX_DEPTH, INDEX_WIDTH);
      if (counters > MAX_COUNTERS) return Status.VALUE_OUTSIDE;
    }
  }
  return judgeRequest(at, at + length, type == MIXED);
}

/** How many counters the request's sketches have each. */
function countersOf(p: usize, end: usize, depthField: u32, widthField: u32): u64 {
  let depth: u64 = 0;
  let width: u64 = 0;
  while (p < end) {
    p = fields.readField(p, end);
    // The walk has read it before: only what is well formed gets here.
    if (p == 0) return u64.MAX_VALUE;
    if (fields.isField(depthField, VARINT)) depth = fields.fieldValue;
    else if (fields.isField(widthField, VARINT)) width = fields.fieldValue;
  }
  // Both have limits of their own in proto/, so this does not overflow.
  return depth * width;
}

function judgeRequest(from: usize, end: usize, isMixed: bool): Status {
  let columns: u64 = 0;
  let groups: u64 = 0;
  let ids: u64 = 0;
  let hasHandle = false;
  for (let p = from; p < end;) {
    p = fields.readField(p, end);
    if (p == 0) return Status.MALFORMED;
    if (fields.isField(COLUMNS_INFO, BYTES)) {
      if (columns++ == 0) hasHandle = isHandle(fields.bytesAt, fields.bytesAt + fields.bytesLength);
    } else if (fields.holdsNumbers(PRIMARY_COLUMN_IDS))
      ids += numbersIn(fields.bytesAt, fields.bytesAt + fields.bytesLength);
  }
  const counters = countersOf(from, end, COLUMNS_DEPTH, COLUMNS_WIDTH);
  if (columns > MAX_COLUMNS || counters > MAX_COUNTERS || counters * columns > MAX_COUNTERS_OF_ALL)
    return Status.VALUE_OUTSIDE;
  // A handle in the first column is taken off before the others are read.
  if (isMixed && ids > columns - (hasHandle ? 1 : 0)) return Status.VALUE_OUTSIDE;
  for (let p = from; p < end;) {
    p = fields.readField(p, end);
    if (!fields.isField(COLUMN_GROUPS, BYTES)) continue;
    if (groups++ == MAX_GROUPS) return Status.VALUE_OUTSIDE;
    const status = judgeGroup(fields.bytesAt, fields.bytesAt + fields.bytesLength, columns);
    if (status != Status.OK) return status;
  }
  return Status.OK;
}

/** True for a column that may be the handle: said twice, the last one counts, but what says so once is no honest column. */
function isHandle(p: usize, end: usize): bool {
  while (p < end) {
    p = fields.readField(p, end);
    if (p == 0) return false;
    if (fields.isField(IS_HANDLE, VARINT) && fields.fieldValue != 0) return true;
  }
  return false;
}

function numbersIn(p: usize, end: usize): u64 {
  let count: u64 = 0;
  // Each number ends with the one byte of it that has no continuation bit.
  for (; p < end; p++) if (load<u8>(p) < 0x80) count++;
  return count;
}

function judgeGroup(p: usize, end: usize, columns: u64): Status {
  while (p < end) {
    p = fields.readField(p, end);
    if (p == 0) return Status.MALFORMED;
    if (!fields.holdsNumbers(OFFSETS)) continue;
    const behind = fields.bytesAt + fields.bytesLength;
    for (let at = fields.bytesAt; at < behind; at = varint.readEnd) {
      const offset = readVarint(at, behind);
      if (varint.readEnd == 0) return Status.MALFORMED;
      if (offset >= columns) return Status.VALUE_OUTSIDE;
    }
  }
  return Status.OK;
}
