/** `npm run fuzz`: see --help. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ROOT } from '../src-ts/wasm/builds.ts';
import { buildFilter } from '../test/unit/filter.ts';
import { Random } from '../test/harness/model/random.ts';
import { fuzzBuild } from './build.ts';
import {
  CORPUS_FOLDER,
  isCurrentInput,
  loadCorpus,
  MAX_CORPUS_BYTES,
  minimized,
  readLines,
  saveCorpus,
} from './corpus.ts';
import { digest, TARGETS, toLine, type TargetName } from './input.ts';
import { runJobs, type Progress, type Summary, type Told } from './jobs.ts';
import { knownReason } from './known.ts';
import { Fuzzer, runInput, shrink, type Failure } from './loop.ts';
import { Schema } from './schema.ts';
import { World } from './world.ts';

const FAILURES = join(ROOT, 'build', 'fuzz');
const PROGRESS_MS = 2000;

const HELP = `
What it does
  Makes inputs by the schema in proto/ (every mapped method, both directions, all kinds of key spaces), changes them, and feeds them
  to an instrumented build of the filter. Inputs that reach a new block, a block more often, or end in a new way are kept and changed
  again. The corpus in fuzz/corpus is run first. Each input comes again up to 24 times with some bytes changed: that is ten times as
  fast as making one, and all checks are the same. Ctrl-C ends the run with its summary.

What is checked for every input
  - it ends in a declared status; no trap; no read or write outside of constants, live heap blocks and the arena's live parts
  - it ends after a number of steps in proportion to its length; memory stays bounded; nothing stays held when its stream is gone
  - the debug and the release build agree
  - a request that comes out holds only the tenant's keys, ranges, names and leases; an answer tells no other's; both are valid protobuf
  - frames cut anywhere become what their messages become one by one; mappings of keys are those of the reference model
  - good messages go through the same instance afterwards, with the result that the model gives; after the inputs with changed bytes
    once for all of them

Targets
  walker   messages and sequences of them      frames   gRPC bodies in pieces       codec   keys and bounds
  http     requests' forms, queries, JSON      config   the pluginConfig, callers   text    texts that may quote keys

When something is wrong
  the input, made as small as can be, is written to build/fuzz/, the exit code is 1, and --replay FILE runs it again.
  What is known and judged (fuzz/known.ts) is counted and said, and is no failure.

Examples
  npm run fuzz -- --seconds 600 --jobs 4
  npm run fuzz -- --target walker,frames --seed 7 --seconds 60
  npm run fuzz -- --replay build/fuzz/0123456789abcdef.jsonl
  npm run fuzz -- --seconds 900 --keep        the corpus, renewed
`;

interface Options {
  seconds: number;
  jobs: number;
  runs?: number;
  seed: number;
  target: TargetName[];
  corpus: string;
  keep?: true;
  replay?: string;
  json?: true;
  unreached?: true;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('must be a whole number.');
  return value;
}

function positive(text: string): number {
  if (whole(text) === 0) throw new InvalidArgumentError('must be 1 or more.');
  return whole(text);
}

function targets(text: string): TargetName[] {
  return text.split(',').map((name) => {
    const found = TARGETS.find((target) => target === name);
    if (found === undefined) throw new InvalidArgumentError(`is one or more of ${TARGETS.join(',')}.`);
    return found;
  });
}

const program = new Command('npm run fuzz --')
  .description('Fuzzes the filter: walker, frames, codecs, HTTP, configuration.')
  .option('--seconds <n>', 'how long; the corpus comes first and counts', whole, 60)
  .option('--runs <n>', 'ends after this many inputs, too: the same seed then gives the same inputs', whole)
  .addOption(
    new Option('--seed <n>', 'what the randomness begins with')
      .argParser(whole)
      .default(Date.now() % 1_000_000, 'the time'),
  )
  .option('--target <names>', `of ${TARGETS.join(',')}`, targets, [...TARGETS])
  .option('--jobs <n>', 'processes side by side, with the seeds from --seed on', positive, 1)
  .option('--corpus <folder>', 'inputs to begin with', CORPUS_FOLDER)
  .option('--keep', 'write what was found back to the corpus, the smallest inputs that reach it all')
  .option('--replay <file>', 'run the inputs of this file and nothing else')
  .option('--unreached', 'at the end, the functions of the filter with blocks that no input reached')
  .option('--json', 'the summary as one JSON object on stdout')
  .addHelpText('after', HELP)
  .showHelpAfterError('(--help shows what there is)');

/** Says how far it is; on a terminal in one line. */
function show({ inputs, blocks, kept }: Progress, start: number): void {
  const seconds = (performance.now() - start) / 1000;
  const line = `${seconds.toFixed(0)} s: ${inputs} inputs, ${(inputs / seconds).toFixed(0)} a second; ${blocks} blocks; ${kept} kept`;
  process.stderr.write(process.stderr.isTTY ? `\r${line}\u001b[K` : `${line}\n`);
}

