/** The fuzzer's corpus as a regression test, a short run of the fuzzer, and its own eyes tested. `npm run fuzz` runs longer. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { fuzzBuild, type FuzzBuild } from '../../fuzz/build.ts';
import { isCurrentInput, loadCorpus, MAX_CORPUS_BYTES } from '../../fuzz/corpus.ts';
import { Guarded, Violation } from '../../fuzz/guarded.ts';
import { fromLine, step, TARGETS, toLine, type Input } from '../../fuzz/input.ts';
import { KNOWN, knownReason } from '../../fuzz/known.ts';
import { Fuzzer, runInput, TARGET_BY_NAME } from '../../fuzz/loop.ts';
import { Schema } from '../../fuzz/schema.ts';
import { SPACES, type Space } from '../../fuzz/spaces.ts';
import { Verdict } from '../../fuzz/verdict.ts';
import { World } from '../../fuzz/world.ts';
import { buildFilter, UNLIMITED } from './filter.ts';
import { hex, unhex } from '../harness/model/bytes.ts';
import { Random } from '../harness/model/random.ts';
import { bytes, frame, scalar } from '../harness/model/wire.ts';

const SEED = 20_241;
/** About ten seconds. Each is followed by up to 24 with changed bytes. */
const ROUNDS = 2_000;
/** Some inputs speak of messages that are gone; with more than these the corpus must be renewed. */
const MAX_STALE_PERCENT = 10;

let build: FuzzBuild;
let world: World;

beforeAll(async () => {
  await buildFilter();
  build = await fuzzBuild();
  world = new World(build, new Schema());
});

function problemOf(input: Input): string | undefined {
  const result = runInput(input, world);
  if (Array.isArray(result) || knownReason(result.what) !== undefined) return undefined;
  return `${result.what}: ${toLine(input)}`;
}

describe('the corpus', () => {
  test.each(TARGETS)('%s: every input passes, and good messages after it', (target) => {
    const inputs = loadCorpus().filter((input) => input.target === target);
    expect(inputs.length).toBeGreaterThan(0);
    const current = inputs.filter((input) => isCurrentInput(input, world));
    expect(current.flatMap((input) => problemOf(input) ?? [])).toEqual([]);
  });

  test('is small, and of this schema: npm run fuzz -- --seconds 300 --keep', () => {
    const inputs = loadCorpus();
    const size = inputs.reduce((sum, input) => sum + toLine(input).length + 1, 0);
    expect(size).toBeLessThan(MAX_CORPUS_BYTES);
    const stale = inputs.filter((input) => !isCurrentInput(input, world)).length;
    expect((stale / inputs.length) * 100).toBeLessThan(MAX_STALE_PERCENT);
  });

  test('is read as it was written', () => {
    for (const input of loadCorpus()) expect(fromLine(toLine(input))).toEqual(input);
  });
});

test(`${ROUNDS} inputs of seed ${SEED}, and what changed bytes make of them, find nothing`, () => {
  const fuzzer = new Fuzzer(world, new Random(SEED), TARGETS);
  for (const input of loadCorpus()) if (isCurrentInput(input, world)) fuzzer.seed(input);
  for (let i = 0; i < ROUNDS; i++) {
    const failure = fuzzer.next();
    if (failure !== undefined && knownReason(failure.what) === undefined)
      throw new Error(`${failure.what}: ${toLine(failure.input)}`);
  }
  expect(fuzzer.reached.blocks).toBeGreaterThan(world.blocks / 2);
  expect(fuzzer.counts.changed).toBeGreaterThan(ROUNDS * 10);
});

test('a list is not read past its end when its last command gets a context', () => {
  const key = unhex('748000000000000002895f5ebb0cdf2e9764fc718b0955');
  // What stands before the context that is added is copied 16 bytes at a time.
  const get = bytes(1, bytes(38, bytes(2, key), scalar(3, (1n << 64n) - 1n)));
  const body = frame(Buffer.concat([get, get]));
  const input: Input = {
    target: 'frames',
    space: 'keyspace 0 txn',
    messageLimit: UNLIMITED,
    heldLimit: UNLIMITED,
    steps: [step('tikvpb.BatchCommandsRequest', body)],
  };
  expect(problemOf(input)).toBeUndefined();
});

test('nothing is known and put up with', () => {
  expect(KNOWN.map(({ reason }) => reason)).toEqual([]);
});

