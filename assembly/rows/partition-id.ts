/**
 * `_tidb_tid`, the partition that a row lies in. TiKV answers it from the row's key, so with the tenant's tag in it; TiDB builds
 * lock keys from it. The request's plan says at which output column it is, the answer's row data is patched there.
 *
 * Layout kept per request ("columns"):   count:u32 | one byte per output column: its fixed width, 0 for variable; PARTITION_ID for ours
 *
 * Sources: tipb select.proto, executor.proto, schema.proto; TiDB pkg/util/chunk/codec.go and pkg/util/codec/codec.go.
 */
import { Status } from '../wire/status';
import { readVarint, varintEnd, writePaddedVarint } from '../wire/varint';
import { bytesAt, bytesLength, fieldNumber, readField, varint, wireType } from './fields';

/** `model.ExtraPhysTblID`, and `ExtraPidColID` of older versions. */
const PHYSICAL_TABLE_COLUMN: i64 = -3;
const PARTITION_COLUMN: i64 = -2;
const PARTITION_ID: u8 = 0xff;
/** TiDB allows 4096 columns in a table. */
const MAX_COLUMNS: u32 = 8192;

const ENCODE_CHUNK: u64 = 1;
const ENCODE_DEFAULT: u64 = 0;

const enum Executor {
  SELECTION = 2,
  AGGREGATION = 3,
  TOPN = 4,
  LIMIT = 5,
  STREAM_AGGREGATION = 6,
}

/** The layout found by `findPartitionId`, valid until its next call; 0 when the answer holds no such column. */
export let columnsAt: usize = 0;
export let columnsLength: usize = 0;

/** Bytes of a value in TiDB's chunk format by MySQL type; 0 is variable. */
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

/** Width bytes of the scan's columns, then what `scanColumns` found. Kept: a batch may hold very many small plans. */
let widthsAt: usize = 0;
let outputAt: usize = 0;
let widthCount: u32 = 0;
let found: bool = false;

/** Reads the columns of a table or index scan; `list` is the number of the field that repeats ColumnInfo. */
function scanColumns(p: usize, end: usize, list: u32): bool {
  while (p < end) {
    p = readField(p, end);
    if (p == 0) return false;
    if (fieldNumber != list || wireType != 2) continue;
    if (widthCount == MAX_COLUMNS) return false;
    let id: i64 = 0;
    let type: u64 = 0;
    let at = bytesAt;
    const columnEnd = bytesAt + bytesLength;
    while (at < columnEnd) {
      at = readField(at, columnEnd);
      if (at == 0) return false;
      if (fieldNumber == 1) id = <i64>varint;
      else if (fieldNumber == 2) type = varint;
    }
    let width = fixedWidth(type);
    if (id == PHYSICAL_TABLE_COLUMN || id == PARTITION_COLUMN) {
      width = PARTITION_ID;
      found = true;
    }
    store<u8>(widthsAt + widthCount++, width);
  }
  return true;
}

/** Quick look at one executor: its type, and its columns when it is a scan. -1 when malformed. */
function readExecutor(p: usize, end: usize): i32 {
  let type: i32 = 0;
  while (p < end) {
    p = readField(p, end);
    if (p == 0) return -1;
    if (fieldNumber == 1) type = <i32>varint;
    // tbl_scan, idx_scan, partition_table_scan
    else if (fieldNumber == 2 || fieldNumber == 3 || fieldNumber == 14) {
      if (!scanColumns(bytesAt, bytesAt + bytesLength, fieldNumber == 3 ? 3 : 2)) return -1;
    }
  }
  return type;
}

