/**
 * Packs the filter's data: repeated strings, and a range coder that learns how likely each bit is. `assembly/memory/unpack.ts` unpacks it, and
 * explains the format. What to repeat is found by trying all that there is, by what each bit would cost.
 */

/** Contexts, as in unpack.ts. */
const REPEAT = 2;
const OFFSET = 3;
const LENGTH = OFFSET + 48;
const LITERAL = LENGTH + 48;
const CONTEXTS = LITERAL + 256;
const HALF = 0x8000;
const RATE = 4;

/** The parse gets better by what the one before has learned; then no more. */
const PASSES = 5;
const MAX_CANDIDATES = 100;
/** Of longer repetitions only the whole is considered: what is that long is mostly room for data, all zero. */
const LONG = 64;

/** A literal, or `length` bytes from `offset` before. */
interface Step {
  readonly length: number;
  readonly offset: number;
}

function of(numbers: ArrayLike<number>, i: number): number {
  return numbers[i] ?? 0;
}

/** Writes bits, each with a context. */
class Coder {
  readonly out: number[] = [];
  private readonly odds = new Uint16Array(CONTEXTS).fill(HALF);
  /** How often each context saw 0 and 1. */
  readonly seen = [new Float64Array(CONTEXTS).fill(0.4), new Float64Array(CONTEXTS).fill(0.4)] as const;
  private low = 0;
  private high = 0xffffffff;

  bit(context: number, bit: number): void {
    const odds = of(this.odds, context);
    const middle = this.low + Math.floor(((this.high - this.low) * odds) / 0x10000);
    if (bit !== 0) {
      this.high = middle;
      this.odds[context] = odds + ((0xffff - odds) >> RATE);
    } else {
      this.low = middle + 1;
      this.odds[context] = odds - (odds >> RATE);
    }
    const seen = this.seen[bit !== 0 ? 1 : 0];
    seen[context] = of(seen, context) + 1;
    while (this.low >>> 24 === this.high >>> 24) {
      this.out.push(this.high >>> 24);
      this.low = (this.low << 8) >>> 0;
      this.high = ((this.high << 8) | 0xff) >>> 0;
    }
  }

  /** A number from 1, the lowest bit first, each with a bit in front that says that it comes. */
  number(context: number, value: number): void {
    let at = context;
    for (let rest = value; rest > 1; rest >>= 1) {
      this.bit(at++, 1);
      this.bit(at++, rest & 1);
    }
    this.bit(at, 0);
  }

  end(): Uint8Array {
    for (let i = 0; i < 4; i++) this.out.push((this.low >>> (24 - 8 * i)) & 0xff);
    // `low` itself is in the range; its trailing zeros are what lies behind anyway.
    while (this.out.at(-1) === 0) this.out.pop();
    return Uint8Array.from(this.out);
  }
}

/** What each bit of each context costs. */
class Costs {
  private readonly of: readonly [Float64Array, Float64Array];
  private readonly numbers = new Map<number, number>();

  constructor([zeros, ones]: readonly [Float64Array, Float64Array]) {
    const cost = (some: Float64Array): Float64Array =>
      some.map((count, i) => -Math.log2(count / (of(zeros, i) + of(ones, i))));
    this.of = [cost(zeros), cost(ones)];
  }

  bit(context: number, bit: 0 | 1): number {
    return of(this.of[bit], context);
  }

  number(context: number, value: number): number {
    const key = context * 0x100000 + value;
    let cost = this.numbers.get(key);
    if (cost !== undefined) return cost;
    cost = 0;
    let at = context;
    for (let rest = value; rest > 1; rest >>= 1) {
      cost += of(this.of[1], at++);
      cost += of(this.of[rest & 1 ? 1 : 0], at++);
    }
    cost += of(this.of[0], at);
    this.numbers.set(key, cost);
    return cost;
  }

  literal(byte: number): number {
    let cost = 0;
    for (let node = 1, i = 7; i >= 0; i--) {
      const bit = (byte >> i) & 1 ? 1 : 0;
      cost += of(this.of[bit], LITERAL + node);
      node = node * 2 + bit;
    }
    return cost;
  }
}

/** How far data repeats what lies `offset` before. */
class Repetitions {
  /** The stretch of each offset that was looked at last. */
  private readonly stretches = new Map<number, { from: number; to: number }>();

  constructor(private readonly data: Uint8Array) {}

