/**
 * Removes the tenant's tag from `_tidb_tid` in the rows of a coprocessor's answer (tipb.SelectResponse). The layout that was kept for its
 * plan says where: see output-columns.ts. Patched values keep their length.
 *
 * Sources: tipb select.proto; TiDB pkg/util/chunk/codec.go and pkg/util/codec/codec.go.
 */
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint, writePaddedVarint } from '../wire/varint';
import * as fields from './fields';
import { BYTES, VARINT } from './fields';
import { PARTITION_ID } from './output-columns';

const ENCODE_CHUNK: u64 = 1;
const ENCODE_DEFAULT: u64 = 0;

/** tipb.SelectResponse */
const CHUNKS: u32 = 3;
const ENCODE_TYPE: u32 = 9;
const INTERMEDIATE_OUTPUTS: u32 = 11;
/** tipb.IntermediateOutput */
const OUTPUT_ENCODE_TYPE: u32 = 1;
const OUTPUT_CHUNKS: u32 = 2;
/** tipb.Chunk */
const ROWS_DATA: u32 = 3;

/** Strips all rows of an answer. `columns` is the layout kept for its plan. */
export function stripPartitionIds(p: usize, length: usize, columns: usize, tenant: u32): Status {
  const end = p + length;
  let list = columns + 4;
  const listsEnd = list + load<u32>(columns);
  const status = stripOutput(p, end, list, CHUNKS, ENCODE_TYPE, tenant);
  if (status != Status.OK) return status;
  for (let at = p; at < end;) {
    at = fields.readField(at, end);
    if (!fields.isField(INTERMEDIATE_OUTPUTS, BYTES)) continue;
    // The i-th output belongs to the plan's i-th channel.
    list += 4 + load<u32>(list);
    if (list >= listsEnd) return Status.ROW_DATA;
    const inner = stripOutput(
      fields.bytesAt,
      fields.bytesAt + fields.bytesLength,
      list,
      OUTPUT_CHUNKS,
      OUTPUT_ENCODE_TYPE,
      tenant,
    );
    if (inner != Status.OK) return inner;
  }
  return Status.OK;
}

/** Strips one output: the chunks in field `chunks` of the message [p, end). `list` names their columns. */
function stripOutput(p: usize, end: usize, list: usize, chunks: u32, encodeType: u32, tenant: u32): Status {
  let encoding = ENCODE_DEFAULT;
  for (let at = p; at < end;) {
    at = fields.readField(at, end);
    if (at == 0) return Status.MALFORMED;
    if (fields.isField(encodeType, VARINT)) encoding = fields.fieldValue;
  }
  if (load<u32>(list) == 0) return Status.OK;
  if (encoding != ENCODE_CHUNK && encoding != ENCODE_DEFAULT) return Status.ROW_DATA;
  // Chunks are cut between whole rows only, so each chunk starts at column 0.
  for (let at = p; at < end;) {
    at = fields.readField(at, end);
    if (!fields.isField(chunks, BYTES)) continue;
    const chunkEnd = fields.bytesAt + fields.bytesLength;
    for (let inner = fields.bytesAt; inner < chunkEnd;) {
      inner = fields.readField(inner, chunkEnd);
      if (inner == 0) return Status.MALFORMED;
      if (!fields.isField(ROWS_DATA, BYTES)) continue;
      const ok =
        encoding == ENCODE_CHUNK
          ? stripChunk(fields.bytesAt, fields.bytesAt + fields.bytesLength, list, tenant)
          : stripRows(fields.bytesAt, fields.bytesAt + fields.bytesLength, list, tenant);
      if (!ok) return Status.ROW_DATA;
    }
  }
  return Status.OK;
}

/** Strips columns, one after the other: rows:u32 nulls:u32 [bitmap] [offsets:i64 x (rows + 1)] data. All little endian. */
function stripChunk(p: usize, end: usize, list: usize, tenant: u32): bool {
  const count = load<u32>(list);
  while (p < end) {
    for (let c: u32 = 0; c < count; c++) {
      if (end - p < 8) return false;
      const rows = <u64>load<u32>(p);
      const nulls = load<u32>(p, 4);
      p += 8;
      let bytes: u64 = nulls > 0 ? (rows + 7) >> 3 : 0;
      if (bytes > <u64>(end - p)) return false;
      p += <usize>bytes;
      const width = load<u8>(list + 4 + c);
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

/** Strips rows of flagged datums, one after the other. */
function stripRows(p: usize, end: usize, list: usize, tenant: u32): bool {
  const count = load<u32>(list);
  while (p < end) {
    for (let c: u32 = 0; c < count; c++) {
      if (p >= end) return false;
      const next = skipDatum(p, end);
      if (next == 0 || next > end) return false;
      if (load<u8>(list + 4 + c) == PARTITION_ID && !stripDatum(p, next, tenant)) return false;
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

/** Strips one datum. INT has its sign bit flipped; VARINT is zigzag. An id is never negative. */
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
  // Go's varint reader accepts padded varints, so the row keeps its length.
  if (value >> 48 == <u64>tenant)
    writePaddedVarint(p + 1, (value & 0x0000ffffffffffff) << 1, <i32>(next - p - 1));
  return true;
}

/** Bytes of a part of a decimal with so many digits, as in TiDB's types.MyDecimal. */
function decimalBytes(digits: i32): usize {
  const rest = digits % 9;
  return <usize>((digits / 9) * 4 + (rest + 1) / 2);
}

/** The end of a datum; 0 when it is unknown. */
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
      return varint.readEnd == 0 || length > <u64>(end - varint.readEnd) ? 0 : varint.readEnd + <usize>length;
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
      return varint.readEnd;
    case Datum.JSON:
      return skipJson(p, end);
    default:
      return 0;
  }
}

/** The end of TiDB's binary JSON: a type byte, then a value as types.PeekBytesAsJSON reads it. */
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
  return varint.readEnd == 0 || length > <u64>(end - varint.readEnd) ? 0 : varint.readEnd + <usize>length;
}
