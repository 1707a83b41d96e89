/** A message as its fields lie on the wire, in their order, so that every odd encoding can be written. */
import { Kind, type JudgedField } from '../src-ts/schema/judgement.ts';
import { EMPTY } from '../test/harness/model/bytes.ts';
import { isNumberList, numberWire, type Piece } from '../test/harness/model/forms.ts';
import { readVarint, varint } from '../test/harness/model/wire.ts';
import type { Message, Schema } from './schema.ts';

export const Wire = { VARINT: 0, FIXED64: 1, BYTES: 2, START: 3, END: 4, FIXED32: 5 } as const;

export interface Node {
  field: number;
  wire: number;
  /** Wire type 0. */
  value: bigint;
  /** The bytes of wire types 1, 2 and 5 when there are no children. */
  bytes: Uint8Array;
  children: Node[] | undefined;
  /** What the children are fields of; '' when nobody knows. */
  message: string;
  /** Bytes by which the tag, and the varint or the length, are longer than needed. */
  tagPadding: number;
  padding: number;
  /** Added to the length that is written. */
  lie: number;
  /** Written in place of all else. */
  raw: Uint8Array | undefined;
}

const WIRES: Record<number, number> = {
  [Kind.VARINT]: Wire.VARINT,
  [Kind.FIXED64]: Wire.FIXED64,
  [Kind.FIXED32]: Wire.FIXED32,
  [Kind.BYTES]: Wire.BYTES,
  [Kind.MESSAGE]: Wire.BYTES,
};

/** Whether the field is written as its kind is; lists of numbers may be packed. */
export function hasItsWire(field: JudgedField, n: Node): boolean {
  if (n.wire === WIRES[field.kind]) return true;
  return isNumberList(field) && n.wire === Wire.BYTES;
}

export function node(field: number, wire: number, more: Partial<Node> = {}): Node {
  return {
    field,
    wire,
    value: 0n,
    bytes: EMPTY,
    children: undefined,
    message: '',
    tagPadding: 0,
    padding: 0,
    lie: 0,
    raw: undefined,
    ...more,
  };
}

/** A piece of a list of numbers. */
export function pieceNode({ number, kind }: JudgedField, piece: Piece): Node {
  if (piece.packed) return node(number, Wire.BYTES, { bytes: piece.bytes });
  const value = kind === Kind.VARINT ? (readVarint(piece.bytes, 0)?.value ?? 0n) : 0n;
  return node(number, numberWire(kind), { value, bytes: piece.bytes });
}

export function copyTree(nodes: readonly Node[]): Node[] {
  return nodes.map((n) => ({ ...n, children: n.children && copyTree(n.children) }));
}

function padded(value: bigint | number, padding: number): Uint8Array {
  const bytes = varint(value);
  if (padding === 0) return bytes;
  const longer = new Uint8Array(bytes.length + padding).fill(0x80);
  longer.set(bytes);
  longer[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
  longer[longer.length - 1] = 0;
  return longer;
}

function writeNode(n: Node, out: Uint8Array[]): void {
  if (n.raw !== undefined) {
    out.push(n.raw);
    return;
  }
  out.push(padded((BigInt(n.field) << 3n) | BigInt(n.wire), n.tagPadding));
  if (n.wire === Wire.VARINT) out.push(padded(n.value, n.padding));
  else if (n.wire === Wire.BYTES) {
    const content = n.children === undefined ? n.bytes : write(n.children);
    out.push(padded(BigInt(content.length + n.lie), n.padding), content);
  } else if (n.wire === Wire.FIXED64 || n.wire === Wire.FIXED32) out.push(n.bytes);
}

export function write(nodes: readonly Node[]): Uint8Array {
  const out: Uint8Array[] = [];
  for (const n of nodes) writeNode(n, out);
  return Buffer.concat(out);
}

function readField(bytes: Uint8Array, at: number): { n: Node; next: number } | undefined {
  const tag = readVarint(bytes, at);
  if (tag === undefined || tag.value >> 32n !== 0n || tag.value >> 3n === 0n) return undefined;
  const n = node(Number(tag.value >> 3n), Number(tag.value & 7n));
  switch (n.wire) {
    case Wire.VARINT: {
      const value = readVarint(bytes, tag.next);
      if (value === undefined) return undefined;
      n.value = value.value;
      return { n, next: value.next };
    }
    case Wire.FIXED64:
    case Wire.FIXED32: {
      const next = tag.next + (n.wire === Wire.FIXED64 ? 8 : 4);
      n.bytes = bytes.slice(tag.next, next);
      return next <= bytes.length ? { n, next } : undefined;
    }
    case Wire.BYTES: {
      const length = readVarint(bytes, tag.next);
      if (length === undefined || length.value > BigInt(bytes.length - length.next)) return undefined;
      const next = length.next + Number(length.value);
      n.bytes = bytes.slice(length.next, next);
      return { n, next };
    }
    case Wire.START:
    case Wire.END:
      return { n, next: tag.next };
    default:
      return undefined;
  }
}

/** The fields of a message that nobody describes. */
export function fieldsOf(bytes: Uint8Array): Node[] {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length;) {
    const found = readField(bytes, at);
    if (found === undefined) break;
    nodes.push(found.n);
    at = found.next;
  }
  return nodes;
}

/** Reads what can be read; the rest becomes one raw node, so that `write` gives the same meaning back. */
export function read(bytes: Uint8Array, message: Message | undefined, schema: Schema): Node[] {
  const nodes: Node[] = [];
  for (let at = 0; at < bytes.length;) {
    const found = readField(bytes, at);
    if (found === undefined) {
      nodes.push(node(0, Wire.BYTES, { raw: bytes.slice(at) }));
      break;
    }
    const { n, next } = found;
    const inner = fieldOf(message, n)?.message;
    if (n.wire === Wire.BYTES && inner !== undefined) {
      n.message = inner;
      n.children = read(n.bytes, schema.messages.get(inner), schema);
    }
    nodes.push(n);
    at = next;
  }
  return nodes;
}

export function fieldOf(message: Message | undefined, n: Node): JudgedField | undefined {
  return message?.byNumber.get(n.field);
}

/** Every list of siblings in the tree, with the message that it belongs to. */
export function* lists(nodes: Node[], message: string): Generator<{ nodes: Node[]; message: string }> {
  yield { nodes, message };
  for (const n of nodes) if (n.children !== undefined) yield* lists(n.children, n.message);
}

/** The contents of all length-delimited fields at any depth. */
export function* contents(nodes: readonly Node[]): Generator<Uint8Array> {
  for (const n of nodes) {
    if (n.wire !== Wire.BYTES || n.raw !== undefined) continue;
    yield n.bytes;
    if (n.children !== undefined) yield* contents(n.children);
  }
}
