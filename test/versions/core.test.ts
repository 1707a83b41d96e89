/** What a tenant's TiDB needs of the mesh, in few statements: `npm run test:versions` runs it with other versions of TiDB and PD. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { inAll, marker, only, tableIds } from '../e2e/support/tenants.ts';
import { tablePrefix } from '../harness/support/keys.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';

const ROWS = 300;
let stack: Stack;

beforeAll(async () => {
  stack = await startStack();
});
afterAll(async () => {
  await stack?.stop();
});

test('two tenants bootstrap', async () => {
  const found = await inAll(stack, async (session) => ({
    bootstrapped: only(
      await session.query("SELECT variable_value FROM mysql.tidb WHERE variable_name = 'bootstrapped'"),
    ),
    tables: Object.keys(await tableIds(session, 'mysql')).length,
  }));
  for (const { bootstrapped, tables } of Object.values(found)) {
    expect(bootstrapped).toBe('True');
    expect(tables).toBeGreaterThan(20);
  }
});

test('the same DDL gives equal table ids', async () => {
  const ids = await inAll(stack, async (session) => {
    await session.query('CREATE DATABASE core');
    await session.query('CREATE TABLE core.t (id BIGINT PRIMARY KEY, n INT, v VARCHAR(60), KEY by_n (n))');
    await session.query('CREATE TABLE core.dropped (id INT)');
    await session.query('ALTER TABLE core.t ADD COLUMN added INT DEFAULT 5');
    await session.query('DROP TABLE core.dropped');
    return tableIds(session, 'core');
  });
  expect(ids['beta']).toEqual(ids['alpha']);
  expect(ids['alpha']!['t']).toBeGreaterThan(0);
});

test('rows under equal table ids are different ones', async () => {
  const found = await inAll(stack, async (session, tenant) => {
    const values = Array.from({ length: ROWS }, (_, id) => `(${id}, ${id % 10}, '${marker(tenant)}')`);
    await session.query(`INSERT INTO core.t (id, n, v) VALUES ${values.join(', ')}`);
    await session.query('UPDATE core.t SET n = 77 WHERE id < 3');
    await session.query('DELETE FROM core.t WHERE id >= ?', [ROWS - 2]);
    return {
      rows: await session.query('SELECT COUNT(*) AS n, MIN(v) AS low, MAX(v) AS high FROM core.t'),
      reverse: await session.query('SELECT id FROM core.t ORDER BY id DESC LIMIT 1'),
      indexed: await session.query('SELECT COUNT(*) AS n FROM core.t USE INDEX (by_n) WHERE n = 77'),
    };
  });
  for (const { name } of stack.tenants) {
    expect(found[name]!.rows).toEqual([{ n: ROWS - 2, low: marker(name), high: marker(name) }]);
    expect(found[name]!.reverse).toEqual([{ id: ROWS - 3 }]);
    expect(found[name]!.indexed).toEqual([{ n: 3 }]);
  }
});

test("the store holds the rows under each tenant's number", async () => {
  const ids = await inAll(stack, (session) => tableIds(session, 'core'));
  for (const { name, number } of stack.tenants) {
    const start = tablePrefix(ids[name]!['t']!, number);
    const end = tablePrefix(ids[name]!['t']! + 1, number);
    expect((await stack.store.inspect.keys(start, end)).length).toBeGreaterThanOrEqual(ROWS - 2);
  }
});

test('transactions commit, roll back and meet conflicts', async () => {
  const found = await inAll(stack, async (session, tenant) => {
    const other = await stack.tidbs.get(tenant)!.connect('core');
    try {
      await session.query('BEGIN PESSIMISTIC');
      await session.query('UPDATE core.t SET n = n + 1 WHERE id = 10');
      const waiting = other.query('UPDATE core.t SET n = n + 1 WHERE id = 10');
      await session.query('COMMIT');
      await waiting;
      await session.query('BEGIN OPTIMISTIC');
      await session.query('UPDATE core.t SET n = 1000 WHERE id = 10');
      await other.query('UPDATE core.t SET n = n + 1 WHERE id = 10');
      const conflict = await session.query('COMMIT').then(
        () => 'committed',
        (error: Error) => error.message,
      );
      await session.query('ROLLBACK');
      return { conflict, rows: await session.query('SELECT n FROM core.t WHERE id = 10') };
    } finally {
      await other.close();
    }
  });
  for (const { conflict, rows } of Object.values(found)) {
    expect(conflict).toMatch(/Write conflict/);
    expect(rows).toEqual([{ n: 3 }]);
  }
});

test('ADD INDEX, ANALYZE and ADMIN CHECK', async () => {
  const found = await inAll(stack, async (session) => {
    await session.query('ALTER TABLE core.t ADD INDEX by_v (v, id)');
    await session.query('ANALYZE TABLE core.t');
    await session.query('ADMIN CHECK TABLE core.t');
    const counted = await session.query('SELECT COUNT(*) AS n FROM core.t USE INDEX (by_v)');
    const stats = await session.query("SHOW STATS_META WHERE db_name = 'core' AND table_name = 't'");
    return { counted, rows: Number(stats[0]?.['Row_count']) };
  });
  for (const { counted, rows } of Object.values(found)) {
    expect(counted).toEqual([{ n: ROWS - 2 }]);
    expect(rows).toBe(ROWS - 2);
  }
});

test('a partitioned table', async () => {
  const found = await inAll(stack, async (session) => {
    await session.query(
      'CREATE TABLE core.p (id INT PRIMARY KEY, v INT) PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (10), PARTITION high VALUES LESS THAN (100))',
    );
    await session.query('INSERT INTO core.p VALUES (1, 1), (11, 2), (12, 3)');
    await session.query('ALTER TABLE core.p TRUNCATE PARTITION low');
    return session.query('SELECT id, v FROM core.p ORDER BY id');
  });
  for (const rows of Object.values(found))
    expect(rows).toEqual([
      { id: 11, v: 2 },
      { id: 12, v: 3 },
    ]);
});
