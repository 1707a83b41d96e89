/** A TiDB that is killed in the middle of a commit, every time at the same point. */
import { tablePrefix } from '../../../demo/keys.ts';
import { tableIds } from '../../e2e/support/tenants.ts';
import type { StoredLock } from '../../harness/stack/inspect.ts';
import type { Stack } from '../../harness/stack/stack.ts';
import type { Tidb } from '../../harness/stack/tidb.ts';
import { until } from './time.ts';

const ROWS_TIMEOUT = 30_000;

export interface Crash {
  database: string;
  table: string;
  rows: number;
  /** `secondaries`: the primary is committed. `all`: with async commit, all keys are locked when COMMIT returns. */
  held: 'secondaries' | 'all';
}

/** Two-phase commit in several batches, and async commit, which takes 256 keys at most. */
export const TWO_PHASE: Crash = { database: 'crash', table: 'two_phase', rows: 2000, held: 'secondaries' };
export const ASYNC: Crash = { database: 'crash', table: 'async_commit', rows: 150, held: 'all' };

/** First key of a table's rows in the store, and the first behind them. */
export async function rowRange(
  stack: Stack,
  tidb: Tidb,
  tenant: string,
  database: string,
  table: string,
): Promise<[Buffer, Buffer]> {
  const { number } = stack.tenants.find(({ name }) => name === tenant)!;
  const session = await tidb.connect();
  const id = (await tableIds(session, database))[table]!;
  await session.close();
  return [tablePrefix(number, id), tablePrefix(number, id + 1)];
}

/**
 * Inserts the rows with ids from 1 in one transaction of this TiDB and kills it after COMMIT has been answered, while the
 * store is slow to commit.
 * @returns the locks that are left
 */
export async function crashAfterCommit(
  stack: Stack,
  tidb: Tidb,
  tenant: string,
  crash: Crash,
): Promise<StoredLock[]> {
  const { database, table, rows, held } = crash;
  const session = await tidb.connect();
  await session.query(`CREATE DATABASE IF NOT EXISTS ${database}`);
  await session.query(`CREATE TABLE ${database}.${table} (id INT PRIMARY KEY, note VARCHAR(20))`);
  const [start, end] = await rowRange(stack, tidb, tenant, database, table);
  await session.query(`SET tidb_enable_1pc = 0, tidb_enable_async_commit = ${held === 'all' ? 1 : 0}`);
  await session.query('BEGIN');
  await session.query(`INSERT INTO ${database}.${table} VALUES ?`, [
    Array.from({ length: rows }, (_, index) => [index + 1, `row ${index + 1}`]),
  ]);
  await stack.store.inspect.holdCommits(held, start, end);
  try {
    await session.query('COMMIT');
    await until('commits of this transaction', ROWS_TIMEOUT, async () =>
      (await stack.store.inspect.heldCommits()) > 0 ? true : undefined,
    );
    await tidb.kill();
    await until('the end of its calls', ROWS_TIMEOUT, async () =>
      (await stack.store.inspect.heldCommits()) === 0 ? true : undefined,
    );
  } finally {
    await stack.store.inspect.holdCommits('none');
  }
  return stack.store.inspect.locks(start, end);
}
