import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller } from '../e2e/support/caller.ts';
import { errorOf, only } from '../e2e/support/tenants.ts';
import type { Row, Session } from '../harness/stack/sql.ts';
import { startStack, type PluginConfig, type Stack } from '../harness/stack/stack.ts';
import { ASYNC, crashAfterCommit, rowRange, TWO_PHASE } from './support/crash.ts';
import { floorToMillisecond, millisecondsOf, StoreTime, until } from './support/time.ts';

/** Of this stack's filter; by default a day. */
const MAX_HOLD_BACK = 30;
/** A TiDB reports since when it reads, twice a minute. */
const REPORT = 35_000;
/** A TiDB looks every 10 s which safe point has been reached. */
const SAFE_POINT_CHECK = 15_000;
const YEAR = 365 * 24 * 3600;
const GC_TOO_SHORT = 9006;

let stack: Stack;
let time: StoreTime;
let started: number;
const sessions: Session[] = [];

async function open(tenant: string): Promise<Session> {
  const session = await stack.tidbs.get(tenant)!.connect();
  sessions.push(session);
  return session;
}

async function hold(tenant: string, sql: string): Promise<{ session: Session; since: bigint; rows: Row[] }> {
  const session = await open(tenant);
  await session.query('SET tx_isolation = "REPEATABLE-READ"');
  await session.query('BEGIN');
  const rows = await session.query(sql);
  return { session, since: BigInt(only(await session.query('SELECT @@tidb_current_ts')) as string), rows };
}

async function inTidbTable(session: Session, name: string): Promise<string> {
  const rows = await session.query('SELECT variable_value FROM mysql.tidb WHERE variable_name = ?', [name]);
  return String(only(rows) ?? '');
}

beforeAll(async () => {
  started = Date.now();
  stack = await startStack({
    systemTidb: true,
    // TiDBs must learn of the clock that is put forward before they commit again.
    tidbConfig: 'lease = "3s"',
    pluginConfig: (standard: PluginConfig) => ({
      ...standard,
      limits: { ...standard.limits, maxTsDriftSeconds: YEAR, maxHoldBackSeconds: MAX_HOLD_BACK },
    }),
  });
  time = new StoreTime(stack);
});
afterAll(async () => {
  await Promise.all(sessions.map((session) => session.close()));
  await stack?.stop();
  console.log(`GC between tenants: ${((Date.now() - started) / 60_000).toFixed(1)} minutes`);
});

