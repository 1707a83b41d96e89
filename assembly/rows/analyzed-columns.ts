/**
 * Which columns a tipb.AnalyzeReq reads. TiKV takes each by its place in the request's list and panics where there is none
 * (src/coprocessor/statistics/analyze.rs): by the offsets of column groups, and in a mixed request as many as its handle has ids.
 */
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint } from '../wire/varint';
import { BYTES, VARINT } from './fields';
import * as fields from './fields';

/** tipb.AnalyzeReq */
const TYPE: u32 = 1;
const COLUMNS_REQUEST: u32 = 6;
/** tipb.AnalyzeColumnsReq */
const COLUMNS_INFO: u32 = 4;
const PRIMARY_COLUMN_IDS: u32 = 7;
const COLUMN_GROUPS: u32 = 10;
/** tipb.AnalyzeColumnGroup */
const OFFSETS: u32 = 1;
/** tipb.ColumnInfo */
const IS_HANDLE: u32 = 21;

/** tipb.AnalyzeType */
const MIXED: u64 = 4;

/** Judges the AnalyzeReq [p, end). VALUE_OUTSIDE: it reads a column that it does not list. */
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
    }
  }
  return judgeRequest(at, at + length, type == MIXED);
}

function judgeRequest(from: usize, end: usize, isMixed: bool): Status {
  let columns: u64 = 0;
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
  // A handle in the first column is taken off before the others are read.
  if (isMixed && ids > columns - (hasHandle ? 1 : 0)) return Status.VALUE_OUTSIDE;
  for (let p = from; p < end;) {
    p = fields.readField(p, end);
    if (!fields.isField(COLUMN_GROUPS, BYTES)) continue;
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
