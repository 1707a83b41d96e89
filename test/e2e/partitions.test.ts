import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import type { Session } from '../harness/stack/sql.ts';
import { errorOf, inAll, marker, only, withSessions } from './support/tenants.ts';
import { expectNoKeyOutsideRegion } from './support/store.ts';

/*
 * TiDB builds a lock's key from the partition's id that the store answers for `_tidb_tid`, taken from the row's key. Two
 * rows with the same handle in two partitions show whether it is the right one: nothing else tells their keys apart.
 *
 *   partition   p1 (part 1)   p2 (part 2)   p3 (part 3)
 *   handle 1    "shared"      "shared"      "third"
 *   handle 2    "other-1"     "other-2"     -
 */
const LOCK_WAIT_TIMEOUT = 1205;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE parts');
    await session.query('USE parts');
    await createTable(session, tenant, 'p');
    await session.query('ANALYZE TABLE p');
  });
});
afterAll(async () => {
  await stack?.stop();
});

async function createTable(session: Session, tenant: string, name: string): Promise<void> {
  await session.query(`CREATE TABLE ${name} (
      part INT NOT NULL, name VARCHAR(40), price DECIMAL(20, 4), doc JSON, ratio FLOAT, big DOUBLE, at DATETIME(3),
      day DATE, took TIME, flags BIT(9), kind ENUM('a', 'b'), raw VARBINARY(20), empty INT, note VARCHAR(60),
      KEY by_name (name), KEY by_price (price), KEY by_name_price (name, price, at))
    PARTITION BY LIST (part) (PARTITION p1 VALUES IN (1), PARTITION p2 VALUES IN (2), PARTITION p3 VALUES IN (3))`);
  await session.query('SET tidb_opt_write_row_id = 1');
  const insert = `INSERT INTO ${name} (_tidb_rowid, part, name, price, doc, ratio, big, at, day, took, flags, kind, raw, empty, note)
    VALUES (?, ?, ?, ?, ?, 1.5, -2.25e30, '2024-05-06 07:08:09.123', '2024-05-06', '-11:12:13', b'101', 'b', x'00FF00', NULL, ?)`;
  for (const [handle, part, text, price] of [
    [1, 1, 'shared', '1.5000'],
    [1, 2, 'shared', '2.5000'],
    [1, 3, 'third', '-3.5000'],
    [2, 1, 'other-1', '4.0000'],
    [2, 2, 'other-2', '5.0000'],
  ]) {
    const doc = JSON.stringify({ tenant, list: [1, 2, { deep: part }] });
    await session.query(insert, [handle, part, text, price, doc, marker(tenant)]);
  }
  await session.query('SET tidb_opt_write_row_id = 0');
}

/** The second session meets a lock that is held. */
async function expectWaits(session: Session, sql: string): Promise<void> {
  // A statement of its own would be an optimistic transaction, which heeds no lock wait timeout.
  await session.query('BEGIN PESSIMISTIC');
  const started = Date.now();
  expect(await errorOf(session.query(sql))).toMatchObject({ errno: LOCK_WAIT_TIMEOUT });
  await session.query('ROLLBACK');
  expect(Date.now() - started).toBeGreaterThanOrEqual(900);
}

async function expectGoesOn(session: Session, sql: string): Promise<void> {
  await session.query('BEGIN PESSIMISTIC');
  await session.query(sql);
  await session.query('ROLLBACK');
}

const encodings = [
  { encoding: 'chunk', setting: 'ON' },
  { encoding: 'datum', setting: 'OFF' },
];
const cases = ['alpha', 'beta'].flatMap((tenant) => encodings.map((row) => ({ tenant, ...row })));

