/**
 * What a tenant reads of old versions while it goes between two storage layers whose collectors take all that they may: a transaction from
 * before a switch reads the same after it, there and back. A snapshot that nobody keeps is refused, and never answered wrongly.
 * `npm run test:proofs -- between-reads`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { moveService } from '../../src-ts/move/engine/space.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { entries, type Entry } from '../../src-ts/pd/etcd.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { minStartFolder } from '../../src-ts/tenants/holders.ts';
import type { Collected } from '../harness/stack/inspect.ts';
import type { Session } from '../harness/stack/sql.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { collectRound } from './garbage.ts';
import { Layers } from './layers.ts';

const ALPHA = { name: 'alpha', number: 1 };
const ROWS = Array.from({ length: 20 }, (_, i) => i);
/** TiDB says twice a minute what it reads. */
const REPORT_MS = 100_000;

let layers: Layers;
let tidb: Tidb;
/** In a transaction from before, at a snapshot from before that, and as of now. */
let open: Session;
let stale: Session;
let writer: Session;
let start: bigint;
let before: bigint;

beforeAll(async () => {
  layers = await Layers.start(['a', 'b'], [ALPHA]);
  tidb = await layers.of('a').stack.startTidb({ tenant: ALPHA.name });
  [open, stale, writer] = [await tidb.connect(), await tidb.connect(), await tidb.connect()];
  await writer.query('CREATE TABLE test.t (id INT PRIMARY KEY, v VARCHAR(20))');
  await writer.query(`INSERT INTO test.t VALUES ${ROWS.map((id) => `(${id}, 'first')`).join(', ')}`);
  await layers.begin('a', 'b');
  layers.startWorker();
  await layers.follows();
}, 400_000);
afterAll(async () => layers?.end(), 120_000);

/** What a session reads of all rows: one word when they are as they should be. */
async function read(session: Session): Promise<string> {
  const rows = (await session.query('SELECT id, v FROM test.t ORDER BY id')) as { id: number; v: string }[];
  const values = [...new Set(rows.map(({ v }) => v))];
  return rows.length === ROWS.length && values.length === 1 ? values[0]! : JSON.stringify(rows);
}
/** At a snapshot, of which the TiDB tells PD only as long as the session has it. */
async function readBefore(): Promise<string> {
  await stale.query(`SET tidb_snapshot = '${before}'`);
  try {
    return await read(stale);
  } finally {
    await stale.query("SET tidb_snapshot = ''");
    await stale.query('SELECT 1');
  }
}
const write = (word: string): Promise<unknown> => writer.query(`UPDATE test.t SET v = '${word}'`);

const now = (name: string): Promise<bigint> => timestamp(layers.of(name).pd);

/** A collector takes whatever it may, up to now. */
async function collects(name: string): Promise<Collected> {
  const { stack, pd } = layers.of(name);
  return collectRound(stack, pd, await now(name));
}
async function keptAt(name: string): Promise<bigint | undefined> {
  const { services } = await safePoints(layers.of(name).pd);
  return services.find(({ service }) => service === moveService(ALPHA.name))?.safePoint;
}
const startsAt = (name: string): Promise<readonly Entry[]> =>
  entries(layers.of(name).pd, minStartFolder(ALPHA.name));
/** The TiDB has told a PD of the open transaction, and of nothing as old as the snapshot. */
async function isTold(name: string): Promise<boolean> {
  const all = (await startsAt(name)).map(({ value }) => BigInt(value));
  return all.length === 1 && all.every((one) => one > before && one <= start);
}

/** Until both sides have what was committed by now. */
async function carried(name: string): Promise<void> {
  const ts = await now(name);
  await layers.until(({ progress }) => BigInt((progress as { resolvedTs?: string }).resolvedTs ?? 0) >= ts);
}

test('what is open before the switch', async () => {
  before = await now('a');
  await write('second');
  await carried('a');
  expect(await readBefore()).toBe('first');
  await open.query('BEGIN PESSIMISTIC');
  expect(await read(open)).toBe('second');
  const [shown] = (await open.query('SELECT @@tidb_current_ts AS ts')) as { ts: string }[];
  start = BigInt(shown!.ts);
  await write('third');
  const deadline = Date.now() + REPORT_MS;
  while (!(await isTold('a')) && Date.now() < deadline) await sleep(200);
  expect(await isTold('a')).toBe(true);
  await carried('a');
  await collects('b');
}, 200_000);

async function goes(from: string, to: string): Promise<void> {
  const collected = await collects(to);
  expect(collected.safePoint).toBeLessThan(start);
  await layers.switches();
  // Right away, before any session of the tenant has told this PD anything.
  expect(await isTold(to)).toBe(true);
  expect(await keptAt(to)).toBeLessThan(start);
  const next = await collects(to);
  expect(next.safePoint).toBeLessThan(start);
  expect(next.safePoint).toBeLessThan(BigInt((await now(from)) - (1n << 18n)));
  expect(await read(open)).toBe('second');
}

test('reads the same at the other storage layer, or is refused', async () => {
  await goes('a', 'b');
  expect(await read(writer)).toBe('third');
  const { safePoint } = await safePoints(layers.of('b').pd);
  expect(safePoint).toBeGreaterThan(before);
  const told = await readBefore().catch((error: unknown) => String(error));
  console.log(`a snapshot that the collector has passed: ${told}`);
  expect(told).toContain('READ_TOO_OLD');
}, 200_000);

test('reads the same back at the old one, and commits', async () => {
  await write('fourth');
  await carried('b');
  await goes('b', 'a');
  await open.query("UPDATE test.t SET v = 'fifth'");
  await open.query('COMMIT');
  expect(await read(writer)).toBe('fifth');
}, 200_000);
