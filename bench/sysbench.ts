/** sysbench on a TiDB whose storage is behind Envoy with the filter, beside one behind plain Envoy. */
import {
  requireSysbench,
  sysbenchPrepare,
  sysbenchRun,
  type SysbenchOptions,
  type SysbenchResult,
  type Workload,
} from '../test/harness/support/sysbench.ts';
import { silent } from '../test/harness/stack/progress.ts';
import { startStack, type Stack } from '../test/harness/stack/stack.ts';
import type { Benchmark, Result, Settings } from './benchmark.ts';
import { processorSeconds } from './load.ts';
import { median, rowAtMost, rowOf, short, tableOf, type Row } from './rows.ts';

const TENANTS = [{ name: 'alpha', number: 1 }];
/** In the order in which the first round runs them. */
const WAYS = ['plain Envoy', 'filter'] as const;
type Way = (typeof WAYS)[number];

const WORKLOADS: readonly Workload[] = ['oltp_point_select', 'oltp_read_only', 'oltp_read_write'];
const THREADS = [1, 64];
const ROUNDS = 5;
const SECONDS = 4;
const WARM_UP_SECONDS = 2;
const DATABASE = 'sbtest';
/** Issue 7: of plain Envoy's transactions per second, and of its p99. */
const BUDGET = 0.95;
const BUDGET_P99 = 1.1;

interface Measured extends SysbenchResult {
  /** Envoy's processor time for one transaction, in microseconds. */
  readonly envoyMicroseconds: number;
}

interface Case {
  readonly workload: Workload;
  readonly threads: number;
  readonly runs: Record<Way, Measured[]>;
}

async function start(way: Way): Promise<Stack> {
  const stack = await startStack({ tenants: TENANTS, filter: way === 'filter', progress: silent });
  try {
    const session = await stack.tidbs.get('alpha')!.connect();
    await session.query(`CREATE DATABASE ${DATABASE}`);
    await session.close();
    await sysbenchPrepare(optionsOf(stack, 'oltp_read_write', 1));
    return stack;
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

function optionsOf(stack: Stack, workload: Workload, threads: number): SysbenchOptions {
  const { mysqlPort } = stack.tidbs.get('alpha')!;
  return { workload, mysqlPort, database: DATABASE, tables: 2, tableSize: 10_000, threads };
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Case[]> {
  requireSysbench();
  const rounds = settings.rounds ?? ROUNDS;
  const seconds = settings.seconds ?? SECONDS;
  const threads = settings.threads === undefined ? THREADS : [settings.threads];
  const cases = WORKLOADS.flatMap((workload) =>
    threads.map((count): Case => ({ workload, threads: count, runs: { 'plain Envoy': [], filter: [] } })),
  );
  const stacks = new Map<Way, Stack>();
  try {
    for (const way of WAYS) {
      tell(`starting servers, ${way}`);
      stacks.set(way, await start(way));
    }
    const run = async (way: Way, { workload, threads: count }: Case, time: number): Promise<Measured> => {
      const stack = stacks.get(way)!;
      const { pid } = stack.envoy!;
      const before = processorSeconds(pid);
      const result = await sysbenchRun(optionsOf(stack, workload, count), time);
      const used = processorSeconds(pid) - before;
      return { ...result, envoyMicroseconds: (used / result.transactions) * 1e6 };
    };
    for (const each of cases) {
      for (const way of WAYS) {
        tell(`${each.workload}, ${each.threads} threads: warming up`);
        await run(way, each, WARM_UP_SECONDS);
      }
      // One at a time, taking turns: both meet the same moods of the machine.
      for (let round = 1; round <= rounds; round++)
        for (const way of round % 2 ? WAYS : [...WAYS].reverse()) {
          tell(`${each.workload}, ${each.threads} threads: ${way}, round ${round} of ${rounds}`);
          each.runs[way].push(await run(way, each, seconds));
        }
    }
    return cases;
  } finally {
    for (const stack of stacks.values()) await stack.stop();
  }
}

const perSecond = ({ transactionsPerSecond }: SysbenchResult): number => transactionsPerSecond;
const envoyTime = ({ envoyMicroseconds }: Measured): number => envoyMicroseconds;
const p99 = ({ milliseconds }: SysbenchResult): number => milliseconds.p99;

/** The filter over plain Envoy, by round. */
function ratios({ runs }: Case, of: (result: SysbenchResult) => number): number[] {
  return runs.filter.map((result, round) => of(result) / of(runs['plain Envoy'][round]!));
}

function rowsOf(measured: Case): Row[] {
  const { workload, threads, runs } = measured;
  const name = `sysbench ${workload}, ${threads} thread${threads === 1 ? '' : 's'}`;
  const figures = Object.fromEntries(
    WAYS.flatMap((way) => [
      [`${way}: transactions per second`, median(runs[way].map(perSecond))],
      [`${way}: p99, ms`, median(runs[way].map(p99))],
      [`${way}: microseconds of Envoy's processor for a transaction`, median(runs[way].map(envoyTime))],
      [`${way}: errors that were retried`, runs[way].reduce((sum, run) => sum + run.ignoredErrors, 0)],
    ]),
  );
  return [
    rowOf(`${name}, of plain Envoy`, ratios(measured, perSecond), figures, BUDGET),
    rowAtMost(`${name}, p99 over plain Envoy's`, ratios(measured, p99), figures, BUDGET_P99),
  ];
}

function textOf(cases: readonly Case[]): string {
  const lines = cases.map((each) => [
    each.workload,
    String(each.threads),
    ...WAYS.flatMap((way) => {
      const rates = each.runs[way].map(perSecond);
      return [
        `${short(median(rates))} (${rates.map(short).join(' ')})`,
        short(median(each.runs[way].map(p99))),
        short(median(each.runs[way].map(envoyTime))),
      ];
    }),
    short(median(ratios(each, perSecond))),
    short(median(ratios(each, p99))),
  ]);
  return tableOf(
    [
      'sysbench',
      'threads',
      ...WAYS.flatMap((way) => [`${way}\ntransactions/s`, '\np99, ms', '\nEnvoy, µs']),
      'filter / plain',
      '\np99',
    ],
    lines,
  );
}

export const sysbench: Benchmark = {
  name: 'sysbench',
  summary:
    'point selects, read-only and read-write with one and 64 threads, with the filter and with plain Envoy',
  async run(settings, tell): Promise<Result> {
    const cases = await measure(settings, tell);
    const details = cases.map(({ workload, threads, runs }) => ({
      workload,
      threads,
      runs: Object.fromEntries(
        WAYS.map((way) => [
          way,
          runs[way].map(({ transactionsPerSecond, milliseconds, envoyMicroseconds }) => ({
            transactionsPerSecond,
            milliseconds,
            envoyMicroseconds,
          })),
        ]),
      ),
    }));
    return { rows: cases.flatMap(rowsOf), details, text: textOf(cases) };
  },
};