  lengthAt(at: number, offset: number): number {
    const { data } = this;
    const known = this.stretches.get(offset);
    // In room for data, all zero, each place would be followed to the end otherwise.
    if (known && known.from <= at && at <= known.to) return known.to - at;
    let to = at;
    while (to < data.length && data[to] === data[to - offset]) to++;
    this.stretches.set(offset, { from: at, to });
    return to - at;
  }
}

/** For each place the offsets that are worth a look: of those that give one length the nearest. */
function candidatesOf(data: Uint8Array): Step[][] {
  const last = new Map<number, number>();
  const before = new Int32Array(data.length).fill(-1);
  const repetitions = new Repetitions(data);
  return Array.from(data, (_, at) => {
    const found: Step[] = [];
    const key = (of(data, at) << 8) | of(data, at + 1);
    let longest = 1;
    let from = last.get(key) ?? -1;
    before[at] = from;
    for (let i = 0; from >= 0 && i < MAX_CANDIDATES && longest < LONG; i++, from = of(before, from)) {
      const length = repetitions.lengthAt(at, at - from);
      if (length > longest) found.push({ length, offset: at - from });
      longest = Math.max(longest, length);
    }
    last.set(key, at);
    return found;
  });
}

/** The cheapest way through the data. */
function parse(data: Uint8Array, candidates: readonly Step[][], costs: Costs): Step[] {
  const repetitions = new Repetitions(data);
  const cost = new Float64Array(data.length + 1).fill(Infinity);
  const steps: (Step | undefined)[] = [];
  /** The offset that was used last on the way to a place. */
  const used = new Int32Array(data.length + 1);
  cost[0] = 0;
  const offer = (at: number, to: number, price: number, step: Step, offset: number): void => {
    const sum = of(cost, at) + price;
    if (sum >= of(cost, to)) return;
    cost[to] = sum;
    steps[to] = step;
    used[to] = offset;
  };
  for (let at = 0; at < data.length; at++) {
    const wasMatch = (steps[at]?.offset ?? 0) === 0 ? 0 : 1;
    const former = of(used, at);
    const literal = costs.bit(wasMatch, 0) + costs.literal(of(data, at));
    offer(at, at + 1, literal, { length: 1, offset: 0 }, former);
    const match = costs.bit(wasMatch, 1);
    const tryAll = (offset: number, from: number, most: number, price: number): void => {
      for (let length = most > LONG ? most : from; length <= most; length++) {
        const step = { length, offset };
        offer(at, at + length, price + costs.number(LENGTH, length), step, offset);
      }
    };
    if (wasMatch === 0 && former !== 0)
      tryAll(former, 1, repetitions.lengthAt(at, former), match + costs.bit(REPEAT, 1));
    const anew = match + (wasMatch === 0 ? costs.bit(REPEAT, 0) : 0);
    let shorter = 1;
    for (const { length, offset } of candidates[at] ?? []) {
      tryAll(offset, shorter + 1, length, anew + costs.number(OFFSET, offset));
      shorter = length;
    }
  }
  const path: Step[] = [];
  for (let at = data.length; at > 0;) {
    const step = steps[at] ?? { length: 1, offset: 0 };
    path.push(step);
    at -= step.length;
  }
  return path.reverse();
}

function encode(data: Uint8Array, steps: readonly Step[]): Coder {
  const coder = new Coder();
  let wasMatch = 0;
  let former = 0;
  let at = 0;
  for (const { length, offset } of steps) {
    coder.bit(wasMatch, offset === 0 ? 0 : 1);
    if (offset === 0) {
      for (let node = 1, i = 7; i >= 0; i--) {
        const bit = (of(data, at) >> i) & 1;
        coder.bit(LITERAL + node, bit);
        node = node * 2 + bit;
      }
    } else {
      const isRepeated = wasMatch === 0 && offset === former;
      if (wasMatch === 0) coder.bit(REPEAT, isRepeated ? 1 : 0);
      if (!isRepeated) coder.number(OFFSET, offset);
      coder.number(LENGTH, length);
      former = offset;
    }
    wasMatch = offset === 0 ? 0 : 1;
    at += length;
  }
  return coder;
}

export function packBytes(data: Uint8Array): Uint8Array {
  const candidates = candidatesOf(data);
  let seen = new Coder().seen;
  let best: Uint8Array | undefined;
  for (let pass = 0; pass < PASSES; pass++) {
    const coder = encode(data, parse(data, candidates, new Costs(seen)));
    seen = coder.seen;
    const packed = coder.end();
    if (best === undefined || packed.length < best.length) best = packed;
  }
  return best ?? new Uint8Array();
}

/** Bytes that unpack.ts needs in front of what is packed. */
export const ROOM_BYTES = CONTEXTS * 2;
