import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { inAll, marker, only, tableIds } from './support/tenants.ts';
import { expectNoKeyOutsideRegion } from './support/store.ts';

let stack: Stack;
beforeAll(async () => {
  // Both TiDBs bootstrap side by side here.
  stack = await startStack();
});
afterAll(async () => {
  await stack?.stop();
});

/** Values of the tenants are to be equal. */
function expectSame<T>(values: Record<string, T>): void {
  const [first, ...others] = Object.values(values);
  for (const other of others) expect(other).toEqual(first);
}

test('both tenants have bootstrapped at the same time, each with its own system tables', async () => {
  const found = await inAll(stack, async (session) => ({
    bootstrapped: only(
      await session.query("SELECT variable_value FROM mysql.tidb WHERE variable_name = 'bootstrapped'"),
    ),
    ids: await tableIds(session, 'mysql'),
    cluster: only(
      await session.query("SELECT variable_value FROM mysql.tidb WHERE variable_name = 'cluster_id'"),
    ),
  }));
  for (const { bootstrapped, ids } of Object.values(found)) {
    expect(bootstrapped).toBe('True');
    expect(Object.keys(ids).length).toBeGreaterThan(40);
  }
  expect(found['beta']!.ids).toEqual(found['alpha']!.ids);
});

test('each tenant sees its own TiDB servers only', async () => {
  const servers = await inAll(stack, (session) =>
    session.query('SELECT ip, port FROM information_schema.tidb_servers_info'),
  );
  for (const { name } of stack.tenants)
    expect(servers[name]!.map((row) => Number(row['port']))).toEqual([stack.tidbs.get(name)!.mysqlPort]);
});

test('the same SQL gives equal table ids and different rows', async () => {
  const found = await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE same');
    await session.query('CREATE TABLE same.t (id BIGINT PRIMARY KEY, v VARCHAR(40), KEY by_v (v))');
    await session.query('INSERT INTO same.t VALUES (1, ?), (2, ?)', [marker(tenant), `${tenant}-2`]);
    return {
      ids: await tableIds(session, 'same'),
      rows: await session.query('SELECT id, v FROM same.t ORDER BY id'),
    };
  });
  expectSame({ alpha: found['alpha']!.ids, beta: found['beta']!.ids });
  expect(found['alpha']!.ids['t']).toBeGreaterThan(0);
  for (const { name } of stack.tenants) {
    expect(found[name]!.rows).toEqual([
      { id: 1, v: marker(name) },
      { id: 2, v: `${name}-2` },
    ]);
  }
});

describe('schema changes in both tenants at the same time', () => {
  const ROWS = 600;

  test('add column, add index, modify column, drop, truncate, rename', async () => {
    const ids = await inAll(stack, async (session, tenant) => {
      await session.query('CREATE DATABASE ddl');
      await session.query('USE ddl');
      await session.query('CREATE TABLE t (id BIGINT PRIMARY KEY, v VARCHAR(80))');
      const rows = Array.from({ length: ROWS }, (_, id) => [id, `${marker(tenant)}-${id % 50}`]);
      await session.query('INSERT INTO t VALUES ?', [rows]);

      await session.query('ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 7');
      expect(only(await session.query('SELECT SUM(n) FROM t'))).toBe(String(7 * ROWS));
      await session.query('UPDATE t SET n = id % 10');

      await session.query('ALTER TABLE t ADD INDEX by_n (n), ADD UNIQUE INDEX by_n_id (n, id)');
      await session.query('ALTER TABLE t ADD INDEX by_v (v)');
      await session.query('ADMIN CHECK TABLE t');
      expect(only(await session.query('SELECT COUNT(*) FROM t USE INDEX (by_n) WHERE n = 3'))).toBe(
        ROWS / 10,
      );
      expect(
        only(
          await session.query('SELECT COUNT(*) FROM t USE INDEX (by_v) WHERE v = ?', [`${marker(tenant)}-7`]),
        ),
      ).toBe(ROWS / 50);

      // Rewrites every row and the indexes over it.
      await session.query('ALTER TABLE t MODIFY COLUMN n VARCHAR(12) NOT NULL');
      await session.query('ADMIN CHECK TABLE t');
      expect(only(await session.query("SELECT COUNT(*) FROM t USE INDEX (by_n) WHERE n = '3'"))).toBe(
        ROWS / 10,
      );

      await session.query('ALTER TABLE t DROP INDEX by_n, DROP INDEX by_n_id');
      await session.query('ALTER TABLE t DROP COLUMN n');
      expect(await session.query('SELECT * FROM t WHERE id = 5')).toEqual([
        { id: 5, v: `${marker(tenant)}-5` },
      ]);

      const before = (await tableIds(session, 'ddl'))['t'];
      await session.query('TRUNCATE TABLE t');
      expect(only(await session.query('SELECT COUNT(*) FROM t'))).toBe(0);
      expect((await tableIds(session, 'ddl'))['t']).not.toBe(before);
      await session.query('INSERT INTO t VALUES (1, ?)', [marker(tenant)]);

      await session.query('RENAME TABLE t TO u');
      await session.query('CREATE TABLE gone (id INT)');
      await session.query('DROP TABLE gone');
      expect(await session.query('SELECT * FROM u')).toEqual([{ id: 1, v: marker(tenant) }]);
      await session.query('ADMIN CHECK TABLE u');
      return tableIds(session, 'ddl');
    });
    for (const tables of Object.values(ids)) expect(Object.keys(tables)).toEqual(['u']);
  });

  test('a drop in one tenant leaves the same table of the other', async () => {
    await inAll(stack, async (session, tenant) => {
      await session.query('CREATE DATABASE droppable');
      await session.query('CREATE TABLE droppable.t (id INT PRIMARY KEY, v VARCHAR(40), KEY (v))');
      await session.query('INSERT INTO droppable.t VALUES (1, ?)', [marker(tenant)]);
    });
    const alpha = await stack.tidbs.get('alpha')!.connect();
    await alpha.query('DROP DATABASE droppable');
    await alpha.close();
    const beta = await stack.tidbs.get('beta')!.connect('droppable');
    expect(await beta.query('SELECT * FROM t')).toEqual([{ id: 1, v: marker('beta') }]);
    await beta.query('ADMIN CHECK TABLE t');
    await beta.close();
  });
});

