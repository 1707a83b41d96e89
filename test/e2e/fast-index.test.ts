import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { errorOf, inAll, marker, only, tableIds } from './support/tenants.ts';
import { expectNoKeyOutsideRegion } from './support/store.ts';

/*
 * ADD INDEX as TiDB does it by default: index entries are sorted outside, written to the store as files and ingested there. In both
 * tenants at once, over tables of several regions.
 */
const ROWS = 12_000;
const GROUPS = 40;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ regionSize: 512 * 1024 });
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE fast');
    await session.query('CREATE TABLE fast.t (id BIGINT PRIMARY KEY, g INT, u BIGINT, v VARCHAR(120))');
    for (let from = 0; from < ROWS; from += 2000) {
      const rows = Array.from({ length: 2000 }, (_, i) => {
        const id = from + i;
        return [id, id % GROUPS, id, `${marker(tenant)}-${String(id).padStart(60, '0')}`];
      });
      await session.query('INSERT INTO fast.t VALUES ?', [rows]);
    }
  });
});
afterAll(async () => {
  await stack?.stop();
});

/** Requests to ingest files that the store has answered. */
async function ingests(): Promise<number> {
  const { requests } = (await stack.store.inspect.stats()) as { requests: Record<string, number> };
  return Object.entries(requests)
    .filter(([name]) => name.endsWith('Ingest'))
    .reduce((sum, [, count]) => sum + count, 0);
}

test('the settings are those of a fresh TiDB', async () => {
  const settings = await inAll(stack, async (session) =>
    only(
      await session.query(
        'SELECT CONCAT(@@global.tidb_ddl_enable_fast_reorg, @@global.tidb_enable_dist_task)',
      ),
    ),
  );
  expect(settings).toEqual({ alpha: '11', beta: '11' });
});

test('in both tenants at once: right entries, checked by TiDB itself', async () => {
  const before = await ingests();
  await inAll(stack, async (session, tenant) => {
    await session.query('USE fast');
    await session.query('ALTER TABLE t ADD INDEX by_g (g)');
    await session.query('ALTER TABLE t ADD UNIQUE INDEX by_u (u), ADD INDEX by_v (v)');
    await session.query('ADMIN CHECK TABLE t');
    expect(only(await session.query('SELECT COUNT(*) FROM t USE INDEX (by_g) WHERE g = 7'))).toBe(
      ROWS / GROUPS,
    );
    expect(only(await session.query('SELECT COUNT(*) FROM t USE INDEX (by_u) WHERE u >= 0'))).toBe(ROWS);
    expect(
      only(
        await session.query('SELECT COUNT(*) FROM t USE INDEX (by_v) WHERE v LIKE ?', [
          `${marker(tenant)}-%`,
        ]),
      ),
    ).toBe(ROWS);
  });
  // Without files this would be the old way, through transactions.
  expect(await ingests()).toBeGreaterThanOrEqual(before + 4);
});

test('rows that are written meanwhile are in the index', async () => {
  await inAll(stack, async (session, tenant) => {
    await session.query('USE fast');
    const writer = await stack.tidbs.get(tenant)!.connect('fast');
    try {
      let running = true;
      const writing = (async () => {
        let id = ROWS;
        for (; running; id++)
          await writer.query('INSERT INTO t VALUES (?, ?, ?, ?)', [id, id % GROUPS, id, 'new']);
        return id;
      })();
      await session.query('ALTER TABLE t ADD INDEX by_g_u (g, u)');
      running = false;
      const rows = await writing;
      await session.query('ADMIN CHECK TABLE t');
      expect(only(await session.query('SELECT COUNT(*) FROM t USE INDEX (by_g_u) WHERE g >= 0'))).toBe(rows);
      expect(rows).toBeGreaterThan(ROWS);
    } finally {
      await writer.close();
    }
  });
});

test('a unique index over equal values fails as TiDB says, and leaves the table good', async () => {
  await inAll(stack, async (session) => {
    await session.query('USE fast');
    expect(await errorOf(session.query('ALTER TABLE t ADD UNIQUE INDEX bad (g)'))).toMatchObject({
      errno: 1062,
    });
    await session.query('ADMIN CHECK TABLE t');
  });
});

test('on a partitioned table, with a local and a global index', async () => {
  await inAll(stack, async (session) => {
    await session.query('USE fast');
    await session.query(
      'CREATE TABLE p (id BIGINT, g INT, PRIMARY KEY (id)) PARTITION BY HASH (id) PARTITIONS 4',
    );
    await session.query('INSERT INTO p SELECT id, g FROM t WHERE id < 4000');
    await session.query('ALTER TABLE p ADD INDEX by_g (g)');
    await session.query('ALTER TABLE p ADD UNIQUE INDEX by_g_id (g, id) GLOBAL');
    await session.query('ADMIN CHECK TABLE p');
    expect(only(await session.query('SELECT COUNT(*) FROM p USE INDEX (by_g_id) WHERE g = 7'))).toBe(
      4000 / GROUPS,
    );
  });
});

describe('checksums', () => {
  test('ADMIN CHECKSUM TABLE counts the tenant’s own keys and depends on its rows only', async () => {
    const sums = await inAll(stack, async (session) => {
      await session.query('CREATE TABLE fast.same (id BIGINT PRIMARY KEY, v VARCHAR(20), KEY by_v (v))');
      await session.query("INSERT INTO fast.same VALUES (1, 'a'), (2, 'b'), (3, 'c')");
      const [row] = await session.query('ADMIN CHECKSUM TABLE fast.same');
      return [row!, (await tableIds(session, 'fast'))['same']] as const;
    });
    // Equal rows under equal table ids: the tenant's number must not count.
    expect(sums['alpha']![1]).toBe(sums['beta']![1]);
    expect(sums['alpha']![0]).toEqual(sums['beta']![0]);
    expect(Number(sums['alpha']![0]['Total_kvs'])).toBe(6);
    const changed = await inAll(stack, async (session, tenant) => {
      if (tenant === 'alpha') await session.query("UPDATE fast.same SET v = 'z' WHERE id = 2");
      return (await session.query('ADMIN CHECKSUM TABLE fast.same'))[0]!;
    });
    expect(changed['alpha']!['Checksum_crc64_xor']).not.toBe(sums['alpha']![0]['Checksum_crc64_xor']);
    expect(changed['beta']).toEqual(sums['beta']![0]);
  });
});

test('every key came into its own region', () => expectNoKeyOutsideRegion(stack));
