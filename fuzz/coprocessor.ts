/**
 * Coprocessor plans and answers (tipb), which the schema does not describe: as TiDB and TiKV write them, with every kind of column.
 *
 * Sources: tipb select.proto, executor.proto, schema.proto; TiDB pkg/util/chunk/codec.go and pkg/util/codec/codec.go.
 */
import { Kind } from '../src-ts/schema/judgement.ts';
import { concat, EMPTY } from '../test/harness/model/bytes.ts';
import { mixed, PACKED, SINGLE, writePiece } from '../test/harness/model/forms.ts';
import type { Random } from '../test/harness/model/random.ts';
import { bytes, scalar, varint } from '../test/harness/model/wire.ts';
import type { Space } from './spaces.ts';

const TABLE_SCAN = 0;
const INDEX_SCAN = 1;
const PARTITION_TABLE_SCAN = 12;
const LOOK_UP = 20;
/** Field of the executor's body by its type. */
const BODIES = new Map([
  [TABLE_SCAN, 2],
  [INDEX_SCAN, 3],
  [PARTITION_TABLE_SCAN, 14],
]);
/** Executors that keep the scan's columns, and all others. */
const KEEPING = [2, 4, 5];
const OTHERS = [3, 6, 7, 8, 9, 10, 11, 13];
const PHYSICAL_TABLE = -3;
const PARTITION = -2;
/** Bytes of a value in TiDB's chunks by MySQL type; the others have no fixed width. */
const WIDTHS = new Map([
  [4, 4],
  ...[1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14].map((type): [number, number] => [type, 8]),
  [246, 40],
]);
const TYPES = [...WIDTHS.keys(), 15, 245, 247, 248, 252, 253, 254];

interface Column {
  readonly id: number;
  readonly type: number;
}

/** A plan, and the columns that its answer has. */
export interface Asked {
  readonly bytes: Uint8Array;
  readonly columns: readonly Column[];
  /** Those of a look-up's intermediate output. */
  readonly rest?: readonly Column[];
}

function isPartitionId({ id }: Column): boolean {
  return id === PHYSICAL_TABLE || id === PARTITION;
}

function column(random: Random): Column {
  const id = random.chance(35) ? random.pick([PHYSICAL_TABLE, PARTITION, -1]) : 1 + random.below(9);
  return { id, type: isPartitionId({ id, type: 0 }) && random.chance(95) ? 8 : random.pick(TYPES) };
}

/** A number of offsets of these columns, packed or not, and what they name. */
function offsetsOf(field: number, scanned: readonly Column[], random: Random): [Uint8Array, Column[]] {
  const offsets = Array.from({ length: random.below(5) }, () =>
    random.below(random.chance(97) ? scanned.length : scanned.length + 1),
  );
  const pieces = random.pick([PACKED, SINGLE, mixed(random)])(offsets.map(varint));
  const list = pieces.map((piece) => writePiece(field, Kind.VARINT, piece));
  return [concat(...list), offsets.flatMap((offset) => scanned[offset] ?? [])];
}

/** A look-up that is pushed down: of an index and of the table's rows. */
function lookUp(random: Random): Asked {
  const scan = (): Column[] => {
    const columns = Array.from({ length: 1 + random.below(4) }, () => column(random));
    if (random.chance(60)) columns[0] = { id: PHYSICAL_TABLE, type: 8 };
    return columns;
  };
  const [index, table] = [scan(), scan()];
  const infos = (list: number, columns: Column[]): Uint8Array[] =>
    columns.map((c) => bytes(list, scalar(1, c.id), scalar(2, c.type)));
  const [output, columns] = offsetsOf(5, table, random);
  const [channel, rest] = offsetsOf(2, index, random);
  const parts = [
    bytes(2, scalar(1, INDEX_SCAN), bytes(3, ...infos(3, index)), scalar(25, 2)),
    bytes(2, scalar(1, TABLE_SCAN), bytes(2, scalar(1, 1 + random.below(99)), ...infos(2, table))),
    bytes(2, scalar(1, LOOK_UP), bytes(24, bytes(1, varint(0)))),
    output,
    ...Array.from({ length: random.chance(90) ? 1 : random.below(4) }, () =>
      bytes(20, scalar(1, random.chance(95) ? 2 : random.below(4)), channel),
    ),
  ];
  return { bytes: concat(...parts), columns, rest };
}

/** A tipb.DAGRequest. */
export function plan(random: Random): Asked {
  if (random.chance(25)) return lookUp(random);
  const type = random.pick([TABLE_SCAN, TABLE_SCAN, INDEX_SCAN, PARTITION_TABLE_SCAN]);
  const scanned = Array.from({ length: 1 + random.below(4) }, () => column(random));
  // What plans of partitioned tables ask for.
  const asks = random.chance(60);
  if (asks) scanned[0] = { id: PHYSICAL_TABLE, type: 8 };
  const infos = scanned.map((c) => bytes(type === INDEX_SCAN ? 3 : 2, scalar(1, c.id), scalar(2, c.type)));
  const table = concat(scalar(1, 1 + random.below(99)), type === INDEX_SCAN ? scalar(2, 1) : EMPTY);
  const parts = [bytes(2, scalar(1, type), bytes(BODIES.get(type) ?? 2, table, ...infos))];
  while (random.chance(25))
    parts.push(
      bytes(2, scalar(1, random.pick(random.chance(90) ? KEEPING : OTHERS)), bytes(4, random.bytes(3))),
    );
  const offsets = Array.from({ length: random.below(5) }, () =>
    random.below(random.chance(97) ? scanned.length : scanned.length + 1),
  );
  if (asks) offsets[random.below(offsets.length + 1)] = 0;
  if (random.chance(50)) parts.push(bytes(5, ...offsets.map(varint)));
  else for (const offset of offsets) parts.push(scalar(5, offset));
  if (random.chance(50)) parts.push(scalar(11, random.below(2)));
  return { bytes: concat(...parts), columns: offsets.flatMap((offset) => scanned[offset] ?? []) };
}