/** To the process that has started this one as a job, or to the user. */
function progress(fuzzer: Fuzzer, start: number): void {
  const progress = {
    inputs: fuzzer.counts.runs,
    blocks: fuzzer.reached.blocks,
    kept: fuzzer.corpus.length,
  };
  if (process.send) process.send({ progress } satisfies Told);
  else show(progress, start);
}

function report(failure: Failure, world: World): string {
  process.stderr.write(`\nFAILED: ${failure.what}\nmaking the input smaller ...\n`);
  const smallest = shrink(failure, world);
  mkdirSync(FAILURES, { recursive: true });
  const path = join(FAILURES, `${digest(smallest.input)}.jsonl`);
  writeFileSync(path, `${toLine(smallest.input)}\n`);
  const name = relative(ROOT, path);
  process.stderr.write(
    `${smallest.what}\n${smallest.stack ?? ''}\n\ninput: ${name}\nagain: npm run fuzz -- --replay ${name}\n`,
  );
  return name;
}

function replay(path: string, world: World): void {
  for (const input of readLines(path)) {
    const result = runInput(input, world);
    if (Array.isArray(result))
      console.log(`${digest(input)} ${input.target} ${input.space}: ${result.join('; ')}`);
    else {
      process.exitCode = 1;
      console.log(
        `${digest(input)} ${input.target} ${input.space}: FAILED: ${result.what}\n${result.stack ?? ''}`,
      );
    }
  }
}

/** How much of each function was not reached. */
function tellUnreached(fuzzer: Fuzzer, world: World): void {
  for (const [i, { name, from }] of world.functions.entries()) {
    const to = world.functions[i + 1]?.from ?? world.blocks;
    let missed = 0;
    for (let block = from; block < to; block++) if (!fuzzer.reached.has(block)) missed++;
    if (missed > 0) process.stderr.write(`\n${missed} of ${to - from} blocks not reached: ${name}`);
  }
}

