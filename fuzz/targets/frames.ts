/** Bodies of many gRPC frames, cut into pieces anywhere, against the same messages one by one. */
import { Status, UNLIMITED } from '../../test/unit/filter.ts';
import { compare, hex } from '../../test/harness/model/bytes.ts';
import type { Random } from '../../test/harness/model/random.ts';
import { frame } from '../../test/harness/model/wire.ts';
import { step, type Input, type Step } from '../input.ts';
import { Maker } from '../make.ts';
import { mutateBytes } from '../mutate.ts';
import { messageOf } from '../schema.ts';
import { pickSpace } from '../spaces.ts';
import { write } from '../tree.ts';
import { Problem, type World } from '../world.ts';
import type { Target } from './target.ts';
import { checkStatus, mutateStep, pickMethod } from './walker.ts';

const HEADER_BYTES = 5;
const MAX_BYTES = 48 * 1024;

function randomCuts(length: number, random: Random): number[] {
  if (random.chance(5) && length < 300) return Array.from({ length }, (_, i) => i);
  const count = random.pick([0, 1, 1, 2, 5, 20]);
  return Array.from({ length: count }, () => random.below(length + 1)).sort((a, b) => a - b);
}

/** The whole frames at the beginning of a body, and where they end. */
function splitFrames(body: Uint8Array): { messages: Uint8Array[]; end: number } {
  const messages: Uint8Array[] = [];
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  let at = 0;
  while (body.length - at >= HEADER_BYTES) {
    const size = view.getUint32(at + 1);
    if (body[at] !== 0 || size > body.length - at - HEADER_BYTES) break;
    messages.push(body.subarray(at + HEADER_BYTES, at + HEADER_BYTES + size));
    at += HEADER_BYTES + size;
  }
  return { messages, end: at };
}

interface Fed {
  status: Status;
  bytes: Uint8Array;
}

export const frames: Target = {
  name: 'frames',

  make(world, random) {
    const space = pickSpace(random);
    const maker = new Maker(world.schema, space, random);
    const method = pickMethod(world, random);
    const steps = (['request', 'response'] as const).map((way) => {
      const what = messageOf(method, way);
      const body = Buffer.concat(
        Array.from({ length: random.below(5) }, () => frame(write(maker.make(what, way)))),
      );
      return step(what, body, way, randomCuts(body.length, random));
    });
    const messageLimit = random.chance(80) ? UNLIMITED : random.pick([0, 10, 100, 1000]);
    const heldLimit = random.chance(80) ? UNLIMITED : random.pick([0, 4095, 4096, 8192]);
    return { target: 'frames', space: space.name, messageLimit, heldLimit, steps };
  },

  mutate(input, other, world, random) {
    const steps = [...input.steps];
    const at = random.below(steps.length);
    const changed = steps[at] as Step;
    const donor = random.pick(other.steps);
    let { bytes } = changed;
    const roll = random.below(10);
    const { messages, end } = splitFrames(bytes);
    if (roll < 4 && messages.length > 0) {
      const i = random.below(messages.length);
      const from = splitFrames(donor.bytes).messages;
      const given = from.length === 0 ? donor : { ...donor, bytes: random.pick(from) };
      messages[i] = mutateStep(
        { ...changed, bytes: messages[i] as Uint8Array },
        given,
        input.space,
        world,
        random,
      );
      bytes = Buffer.concat([...messages.map((message) => frame(message)), bytes.subarray(end)]);
    } else if (roll < 6) {
      const copies = random.pick([1, 3, 50]);
      bytes = Buffer.concat(Array.from({ length: copies }, () => bytes));
    } else if (roll < 7) bytes = mutateBytes(bytes, random);
    else if (roll < 8) bytes = bytes.subarray(0, random.below(bytes.length + 1));
    if (bytes.length > MAX_BYTES) bytes = bytes.subarray(0, MAX_BYTES);
    const cuts =
      bytes === changed.bytes || random.chance(50) ? randomCuts(bytes.length, random) : changed.cuts;
    steps[at] = { ...changed, bytes, cuts: cuts.filter((cut) => cut <= bytes.length) };
    return { ...input, steps };
  },

  run(input, world): string[] {
    world.begin(input);
    const words: string[] = [];
    // What the whole messages become, one by one on the same kind of stream.
    const single: Fed[] = [];
    for (const { what, way, bytes } of input.steps) {
      const { id } = world.schema.message(what);
      const result = oneByOne(input, id, way, bytes, world);
      single.push(result);
      // What is left of a frame would meet the next step's: the test build holds one body at a time.
      if (result.status !== Status.OK || splitFrames(bytes).end !== bytes.length) break;
    }
    world.begin(input);
    for (const [i, { what, way, bytes, cuts }] of input.steps.entries()) {
      const { id } = world.schema.message(what);
      const got = world.both(
        input,
        (filter) => {
          const pieces: Uint8Array[] = [];
          let from = 0;
          for (const cut of [...cuts, bytes.length]) {
            const fed = filter.body(id, bytes.subarray(from, cut), way, input.messageLimit);
            if (fed.status !== Status.OK) return { status: fed.status, bytes: Buffer.concat(pieces) };
            pieces.push(fed.bytes);
            from = cut;
          }
          return { status: Status.OK, bytes: Buffer.concat(pieces) };
        },
        ({ status, bytes: out }) => `${Status[status]} ${hex(out)}`,
        (a, b) => a.status === b.status && compare(a.bytes, b.bytes) === 0,
      );
      checkStatus(got.status);
      words.push(`${Status[got.status]} ${what} ${way} ${got.bytes.length === bytes.length}`);
      compareWhole(got, single[i] as Fed);
      if (got.status !== Status.OK || single.length === i + 1) break;
    }
    return words;
  },
};

/** Limits may end a stream earlier than its messages would; otherwise both ways agree. */
function compareWhole(got: Fed, want: Fed): void {
  const limits = [Status.HELD_TOO_MUCH, Status.TOO_LONG, Status.TOO_MANY_CHANGES];
  if (limits.includes(got.status)) return;
  if (got.status !== want.status)
    throw new Problem(`in pieces it ends in ${Status[got.status]}, one by one in ${Status[want.status]}`);
  // One that fails may have passed on what came before.
  const whole = got.status === Status.OK ? want.bytes : want.bytes.subarray(0, got.bytes.length);
  if (compare(got.bytes, whole) !== 0)
    throw new Problem(`in pieces it becomes ${hex(got.bytes)}, one by one ${hex(want.bytes)}`);
}

function oneByOne(input: Input, id: number, way: Step['way'], body: Uint8Array, world: World): Fed {
  const { messages, end } = splitFrames(body);
  const out: Uint8Array[] = [];
  for (const message of messages) {
    const { status, bytes } = world.guard(input, (filter) => filter.message(id, message, way));
    if (status !== Status.OK) return { status, bytes: Buffer.concat(out) };
    out.push(frame(bytes));
  }
  const flag = body.length - end >= HEADER_BYTES ? body[end] : 0;
  const status = flag === 0 ? Status.OK : flag === 1 ? Status.COMPRESSED : Status.MALFORMED;
  return { status, bytes: Buffer.concat(out) };
}