describe.each(cases)('tenant $tenant, rows in the $encoding encoding', ({ tenant, setting }) => {
  const pair = (work: (one: Session, two: Session) => Promise<void>) =>
    withSessions(stack, tenant, 2, 'parts', async (one, two) => {
      for (const session of [one!, two!]) {
        await session.query(`SET tidb_enable_chunk_rpc = ${setting}`);
        await session.query('SET innodb_lock_wait_timeout = 1');
        await session.query("SET tidb_partition_prune_mode = 'dynamic'");
      }
      await work(one!, two!);
    });

  const LOCKING: [string, string][] = [
    [
      'a locking full scan',
      'SELECT * FROM p IGNORE INDEX (by_name, by_price, by_name_price) WHERE part = 1 FOR UPDATE',
    ],
    [
      'a locking scan with a filter over two partitions',
      'SELECT * FROM p IGNORE INDEX (by_name, by_price, by_name_price) WHERE part IN (1, 3) AND note IS NOT NULL FOR UPDATE',
    ],
    ['a locking index lookup', 'SELECT * FROM p USE INDEX (by_price) WHERE price = 1.5 FOR UPDATE'],
    [
      'a locking index lookup over all partitions',
      "SELECT * FROM p USE INDEX (by_name) WHERE name = 'shared' AND price < 2 FOR UPDATE",
    ],
    [
      'a locking covering index read',
      "SELECT name, price FROM p USE INDEX (by_name_price) WHERE name = 'shared' AND price < 2 FOR UPDATE",
    ],
    [
      'a locking ordered read with a limit',
      'SELECT * FROM p USE INDEX (by_price) WHERE price > 0 ORDER BY price LIMIT 1 FOR UPDATE',
    ],
    [
      'an index merge',
      "SELECT /*+ USE_INDEX_MERGE(p, by_name, by_price) */ * FROM p WHERE (name = 'nothing' OR price = 1.5) FOR UPDATE",
    ],
    ['an update by index', "UPDATE p SET ratio = 2.5 WHERE name = 'shared' AND price = 1.5"],
    ['an update by the partition column', 'UPDATE p SET ratio = 2.5 WHERE part = 1'],
    ['a delete by index', 'DELETE FROM p WHERE price = 1.5'],
    ['a locking point read by handle', 'SELECT * FROM p WHERE part = 1 AND _tidb_rowid = 1 FOR UPDATE'],
  ];

  test.each(LOCKING)('%s locks the row of its partition and no other', async (_title, sql) => {
    await pair(async (one, two) => {
      await one.query('BEGIN PESSIMISTIC');
      await one.query(sql);
      await expectWaits(two, "UPDATE p SET kind = 'a' WHERE part = 1 AND name = 'shared'");
      // The same handle, one partition further.
      await expectGoesOn(two, "UPDATE p SET kind = 'a' WHERE part = 2 AND price = 2.5");
      await expectGoesOn(two, "SELECT * FROM p PARTITION (p2) WHERE name = 'shared' FOR UPDATE");
      await one.query('ROLLBACK');
      await expectGoesOn(two, "UPDATE p SET kind = 'a' WHERE part = 1 AND name = 'shared'");
    });
  });

  test('an update changes the row of its partition, values of all types stay whole', () =>
    pair(async (one) => {
      await one.query("UPDATE p SET ratio = 7.5 WHERE name = 'shared' AND price = 2.5");
      expect(await one.query('SELECT part, _tidb_rowid AS h, ratio FROM p ORDER BY part, h')).toEqual([
        { part: 1, h: 1, ratio: 1.5 },
        { part: 1, h: 2, ratio: 1.5 },
        { part: 2, h: 1, ratio: 7.5 },
        { part: 2, h: 2, ratio: 1.5 },
        { part: 3, h: 1, ratio: 1.5 },
      ]);
      await one.query('UPDATE p SET ratio = 1.5');
      await one.query('BEGIN PESSIMISTIC');
      const [row] = await one.query(
        "SELECT *, CAST(at AS CHAR) AS at_text, CAST(day AS CHAR) AS day_text FROM p WHERE name = 'shared' AND part = 2 FOR UPDATE",
      );
      await one.query('ROLLBACK');
      expect(row).toMatchObject({
        part: 2,
        name: 'shared',
        price: '2.5000',
        doc: { tenant, list: [1, 2, { deep: 2 }] },
        ratio: 1.5,
        big: -2.25e30,
        at_text: '2024-05-06 07:08:09.123',
        day_text: '2024-05-06',
        took: '-11:12:13',
        flags: Buffer.from([0, 5]),
        kind: 'b',
        raw: Buffer.from([0, 255, 0]),
        empty: null,
        note: marker(tenant),
      });
      await one.query('ADMIN CHECK TABLE p');
    }));

  test('a union scan in a dirty transaction sees own writes in the right partition', () =>
    pair(async (one, two) => {
      await one.query('BEGIN');
      await one.query("UPDATE p SET note = 'dirty' WHERE part = 2 AND name = 'shared'");
      await one.query("DELETE FROM p WHERE part = 1 AND name = 'other-1'");
      await one.query("INSERT INTO p (part, name, price, note) VALUES (3, 'shared', 9, 'fresh')");
      const wanted = [
        { part: 1, price: '1.5000', note: marker(tenant) },
        { part: 2, price: '2.5000', note: 'dirty' },
        { part: 3, price: '9.0000', note: 'fresh' },
      ];
      for (const index of [
        'IGNORE INDEX (by_name, by_price, by_name_price)',
        'USE INDEX (by_name)',
        'USE INDEX (by_name_price)',
      ])
        expect(
          await one.query(`SELECT part, price, note FROM p ${index} WHERE name = 'shared' ORDER BY part`),
        ).toEqual(wanted);
      expect(
        await one.query(
          "SELECT part, price, note FROM p USE INDEX (by_name) WHERE name = 'shared' ORDER BY part FOR UPDATE",
        ),
      ).toEqual(wanted);
      expect(
        (await one.query('SELECT part FROM p USE INDEX (by_price) WHERE price > 0 ORDER BY price')).map(
          (row) => row['part'],
        ),
      ).toEqual([1, 2, 2, 3]);
      expect(only(await one.query('SELECT COUNT(*) FROM p'))).toBe(5);
      expect(only(await two.query("SELECT COUNT(*) FROM p WHERE note = 'dirty'"))).toBe(0);
      await one.query('ROLLBACK');
      expect(only(await one.query('SELECT COUNT(*) FROM p WHERE note = ?', [marker(tenant)]))).toBe(5);
    }));

  test('rows go to another partition by an update and come back', () =>
    pair(async (one) => {
      await createTable(one, tenant, `moving_${setting}`);
      for (const part of [3, 2]) {
        await one.query(`UPDATE moving_${setting} SET part = ${part} WHERE name = 'other-2'`);
        expect(
          only(
            await one.query(`SELECT note FROM moving_${setting} PARTITION (p${part}) WHERE name = 'other-2'`),
          ),
        ).toBe(marker(tenant));
        await one.query(`ADMIN CHECK TABLE moving_${setting}`);
      }
    }));
});