function bigEndian(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, value));
  return out;
}

function littleEndian(value: bigint): Uint8Array {
  return bigEndian(value).reverse();
}

function physicalTable(space: Space, random: Random): bigint {
  const id = BigInt(random.below(1000));
  return random.chance(80) ? (BigInt(space.choice.number) << 48n) | id : random.bigint(64);
}

function datum(space: Space, random: Random): Uint8Array {
  const id = physicalTable(space, random);
  switch (random.below(11)) {
    case 0:
      return Uint8Array.of(0);
    case 1:
      return concat([1], random.bytes(8), [0xff], random.bytes(8), [0xf7]);
    case 2: {
      const length = random.below(12);
      return concat([2], varint(length * 2), random.bytes(length));
    }
    case 3:
      return concat([3], bigEndian(id ^ (1n << 63n)));
    case 4:
      return concat([random.pick([4, 5, 7])], random.bytes(8));
    case 5: {
      const precision = random.below(20);
      const fraction = random.below(precision + 1);
      const size = (digits: number): number =>
        Math.floor(digits / 9) * 4 + Math.floor(((digits % 9) + 1) / 2);
      return concat([6, precision, fraction], random.bytes(size(precision - fraction) + size(fraction)));
    }
    case 6:
    case 7:
      return concat([8], varint(id << 1n));
    case 8:
      return concat([9], varint(random.bigint(64)));
    case 9: {
      const content = random.bytes(random.below(8));
      return concat([10, 0x0c], varint(content.length), content);
    }
    default: {
      const size = 8 + random.below(12);
      return concat([10, random.pick([1, 3])], random.bytes(4), [size, 0, 0, 0], random.bytes(size - 8));
    }
  }
}

/** A column of a chunk: rows:u32 nulls:u32 [bitmap] [offsets:i64 x (rows + 1)] data. All little endian. */
function chunkColumn(space: Space, asked: Column, rows: number, random: Random): Uint8Array {
  const counts = new Uint8Array(8);
  const said = random.chance(95) ? rows : random.pick([rows + 1, 0x1fffffff, 0x20000000, 0xffffffff]);
  const nulls = random.chance(30) ? 1 : 0;
  new DataView(counts.buffer).setUint32(0, said, true);
  new DataView(counts.buffer).setUint32(4, nulls, true);
  const bitmap = nulls > 0 ? random.bytes(Math.ceil(rows / 8)) : EMPTY;
  if (isPartitionId(asked))
    return concat(
      counts,
      bitmap,
      ...Array.from({ length: rows }, () => littleEndian(physicalTable(space, random))),
    );
  const width = WIDTHS.get(asked.type);
  if (width !== undefined) return concat(counts, bitmap, random.bytes(rows * width));
  const offsets = Array.from({ length: rows + 1 }, (_, i) => littleEndian(BigInt(i * 3)));
  return concat(counts, bitmap, ...offsets, random.bytes(rows * 3));
}

/** A row's value: for a partition's id one of those that hold it. */
function rowValue(space: Space, asked: Column, random: Random): Uint8Array {
  if (!isPartitionId(asked) || random.chance(3)) return datum(space, random);
  const id = physicalTable(space, random);
  return random.pick([
    Uint8Array.of(0),
    concat([3], bigEndian(id ^ (1n << 63n))),
    concat([8], varint(BigInt.asUintN(64, id << 1n))),
  ]);
}

const ANY: readonly Column[] = [
  { id: 1, type: 8 },
  { id: 2, type: 15 },
];

/** Some chunks, in this field, of rows with these columns. */
function chunks(
  field: number,
  space: Space,
  columns: readonly Column[],
  chunked: boolean,
  random: Random,
): Uint8Array[] {
  return Array.from({ length: 1 + random.below(3) }, () => {
    const rows = random.below(5);
    const data = chunked
      ? columns.map((column) => chunkColumn(space, column, rows, random))
      : Array.from({ length: rows }, () => columns.map((column) => rowValue(space, column, random))).flat();
    return bytes(field, bytes(3, ...data));
  });
}

/** A tipb.SelectResponse with the columns that were asked for. */
export function answer(space: Space, asked: Asked | undefined, random: Random): Uint8Array {
  const chunked = random.chance(50);
  const encoding = chunked ? 1 : random.pick([0, 0, 0, 0, 0, 2]);
  const parts = chunks(3, space, asked?.columns ?? ANY, chunked, random);
  parts.push(scalar(9, encoding));
  if (asked?.rest !== undefined)
    parts.push(bytes(11, scalar(1, encoding), ...chunks(2, space, asked.rest, chunked, random)));
  if (random.chance(20)) parts.reverse();
  return concat(...parts);
}
