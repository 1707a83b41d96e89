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

/** gRPC's frame around a message. */
export function frame(message: Uint8Array, flag = 0): Uint8Array {
  const header = Buffer.alloc(5);
  header[0] = flag;
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}