describe('generated ids', () => {
  for (const [title, suffix] of [
    ['AUTO_INCREMENT', ''],
    [
      'AUTO_INCREMENT with auto_id_cache 1, which TiDB serves over gRPC with its owner in etcd',
      'AUTO_ID_CACHE 1',
    ],
  ] as const) {
    test(title, async () => {
      const found = await inAll(stack, async (session, tenant) => {
        await session.query('CREATE DATABASE IF NOT EXISTS ids');
        const table = `ids.increment${suffix ? '_central' : ''}`;
        await session.query(
          `CREATE TABLE ${table} (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(40)) ${suffix}`,
        );
        for (let count = 0; count < 5; count++)
          await session.query(`INSERT INTO ${table} (v) VALUES (?), (?)`, [marker(tenant), marker(tenant)]);
        return session.query(`SELECT id, v FROM ${table} ORDER BY id`);
      });
      for (const { name } of stack.tenants) {
        expect(found[name]!.map((row) => row['id'])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        expect(new Set(found[name]!.map((row) => row['v']))).toEqual(new Set([marker(name)]));
      }
    });
  }

  test('AUTO_RANDOM', async () => {
    const found = await inAll(stack, async (session) => {
      await session.query('CREATE DATABASE IF NOT EXISTS ids');
      await session.query('CREATE TABLE ids.random (id BIGINT PRIMARY KEY AUTO_RANDOM(5), v INT)');
      await session.query('INSERT INTO ids.random (v) VALUES (1), (2), (3), (4), (5), (6)');
      // The shard bits are random; what lies below them counts on.
      return session.query('SELECT id & ((1 << 58) - 1) AS n, v FROM ids.random ORDER BY v');
    });
    for (const rows of Object.values(found))
      expect(rows.map((row) => Number(row['n']))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a sequence', async () => {
    const found = await inAll(stack, async (session) => {
      await session.query('CREATE DATABASE IF NOT EXISTS ids');
      await session.query('CREATE SEQUENCE ids.seq START 100');
      await session.query('SELECT NEXTVAL(ids.seq)');
      return Number(only(await session.query('SELECT NEXTVAL(ids.seq)')));
    });
    expect(found).toEqual({ alpha: 101, beta: 101 });
  });
});

describe('statistics and checks', () => {
  test('ANALYZE and ADMIN CHECK TABLE', async () => {
    const found = await inAll(stack, async (session, tenant) => {
      await session.query('CREATE DATABASE stats');
      await session.query('USE stats');
      await session.query(
        'CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(80), n INT, KEY by_v (v), KEY by_n (n))',
      );
      const count = tenant === 'alpha' ? 500 : 300;
      const rows = Array.from({ length: count }, (_, id) => [id, `${marker(tenant)}-${id % 20}`, id % 10]);
      await session.query('INSERT INTO t VALUES ?', [rows]);
      await session.query('ANALYZE TABLE t ALL COLUMNS');
      await session.query('ADMIN CHECK TABLE t');
      await session.query('ADMIN CHECK INDEX t by_v');
      const meta = await session.query("SHOW STATS_META WHERE db_name = 'stats' AND table_name = 't'");
      // Loaded on demand: a plan over the column asks for it.
      await session.query("EXPLAIN SELECT * FROM t WHERE v > 'a' AND n > 1");
      const tops = await session.query("SHOW STATS_TOPN WHERE db_name = 'stats' AND column_name = 'v'");
      const buckets = await session.query("SHOW STATS_BUCKETS WHERE db_name = 'stats' AND column_name = 'v'");
      const values = [...tops.map((row) => row['Value']), ...buckets.map((row) => row['Upper_Bound'])];
      return { rows: Number(meta[0]?.['Row_count']), values: values.map(String) };
    });
    expect(found['alpha']!.rows).toBe(500);
    expect(found['beta']!.rows).toBe(300);
    for (const { name } of stack.tenants) {
      expect(found[name]!.values.length).toBeGreaterThan(0);
      for (const value of found[name]!.values) expect(value).toContain(marker(name));
    }
  });
});

test('the store saw no key outside the region of its request', () => expectNoKeyOutsideRegion(stack));