describe('the instrumented build', () => {
  const key = unhex('748000000000000007 5f728000000000000001');

  /** The exports under the typed surface, for pointers that the surface never makes. */
  function exportsOf(guarded: Guarded): {
    alloc(size: number): number;
    map(kind: number, at: number, length: number): number;
    reset(): void;
    memory: WebAssembly.Memory;
  } {
    return (guarded.filter as unknown as { wasm: ReturnType<typeof exportsOf> }).wasm;
  }

  function put(guarded: Guarded, content: Uint8Array): number {
    const wasm = exportsOf(guarded);
    const at = wasm.alloc(content.length);
    new Uint8Array(wasm.memory.buffer, at, content.length).set(content);
    return at;
  }

  test.each([
    ['one byte behind', 0, 1],
    ['one byte in front', -1, 0],
    ['far behind', 0, 100_000],
  ])('notices a read %s of what was allocated', (_, before, behind) => {
    const guarded = new Guarded(build);
    const at = put(guarded, key.subarray(0, 8));
    expect(() =>
      guarded.within(1e9, () => exportsOf(guarded).map(0, at + before, 8 + behind - before)),
    ).toThrow(Violation);
  });

  test('notices a write into what is gone', () => {
    const guarded = new Guarded(build);
    const at = put(guarded, key);
    exportsOf(guarded).reset();
    expect(() => guarded.within(1e9, () => exportsOf(guarded).map(0, at, key.length))).toThrow(Violation);
  });

  test('notices a write into a constant', () => {
    const guarded = new Guarded(build);
    const memory = new Uint8Array(exportsOf(guarded).memory.buffer);
    const { from } = build.constants.find(({ from, to }) => to - from > 64)!;
    const at = Math.ceil(from / 8) * 8 + 8;
    // As if a key lay there.
    memory.set(key.subarray(0, 16), at);
    expect(() => guarded.within(1e9, () => exportsOf(guarded).map(0, at, 16))).toThrow(/^write of 2 bytes/);
  });

  test('notices what does not come to an end', () => {
    const guarded = new Guarded(build);
    const text = new Uint8Array(1000).fill(0x78);
    expect(() => guarded.within(100, (filter) => filter.plainText(text))).toThrow(/too many steps/);
    expect(guarded.within(10_000, (filter) => filter.plainText(text.subarray(0, 5)))).toBe(true);
  });

  test('does what the others do, and counts its blocks', () => {
    const guarded = new Guarded(build);
    guarded.clearCoverage();
    expect(hex(guarded.within(1e6, (filter) => filter.map('encodeKey', key)).bytes)).toBe(
      '7480010000000000075f728000000000000001',
    );
    expect(guarded.coverage.some((count) => count > 0)).toBe(true);
  });
});

describe('the verdict', () => {
  const space = (name: string): Space => SPACES.find((s) => s.name === name)!;
  const logical = unhex('748000000000000007');
  const own = unhex('748001000000000007');
  const foreign = unhex('748002000000000007');
  const judged = (name: string, way: 'request' | 'response', input: Uint8Array, output: Uint8Array) =>
    new Verdict(world.schema, space('table 1')).of(name, way, input, output);

  test.each<[string, string, 'request' | 'response', Uint8Array, Uint8Array, RegExp | undefined]>([
    ['an own key', 'kvrpcpb.GetRequest', 'request', bytes(2, logical), bytes(2, own), undefined],
    ["a neighbour's key", 'kvrpcpb.GetRequest', 'request', bytes(2, logical), bytes(2, foreign), /outside/],
    [
      'a key that was not mapped',
      'kvrpcpb.GetRequest',
      'request',
      bytes(2, logical),
      bytes(2, logical),
      /outside/,
    ],
    ['an absent key', 'kvrpcpb.GetRequest', 'request', bytes(2, logical), scalar(3, 1), /absent/],
    [
      'a field twice',
      'kvrpcpb.GetRequest',
      'request',
      bytes(2, logical),
      Buffer.concat([bytes(2, own), bytes(2, own)]),
      /twice/,
    ],
    ['no protobuf', 'kvrpcpb.GetRequest', 'request', bytes(2, logical), unhex('12ff'), /not protobuf/],
    [
      'an answer of its own',
      'kvrpcpb.ScanResponse',
      'response',
      bytes(2, bytes(2, own)),
      bytes(2, bytes(2, logical)),
      undefined,
    ],
    [
      "a neighbour's answer",
      'kvrpcpb.ScanResponse',
      'response',
      bytes(2, bytes(2, foreign)),
      bytes(2, bytes(2, logical)),
      /not the tenant's/,
    ],
    [
      'an answer as it was',
      'kvrpcpb.ScanResponse',
      'response',
      bytes(2, bytes(2, own)),
      bytes(2, bytes(2, own)),
      /not the tenant's/,
    ],
    ['an unknown field', 'kvrpcpb.ScanResponse', 'response', bytes(99, own), bytes(99, own), /unknown field/],
    ['an unknown number', 'kvrpcpb.ScanResponse', 'response', scalar(99, 1), scalar(99, 1), /unknown field/],
  ])('%s', (_, name, way, input, output, problem) => {
    const said = judged(name, way, input, output);
    if (problem === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(problem);
  });
});

test('a property that does not hold is reported, and the next input runs on a fresh instance', () => {
  const target = TARGET_BY_NAME.text as { run: (input: Input, world: World) => string[] };
  const { run } = target;
  const input: Input = {
    target: 'text',
    space: SPACES[0]!.name,
    messageLimit: UNLIMITED,
    heldLimit: UNLIMITED,
    steps: [step('plainText', new TextEncoder().encode('fine'))],
  };
  expect(runInput(input, world)).toEqual(['plain true']);
  target.run = (one, where) => {
    where.begin(one);
    return [where.guard(one, () => String((undefined as unknown as string).length))];
  };
  try {
    expect(runInput(input, world)).toMatchObject({ what: expect.stringMatching(/^traps: /) });
  } finally {
    target.run = run;
  }
  expect(runInput(input, world)).toEqual(['plain true']);
});

test('an input after which good messages fail is found among those with changed bytes', () => {
  const target = TARGET_BY_NAME.text as { run: (input: Input, world: World) => string[] };
  const { run } = target;
  const fuzzer = new Fuzzer(world, new Random(SEED), ['text']);
  let bad: Input | undefined;
  // After the fifth of them the key space is another one, as if it had been overwritten.
  target.run = (input, where) => {
    where.begin(input);
    if (fuzzer.counts.changed === 5) bad ??= input;
    if (input === bad) where.guard(input, (filter) => filter.select(9, 'other'));
    return [];
  };
  try {
    const failure = fuzzer.next();
    expect(failure?.what).toMatch(/^a good /);
    expect(failure?.input).toBe(bad);
    expect(fuzzer.counts.changed).toBeGreaterThan(5);
  } finally {
    target.run = run;
    world.renew();
  }
});
