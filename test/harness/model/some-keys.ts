/** Keys that are worth trying in any key space, and boundaries of regions about it. */
import { compare, concat, EMPTY, hex, unhex } from './bytes.ts';
import type { KeySpace } from './key-spaces.ts';
import type { Random } from './random.ts';
import { TAGGABLE } from './table-codec.ts';

/** `t`, a table id as TiDB writes it, and more. */
export function table(id: bigint, rest = ''): Uint8Array {
  const bytes = new Uint8Array(9);
  bytes[0] = 0x74;
  new DataView(bytes.buffer).setBigUint64(1, BigInt.asUintN(64, id) ^ (1n << 63n));
  return concat(bytes, unhex(rest));
}

export const ROW = '5f72 8000000000000001';
const MAX_INT64 = (1n << 63n) - 1n;
export const ADVERSARIAL: Uint8Array[] = [
  EMPTY,
  ...['00', '0000', '61', '6d', '6d44423a3100', '6dff', '72', '73', '74', '7400', '747f', '7480', '75'].map(
    unhex,
  ),
  ...['748000', '748000000000', '7480000000000000', '748000000000000000', '7480000000000001'].map(unhex),
  ...['748000ffff', '748001', '74800100', '748001000000000000', '748002', '7481', '74ff', '78', 'ff'].map(
    unhex,
  ),
  ...['ffff', 'ffffffffffffffff', 'ffffffffffffffffff', 'ff'.repeat(17)].map(unhex),
  ...['72000000', '72000001', '78000000', '78000001', '780000ff', '78ffffff', '79000000'].map(unhex),
  ...[0n, 1n, 2n, (1n << 48n) - 2n, (1n << 48n) - 1n, 1n << 48n, MAX_INT64, -1n].flatMap((id) => [
    table(id),
    table(id, ROW),
    table(id, 'ff'),
  ]),
  ...[6, 7, 8, 9, 10, 15, 16, 17, 24].flatMap((length) => [
    new Uint8Array(length),
    new Uint8Array(length).fill(0x61),
    new Uint8Array(length).fill(0xff),
    concat([0x6d], new Uint8Array(length - 1)),
  ]),
];

export function mutated(random: Random, key: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(key);
  if (copy.length > 0)
    copy[random.below(copy.length)] = random.pick([0, 1, 0x74, 0x80, 0xfe, 0xff, random.below(256)]);
  return copy;
}

export function randomKey(random: Random): Uint8Array {
  switch (random.below(6)) {
    case 0:
      return concat([0x6d], random.bytes(random.below(20)));
    case 1:
      return table(random.bigint(48), hex(random.bytes(random.below(24))));
    case 2:
      return table(random.bigint(48), ROW).subarray(0, random.below(18));
    case 3:
      return random.bytes(random.below(30));
    default:
      return mutated(random, random.pick(ADVERSARIAL));
  }
}

/** Sorted, each once. */
export function sorted(keys: Uint8Array[]): Uint8Array[] {
  return [...keys]
    .sort(compare)
    .filter((key, i, all) => i === 0 || compare(key, all[i - 1] as Uint8Array) !== 0);
}

/** Places at and around the edges of a space. */
export function edges({ first, behind }: KeySpace): Uint8Array[] {
  return [first, behind].flatMap((edge) => [
    edge,
    concat(edge, [0]),
    concat(edge, TAGGABLE),
    concat(edge, [0x74, 0xff]),
    edge.subarray(0, -1),
    edge.subarray(0, 3),
    concat(edge, new Uint8Array(9).fill(0xff)),
  ]);
}
