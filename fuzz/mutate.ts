/** Changes to messages: of their trees, which keep the rest valid, and of their bytes, which do not. */
import { concat } from '../test/harness/model/bytes.ts';
import { isNumberList, mixed, numbersOf, PACKED, SINGLE } from '../test/harness/model/forms.ts';
import type { Random } from '../test/harness/model/random.ts';
import { varint } from '../test/harness/model/wire.ts';
import { anyKey, foreignKey, formOf, storedKey } from './keys.ts';
import type { Maker } from './make.ts';
import type { Schema } from './schema.ts';
import type { Space } from './spaces.ts';
import { copyTree, fieldOf, lists, node, pieceNode, Wire, write, type Node } from './tree.ts';

/** Numbers at which decoders differ. */
const INTERESTING: readonly bigint[] = [
  0n,
  1n,
  127n,
  128n,
  255n,
  (1n << 14n) - 1n,
  1n << 14n,
  (1n << 31n) - 1n,
  1n << 31n,
  (1n << 32n) - 1n,
  1n << 32n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];
/** Around the walker's depth limit. */
const DEPTHS = [1, 2, 15, 16, 17, 31, 32, 33, 34, 200];

/** Where in the tree something is changed. */
interface Place {
  nodes: Node[];
  message: string;
}

type TreeMutation = (place: Place, mutator: Mutator) => void;

function pickIndex(place: Place, random: Random): number {
  return place.nodes.length === 0 ? -1 : random.below(place.nodes.length);
}

/** Wraps in something that runs only where there is a field. */
function onField(change: (n: Node, place: Place, index: number, mutator: Mutator) => void): TreeMutation {
  return (place, mutator) => {
    const index = pickIndex(place, mutator.random);
    const n = place.nodes[index];
    if (n !== undefined) change(n, place, index, mutator);
  };
}

const TREE_MUTATIONS: readonly TreeMutation[] = [
  // A field twice.
  onField((n, place, index, { random }) => {
    place.nodes.splice(random.chance(50) ? index : random.below(place.nodes.length + 1), 0, ...copyTree([n]));
  }),
  // A field gone.
  onField((_, place, index) => place.nodes.splice(index, 1)),
  // Two fields the other way round.
  onField((n, place, index, { random }) => {
    const other = random.below(place.nodes.length);
    place.nodes[index] = place.nodes[other] ?? n;
    place.nodes[other] = n;
  }),
  // All of them.
  (place) => place.nodes.reverse(),
  // A field very often.
  onField((n, place, index, { random }) => {
    const times = random.pick([2, 10, 100, 1000]);
    if (write([n]).length * times < 20_000)
      place.nodes.splice(
        index,
        0,
        ...Array.from({ length: times }, () => ({ ...n, children: n.children && copyTree(n.children) })),
      );
  }),
  onField((n, _p, _i, { random }) => {
    n.tagPadding = random.pick([0, 1, 4, 9]);
  }),
  onField((n, _p, _i, { random }) => {
    n.padding = random.pick([0, 1, 4, 8, 9]);
  }),
  onField((n, _p, _i, { random }) => {
    n.lie = random.pick([-3, -1, 1, 2, 128, 0x7fffffff, 0xffffffff]);
  }),
  onField((n, _p, _i, { random }) => {
    n.wire = random.below(8);
    if (n.wire === Wire.FIXED64) n.bytes = random.bytes(8);
    if (n.wire === Wire.FIXED32) n.bytes = random.bytes(4);
  }),
  onField((n, _p, _i, { random }) => {
    n.field = random.pick([
      0,
      1,
      n.field + 1,
      Math.max(0, n.field - 1),
      15,
      16,
      63,
      64,
      127,
      255,
      2047,
      2048,
      (1 << 29) - 1,
    ]);
  }),
  onField((n, _p, _i, { random }) => {
    n.value = random.chance(60) ? random.pick(INTERESTING) : random.bigint(64);
  }),
  // Another key, wherever bytes are.
  onField((n, _p, _i, { random, space }) => {
    if (n.wire !== Wire.BYTES || n.children !== undefined) return;
    const key = random.pick([
      anyKey,
      (r: Random) => storedKey(space, r),
      (r: Random) => foreignKey(space, r),
    ])(random);
    n.bytes = random.chance(40) ? formOf(space, key, random.pick(['client', 'store'] as const), random) : key;
  }),
  onField((n, _p, _i, { random }) => {
    if (n.children === undefined) n.bytes = mutateBytes(n.bytes, random);
  }),
  // A value as its role has it.
  onField((n, place, _i, { maker, schema }) => {
    const field = fieldOf(schema.messages.get(place.message), n);
    if (field === undefined || field.message !== undefined) return;
    if (n.wire === Wire.VARINT) n.value = maker.number(field);
    else if (n.wire === Wire.BYTES && field.kind === 3) n.bytes = maker.bytes(field);
  }),
  // A list of numbers in another form, or with a number more or less.
  onField((n, place, index, { random, schema }) => {
    const field = fieldOf(schema.messages.get(place.message), n);
    if (field === undefined || !isNumberList(field)) return;
    const packed = n.wire === Wire.VARINT ? varint(n.value) : n.bytes;
    const numbers = numbersOf(field.kind, packed);
    if (numbers === undefined) return;
    if (numbers.length > 0 && random.chance(30)) numbers.splice(random.below(numbers.length), 1);
    if (numbers.length > 0 && random.chance(20)) numbers.push(random.pick(numbers));
    const pieces = random
      .pick([PACKED, SINGLE, mixed(random)])(numbers)
      .map((piece) => pieceNode(field, piece));
    place.nodes.splice(index, 1);
    if (random.chance(50)) place.nodes.splice(index, 0, ...pieces);
    else for (const piece of pieces) place.nodes.splice(random.below(place.nodes.length + 1), 0, piece);
  }),
  // Anything as if it were such a list.
  onField((n, place, index, { random }) => {
    if (n.wire === Wire.VARINT) place.nodes[index] = node(n.field, Wire.BYTES, { bytes: varint(n.value) });
    else if (n.wire === Wire.BYTES && n.children === undefined)
      place.nodes.splice(
        index,
        1,
        ...Array.from(n.bytes.subarray(0, 20), (byte) =>
          node(n.field, Wire.VARINT, { value: BigInt(byte & 127) }),
        ),
        ...(random.chance(30) ? [n] : []),
      );
  }),
  // Fields that nobody knows.
  (place, { random }) => {
    const number = random.pick([99, 254, 1000, 19_000, (1 << 29) - 1]);
    const wire = random.pick([Wire.VARINT, Wire.BYTES, Wire.BYTES, Wire.FIXED32, Wire.FIXED64]);
    const bytes = random.bytes(wire === Wire.FIXED64 ? 8 : wire === Wire.FIXED32 ? 4 : random.below(20));
    place.nodes.splice(
      random.below(place.nodes.length + 1),
      0,
      node(number, wire, { value: random.bigint(64), bytes }),
    );
  },
  // A group around some of the fields.
  (place, { random }) => {
    const from = random.below(place.nodes.length + 1);
    const to = from + random.below(place.nodes.length + 1 - from);
    const number = 1 + random.below(20);
    place.nodes.splice(to, 0, node(number, Wire.END));
    place.nodes.splice(from, 0, node(random.chance(90) ? number : number + 1, Wire.START));
  },
  // Deeper: a message in itself, where its type allows it or not.
  onField((n, place, index, { random }) => {
    let inner = n;
    for (let depth = random.pick(DEPTHS); depth > 0; depth--)
      inner = node(n.field, Wire.BYTES, { children: [inner], message: n.message });
    place.nodes[index] = inner;
  }),
  // A field that the message knows, made anew.
  (place, { random, schema, maker, way }) => {
    if (schema.messages.get(place.message) === undefined) return;
    const fresh = maker.make(place.message, way);
    if (fresh.length > 0) place.nodes.splice(random.below(place.nodes.length + 1), 0, random.pick(fresh));
  },
];

