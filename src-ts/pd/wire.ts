/**
 * The few protobuf messages that operators' commands send: written and read field by field, without a compiler or a schema.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  for (let rest = BigInt.asUintN(64, value); ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}

/** A field of an integer type or bool. Left out where it is 0, as proto3 does. */
export function number(field: number, value: number | bigint): Buffer {
  if (BigInt(value) === 0n) return Buffer.alloc(0);
  return Buffer.concat([varint(BigInt(field << 3) | BigInt(VARINT)), varint(BigInt(value))]);
}

/** A field of type bytes, string or message; several parts are joined. */
export function bytes(field: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  return Buffer.concat([varint(BigInt((field << 3) | BYTES)), varint(BigInt(value.length)), value]);
}

/** Fields of a message by number, in the order in which they came. */
export class Message {
  private readonly fields = new Map<number, (bigint | Buffer)[]>();

  /** @throws Error when the bytes are no message. */
  constructor(data: Uint8Array) {
    const reader = new Reader(Buffer.from(data));
    while (!reader.atEnd) {
      const tag = Number(reader.varint());
      const list = this.fields.get(tag >> 3) ?? [];
      list.push(reader.value(tag & 7));
      this.fields.set(tag >> 3, list);
    }
  }

  has(field: number): boolean {
    return this.fields.has(field);
  }

  /** The integer in a field, 0 where it is absent. */
  number(field: number): bigint {
    const value = this.fields.get(field)?.at(-1);
    return typeof value === 'bigint' ? value : 0n;
  }

  /** The bytes in a field, empty where it is absent. */
  bytes(field: number): Buffer {
    const value = this.fields.get(field)?.at(-1);
    return typeof value === 'object' ? value : Buffer.alloc(0);
  }

  text(field: number): string {
    return this.bytes(field).toString();
  }

  message(field: number): Message {
    return new Message(this.bytes(field));
  }

  messages(field: number): Message[] {
    const list = this.fields.get(field) ?? [];
    return list.flatMap((value) => (typeof value === 'object' ? [new Message(value)] : []));
  }
}

class Reader {
  private at = 0;

  constructor(private readonly data: Buffer) {}

  get atEnd(): boolean {
    return this.at >= this.data.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.take(1).readUInt8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new Error('the answer is not valid protobuf: a varint of more than 10 bytes');
  }

  value(wire: number): bigint | Buffer {
    if (wire === VARINT) return this.varint();
    if (wire === FIXED64) return this.take(8).readBigUInt64LE();
    if (wire === FIXED32) return BigInt(this.take(4).readUInt32LE());
    if (wire === BYTES) return this.take(Number(this.varint()));
    throw new Error(`the answer is not valid protobuf: wire type ${wire}`);
  }

  private take(length: number): Buffer {
    if (length > this.data.length - this.at)
      throw new Error('the answer is not valid protobuf: it ends early');
    this.at += length;
    return this.data.subarray(this.at - length, this.at);
  }
}
