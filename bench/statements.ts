/** A few hundred kinds of statements on a TiDB behind the filter, beside the same on servers of its own behind plain Envoy. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { silent } from '../test/harness/stack/progress.ts';
import type { Session } from '../test/harness/stack/sql.ts';
import { startStack, type Stack } from '../test/harness/stack/stack.ts';
import type { Benchmark, Result, Settings } from './benchmark.ts';
import { median, rowAtMost, short, tableOf, type Row } from './rows.ts';
import { STATEMENTS, type Statement } from './statement-list.ts';

const TENANTS = [{ name: 'alpha', number: 1 }];
/** In the order in which the first round runs them. */
const WAYS = ['plain Envoy', 'filter'] as const;
type Way = (typeof WAYS)[number];

const ROUNDS = 3;
/** Of the time with plain Envoy, and milliseconds beyond it. */
const FACTOR = 1.5;
const EXTRA_MS = 20;
/** Nothing here takes that long by itself. */
const PATIENCE_MS = 90_000;
const DATABASE = 'bench';
/** Statements of both sides. An odd number: each side gets its turn. */
const CLEARED_AFTER = 21;
const LOADED_ROWS = 5000;

/** Names of figures. */
export const DIRECT_MS = 'plain Envoy, ms';
export const TENANT_MS = 'filter, ms';
/** MySQL's number of the error that a statement ends with; 0 for none. */
export const DIRECT_ERROR = 'plain Envoy: error';
export const TENANT_ERROR = 'filter: error';

interface Side {
  readonly stack: Stack;
  session: Session;
}

interface Took {
  readonly milliseconds: number;
  readonly error: number;
}

interface Case {
  readonly statement: Statement;
  readonly runs: Record<Way, Took[]>;
}

let serial = 0;