test('partitions are added, dropped, truncated, exchanged and reorganised in both tenants at the same time', async () => {
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE reparts');
    await session.query('USE reparts');
    await createTable(session, tenant, 'q');
    await session.query('ALTER TABLE q ADD PARTITION (PARTITION p4 VALUES IN (4))');
    await session.query('INSERT INTO q (part, name, note) VALUES (4, ?, ?)', ['four', marker(tenant)]);
    await session.query('ALTER TABLE q TRUNCATE PARTITION p3');
    await session.query('ALTER TABLE q REORGANIZE PARTITION p1, p2 INTO (PARTITION p12 VALUES IN (1, 2))');
    await session.query('ADMIN CHECK TABLE q');
    expect(only(await session.query('SELECT COUNT(*) FROM q PARTITION (p12)'))).toBe(4);
    await session.query('ALTER TABLE q DROP PARTITION p3');
    await session.query('ALTER TABLE q REMOVE PARTITIONING');
    await session.query('ADMIN CHECK TABLE q');
    expect(only(await session.query('SELECT COUNT(*) FROM q WHERE note = ?', [marker(tenant)]))).toBe(5);
  });
});

test('a global index finds the rows of every partition and locks the right one', async () => {
  for (const { name: tenant } of stack.tenants) {
    await withSessions(stack, tenant, 2, 'parts', async (one, two) => {
      await one!.query(
        'CREATE TABLE g (part INT, code VARCHAR(20), n INT, UNIQUE KEY by_code (code) GLOBAL) PARTITION BY HASH (part) PARTITIONS 3',
      );
      await one!.query("INSERT INTO g VALUES (0, 'zero', 0), (1, 'one', 1), (2, 'two', 2), (4, 'four', 4)");
      await one!.query('BEGIN PESSIMISTIC');
      expect(await one!.query("SELECT * FROM g WHERE code = 'one' FOR UPDATE")).toEqual([
        { part: 1, code: 'one', n: 1 },
      ]);
      expect(
        await one!.query(
          "SELECT part FROM g USE INDEX (by_code) WHERE code > 'f' AND code < 'p' ORDER BY code FOR UPDATE",
        ),
      ).toEqual([{ part: 4 }, { part: 1 }]);
      await two!.query('SET innodb_lock_wait_timeout = 1');
      await expectWaits(two!, 'UPDATE g SET n = 9 WHERE part = 4');
      await expectGoesOn(two!, 'UPDATE g SET n = 9 WHERE part = 2');
      await one!.query('ROLLBACK');
      await one!.query('ADMIN CHECK TABLE g');
    });
  }
});

test('the store saw no key outside the region of its request', () => expectNoKeyOutsideRegion(stack));
