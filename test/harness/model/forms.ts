/**
 * Lists of numbers as encoders write them: Go packs them into one field, Rust writes a field for each, and a message that was merged has
 * several pieces of either kind. A reader takes all of these as one list.
 */
import { Kind, type JudgedField, type JudgedMessage } from '../../../src-ts/schema/judgement.ts';
import { concat, EMPTY } from './bytes.ts';
import type { Random } from './random.ts';
import { bytes, readVarint, varint } from './wire.ts';

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** A part of a list that lies in one field. */
export interface Piece {
  readonly packed: boolean;
  readonly bytes: Uint8Array;
}

/** True for a field that may be written in several forms. */
export function isNumberList({ repeated, kind }: JudgedField): boolean {
  return repeated && kind !== Kind.BYTES && kind !== Kind.MESSAGE;
}

/** The wire type of one number. */
export function numberWire(kind: Kind): number {
  return kind === Kind.FIXED64 ? FIXED64 : kind === Kind.FIXED32 ? FIXED32 : VARINT;
}

/** The numbers of a packed field; undefined when it is cut short. */
export function numbersOf(kind: Kind, packed: Uint8Array): Uint8Array[] | undefined {
  const numbers: Uint8Array[] = [];
  for (let at = 0; at < packed.length;) {
    const size = kind === Kind.FIXED64 ? 8 : kind === Kind.FIXED32 ? 4 : undefined;
    const next = size === undefined ? readVarint(packed, at)?.next : at + size;
    if (next === undefined || next > packed.length) return undefined;
    numbers.push(packed.subarray(at, next));
    at = next;
  }
  return numbers;
}

/** All in one field. */
export const PACKED = (numbers: readonly Uint8Array[]): Piece[] =>
  numbers.length === 0 ? [] : [{ packed: true, bytes: concat(...numbers) }];

/** A field for each. */
export const SINGLE = (numbers: readonly Uint8Array[]): Piece[] =>
  numbers.map((number) => ({ packed: false, bytes: number }));

/** Pieces of both kinds, some of them empty. */
export function mixed(random: Random): (numbers: readonly Uint8Array[]) => Piece[] {
  return (numbers) => {
    const pieces: Piece[] = [];
    for (let at = 0; at < numbers.length;) {
      if (random.chance(10)) pieces.push({ packed: true, bytes: EMPTY });
      const length = random.chance(50) ? 1 : 1 + random.below(numbers.length - at);
      const part = numbers.slice(at, at + length);
      pieces.push(...(random.chance(50) ? SINGLE(part) : PACKED(part)));
      at += length;
    }
    return pieces;
  };
}

export function writePiece(field: number, kind: Kind, piece: Piece): Uint8Array {
  return piece.packed
    ? bytes(field, piece.bytes)
    : concat(varint((field << 3) | numberWire(kind)), piece.bytes);
}

/** Where a list's pieces lie among the other fields: behind them, before them, or between them. */
export type Order = 'behind' | 'before' | 'between';

interface Field {
  readonly number: number;
  readonly wire: number;
  readonly content: Uint8Array;
  readonly whole: Uint8Array;
}

function fieldsOf(message: Uint8Array): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < message.length;) {
    const tag = readVarint(message, at);
    if (tag === undefined) throw new Error('a tag is cut short');
    const wire = Number(tag.value & 7n);
    const length = wire === BYTES || wire === VARINT ? readVarint(message, tag.next) : undefined;
    const from = wire === BYTES ? (length?.next ?? 0) : tag.next;
    const to =
      wire === VARINT
        ? (length?.next ?? 0)
        : from + (wire === BYTES ? Number(length?.value) : wire === FIXED64 ? 8 : 4);
    const content = message.subarray(from, to);
    fields.push({ number: Number(tag.value >> 3n), wire, content, whole: message.subarray(at, to) });
    at = to;
  }
  return fields;
}

/** Writes a good message anew, its lists of numbers in another form, those of the messages in it as well. */
export function reform(
  messages: ReadonlyMap<string, JudgedMessage>,
  name: string,
  message: Uint8Array,
  split: (numbers: readonly Uint8Array[]) => Piece[],
  order: Order,
  random: Random,
): Uint8Array {
  const judged = new Map(messages.get(name)?.fields.map((field) => [field.number, field]));
  const others: Uint8Array[] = [];
  const lists = new Map<number, Uint8Array[]>();
  for (const { number, wire, content, whole } of fieldsOf(message)) {
    const field = judged.get(number);
    if (field !== undefined && isNumberList(field)) {
      const numbers = wire === BYTES ? numbersOf(field.kind, content) : [content];
      lists.set(number, [...(lists.get(number) ?? []), ...(numbers ?? [])]);
    } else if (field?.message !== undefined)
      others.push(bytes(number, reform(messages, field.message, content, split, order, random)));
    else others.push(whole);
  }
  for (const [number, numbers] of lists) {
    const { kind } = judged.get(number) as JudgedField;
    const pieces = split(numbers).map((piece) => writePiece(number, kind, piece));
    if (order === 'behind') others.push(...pieces);
    else if (order === 'before') others.unshift(...pieces);
    else
      for (let from = 0; pieces.length > 0; from++) {
        from += random.below(others.length - from + 1);
        others.splice(from, 0, pieces.shift() as Uint8Array);
      }
  }
  return concat(...others);
}
