/** Texts that may quote keys. */
import { UNLIMITED } from '../../test/unit/filter.ts';
import { concat, hex } from '../../test/harness/model/bytes.ts';
import { mayQuoteKeys } from '../../test/harness/model/walker.ts';
import { step } from '../input.ts';
import { foreignKey } from '../keys.ts';
import { mutateBytes } from '../mutate.ts';
import { SPACES } from '../spaces.ts';
import { Problem } from '../world.ts';
import type { Target } from './target.ts';

const WORDS = [
  'key ',
  'region 5 ',
  '453128812934103041',
  '0x',
  'abcdef',
  '1234567',
  '\\',
  '"',
  '\n',
  '\t',
  'é',
  '74',
  '[',
  '116, ',
  '256 ',
  ' 7]',
];

export const text: Target = {
  name: 'text',

  make(_world, random) {
    const space = random.pick(SPACES);
    const words = Array.from({ length: random.below(8) }, () =>
      random.chance(10) ? hex(foreignKey(space, random)) : random.pick(WORDS),
    );
    const steps = [step('plainText', new TextEncoder().encode(words.join('')))];
    return { target: 'text', space: space.name, messageLimit: UNLIMITED, heldLimit: UNLIMITED, steps };
  },

  mutate(input, other, _world, random) {
    const steps = input.steps.map((one) => ({
      ...one,
      bytes: random.chance(10)
        ? concat(one.bytes, random.pick(other.steps).bytes)
        : mutateBytes(one.bytes, random),
    }));
    return { ...input, steps };
  },

  run(input, world): string[] {
    world.begin(input);
    return input.steps.map(({ bytes }) => {
      const plain = world.both(input, (filter) => filter.plainText(bytes), String);
      if (plain !== !mayQuoteKeys(Buffer.from(bytes).toString('latin1')))
        throw new Problem(`${hex(bytes)} is ${plain ? '' : 'not '}plain`);
      return `plain ${plain}`;
    });
  },
};