/** Looks for the column in a tipb.DAGRequest and leaves the answer's layout in `columnsAt`. */
export function findPartitionId(p: usize, length: usize): Status {
  columnsAt = 0;
  const end = p + length;
  if (widthsAt == 0) {
    widthsAt = heap.alloc(MAX_COLUMNS);
    outputAt = heap.alloc(4 + MAX_COLUMNS);
  }
  widthCount = 0;
  found = false;
  let keepsColumns = true;
  let aggregates = false;
  let at = p;
  while (at < end) {
    at = readField(at, end);
    if (at == 0) return Status.MALFORMED;
    if (fieldNumber != 2 || wireType != 2) continue;
    const type = readExecutor(bytesAt, bytesAt + bytesLength);
    if (type < 0) return Status.MALFORMED;
    if (type == Executor.AGGREGATION || type == Executor.STREAM_AGGREGATION) aggregates = true;
    else if (
      type > 1 &&
      type != 12 &&
      type != Executor.SELECTION &&
      type != Executor.TOPN &&
      type != Executor.LIMIT
    )
      keepsColumns = false;
  }
  // An aggregation answers with its own columns: the scan's never leave the store.
  if (!found || aggregates) return Status.OK;
  if (!keepsColumns) return Status.ROW_DATA;
  return readOutput(p, end);
}

function readOutput(p: usize, end: usize): Status {
  const out = outputAt;
  let count: u32 = 0;
  let answers = false;
  while (p < end) {
    p = readField(p, end);
    if (fieldNumber != 5) continue;
    // output_offsets, packed or not
    let at = bytesAt;
    const last = wireType == 2 ? bytesAt + bytesLength : p;
    while (at < last) {
      const offset = readVarint(at, last);
      if (varintEnd == 0 || offset >= <u64>widthCount || count == MAX_COLUMNS) return Status.MALFORMED;
      at = varintEnd;
      const width = load<u8>(widthsAt + <usize>offset);
      if (width == PARTITION_ID) answers = true;
      store<u8>(out + 4 + count++, width);
    }
  }
  if (!answers) return Status.OK;
  store<u32>(out, count);
  columnsAt = out;
  columnsLength = 4 + count;
  return Status.OK;
}

/** Takes the tenant's tag out of the column in a tipb.SelectResponse, in place; lengths stay. */
export function stripPartitionIds(p: usize, length: usize, columns: usize, tenant: u32): Status {
  const end = p + length;
  let encoding = ENCODE_DEFAULT;
  let at = p;
  while (at < end) {
    at = readField(at, end);
    if (at == 0) return Status.MALFORMED;
    if (fieldNumber == 9) encoding = varint;
  }
  if (encoding != ENCODE_CHUNK && encoding != ENCODE_DEFAULT) return Status.ROW_DATA;
  at = p;
  // A row may go on in the next chunk's data only between whole rows, so each chunk starts at column 0.
  while (at < end) {
    at = readField(at, end);
    if (fieldNumber != 3) continue;
    const chunkEnd = bytesAt + bytesLength;
    let inner = bytesAt;
    while (inner < chunkEnd) {
      inner = readField(inner, chunkEnd);
      if (inner == 0) return Status.MALFORMED;
      if (fieldNumber != 3) continue;
      const ok =
        encoding == ENCODE_CHUNK
          ? stripChunk(bytesAt, bytesAt + bytesLength, columns, tenant)
          : stripRows(bytesAt, bytesAt + bytesLength, columns, tenant);
      if (!ok) return Status.ROW_DATA;
    }
  }
  return Status.OK;
}

/** Column after column: rows:u32 nulls:u32 [bitmap] [offsets:i64 x (rows + 1)] data. All little endian. */
function stripChunk(p: usize, end: usize, columns: usize, tenant: u32): bool {
  const count = load<u32>(columns);
  while (p < end) {
    for (let c: u32 = 0; c < count; c++) {
      if (end - p < 8) return false;
      const rows = <u64>load<u32>(p);
      const nulls = load<u32>(p, 4);
      p += 8;
      let bytes: u64 = nulls > 0 ? (rows + 7) >> 3 : 0;
      if (bytes > <u64>(end - p)) return false;
      p += <usize>bytes;
      const width = load<u8>(columns + 4 + c);
      const ours = width == PARTITION_ID;
      if (width == 0) {
        bytes = (rows + 1) << 3;
        if (bytes > <u64>(end - p)) return false;
        p += <usize>bytes;
        bytes = load<u64>(p - 8);
      } else bytes = rows * (ours ? 8 : <u64>width);
      if (bytes > <u64>(end - p)) return false;
      const next = p + <usize>bytes;
      if (ours) for (; p < next; p += 8) if (load<u16>(p, 6) == <u16>tenant) store<u16>(p, 0, 6);
      p = next;
    }
  }
  return true;
}

