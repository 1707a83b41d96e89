/** Two tenants on one storage layer: what one feels while the other floods, without a limit, with the filter's and with PD's. */
import {
  requireSysbench,
  sysbenchPrepare,
  sysbenchRun,
  type SysbenchOptions,
  type SysbenchResult,
} from '../test/harness/support/sysbench.ts';
import { silent } from '../test/harness/stack/progress.ts';
import { standardPluginConfig, startStack, type Stack } from '../test/harness/stack/stack.ts';
import { Endpoint } from '../src-ts/pd/endpoint.ts';
import { setRequestUnits } from '../src-ts/tenants/request-units.ts';
import type { Benchmark, Result } from './benchmark.ts';
import { median, rowOf, short, tableOf, type Row } from './rows.ts';

const [LOUD, QUIET] = ['loud', 'quiet'];
const TENANTS = [
  { name: LOUD, number: 1, ownDefaultGroup: true },
  { name: QUIET, number: 2, ownDefaultGroup: true },
];
const DATABASE = 'sbtest';
const ROUNDS = 5;
const SECONDS = 4;
/** What the quiet one runs, and what the loud one. */
const QUIET_THREADS = 4;
const LOUD_THREADS = 64;
/** Request units a second that the loud one gets. */
const LIMIT = 200;
/** Requests a second that the filter lets it send to the store instead. */
const RATE = 500;
/** Every worker of Envoy has a new configuration by then. */
const RATE_IS_KNOWN_SECONDS = 3;
/** TiDB asks for tokens every 5 s, or every 20 s when it uses little: by then it knows of a new limit. */
const LIMIT_IS_KNOWN_SECONDS = 40;

const STATES = ['alone', 'flooded', 'rated', 'limited'] as const;
type State = (typeof STATES)[number];
const TITLES: Readonly<Record<State, string>> = {
  alone: 'alone',
  flooded: 'beside a neighbour that floods',
  rated: `the same, the filter lets it send ${RATE} requests a second`,
  limited: `the same, the neighbour at ${LIMIT} request units a second`,
};

interface Measured {
  readonly quiet: SysbenchResult;
  /** undefined while it rests. */
  readonly loud: SysbenchResult | undefined;
}

type Runs = Record<State, Measured[]>;

function optionsOf(stack: Stack, tenant: string, threads: number): SysbenchOptions {
  const { mysqlPort } = stack.tidbs.get(tenant)!;
  const workload = tenant === LOUD ? 'oltp_read_write' : 'oltp_point_select';
  return { workload, mysqlPort, database: DATABASE, tables: 2, tableSize: 10_000, threads };
}

async function start(): Promise<Stack> {
  const stack = await startStack({ tenants: TENANTS, watched: true, progress: silent });
  try {
    for (const { name } of TENANTS) {
      const session = await stack.tidbs.get(name)!.connect();
      await session.query(`CREATE DATABASE ${DATABASE}`);
      await session.close();
      await sysbenchPrepare(optionsOf(stack, name, 1));
    }
    return stack;
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/** Gives the loud one these limits in the filter. */
function rate(stack: Stack, limits: object): Promise<void> {
  const tenants = TENANTS.map((tenant) => (tenant.name === LOUD ? { ...tenant, limits } : tenant));
  return stack.configure({ ...standardPluginConfig(TENANTS), tenants });
}

async function measure(rounds: number, seconds: number, tell: (detail: string) => void): Promise<Runs> {
  requireSysbench();
  tell('starting servers');
  const stack = await start();
  const runs: Runs = { alone: [], flooded: [], rated: [], limited: [] };
  try {
    const flood = (time: number): Promise<SysbenchResult> =>
      sysbenchRun(optionsOf(stack, LOUD, LOUD_THREADS), time);
    const quietly = (): Promise<SysbenchResult> =>
      sysbenchRun(optionsOf(stack, QUIET, QUIET_THREADS), seconds);
    const beside = async (): Promise<Measured> => {
      const [quiet, loud] = await Promise.all([quietly(), flood(seconds)]);
      return { quiet, loud };
    };
    await quietly();
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}, ${TITLES.alone}`);
      runs.alone.push({ quiet: await quietly(), loud: undefined });
      tell(`round ${round} of ${rounds}, ${TITLES.flooded}`);
      runs.flooded.push(await beside());
    }
    await rate(stack, { requestsPerSecond: RATE });
    await flood(RATE_IS_KNOWN_SECONDS);
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}, ${TITLES.rated}`);
      runs.rated.push(await beside());
    }
    await rate(stack, {});
    await setRequestUnits(new Endpoint({ pd: stack.pd.directUrl }), 1, { ru: LIMIT });
    tell('the limit is on its way to the neighbour’s TiDB');
    await flood(LIMIT_IS_KNOWN_SECONDS);
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}, ${TITLES.limited}`);
      runs.limited.push(await beside());
    }
    return runs;
  } finally {
    await stack.stop();
  }
}

const p99 = ({ quiet }: Measured): number => quiet.milliseconds.p99;
const quietRate = ({ quiet }: Measured): number => quiet.transactionsPerSecond;
const loudRate = ({ loud }: Measured): number => loud?.transactionsPerSecond ?? 0;

function rowsOf(runs: Runs): Row[] {
  const alone = { p99: median(runs.alone.map(p99)), rate: median(runs.alone.map(quietRate)) };
  return (['flooded', 'rated', 'limited'] as const).flatMap((state) => {
    const of = (value: (run: Measured) => number): number[] => runs[state].map(value);
    const figures = {
      'p99, ms': median(of(p99)),
      'transactions per second': median(of(quietRate)),
      "the neighbour's transactions per second": median(of(loudRate)),
    };
    return [
      rowOf(
        `neighbours, ${state}: p99 over that alone`,
        of((run) => p99(run) / alone.p99),
        figures,
      ),
      rowOf(
        `neighbours, ${state}: transactions of those alone`,
        of((run) => quietRate(run) / alone.rate),
        figures,
      ),
    ];
  });
}

function textOf(runs: Runs): string {
  const lines = STATES.map((state) => [
    TITLES[state],
    ...[p99, quietRate, loudRate].map((value) => short(median(runs[state].map(value)))),
  ]);
  return tableOf(
    ['point selects of one tenant', 'p99, ms', 'transactions/s', "the neighbour's transactions/s"],
    lines,
  );
}

export const neighbours: Benchmark = {
  name: 'neighbours',
  summary: "what a tenant feels while another floods, without a limit, with the filter's and with PD's",
  async run({ rounds = ROUNDS, seconds = SECONDS }, tell): Promise<Result> {
    const runs = await measure(rounds, seconds, tell);
    return { rows: rowsOf(runs), details: runs, text: textOf(runs) };
  },
};
