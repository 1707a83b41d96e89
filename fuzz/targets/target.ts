/** What every target of the fuzzer can do. */
import type { Random } from '../../test/harness/model/random.ts';
import type { Input, TargetName } from '../input.ts';
import type { World } from '../world.ts';

export interface Target {
  readonly name: TargetName;
  /** A new input. */
  make(world: World, random: Random): Input;
  /** A changed copy of `input`, perhaps with a part of `other`. */
  mutate(input: Input, other: Input, world: World, random: Random): Input;
  /**
   * Runs an input and gives a few words about how it went, which count as coverage.
   * @throws Problem or Violation
   */
  run(input: Input, world: World): string[];
}
