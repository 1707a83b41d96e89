/** The same as in rounds.test.ts without the storage layer's TiDB and without the filter's part: data must be lost. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { only } from '../e2e/support/tenants.ts';
import type { Row, Session } from '../harness/stack/sql.ts';
import { startStack, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { crashAfterCommit, TWO_PHASE } from './support/crash.ts';
import { StoreTime } from './support/time.ts';
import { buildUnsharedFilter } from './support/unshared.ts';

const REPORT = 35_000;
const YEAR = 365 * 24 * 3600;

let stack: Stack;
let folder: string;
let started: number;

beforeAll(async () => {
  started = Date.now();
  folder = await mkdtemp(join(tmpdir(), 'tidb-mesh-unshared-'));
  stack = await startStack({
    wasmPath: await buildUnsharedFilter(folder),
    tidbConfig: 'lease = "3s"',
    pluginConfig: (standard: PluginConfig) => ({
      ...standard,
      limits: { ...standard.limits, maxTsDriftSeconds: YEAR },
    }),
  });
});
afterAll(async () => {
  await stack?.stop();
  await rm(folder, { recursive: true, force: true });
  console.log(`GC without the filter's part: ${((Date.now() - started) / 60_000).toFixed(1)} minutes`);
});

test("beta's GC takes what alpha still reads, and what alpha had committed", async () => {
  const ROWS = 'SELECT id, note FROM gc.items ORDER BY id';
  const sessions: Session[] = [];
  const open = async (): Promise<Session> => {
    const session = await stack.tidbs.get('alpha')!.connect();
    sessions.push(session);
    return session;
  };
  const [writer, reader] = [await open(), await open()];
  await writer.query('SET GLOBAL tidb_gc_enable = OFF');
  await writer.query('SET GLOBAL tidb_enable_auto_analyze = OFF');
  await writer.query('CREATE DATABASE gc');
  await writer.query('CREATE TABLE gc.items (id INT PRIMARY KEY, note VARCHAR(40), KEY by_note (note))');
  await writer.query('INSERT INTO gc.items VALUES ?', [Array.from({ length: 50 }, (_, id) => [id, 'old'])]);
  await reader.query('SET tx_isolation = "REPEATABLE-READ"');
  await reader.query('BEGIN');
  const before: Row[] = await reader.query(ROWS);
  const since = BigInt(only(await reader.query('SELECT @@tidb_current_ts')) as string);
  await writer.query("UPDATE gc.items SET note = 'changed' WHERE id < 20");
  await writer.query('DELETE FROM gc.items WHERE id >= 40');
  const tidb = await stack.startTidb({ tenant: 'alpha', name: 'tidb-alpha-crash' });
  const locks = await crashAfterCommit(stack, tidb, 'alpha', TWO_PHASE);
  expect(locks.length).toBeGreaterThan(0);
  const { database, table, rows } = TWO_PHASE;
  await writer.query(`UPDATE ${database}.${table} SET note = 'later' WHERE id = 1`);
  await sleep(REPORT);

  const safePoint = await new StoreTime(stack).round();
  expect(safePoint).toBeGreaterThan(since);
  await stack.store.inspect.collectGarbage();

  const after = await reader.query(ROWS);
  expect(before).toHaveLength(50);
  // The 20 that were changed and the 10 that were deleted are no longer in the snapshot, and nobody is told.
  expect(after).toHaveLength(20);
  // The keys that were locked are rolled back by the next reader, since nothing says any more that they were committed.
  const found = await writer.query(`SELECT COUNT(*) AS n FROM ${database}.${table}`);
  expect(Number(only(found))).toBe(rows - locks.length);
  await Promise.all(sessions.map((session) => session.close()));
});
