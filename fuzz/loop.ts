/** The fuzzer's loop: make or change an input, run it, keep it when it went where none went before. */
import type { Random } from '../test/harness/model/random.ts';
import { Violation } from './guarded.ts';
import { inputBytes, type Input, type TargetName } from './input.ts';
import { codec } from './targets/codec.ts';
import { config } from './targets/config.ts';
import { frames } from './targets/frames.ts';
import { http } from './targets/http.ts';
import type { Target } from './targets/target.ts';
import { text } from './targets/text.ts';
import { walker } from './targets/walker.ts';
import { changeBytes } from './mutate.ts';
import { Problem, type World } from './world.ts';

export const TARGET_BY_NAME: Readonly<Record<TargetName, Target>> = {
  walker,
  frames,
  codec,
  http,
  config,
  text,
};

export interface Failure {
  readonly input: Input;
  readonly what: string;
  readonly stack: string | undefined;
}

/** How often a block ran, in eight classes: once more is news, a hundred times more is not. */
const CLASSES = Uint8Array.from({ length: 256 }, (_, n) => {
  if (n === 0) return 0;
  if (n < 4) return 1 << (n - 1);
  if (n < 8) return 8;
  if (n < 16) return 16;
  if (n < 32) return 32;
  return n < 128 ? 64 : 128;
});

/** At all. */
export const COARSE = Uint8Array.from({ length: 256 }, (_, n) => Math.min(n, 1));

/** What has been reached so far. */
export class Reached {
  private readonly classes: Uint8Array;
  private readonly words = new Set<string>();
  private readonly classOf: Uint8Array;

  /** `classOf` maps a count, modulo 256, to the bit that stands for it. */
  constructor(blocks: number, classOf: Uint8Array = CLASSES) {
    this.classes = new Uint8Array(blocks);
    this.classOf = classOf;
  }

  get blocks(): number {
    return this.classes.reduce((sum, classes) => sum + (classes > 0 ? 1 : 0), 0);
  }

  has(block: number): boolean {
    return (this.classes[block] ?? 0) > 0;
  }

  /** Adds what an input reached; true when some of it is new. */
  add(coverage: Uint8Array, words: readonly string[]): boolean {
    let isNew = false;
    // Most blocks were not reached: eight are looked at together.
    const whole = coverage.length & ~7;
    const groups = new Float64Array(coverage.buffer, coverage.byteOffset, whole / 8);
    for (let group = 0; group < groups.length; group++)
      // Bytes that stand for no number are not 0 either.
      if (groups[group] !== 0 && this.addBlocks(coverage, group * 8, group * 8 + 8)) isNew = true;
    if (this.addBlocks(coverage, whole, coverage.length)) isNew = true;
    for (const word of words)
      if (!this.words.has(word)) {
        this.words.add(word);
        isNew = true;
      }
    return isNew;
  }

  private addBlocks(coverage: Uint8Array, from: number, to: number): boolean {
    let isNew = false;
    for (let i = from; i < to; i++) {
      const reached = this.classOf[coverage[i] as number] as number;
      const before = this.classes[i] as number;
      if ((reached & ~before) !== 0) {
        this.classes[i] = before | reached;
        isNew = true;
      }
    }
    return isNew;
  }
}

/** Whether an input is followed by good messages; without them `world.probe` must come later. */
export interface RunOptions {
  readonly probe?: boolean;
  /** Called with its words, while the coverage is the input's alone. */
  readonly ran?: (words: string[]) => void;
}

/** Runs one input with all checks. Gives what went wrong, or the words for it. */
export function runInput(
  input: Input,
  world: World,
  { probe = true, ran }: RunOptions = {},
): Failure | string[] {
  try {
    const words = TARGET_BY_NAME[input.target].run(input, world);
    ran?.(words);
    world.end(input);
    if (probe) world.probe(input);
    return words;
  } catch (error) {
    return failureOf(input, error, world);
  }
}

/** @throws what is no finding. */
function failureOf(input: Input, error: unknown, world: World): Failure {
  if (!(error instanceof Problem || error instanceof Violation)) throw error;
  world.renew();
  return { input, what: error.message, stack: error.stack };
}

