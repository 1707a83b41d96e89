/** Measures what the mesh costs and prints it. Slowness is no error: only what cannot be measured is. */
import { relative } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { ROOT } from '../src-ts/wasm/builds.ts';
import { progressFor } from '../test/harness/stack/progress.ts';
import type { Benchmark, Result } from './benchmark.ts';
import { calls } from './calls.ts';
import { draw } from './chart.ts';
import { budgets, comparison } from './compare.ts';
import { envoy } from './envoy.ts';
import { etcd } from './etcd.ts';
import { figures } from './figures.ts';
import { growth } from './growth.ts';
import { keep, KEPT, readKept, readResults, resultsOf, writeResults, type Results } from './kept.ts';
import { machine } from './machine.ts';
import { memory, MESSAGES } from './memory.ts';
import { neighbours } from './neighbours.ts';
import { rewriter } from './rewriter.ts';
import { writeStatementsPage } from './statements-page.ts';
import { statements } from './statements.ts';
import { sysbench } from './sysbench.ts';
import { short, tableOf, type Row } from './rows.ts';

const BENCHMARKS: readonly Benchmark[] = [
  rewriter,
  growth,
  memory,
  envoy,
  calls,
  etcd,
  sysbench,
  statements,
  neighbours,
  figures,
];

interface Options {
  json?: string;
  /** false: with nothing. */
  compare?: string | false;
  keep?: boolean;
  rounds?: number;
  seconds?: number;
  threads?: number;
  messages: number;
  allRounds?: boolean;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

function whole(text: string): number {
  const value = positive(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

const KEPT_NAME = relative(ROOT, KEPT);
/** In the place of a benchmark. */
const CHART = 'chart';
const names = BENCHMARKS.map(({ name }) => name);

const command = new Command('npm run bench --')
  .description(
    'Measures the filter beside other ways to do the same, in interleaved rounds, and prints ratios of medians.',
  )
  .argument(
    '[names...]',
    `which benchmarks: ${names.join(', ')}; all of them by default. "${CHART}" draws the kept results anew`,
  )
  .option('--json <file>', 'write all rows and rounds as JSON')
  .option('--compare <file>', `compare with what --json wrote earlier; by default with ${KEPT_NAME}`)
  .option('--no-compare', 'compare with nothing')
  .option('--keep', `put the results into ${KEPT_NAME}, and draw the charts anew`)
  .option('--rounds <count>', 'rounds of each side', whole)
  .option('--seconds <count>', 'of each side in each round', positive)
  .option('--threads <count>', 'of sysbench, instead of 1 and 64', whole)
  .option('--messages <count>', 'through the module in the benchmark of memory', whole, MESSAGES)
  .option('--all-rounds', 'print every round of every row')
  .addHelpText(
    'after',
    `\n${BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`).join('\n')}`,
  );

function roundsOf(rows: readonly Row[]): string {
  return tableOf(
    ['row', 'ratio', 'rounds'],
    rows.map(({ name, ratio, rounds }) => [name, short(ratio), rounds.map(short).join(' ')]),
  );
}

command.parse();
const options = command.opts<Options>();
const unknown = command.args.find((name) => name !== CHART && !names.includes(name));
if (unknown !== undefined) command.error(`error: no benchmark '${unknown}'; there are ${names.join(', ')}`);
const chosen = BENCHMARKS.filter(({ name }) => command.args.length === 0 || command.args.includes(name));

/** Draws what is kept, and writes its page. */
async function drawKept(): Promise<void> {
  const kept = readKept();
  if (kept === undefined) return command.error(`error: ${KEPT_NAME} is not there; write it with --keep`);
  draw(kept);
  await writeStatementsPage(kept);
}

if (command.args.includes(CHART)) {
  await drawKept();
  process.exit();
}

/** Read first: a file that is no file of results ends the command before hours of work. */
function earlier(): Results | undefined {
  const { compare } = options;
  if (compare === false) return undefined;
  try {
    return compare === undefined ? readKept() : readResults(compare);
  } catch (error) {
    command.error(`error: ${(error as Error).message}`);
  }
}

const before = earlier();
const facts = machine();
const results: Record<string, Result> = {};
await progressFor().run(
  chosen.map((benchmark) => ({
    title: `Benchmark ${benchmark.name}`,
    async run(tell) {
      const { rounds, seconds, threads, messages } = options;
      const result = await benchmark.run({ rounds, seconds, threads, messages }, tell);
      results[benchmark.name] = result;
      // At once: what comes later may fail.
      if (options.keep) keep(resultsOf({ [benchmark.name]: result }, facts));
    },
  })),
);

for (const { text, rows } of Object.values(results)) {
  process.stdout.write(`${text}\n`);
  if (options.allRounds) process.stdout.write(`${roundsOf(rows)}\n`);
}
const now = resultsOf(results, facts);
process.stdout.write(`${comparison(now, before)}\n`);
const { cpu, cores, node, v8, go, load } = facts;
process.stdout.write(
  [
    budgets(now),
    `${cpu}, ${cores} cores, Node ${node} (V8 ${v8}), ${go}, load ${short(load)} at the start`,
    '',
  ].join('\n'),
);
if (options.json !== undefined) writeResults(options.json, now);
if (options.keep) await drawKept();
