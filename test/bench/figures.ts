/**
 * `npm run figures`: what the mesh costs, as ratios of one run on one machine.
 *
 * - bootstrap of a new TiDB, without a mesh and through it
 * - sysbench through Envoy with the filter over Envoy without it, rounds interleaved
 * - the filter's size, and its memory in each worker after the load
 */
import { statSync, writeFileSync } from 'node:fs';
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import { progressFor } from '../stack/progress.ts';
import { startStack, type Stack, type StackOptions } from '../stack/stack.ts';
import { prepareLoad, runLoad, type Load } from '../stack/sysbench.ts';

const MEBIBYTE = 1 << 20;
const TENANTS = [{ name: 'alpha', number: 1 }];

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number from 1 on');
  return value;
}

const command = new Command('npm run figures --')
  .description(
    'Measures the mesh against the same servers without it. Times mean little by themselves: read the ratios.',
  )
  .option('--rounds <n>', 'rounds of each load', count, 3)
  .option('--seconds <n>', 'seconds of one round', count, 10)
  .option('--threads <n>', 'connections', count, 4)
  .option('--script <name>', "sysbench's script", 'oltp_read_write')
  .option('--json <file>', 'writes all figures there')
  .parse();

interface Options {
  rounds: number;
  seconds: number;
  threads: number;
  script: string;
  json?: string;
}

const options = command.opts<Options>();
const load: Load = {
  script: options.script,
  threads: options.threads,
  seconds: options.seconds,
  tables: 4,
  rows: 5000,
};

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function start(more: StackOptions): Promise<Stack> {
  return startStack({ tenants: TENANTS, progress: progressFor(), concurrency: 1, ...more });
}

/** Milliseconds that a TiDB took on an empty store. */
async function bootstrap(more: StackOptions): Promise<number> {
  const stack = await start(more);
  try {
    return stack.tidbs.get('alpha')!.startMilliseconds;
  } finally {
    await stack.stop();
  }
}

async function throughput(): Promise<{
  plain: number[];
  mesh: number[];
  errors: number;
  memory: number;
  wasm: number;
}> {
  const mesh = await start({});
  try {
    const plain = await start({ filter: false });
    try {
      const sides = { plain: plain.tidbs.get('alpha')!.mysqlPort, mesh: mesh.tidbs.get('alpha')!.mysqlPort };
      const found = { plain: [] as number[], mesh: [] as number[] };
      let errors = 0;
      for (const port of Object.values(sides)) await prepareLoad(port, load);
      for (let round = 0; round < options.rounds; round++) {
        for (const side of ['plain', 'mesh'] as const) {
          const result = await runLoad(sides[side], load);
          found[side].push(result.transactionsPerSecond);
          errors += result.errors;
          console.error(
            `  round ${round + 1} ${side.padEnd(5)} ${result.transactionsPerSecond.toFixed(1)} transactions/s`,
          );
        }
      }
      // The gauge is set once a second.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      const gauges = await mesh.envoy!.stats(/tidbmesh_vm_memory_bytes$/);
      return {
        ...found,
        errors,
        memory: Math.max(0, ...gauges.values()),
        wasm: statSync(mesh.binaries.wasm).size,
      };
    } finally {
      await plain.stop();
    }
  } finally {
    await mesh.stop();
  }
}

const direct: number[] = [];
const through: number[] = [];
for (let round = 0; round < options.rounds; round++) {
  direct.push(await bootstrap({ mesh: false }));
  through.push(await bootstrap({}));
}
const { plain, mesh, errors, memory, wasm } = await throughput();

const figures = {
  bootstrap: { directMs: direct, meshMs: through, ratio: median(through) / median(direct) },
  sysbench: { ...load, plainTps: plain, meshTps: mesh, errors, ratio: median(mesh) / median(plain) },
  wasmBytes: wasm,
  wasmMemoryBytes: memory,
};
const round = (values: readonly number[]): string => values.map((value) => value.toFixed(0)).join(' ');
const table = new Table({ head: ['figure', 'without', 'with', 'ratio of medians'], style: { head: [] } });
table.push(
  [
    'bootstrap of a TiDB, ms (no Envoy / Envoy and filter)',
    round(direct),
    round(through),
    figures.bootstrap.ratio.toFixed(2),
  ],
  [
    `sysbench ${load.script}, transactions/s (Envoy / and filter)`,
    round(plain),
    round(mesh),
    figures.sysbench.ratio.toFixed(3),
  ],
  ['sysbench errors ignored', '', String(errors), ''],
  ['filter, bytes of wasm', '', String(wasm), ''],
  ['memory of a worker after the load, MiB', '', (memory / MEBIBYTE).toFixed(2), ''],
);
console.log(table.toString());
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
