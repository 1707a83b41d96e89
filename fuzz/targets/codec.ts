/** Every mapping of keys against the reference model. */
import { MAP, Mapped, UNLIMITED, type MapName } from '../../test/unit/filter.ts';
import { hex } from '../../test/harness/model/bytes.ts';
import type { Random } from '../../test/harness/model/random.ts';
import {
  BROKEN,
  OUTSIDE,
  type Bound,
  memcomparable,
  type Result,
} from '../../test/harness/model/table-codec.ts';
import { step } from '../input.ts';
import { anyKey, formOf, storedKey } from '../keys.ts';
import { mutateBytes } from '../mutate.ts';
import { SPACES, type Space } from '../spaces.ts';
import { Problem } from '../world.ts';
import type { Target } from './target.ts';

const NAMES = Object.keys(MAP) as MapName[];
const BOUNDS: readonly (readonly [string, Bound])[] = [
  ['Key', 'key'],
  ['Lower', 'lower'],
  ['Start', 'lower'],
  ['Upper', 'upper'],
  ['End', 'upper'],
];

function model(space: Space, name: MapName, key: Uint8Array): Result | undefined {
  const bound = BOUNDS.find(([end]) => name.endsWith(end))?.[1] ?? 'key';
  if (name.startsWith('encodeEncoded')) return space.encodeEncoded(key, bound);
  if (name.startsWith('encodePlace')) return space.encodePlace(key, bound === 'upper' ? 'upper' : 'lower');
  if (name.startsWith('decodeEncoded')) return space.decodeEncoded(key, bound);
  return name.startsWith('encode') ? space.encode(key, bound) : space.decode(key, bound);
}

function keyFor(name: MapName, space: Space, random: Random): Uint8Array {
  const key = random.chance(50) ? anyKey(random) : storedKey(space, random);
  const side = name.startsWith('encode') ? 'client' : 'store';
  return /Encoded|Place/.test(name) && random.chance(90) ? formOf(space, key, side, random) : key;
}

export const codec: Target = {
  name: 'codec',

  make(_world, random) {
    const space = random.pick(SPACES);
    const name = random.pick(NAMES);
    const steps = [step(name, keyFor(name, space, random))];
    return { target: 'codec', space: space.name, messageLimit: UNLIMITED, heldLimit: UNLIMITED, steps };
  },

  mutate(input, other, _world, random) {
    const steps = input.steps.map(({ what, bytes }) => {
      const name = random.chance(30) ? random.pick(NAMES) : what;
      const roll = random.below(10);
      if (roll < 1) return step(name, random.pick(other.steps).bytes);
      return step(name, roll < 3 ? memcomparable(bytes.subarray(0, 200)) : mutateBytes(bytes, random));
    });
    return { ...input, space: random.chance(30) ? random.pick(SPACES).name : input.space, steps };
  },

  run(input, world): string[] {
    const space = world.begin(input);
    return input.steps.map(({ what, bytes }) => {
      const name = what as MapName;
      const got = world.both(
        input,
        (filter) => filter.map(name, bytes),
        (result) => `${Mapped[result.mapped]} ${hex(result.bytes)}`,
      );
      const outside = got.mapped === Mapped.OUTSIDE ? OUTSIDE : undefined;
      const shown = outside ?? (got.mapped === Mapped.BROKEN ? BROKEN : hex(got.bytes));
      const wanted = model(space, name, bytes);
      const text = wanted instanceof Uint8Array ? hex(wanted) : wanted;
      if (wanted !== undefined && shown !== text)
        throw new Problem(`${name} of ${hex(bytes)} gives ${shown}, the model ${text}`);
      return `${name} ${Mapped[got.mapped]} ${input.space}`;
    });
  },
};
