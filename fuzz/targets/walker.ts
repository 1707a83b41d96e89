/** Messages through the walker: one method's requests and answers on one stream. */
import type { JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { Status, UNLIMITED, type Rewritten, type Way } from '../../test/unit/filter.ts';
import { compare, hex } from '../../test/harness/model/bytes.ts';
import type { Random } from '../../test/harness/model/random.ts';
import { step, type Step } from '../input.ts';
import { Maker } from '../make.ts';
import { mutateBytes, Mutator } from '../mutate.ts';
import { messageOf } from '../schema.ts';
import { pickSpace, spaceNamed } from '../spaces.ts';
import { read, write } from '../tree.ts';
import { Verdict } from '../verdict.ts';
import { Problem, type World } from '../world.ts';
import type { Target } from './target.ts';

const MAX_BYTES = 64 * 1024;
/** Methods whose messages hold most of all others; they come more often. */
const LARGE = ['/tikvpb.Tikv/BatchCommands', '/etcdserverpb.KV/Txn', '/tikvpb.Tikv/Coprocessor'];

export function pickMethod(world: World, random: Random): JudgedMethod {
  const large = world.schema.methods.filter((method) => LARGE.includes(method.path));
  return random.pick(large.length > 0 && random.chance(25) ? large : world.schema.methods);
}

/** Changes one step's message. */
export function mutateStep(
  changed: Step,
  other: Step,
  space: string,
  world: World,
  random: Random,
): Uint8Array {
  const { schema } = world;
  if (random.chance(15)) return mutateBytes(changed.bytes, random);
  const where = spaceNamed(space);
  const tree = read(changed.bytes, schema.messages.get(changed.what), schema);
  const mutator = new Mutator(schema, where, random, new Maker(schema, where, random), changed.way);
  if (random.chance(20))
    mutator.splice(tree, changed.what, read(other.bytes, schema.messages.get(other.what), schema));
  else mutator.tree(tree, changed.what);
  const bytes = write(tree);
  return bytes.length <= MAX_BYTES ? bytes : bytes.subarray(0, MAX_BYTES);
}

export function show(result: Rewritten): string {
  return result.status === Status.OK
    ? hex(result.bytes)
    : `${Status[result.status]} ${result.failedMessage} ${result.failedField}`;
}

function agree(a: Rewritten, b: Rewritten): boolean {
  if (a.status !== b.status) return false;
  if (a.status === Status.OK) return compare(a.bytes, b.bytes) === 0;
  return a.failedMessage === b.failedMessage && a.failedField === b.failedField;
}

export const walker: Target = {
  name: 'walker',

  make(world, random) {
    const space = pickSpace(random);
    const maker = new Maker(world.schema, space, random);
    const method = pickMethod(world, random);
    const ways: Way[] = random.pick([
      ['request'],
      ['response'],
      ['request', 'response'],
      ['request', 'request', 'response', 'response'],
    ] as Way[][]);
    const steps = ways.map((way) => {
      const what = messageOf(method, way);
      return step(what, write(maker.make(what, way)), way);
    });
    return { target: 'walker', space: space.name, messageLimit: UNLIMITED, heldLimit: UNLIMITED, steps };
  },

  mutate(input, other, world, random) {
    const steps = [...input.steps];
    const at = random.below(steps.length);
    const changed = steps[at] as Step;
    steps[at] = {
      ...changed,
      bytes: mutateStep(changed, random.pick(other.steps), input.space, world, random),
    };
    const space = random.chance(5) ? pickSpace(random).name : input.space;
    return { ...input, space, steps };
  },

  run(input, world): string[] {
    const space = world.begin(input);
    const verdict = new Verdict(world.schema, space);
    const stream = world.oracle.stream(space);
    // A zero that is there and one that is not are told apart on the wire only: of two, the model remembers another.
    const models = input.steps.filter(({ way }) => way === 'request').length <= 1;
    const words: string[] = [];
    for (const { what, way, bytes } of input.steps) {
      const { id } = world.schema.message(what);
      const result = world.both(input, (filter) => filter.message(id, bytes, way), show, agree);
      checkStatus(result.status);
      if (result.status !== Status.OK) {
        words.push(`${Status[result.status]} ${result.failedMessage} ${result.failedField}`);
        // The stream would be ended here.
        break;
      }
      const problem =
        verdict.of(what, way, bytes, result.bytes) ??
        (models ? world.oracle.difference(what, way, bytes, result.bytes, stream) : undefined);
      if (problem !== undefined) throw new Problem(problem);
      words.push(`${what} ${way} ${result.bytes.length === bytes.length}`);
    }
    return words;
  },
};

/** DROP is the walker's own affair. */
export function checkStatus(status: Status): void {
  if (Status[status] === undefined || status === Status.DROP)
    throw new Problem(`ends in the status ${status}, which is not declared`);
}
