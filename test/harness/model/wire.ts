/** Protobuf by hand, for what no encoder writes. */
import { concat } from './bytes.ts';

export function varint(value: bigint | number): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest >= 0x80n) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}

export function scalar(field: number, value: bigint | number): Uint8Array {
  return concat(varint(field << 3), varint(value));
}

export function bytes(field: number, ...value: Uint8Array[]): Uint8Array {
  const all = Buffer.concat(value);
  return Buffer.concat([varint((field << 3) | 2), varint(all.length), all]);
}

/** The varint at `at` and the place behind it; undefined when it is cut short or too long. */
export function readVarint(bytes: Uint8Array, at: number): { value: bigint; next: number } | undefined {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = bytes[at++];
    if (byte === undefined) return undefined;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return value < 1n << 64n ? { value, next: at } : undefined;
  }
  return undefined;
}

/** gRPC's frame around a message. */
export function frame(message: Uint8Array, flag = 0): Uint8Array {
  const header = Buffer.alloc(5);
  header[0] = flag;
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}