const BYTE_MUTATIONS: readonly ((bytes: Uint8Array, random: Random) => Uint8Array)[] = [
  (bytes, random) => {
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
    return bytes;
  },
  (bytes, random) => {
    const at = random.below(bytes.length || 1);
    if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    return bytes;
  },
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => bytes.subarray(random.below(bytes.length + 1)),
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), random.bytes(1 + random.below(6)), bytes.subarray(at));
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random.below(6))));
  },
  (bytes, random) => {
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), varint(random.pick(INTERESTING)), bytes.subarray(at));
  },
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    const piece = bytes.subarray(from, from + random.below(40));
    const at = random.below(bytes.length + 1);
    return concat(bytes.subarray(0, at), piece, bytes.subarray(at));
  },
];

/** Some bytes changed, added or gone. */
export function mutateBytes(bytes: Uint8Array, random: Random): Uint8Array {
  let changed: Uint8Array = new Uint8Array(bytes);
  for (let i = 1 + random.below(3); i > 0; i--) changed = random.pick(BYTE_MUTATIONS)(changed, random);
  return changed;
}

/** One change, most times one that keeps the length, so that the rest is still read as it was. */
export function changeBytes(bytes: Uint8Array, random: Random): Uint8Array {
  const changed = new Uint8Array(bytes);
  const keepsLength = random.chance(70);
  return BYTE_MUTATIONS[random.below(keepsLength ? 2 : BYTE_MUTATIONS.length)]!(changed, random);
}

export class Mutator {
  readonly schema: Schema;
  readonly space: Space;
  readonly random: Random;
  readonly maker: Maker;
  readonly way: 'request' | 'response';

  constructor(schema: Schema, space: Space, random: Random, maker: Maker, way: 'request' | 'response') {
    this.schema = schema;
    this.space = space;
    this.random = random;
    this.maker = maker;
    this.way = way;
  }

  /** Changes the tree in place, in one to four places. */
  tree(nodes: Node[], message: string): void {
    for (let i = 1 + this.random.below(4); i > 0; i--)
      this.random.pick(TREE_MUTATIONS)(this.random.pick([...lists(nodes, message)]), this);
  }

  /** Puts a part of another message of the schema into this one. */
  splice(nodes: Node[], message: string, other: readonly Node[]): void {
    const place = this.random.pick([...lists(nodes, message)]);
    const donors = [...lists(copyTree(other), '')].flatMap((list) => list.nodes);
    if (donors.length === 0) return;
    const given = this.random.pick(donors);
    if (given.children === undefined && this.random.chance(50)) {
      const taker = place.nodes[pickIndex(place, this.random)];
      if (taker !== undefined && taker.children === undefined) taker.bytes = given.bytes;
      return;
    }
    place.nodes.splice(this.random.below(place.nodes.length + 1), 0, given);
  }
}
