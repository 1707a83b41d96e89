/** Keys around every boundary that a codec has. */
import { concat, EMPTY, unhex } from '../test/harness/model/bytes.ts';
import type { Random } from '../test/harness/model/random.ts';
import { TAGGABLE, type Result } from '../test/harness/model/table-codec.ts';
import type { Space } from './spaces.ts';

/** Stands in keys of neighbours, and must not be seen in an answer. */
export const MARKER = new TextEncoder().encode('FOREIGN!');

function tableKey(id: bigint, rest: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, (1n << 63n) + id));
  return concat([0x74], bytes, rest);
}

const RESTS = [
  EMPTY,
  unhex('5f72'),
  unhex('5f698000000000000001'),
  unhex('00'),
  unhex('ff'),
  unhex('5f72 8000000000000001'),
];
const IDS = [
  0n,
  1n,
  2n,
  7n,
  255n,
  256n,
  1n << 32n,
  (1n << 40n) - 1n,
  1n << 40n,
  (1n << 48n) - 2n,
  (1n << 48n) - 1n,
  1n << 48n,
  -1n,
];

/** Logical keys at which the table codec changes its mind. */
const BOUNDARIES: readonly Uint8Array[] = [
  '',
  '00',
  '6d',
  '6dff',
  '73ffff',
  '74',
  '7400',
  '747f',
  '7480',
  '748000',
  '74800000',
  '7480000000000000',
  '748000000000000000',
  '748000000000000000ff',
  '7480000000000000000000000000000000',
  '74800000000000000001',
  '748000ffffffffffff',
  '748001',
  '748001000000000000',
  '7480010000000000005f72',
  '7481',
  '74ff',
  '75',
  '78',
  '7800000100',
  'ff',
  'ffffffffffffffffff',
].map(unhex);

function nudge(key: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(key);
  const last = copy.length - 1;
  switch (random.below(5)) {
    case 0:
      return copy.subarray(0, Math.max(0, last));
    case 1:
      return concat(copy, [0]);
    case 2:
      if (last >= 0) copy[last] = ((copy[last] ?? 0) + 1) & 0xff;
      return copy;
    case 3:
      if (last >= 0) copy[last] = ((copy[last] ?? 0) + 255) & 0xff;
      return copy;
    default:
      if (last >= 0) copy[random.below(copy.length)] = random.below(256);
      return copy;
  }
}

/** A key that a client of the codec may use. */
export function ownKey(random: Random): Uint8Array {
  if (random.chance(25)) return concat([0x6d], random.bytes(random.below(24)));
  const id = random.chance(50) ? BigInt(1 + random.below(200)) : random.pick(IDS.slice(1, 11));
  return tableKey(id, random.chance(70) ? random.pick(RESTS) : random.bytes(random.below(40)));
}

/** A key that a client could send, good or not. */
export function anyKey(random: Random): Uint8Array {
  const roll = random.below(20);
  if (roll < 9) return ownKey(random);
  if (roll < 13) return random.pick(BOUNDARIES);
  if (roll < 16) return nudge(random.chance(50) ? random.pick(BOUNDARIES) : ownKey(random), random);
  if (roll < 18) return tableKey(random.pick(IDS), random.pick(RESTS));
  return random.bytes(random.below(30));
}

function bytesOf(result: Result): Uint8Array {
  return result instanceof Uint8Array ? result : EMPTY;
}

/** A neighbour's key, with the marker in it. */
export function foreignKey(space: Space, random: Random): Uint8Array {
  return concat(space.neighbour(random.chance(80) ? ownKey(random) : EMPTY), MARKER);
}

/** A key that the store could send. */
export function storedKey(space: Space, random: Random): Uint8Array {
  const roll = random.below(20);
  if (roll < 11) return bytesOf(space.encode(ownKey(random), 'key'));
  if (roll < 13) return random.pick([space.start, space.first, space.behind, EMPTY]);
  if (roll < 15)
    return nudge(
      random.pick([space.first, space.behind, bytesOf(space.encode(ownKey(random), 'key'))]),
      random,
    );
  if (roll < 16) return concat(space.start, random.pick(BOUNDARIES));
  if (roll < 17) return concat(space.start, TAGGABLE, random.bytes(random.below(3)));
  if (roll < 19) return foreignKey(space, random);
  return random.bytes(random.below(30));
}

/** PD's form of a key at one side; now and then broken. */
export function formOf(space: Space, key: Uint8Array, side: 'client' | 'store', random: Random): Uint8Array {
  const bytes = space.toForm(key, side);
  return random.chance(97) ? bytes : nudge(bytes, random);
}