async function fuzz(options: Options, world: World): Promise<void> {
  const start = performance.now();
  const fuzzer = new Fuzzer(world, new Random(options.seed), options.target);
  const known = new Map<string, number>();
  let failed: string | undefined;
  let stale = 0;
  const judge = (failure: Failure | undefined): void => {
    if (failure === undefined) return;
    const reason = knownReason(failure.what);
    if (reason === undefined) failed = report(failure, world);
    else known.set(reason, (known.get(reason) ?? 0) + 1);
  };

  const seeds = loadCorpus(options.corpus).filter((input) => options.target.includes(input.target));
  for (const input of seeds) {
    if (isCurrentInput(input, world)) judge(fuzzer.seed(input));
    else stale++;
    if (failed !== undefined) break;
  }
  if (stale > 0)
    process.stderr.write(`${stale} inputs of the corpus speak of what is gone; --keep renews it\n`);
  let told = start;
  let isEnded = false;
  const end = (): void => {
    isEnded = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'disconnect'] as const) process.once(signal, end);
  const isOver = (): boolean =>
    isEnded ||
    performance.now() - start > options.seconds * 1000 ||
    fuzzer.counts.runs >= (options.runs ?? Infinity);
  while (failed === undefined && !isOver()) {
    judge(fuzzer.next());
    if (performance.now() - told < PROGRESS_MS) continue;
    told = performance.now();
    progress(fuzzer, start);
    // Signals come in here only.
    await setImmediate();
  }
  progress(fuzzer, start);

  if (options.keep && failed === undefined) {
    // Other targets' inputs stay.
    const others = loadCorpus(options.corpus).filter((input) => !options.target.includes(input.target));
    const kept = minimized(fuzzer.corpus, world);
    const bytes = saveCorpus([...others, ...kept], options.corpus);
    process.stderr.write(`\nthe corpus has ${others.length + kept.length} inputs, ${bytes} bytes\n`);
    if (bytes > MAX_CORPUS_BYTES) {
      process.stderr.write(`that is more than ${MAX_CORPUS_BYTES}\n`);
      process.exitCode = 1;
    }
  }
  const summary: Summary = {
    seed: options.seed,
    targets: options.target,
    seconds: (performance.now() - start) / 1000,
    inputs: fuzzer.counts.runs,
    changed: fuzzer.counts.changed,
    inputsOf: fuzzer.counts.runsOf,
    bytes: fuzzer.counts.bytes,
    blocksReached: fuzzer.reached.blocks,
    blocks: world.blocks,
    kept: fuzzer.corpus.length,
    known: Object.fromEntries(known),
    failure: failed ?? null,
  };
  if (options.unreached) tellUnreached(fuzzer, world);
  if (process.send === undefined) {
    conclude(summary, options);
    return;
  }
  const reached = Array.from({ length: world.blocks }, (_, block) => block).filter((block) =>
    fuzzer.reached.has(block),
  );
  process.send({ summary, reached } satisfies Told);
  process.disconnect();
}

/** Prints the summary and sets the exit code. */
function conclude(summary: Summary, options: Options): void {
  for (const [reason, count] of Object.entries(summary.known))
    process.stderr.write(`\nknown, ${count} times: ${reason}`);
  if (options.json) console.log(JSON.stringify(summary, null, 2));
  else {
    const targets = Object.entries(summary.inputsOf).map(([target, n]) => `${target} ${n}`);
    const end = summary.failure === null ? 'nothing wrong' : `FAILED, see ${summary.failure}`;
    console.log(
      `\nseed ${summary.seed}: ${summary.inputs} inputs (${targets.join(', ')}), ${summary.changed} of them changed bytes; ${summary.blocksReached} of ${summary.blocks} blocks; ${end}`,
    );
  }
  if (summary.failure !== null) process.exitCode = 1;
}

/** The same arguments for a job. */
function argumentsOf(options: Options): string[] {
  const runs = options.runs === undefined ? [] : ['--runs', String(Math.ceil(options.runs / options.jobs))];
  return [
    ...['--seconds', String(options.seconds), '--target', options.target.join(',')],
    ...['--corpus', options.corpus, ...runs],
  ];
}

async function fuzzSideBySide(options: Options): Promise<void> {
  const start = performance.now();
  let told = start;
  const onProgress = (progress: Progress): void => {
    if (performance.now() - told < PROGRESS_MS) return;
    told = performance.now();
    show(progress, start);
  };
  conclude(await runJobs(options.jobs, options.seed, argumentsOf(options), onProgress), options);
}

const options = program.parse().opts<Options>();
if (options.jobs > 1 && (options.keep || options.unreached || options.replay !== undefined))
  program.error('error: --jobs goes with none of --keep, --unreached and --replay');
await buildFilter();
const build = await fuzzBuild();
if (options.jobs > 1) await fuzzSideBySide(options);
else {
  const world = new World(build, new Schema());
  if (options.replay === undefined) await fuzz(options, world);
  else replay(options.replay, world);
}