/** The same failure with fewer and smaller steps, as far as `tries` runs bring it. */
export function shrink(failure: Failure, world: World, tries = 3000): Failure {
  let best = failure;
  const kind = (what: string): string => what.replace(/[0-9a-f]{2,}|\d+/g, '');
  const attempt = (input: Input): boolean => {
    if (tries-- <= 0) return false;
    const result = runInput(input, world);
    if (Array.isArray(result) || kind(result.what) !== kind(best.what)) return false;
    best = result;
    return true;
  };
  for (let i = best.input.steps.length - 1; i >= 0; i--)
    attempt({ ...best.input, steps: best.input.steps.filter((_, other) => other !== i) });
  for (let i = 0; i < best.input.steps.length; i++)
    for (let size = 1 << 12; size >= 1 && tries > 0; size >>= 1)
      for (let at = 0; at < (best.input.steps[i]?.bytes.length ?? 0) && tries > 0;) {
        const steps = [...best.input.steps];
        const { bytes, cuts, ...rest } = steps[i] as Input['steps'][number];
        const shorter = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
        steps[i] = { ...rest, bytes: shorter, cuts: cuts.filter((cut) => cut <= shorter.length) };
        if (!attempt({ ...best.input, steps })) at += size;
      }
  return best;
}

export interface Counts {
  runs: number;
  /** Those of them that are another input with some bytes changed. */
  changed: number;
  /** The same by target. */
  readonly runsOf: Record<string, number>;
  kept: number;
  bytes: number;
}

/** How many inputs are made of one by changing bytes, and how many bytes they have together at most. */
const CHANGES = 24;
const CHANGED_BYTES = 24 * 1024;

export class Fuzzer {
  readonly corpus: Input[] = [];
  private readonly corpusOf = new Map<Target, Input[]>();
  readonly counts: Counts = { runs: 0, changed: 0, runsOf: {}, kept: 0, bytes: 0 };
  readonly reached: Reached;
  private readonly world: World;
  private readonly random: Random;
  private readonly targets: readonly Target[];

  constructor(world: World, random: Random, targets: readonly TargetName[]) {
    this.world = world;
    this.random = random;
    this.targets = targets.map((name) => TARGET_BY_NAME[name]);
    this.reached = new Reached(world.blocks);
  }

  /** Runs an input that is kept already. */
  seed(input: Input): Failure | undefined {
    return this.try(input, true);
  }

  /** One input more, and then some that differ from it in a few bytes: they cost a tenth. */
  next(): Failure | undefined {
    const input = this.made();
    return this.try(input, true) ?? this.changes(input);
  }

  private made(): Input {
    const { random, world } = this;
    const target = random.pick(this.targets);
    const mine = this.corpusOf.get(target) ?? [];
    if (mine.length === 0 || random.chance(25)) return target.make(world, random);
    let input = this.smaller(mine);
    for (let i = random.pick([1, 1, 1, 2, 4]); i > 0; i--)
      input = target.mutate(input, random.pick(mine), world, random);
    return input;
  }

  /** Of two inputs the one with fewer bytes, most times: large ones cost more and seldom do more. */
  private smaller(inputs: readonly Input[]): Input {
    const [a, b] = [this.random.pick(inputs), this.random.pick(inputs)];
    return this.random.chance(10) || inputBytes(a) <= inputBytes(b) ? a : b;
  }

  private changes(base: Input): Failure | undefined {
    const { random, world } = this;
    const count = Math.min(CHANGES, Math.floor(CHANGED_BYTES / (inputBytes(base) + 1)));
    const tried: Input[] = [];
    for (let i = 0; i < count; i++) {
      const at = random.below(base.steps.length);
      const steps = base.steps.map((one, other) =>
        other === at ? { ...one, bytes: changeBytes(one.bytes, random) } : one,
      );
      const input = { ...base, steps };
      tried.push(input);
      this.counts.changed++;
      const failure = this.try(input, false);
      if (failure !== undefined) return failure;
    }
    try {
      world.probe(base);
      return undefined;
    } catch (error) {
      return this.culprit(tried, failureOf(base, error, world));
    }
  }

  /** Which of the inputs is it after which good messages fail? */
  private culprit(tried: readonly Input[], failure: Failure): Failure {
    for (const input of tried) {
      const result = runInput(input, this.world);
      if (!Array.isArray(result)) return result;
    }
    return { ...failure, what: `after ${tried.length} inputs, of which none alone does it: ${failure.what}` };
  }

  private try(input: Input, probe: boolean): Failure | undefined {
    let isNew = false;
    const ran = (words: string[]): void => {
      isNew = this.reached.add(this.world.coverage, words);
    };
    const result = runInput(input, this.world, { probe, ran });
    this.counts.runs++;
    this.counts.runsOf[input.target] = (this.counts.runsOf[input.target] ?? 0) + 1;
    this.counts.bytes += inputBytes(input);
    if (!Array.isArray(result)) return result;
    if (isNew) {
      this.corpus.push(input);
      const target = TARGET_BY_NAME[input.target];
      const mine = this.corpusOf.get(target);
      if (mine === undefined) this.corpusOf.set(target, [input]);
      else mine.push(input);
      this.counts.kept++;
    }
    return undefined;
  }
}
