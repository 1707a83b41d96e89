/** Whole servers: how long a TiDB takes to bootstrap, sysbench through Envoy, and what the filter weighs. */
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import {
  requireSysbench,
  sysbenchPrepare,
  sysbenchRun,
  type SysbenchOptions,
  type SysbenchResult,
} from '../support/sysbench.ts';
import { silent } from '../stack/progress.ts';
import { startStack, type Stack, type StackOptions } from '../stack/stack.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import { median, rowOf, tableOf, type Row } from './rows.ts';

const TENANTS = [{ name: 'alpha', number: 1 }];
/** In the order in which each round runs them. */
const WAYS = ['plain Envoy', 'with the filter'] as const;
type Way = (typeof WAYS)[number];

const ROUNDS = 3;
const SECONDS = 10;
/** Issue 7: of plain Envoy's transactions per second. */
const BUDGET = 0.95;

interface Round {
  round: number;
  way: Way;
  transactionsPerSecond: number;
  p95Milliseconds: number;
  ignoredErrors: number;
}

async function bootstrapMilliseconds(options: StackOptions): Promise<number> {
  const stack = await startStack({ tenants: TENANTS, ...options });
  try {
    return stack.tidbs.get('alpha')!.startMilliseconds;
  } finally {
    await stack.stop();
  }
}

async function measure(settings: Settings, tell: (detail: string) => void) {
  requireSysbench();
  const rounds = settings.rounds ?? ROUNDS;
  const seconds = settings.seconds ?? SECONDS;
  const bootstraps = { direct: [] as number[], mesh: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    tell(`bootstraps, round ${round + 1} of ${rounds}`);
    bootstraps.direct.push(await bootstrapMilliseconds({ mesh: false }));
    bootstraps.mesh.push(await bootstrapMilliseconds({}));
  }

  const stacks = new Map<Way, Stack>();
  const runs: Round[] = [];
  try {
    for (const way of WAYS)
      stacks.set(
        way,
        await startStack({ tenants: TENANTS, filter: way === 'with the filter', progress: silent }),
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
        threads: settings.threads,
      };
      options.set(way, given);
      await sysbenchPrepare(given);
      await sysbenchRun(given, 3);
    }
    // Interleaved, one at a time: both meet the same moods of the machine.
    for (let round = 1; round <= rounds; round++) {
      tell(`sysbench, round ${round} of ${rounds}`);
      for (const way of round % 2 ? WAYS : [...WAYS].reverse()) {
        const result: SysbenchResult = await sysbenchRun(options.get(way)!, seconds);
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

function rowsOf({ sysbench }: Figures): Row[] {
  const of = (way: Way): number[] =>
    sysbench.runs.filter((run) => run.way === way).map((run) => run.transactionsPerSecond);
  const plain = of('plain Envoy');
  const ratios = of('with the filter').map((transactions, round) => transactions / plain[round]!);
  return [rowOf('figures/sysbench read-write/plain Envoy', ratios, sysbench.transactionsPerSecond, BUDGET)];
}

function textOf(figures: Figures): string {
  const { bootstrapMilliseconds: boot, sysbench, wasm } = figures;
  const number = (value: number, digits = 0): string => value.toFixed(digits);
  return tableOf(
    ['figure', 'value'],
    [
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
    ],
  );
}

export const figures: Benchmark = {
  name: 'figures',
  summary:
    'real servers: bootstrap of a TiDB direct and through the mesh, sysbench with and without the filter',
  async run(settings, tell) {
    const measured = await measure(settings, tell);
    return { rows: rowsOf(measured), details: measured, text: textOf(measured) };
  },
};