/** The parts build on each other: rounds of GC lie three minutes apart, so each serves several proofs. */
describe('GC of the storage layer', () => {
  const ROWS = 'SELECT id, note FROM gc.items ORDER BY id';
  /** Byte for byte, by table, as they lie in the store. */
  const taken = new Map<string, { range: [Buffer, Buffer]; rows: string[] }>();
  let expired: Awaited<ReturnType<typeof hold>>;

  const stored = async ([start, end]: [Buffer, Buffer]): Promise<string[]> =>
    (await stack.store.inspect.values(start, end)).map(
      ({ key, value }) => `${key.toString('hex')} ${value.toString('hex')}`,
    );

  test("the storage layer's own TiDB leads it", async () => {
    const session = await stack.systemTidb!.connect();
    expect(await inTidbTable(session, 'tikv_gc_leader_desc')).toContain(`pid:${stack.systemTidb!.pid},`);
    await session.close();
  });

  test('PD lists who holds it back by tenant, no longer than the cap allows', async () => {
    const caller = await Caller.of(stack, 'alpha');
    const safePoint = BigInt(Date.now()) << 18n;
    const answer = await caller.pd('UpdateServiceGCSafePoint', {
      header: await caller.header(),
      serviceId: Buffer.from('ticdc-nightly'),
      TTL: 3600n,
      safePoint,
    });
    expect(answer).toMatchObject({ status: 'OK' });
    const own = (await time.services()).find(({ service }) => service === 'tidb-mesh:alpha:ticdc-nightly');
    expect(own).toMatchObject({ safePoint });
    expect(Number(own!.expires)).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000) + MAX_HOLD_BACK);
  });

  test('two tenants with the same tables, dropped and truncated in both', async () => {
    await Promise.all(
      ['alpha', 'beta'].map(async (tenant) => {
        const session = await open(tenant);
        // Only what is asked of each tenant's GC is to happen: alpha's makes no rounds at all.
        if (tenant === 'alpha') await session.query('SET GLOBAL tidb_gc_enable = OFF');
        await session.query('SET GLOBAL tidb_enable_auto_analyze = OFF');
        await session.query('CREATE DATABASE gc');
        for (const table of ['items', 'dropped', 'truncated', 'kept']) {
          await session.query(
            `CREATE TABLE gc.${table} (id INT PRIMARY KEY, note VARCHAR(40), KEY by_note (note))`,
          );
          await session.query(`INSERT INTO gc.${table} VALUES ?`, [
            Array.from({ length: 50 }, (_, id) => [id, `${tenant} ${id}`]),
          ]);
        }
        for (const table of ['dropped', 'truncated', 'kept']) {
          const range = await rowRange(stack, stack.tidbs.get(tenant)!, tenant, 'gc', table);
          const rows = await stored(range);
          expect(rows).toHaveLength(100);
          taken.set(`${tenant} ${table}`, { range, rows });
        }
        await session.query('DROP TABLE gc.dropped');
        await session.query('TRUNCATE TABLE gc.truncated');
      }),
    );
    expect(taken.get('alpha dropped')!.range[0].subarray(3)).toEqual(
      taken.get('beta dropped')!.range[0].subarray(3),
    );
    expired = await hold('alpha', ROWS);
  });

  test.each([TWO_PHASE, ASYNC])(
    'a TiDB of alpha is killed between COMMIT and $held: $table',
    async (crash) => {
      const tidb = await stack.startTidb({ tenant: 'alpha', name: `tidb-alpha-${crash.table}` });
      const locks = await crashAfterCommit(stack, tidb, 'alpha', crash);
      expect(locks.length).toBeGreaterThan(0);
      const primaryIsLocked = locks.some((lock) => lock.key.equals(lock.primary));
      expect(primaryIsLocked).toBe(crash.held === 'all');
      if (!primaryIsLocked) {
        // Over the committed primary: only its older version tells that the transaction was committed.
        const session = await open('alpha');
        await session.query(`UPDATE ${crash.database}.${crash.table} SET note = 'later' WHERE id = 1`);
      }
    },
  );

  test('a transaction beyond the cap does not hold it back, and is told so by TiDB', async () => {
    await sleep(MAX_HOLD_BACK * 1000 + REPORT);
    const safePoint = await time.round();
    expect(safePoint).toBeGreaterThan(expired.since);
    // Not the whole cap is lost: what is younger is kept.
    expect(millisecondsOf(safePoint)).toBeLessThan(Date.now());
    await sleep(SAFE_POINT_CHECK);
    const { errno, message } = await errorOf(expired.session.query(ROWS));
    expect({ errno, message }).toMatchObject({ errno: GC_TOO_SHORT });
    expect(message).toContain('GC life time is shorter than transaction duration');
    await expired.session.query('ROLLBACK');
  });

  test("it stops in front of alpha's long transaction while beta's rounds go on, and goes on when that ends", async () => {
    const reader = await hold('alpha', ROWS);
    expect(reader.rows).toHaveLength(50);
    const writer = await open('alpha');
    await writer.query("UPDATE gc.items SET note = 'changed' WHERE id < 20");
    await writer.query('DELETE FROM gc.items WHERE id >= 40');
    const beta = await open('beta');
    const lastRun = await inTidbTable(beta, 'tikv_gc_last_run_time');
    const range = await rowRange(stack, stack.tidbs.get('alpha')!, 'alpha', 'gc', 'items');
    await sleep(REPORT);

    const safePoint = await time.round();
    expect(safePoint).toBeLessThan(reader.since);
    // PD's clock stands after it was put forward, and TiDB reports no more than the millisecond in which it stands.
    expect(safePoint).toBeGreaterThanOrEqual(floorToMillisecond(reader.since) - 1n);
    await until("beta's round", 120_000, async () =>
      (await inTidbTable(beta, 'tikv_gc_last_run_time')) === lastRun ? undefined : true,
    );
    const held = await stack.store.inspect.collectGarbage();
    expect(held).toMatchObject({ safePoint });
    expect(held.after).toBeLessThan(held.before);
    await sleep(SAFE_POINT_CHECK);
    expect(await reader.session.query(ROWS)).toEqual(reader.rows);
    expect(await writer.query(ROWS)).toHaveLength(40);
    const versions = (await stack.store.inspect.versions(...range)).length;
    await reader.session.query('COMMIT');
    await sleep(REPORT);

    expect(await time.round()).toBeGreaterThan(reader.since);
    await stack.store.inspect.collectGarbage();
    const left = await stack.store.inspect.versions(...range);
    expect(left.length).toBeLessThan(versions);
    // 40 rows and their index entries, once each.
    expect(left).toHaveLength(80);
    expect(await writer.query(ROWS)).toHaveLength(40);
  });

  test.each([TWO_PHASE, ASYNC])('what the killed TiDB had committed is there: $table', async (crash) => {
    const tidb = stack.tidbs.get('alpha')!;
    const range = await rowRange(stack, tidb, 'alpha', crash.database, crash.table);
    // Nobody of alpha has read these rows: it was GC that resolved them.
    expect(await stack.store.inspect.locks(...range)).toEqual([]);
    const session = await open('alpha');
    const rows = await session.query(`SELECT id, note FROM ${crash.database}.${crash.table} ORDER BY id`);
    const first = crash.held === 'secondaries' ? 'later' : 'row 1';
    expect(rows).toEqual(
      Array.from({ length: crash.rows }, (_, index) => ({
        id: index + 1,
        note: index === 0 ? first : `row ${index + 1}`,
      })),
    );
  });

  test("beta's GC has destroyed what beta dropped; of alpha's, with the same table ids, not a byte", async () => {
    for (const table of ['dropped', 'truncated']) {
      await until(`beta's range of ${table}`, 120_000, async () =>
        (await stored(taken.get(`beta ${table}`)!.range)).length === 0 ? true : undefined,
      );
      const { range, rows } = taken.get(`alpha ${table}`)!;
      expect(await stored(range)).toEqual(rows);
    }
    for (const tenant of ['alpha', 'beta']) {
      const { range, rows } = taken.get(`${tenant} kept`)!;
      expect(await stored(range)).toEqual(rows);
    }
    // The rows are there, but not the history of alpha's schema: its own switch does not hold back the store's GC.
    const alpha = await open('alpha');
    expect(await errorOf(alpha.query('RECOVER TABLE gc.dropped'))).toMatchObject({ errno: GC_TOO_SHORT });
  });
});
