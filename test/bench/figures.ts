/** Measures what the mesh costs and prints it; nothing here passes or fails. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import Table from 'cli-table3';
import { Command } from 'commander';
import {
  requireSysbench,
  sysbenchPrepare,
  sysbenchRun,
  type SysbenchOptions,
  type SysbenchResult,
} from '../support/sysbench.ts';
import { progressFor } from '../stack/progress.ts';
import { startStack, type Stack, type StackOptions } from '../stack/stack.ts';

const TENANTS = [{ name: 'alpha', number: 1 }];
/** In the order in which each round runs them. */
const WAYS = ['plain Envoy', 'with the filter'] as const;
type Way = (typeof WAYS)[number];

interface Settings {
  json?: string;
  rounds: string;
  seconds: string;
  threads: string;
}

interface Round {
  round: number;
  way: Way;
  transactionsPerSecond: number;
  p95Milliseconds: number;
  ignoredErrors: number;
}

const command = new Command('tsx test/bench/figures.ts')
  .description(
    'Bootstrap time of a TiDB direct and through the mesh, sysbench oltp_read_write with and without the filter, ' +
      "the wasm's size and its memory.",
  )
  .option('--json <file>', 'write the figures as JSON')
  .option('--rounds <count>', 'interleaved rounds of sysbench', '3')
  .option('--seconds <count>', 'of each round and way', '10')
  .option('--threads <count>', 'of sysbench', '4');

async function bootstrapMilliseconds(options: StackOptions): Promise<number> {
  const stack = await startStack({ tenants: TENANTS, ...options });
  try {
    return stack.tidbs.get('alpha')!.startMilliseconds;
  } finally {
    await stack.stop();
  }
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

async function measure(settings: Settings) {
  requireSysbench();
  const rounds = Number(settings.rounds);
  const bootstraps = { direct: [] as number[], mesh: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    bootstraps.direct.push(await bootstrapMilliseconds({ mesh: false }));
    bootstraps.mesh.push(await bootstrapMilliseconds({}));
  }

  const stacks = new Map<Way, Stack>();
  const runs: Round[] = [];
  try {
    for (const way of WAYS)
      stacks.set(
        way,
        await startStack({ tenants: TENANTS, filter: way === 'with the filter', progress: progressFor() }),
      );
    const options = new Map<Way, SysbenchOptions>();
    for (const [way, stack] of stacks) {
      const tidb = stack.tidbs.get('alpha')!;
      const session = await tidb.connect();
      await session.query('CREATE DATABASE sbtest');
      await session.close();
      const given = {
        mysqlPort: tidb.mysqlPort,
        database: 'sbtest',
        tables: 2,
        tableSize: 10_000,
        threads: Number(settings.threads),
      };
      options.set(way, given);
      await sysbenchPrepare(given);
      await sysbenchRun(given, 3);
    }
    // Interleaved, one at a time: both meet the same moods of the machine.
    for (let round = 1; round <= rounds; round++) {
      for (const way of round % 2 ? WAYS : [...WAYS].reverse()) {
        const result: SysbenchResult = await sysbenchRun(options.get(way)!, Number(settings.seconds));
        runs.push({
          round,
          way,
          transactionsPerSecond: result.transactionsPerSecond,
          p95Milliseconds: result.milliseconds.p95,
          ignoredErrors: result.ignoredErrors,
        });
      }
    }
    const meshed = stacks.get('with the filter')!;
    // The gauge is set once a second.
    await sleep(1500);
    const memory = await meshed.envoy!.stats(/tidbmesh_vm_memory_bytes$/);
    const wasm = meshed.binaries.wasm;
    const perSecond = (way: Way): number =>
      median(runs.filter((run) => run.way === way).map((run) => run.transactionsPerSecond));
    return {
      cpus: cpus().length,
      bootstrapMilliseconds: {
        direct: median(bootstraps.direct),
        mesh: median(bootstraps.mesh),
        all: bootstraps,
      },
      sysbench: {
        runs,
        transactionsPerSecond: Object.fromEntries(WAYS.map((way) => [way, perSecond(way)])),
        filterOverPlain: perSecond('with the filter') / perSecond('plain Envoy'),
      },
      wasm: {
        bytes: statSync(wasm).size,
        gzipBytes: gzipSync(readFileSync(wasm)).length,
        vmMemoryBytes: [...memory.values()][0] ?? null,
      },
    };
  } finally {
    for (const stack of stacks.values()) await stack.stop();
  }
}

type Figures = Awaited<ReturnType<typeof measure>>;

function show(figures: Figures): string {
  const { bootstrapMilliseconds: boot, sysbench, wasm } = figures;
  const table = new Table({ head: ['figure', 'value'], style: { head: [], border: [] } });
  const number = (value: number, digits = 0): string => value.toFixed(digits);
  table.push(
    ['bootstrap of a TiDB, direct', `${number(boot.direct)} ms (${boot.all.direct.join(', ')})`],
    ['bootstrap of a TiDB, through the mesh', `${number(boot.mesh)} ms (${boot.all.mesh.join(', ')})`],
    ...WAYS.map((way) => [
      `sysbench, ${way}`,
      `${number(sysbench.transactionsPerSecond[way]!, 1)} transactions/s (${sysbench.runs
        .filter((run) => run.way === way)
        .map((run) => number(run.transactionsPerSecond, 1))
        .join(', ')})`,
    ]),
    ['with the filter over plain Envoy', `${number(100 * sysbench.filterOverPlain, 1)} %`],
    ['wasm', `${wasm.bytes} bytes, ${wasm.gzipBytes} gzipped`],
    ['memory of all VMs after sysbench', `${String(wasm.vmMemoryBytes)} bytes`],
  );
  return table.toString();
}

command.parse();
const settings = command.opts<Settings>();
const figures = await measure(settings);
if (settings.json !== undefined) writeFileSync(settings.json, `${JSON.stringify(figures, undefined, 2)}\n`);
process.stdout.write(`${show(figures)}\n`);
