/** A coprocessor request's plan that scans a table for one VARCHAR column; facts from tipb select.proto, executor.proto, schema.proto. */

/** Request type of a plan in coprocessor.Request.tp. */
export const DAG_REQUEST = 103n;
const TYPE_VARCHAR = 15;
const UTF8MB4_BIN = 46;

/** Bytes of a tipb.DAGRequest whose answer holds that column of the rows. */
export function scanOf(tableId: number, columnId: number): Buffer {
  const column = [field(1, columnId), field(2, TYPE_VARCHAR), field(3, UTF8MB4_BIN), field(4, 255)];
  const scan = [field(1, tableId), field(2, Buffer.concat(column))];
  const executor = [field(1, 0), field(2, Buffer.concat(scan))];
  return Buffer.concat([field(2, Buffer.concat(executor)), field(5, 0)]);
}

function field(number: number, value: number | Buffer): Buffer {
  if (typeof value === 'number') return Buffer.concat([varint(number << 3), varint(value)]);
  return Buffer.concat([varint((number << 3) | 2), varint(value.length), value]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}