/** Row after row of flagged datums. */
function stripRows(p: usize, end: usize, columns: usize, tenant: u32): bool {
  const count = load<u32>(columns);
  while (p < end) {
    for (let c: u32 = 0; c < count; c++) {
      if (p >= end) return false;
      const next = skipDatum(p, end);
      if (next == 0 || next > end) return false;
      if (load<u8>(columns + 4 + c) == PARTITION_ID && !stripDatum(p, next, tenant)) return false;
      p = next;
    }
  }
  return true;
}

const enum Datum {
  NIL = 0,
  BYTES = 1,
  COMPACT_BYTES = 2,
  INT = 3,
  UINT = 4,
  FLOAT = 5,
  DECIMAL = 6,
  DURATION = 7,
  VARINT = 8,
  UVARINT = 9,
  JSON = 10,
}

/** The sign bit is flipped in INT; VARINT is zigzag. An id is never negative. */
function stripDatum(p: usize, next: usize, tenant: u32): bool {
  const flag = <i32>load<u8>(p);
  if (flag == Datum.NIL) return true;
  if (flag == Datum.INT) {
    if (load<u8>(p, 1) == (0x80 | (<u8>(tenant >> 8))) && load<u8>(p, 2) == <u8>tenant)
      store<u16>(p, 0x0080, 1);
    return true;
  }
  if (flag != Datum.VARINT) return false;
  const value = readVarint(p + 1, next) >> 1;
  // Go's varint reader takes padded varints, so the row keeps its length.
  if (value >> 48 == <u64>tenant)
    writePaddedVarint(p + 1, (value & 0x0000ffffffffffff) << 1, <i32>(next - p - 1));
  return true;
}

/** Digits of a decimal's part to its bytes, from TiDB's types.MyDecimal. */
function decimalBytes(digits: i32): usize {
  const rest = digits % 9;
  return <usize>((digits / 9) * 4 + (rest + 1) / 2);
}

/** The place behind one datum; 0 when it cannot be told. */
function skipDatum(p: usize, end: usize): usize {
  const flag = <i32>load<u8>(p++);
  const left = end - p;
  switch (flag) {
    case Datum.NIL:
      return p;
    case Datum.BYTES: {
      while (end - p >= 9) {
        p += 9;
        if (load<u8>(p - 1) != 0xff) return p;
      }
      return 0;
    }
    case Datum.COMPACT_BYTES: {
      const length = readVarint(p, end) >> 1;
      return varintEnd == 0 || length > <u64>(end - varintEnd) ? 0 : varintEnd + <usize>length;
    }
    case Datum.INT:
    case Datum.UINT:
    case Datum.FLOAT:
    case Datum.DURATION:
      return left < 8 ? 0 : p + 8;
    case Datum.DECIMAL: {
      if (left < 2) return 0;
      const precision = <i32>load<u8>(p);
      const fraction = <i32>load<u8>(p, 1);
      if (fraction > precision) return 0;
      return p + 2 + decimalBytes(precision - fraction) + decimalBytes(fraction);
    }
    case Datum.VARINT:
    case Datum.UVARINT:
      readVarint(p, end);
      return varintEnd;
    case Datum.JSON:
      return skipJson(p, end);
    default:
      return 0;
  }
}

/** TiDB's binary JSON: one type byte, then as types.PeekBytesAsJSON reads it. */
function skipJson(p: usize, end: usize): usize {
  if (p >= end) return 0;
  const type = <i32>load<u8>(p++);
  const left = end - p;
  if (type == 0x01 || type == 0x03) {
    if (left < 8) return 0;
    const size = <usize>load<u32>(p, 4);
    return size < 8 || size > left ? 0 : p + size;
  }
  if (type == 0x04) return p + 1;
  if (type >= 0x09 && type <= 0x0b) return p + 8;
  if (type >= 0x0e && type <= 0x10) return p + 8;
  if (type == 0x11) return p + 12;
  if (type != 0x0c && type != 0x0d) return 0;
  if (type == 0x0d) p++;
  const length = readVarint(p, end);
  return varintEnd == 0 || length > <u64>(end - varintEnd) ? 0 : varintEnd + <usize>length;
}
