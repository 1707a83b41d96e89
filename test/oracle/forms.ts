/** The other ways to write a message on the wire that every protobuf reader must take for the same. */
import { Kind, type JudgedField } from '../../src-ts/schema/judgement.ts';
import { node, Wire, type Node } from '../../fuzz/tree.ts';
import type { Schema } from '../../fuzz/schema.ts';
import type { Random } from '../harness/model/random.ts';
import { concat, EMPTY } from '../harness/model/bytes.ts';
import { varint } from '../harness/model/wire.ts';

/** Of PD alone, which is Go: the filter reads its values by the keys in front of them. */
const GO_ONLY = 'meta_storagepb.';

/** Whether encoders may write the field packed or one by one. */
export function isNumberList(field: JudgedField | undefined): field is JudgedField {
  return field?.repeated === true && field.kind !== Kind.BYTES && field.kind !== Kind.MESSAGE;
}

/**
 * The same message as no one encoder writes it but each may in part: lists of numbers one by one, in several packed
 * pieces, in empty ones and in mixtures; fields in any order. Items of one field keep their order.
 */
export function scattered(schema: Schema, message: string, nodes: readonly Node[], random: Random): Node[] {
  const { byNumber } = schema.message(message);
  const lists = new Map<number, Node[]>();
  for (const given of nodes) {
    const field = byNumber.get(given.field);
    const list = lists.get(given.field) ?? [];
    lists.set(given.field, list);
    if (isNumberList(field)) list.push(...numbersOf(field, given));
    else if (given.children !== undefined && given.message !== '')
      list.push({ ...given, children: scattered(schema, given.message, given.children, random) });
    else list.push(given);
  }
  for (const [number, list] of lists) {
    const field = byNumber.get(number);
    if (isNumberList(field)) lists.set(number, inPieces(field, list, random));
  }
  const pieces = [...lists.values()];
  return message.startsWith(GO_ONLY) ? pieces.flat() : dealt(pieces, random);
}

/** One node for each number of a list, packed or not. */
export function numbersOf(field: JudgedField, n: Node): Node[] {
  if (n.wire !== Wire.BYTES) return [n];
  const found: Node[] = [];
  const width = field.kind === Kind.FIXED64 ? 8 : 4;
  for (let at = 0; at < n.bytes.length;) {
    let end = at + width;
    if (field.kind === Kind.VARINT) {
      end = at;
      while ((n.bytes[end++] ?? 0) >= 0x80);
    }
    found.push(node(n.field, Wire.BYTES, { bytes: n.bytes.subarray(at, end) }));
    at = end;
  }
  return found;
}

/** Numbers one by one or packed, as chance has it, with an empty piece now and then. */
function inPieces(field: JudgedField, numbers: readonly Node[], random: Random): Node[] {
  const pieces: Node[] = [];
  const pack = (bytes: Uint8Array): void => void pieces.push(node(field.number, Wire.BYTES, { bytes }));
  for (let at = 0; at < numbers.length;) {
    if (random.chance(15)) pack(EMPTY);
    const length = random.chance(50) ? 1 : 1 + random.below(numbers.length - at);
    const together = numbers.slice(at, at + length);
    if (length === 1 && random.chance(70)) pieces.push(alone(field, together[0]!));
    else pack(concat(...together.map((n) => packedBytes(n))));
    at += length;
  }
  return pieces;
}

function packedBytes(n: Node): Uint8Array {
  return n.wire === Wire.VARINT ? varint(n.value) : n.bytes;
}

function alone(field: JudgedField, n: Node): Node {
  if (n.wire !== Wire.BYTES) return n;
  if (field.kind !== Kind.VARINT)
    return node(field.number, field.kind === Kind.FIXED64 ? Wire.FIXED64 : Wire.FIXED32, { bytes: n.bytes });
  // A varint's own bytes behind its tag.
  return node(field.number, Wire.VARINT, { raw: concat(varint(field.number << 3), n.bytes) });
}

/** All of the lists in one, each in its own order. */
function dealt(lists: Node[][], random: Random): Node[] {
  const rest = lists.map((list) => [...list]).filter((list) => list.length > 0);
  const out: Node[] = [];
  while (rest.length > 0) {
    const at = random.below(rest.length);
    out.push(rest[at]!.shift()!);
    if (rest[at]!.length === 0) rest.splice(at, 1);
  }
  return out;
}