async function start(way: Way): Promise<Side> {
  const stack = await startStack({ tenants: TENANTS, filter: way === 'filter', progress: silent });
  try {
    const session = await stack.tidbs.get('alpha')!.connect();
    await session.query(`CREATE DATABASE ${DATABASE}`);
    await session.close();
    return { stack, session: await connect(stack) };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

async function connect(stack: Stack): Promise<Session> {
  const session = await stack.tidbs.get('alpha')!.connect(DATABASE);
  await session.query('SET SESSION tidb_enable_check_constraint = ON').catch(() => {});
  return session;
}

function rowsToLoad(): Readable {
  const rows = Array.from({ length: LOADED_ROWS }, (_, i) => `${i},${i % 7},row ${i}\n`);
  return Readable.from([Buffer.from(rows.join(''))]);
}

async function send(session: Session, sql: string): Promise<void> {
  const options = { sql, infileStreamFactory: rowsToLoad };
  await session.connection.query(options);
}

/** Holds commits of secondary keys back in the store, or lets them go. */
async function holdCommits({ stack }: Side, hold: 'secondaries' | 'none'): Promise<void> {
  const response = await fetch(`${stack.store.inspectUrl}/commits?hold=${hold}`, { method: 'POST' });
  if (!response.ok) throw new Error(`the store does not hold commits back: ${response.status}`);
}

async function withinPatience<T>(work: Promise<T>): Promise<T> {
  const late = new AbortController();
  try {
    return await Promise.race([
      work,
      sleep(PATIENCE_MS, undefined, { signal: late.signal }).then(() => {
        throw Object.assign(new Error('too late'), { errno: -1 });
      }),
    ]);
  } finally {
    late.abort();
  }
}

async function run(side: Side, statement: Statement): Promise<Took> {
  serial++;
  const of = (sql: string): string => sql.replaceAll(/@(?![@a-z])/g, String(serial));
  const { before, after, leavesLocks } = statement;
  let error = 0;
  let started = performance.now();
  try {
    for (const [i, sql] of before.entries()) {
      if (leavesLocks && i === before.length - 1) await holdCommits(side, 'secondaries');
      await withinPatience(send(side.session, of(sql)));
    }
    started = performance.now();
    for (const sql of statement.run) await withinPatience(send(side.session, of(sql)));
  } catch (thrown) {
    error = Number((thrown as { errno?: number }).errno ?? -1);
  }
  const milliseconds = performance.now() - started;
  if (leavesLocks) await holdCommits(side, 'none');
  if (error !== 0) {
    side.session.connection.destroy();
    side.session = await connect(side.stack);
  }
  for (const sql of after) await withinPatience(send(side.session, of(sql))).catch(() => {});
  await withinPatience(send(side.session, 'ROLLBACK'));
  // What is left would make later statements slower, one way or the other.
  if (serial % CLEARED_AFTER === 0) await withinPatience(clear(side.session));
  return { milliseconds, error };
}

async function clear(session: Session): Promise<void> {
  const tables = await session.query(`SELECT table_name AS name, table_type AS type
    FROM information_schema.tables WHERE table_schema = '${DATABASE}'`);
  await session.query('SET foreign_key_checks = 0');
  for (const type of ['BASE TABLE', 'VIEW', 'SEQUENCE']) {
    const names = tables.filter((table) => table['type'] === type).map(({ name }) => `\`${String(name)}\``);
    if (names.length > 0)
      await session.query(`DROP ${type.split(' ').at(-1)!} IF EXISTS ${names.join(', ')}`);
  }
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Case[]> {
  const rounds = settings.rounds ?? ROUNDS;
  const only = process.env['TIDB_MESH_STATEMENTS'];
  const chosen = STATEMENTS.filter(
    ({ kind, name }) => only === undefined || new RegExp(only, 'i').test(`${kind}: ${name}`),
  );
  if (chosen.length === 0) throw new Error(`TIDB_MESH_STATEMENTS=${only}: no statement matches`);
  const cases = chosen.map((statement): Case => ({ statement, runs: { 'plain Envoy': [], filter: [] } }));
  const sides = new Map<Way, Side>();
  try {
    for (const way of WAYS) {
      tell(`starting servers, ${way}`);
      sides.set(way, await start(way));
    }
    for (const [i, { statement, runs }] of cases.entries())
      for (let round = 1; round <= rounds; round++)
        // One at a time, taking turns: both meet the same moods of the machine.
        for (const way of round % 2 ? WAYS : [...WAYS].reverse()) {
          tell(`${i + 1} of ${cases.length}: ${statement.kind}: ${statement.name}, ${way}, round ${round}`);
          runs[way].push(await run(sides.get(way)!, statement));
        }
    return cases;
  } finally {
    for (const { session } of sides.values()) session.connection.destroy();
    for (const { stack } of sides.values()) await stack.stop();
  }
}

const milliseconds = ({ milliseconds: ms }: Took): number => ms;
const errorOf = (runs: readonly Took[]): number => runs.find(({ error }) => error !== 0)?.error ?? 0;

/** The time with the filter, less what it may take beyond plain Envoy's, over plain Envoy's. */
function rowOf({ statement, runs }: Case): Row {
  const direct = runs['plain Envoy'];
  const figures = {
    [DIRECT_MS]: median(direct.map(milliseconds)),
    [TENANT_MS]: median(runs.filter.map(milliseconds)),
    [DIRECT_ERROR]: errorOf(direct),
    [TENANT_ERROR]: errorOf(runs.filter),
  };
  // Medians first: the rounds of one side have nothing to do with those of the other but their number.
  const whole = Math.max(0, figures[TENANT_MS]! - EXTRA_MS) / figures[DIRECT_MS]!;
  const rounds = runs.filter.map((took) => Math.max(0, took.milliseconds - EXTRA_MS) / figures[DIRECT_MS]!);
  const row = rowAtMost(`statements ${statement.kind}: ${statement.name}`, rounds, figures, FACTOR);
  return { ...row, ok: whole <= FACTOR && figures[DIRECT_ERROR] === figures[TENANT_ERROR] };
}

function textOf(rows: readonly Row[]): string {
  const lines = rows.map(({ name, ok, figures }) => [
    name.replace('statements ', ''),
    short(figures[DIRECT_MS]!),
    short(figures[TENANT_MS]!),
    figures[DIRECT_ERROR] === figures[TENANT_ERROR]
      ? String(figures[DIRECT_ERROR] || '')
      : `${figures[DIRECT_ERROR]}, ${figures[TENANT_ERROR]}`,
    ok ? '' : 'MISSED',
  ]);
  return tableOf(['statement', 'plain Envoy\nms', 'filter\nms', 'errors', ''], lines);
}

export const statements: Benchmark = {
  name: 'statements',
  summary: `${STATEMENTS.length} kinds of statements, with the filter and with plain Envoy, each on servers of its own`,
  async run(settings, tell): Promise<Result> {
    const cases = await measure(settings, tell);
    const rows = cases.map(rowOf);
    return {
      rows,
      text: textOf(rows),
      details: cases.map(({ statement: { name }, runs }) => ({ name, runs })),
    };
  },
};
