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
    for (let i = 0; i < coverage.length; i++) {
      const reached = this.classOf[coverage[i] as number] as number;
      const before = this.classes[i] as number;
      if ((reached & ~before) !== 0) {
        this.classes[i] = before | reached;
        isNew = true;
      }
    }
    for (const word of words)
      if (!this.words.has(word)) {
        this.words.add(word);
        isNew = true;
      }
    return isNew;
  }
}

/** Runs one input with all checks. Gives what went wrong, or the words for it. */
export function runInput(input: Input, world: World): Failure | string[] {
  try {
    const words = TARGET_BY_NAME[input.target].run(input, world);
    const coverage = Uint8Array.from(world.coverage);
    world.end(input);
    // The probes' blocks are not the input's.
    world.coverage.set(coverage);
    return words;
  } catch (error) {
    if (!(error instanceof Problem || error instanceof Violation)) throw error;
    world.renew();
    return { input, what: error.message, stack: error.stack };
  }
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
  /** The same by target. */
  readonly runsOf: Record<string, number>;
  kept: number;
  bytes: number;
}

export class Fuzzer {
  readonly corpus: Input[] = [];
  private readonly corpusOf = new Map<Target, Input[]>();
  readonly counts: Counts = { runs: 0, runsOf: {}, kept: 0, bytes: 0 };
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
    return this.try(input);
  }

  /** One input more. */
  next(): Failure | undefined {
    const { random, world } = this;
    const target = random.pick(this.targets);
    const mine = this.corpusOf.get(target) ?? [];
    if (mine.length === 0 || random.chance(25)) return this.try(target.make(world, random));
    let input = random.pick(mine);
    for (let i = random.pick([1, 1, 1, 2, 4]); i > 0; i--)
      input = target.mutate(input, random.pick(mine), world, random);
    return this.try(input);
  }

  private try(input: Input): Failure | undefined {
    const result = runInput(input, this.world);
    this.counts.runs++;
    this.counts.runsOf[input.target] = (this.counts.runsOf[input.target] ?? 0) + 1;
    this.counts.bytes += inputBytes(input);
    if (!Array.isArray(result)) return result;
    if (this.reached.add(this.world.coverage, result)) {
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
