/**
 * Tenants move while their schema changes: one that was number 0 to a number and back, one with a number to a keyspace. All that TiDB
 * keeps for them is there afterwards. Minutes: `npm run test:proofs -- objects`.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Place } from '../../src-ts/move/place.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { principalOf } from '../harness/stack/certs.ts';
import type { Row, Session } from '../harness/stack/sql.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { Moving, type Found } from '../move/moving.ts';
import { WAIT_MS } from '../move/waiting.ts';
import { rulesSeen } from '../move/rules-seen.ts';
import { collectGarbage } from './garbage.ts';

interface Case {
  readonly how: string;
  readonly tenant: Tenant;
  readonly away: Place;
  readonly api: 'v1' | 'v2';
  /** What the move leaves at the old place: the keys of tenant 0 are no range of their own. */
  readonly leavesKeys: boolean;
}

const CASES: Case[] = [
  {
    how: 'tenant 0 to a number',
    tenant: { name: 'zero', number: 0 },
    away: { keyNumber: 7 },
    api: 'v1',
    leavesKeys: true,
  },
  {
    how: 'a number to a keyspace',
    tenant: { name: 'alpha', number: 1 },
    away: { keyspace: { id: 7, mode: 'txn' } },
    api: 'v2',
    leavesKeys: false,
  },
];
/** Tables whose rows are counted. */
const TABLES = ['t', 'cut', 'gone', 'parts', 'other', 'random'];

/** The first byte of a row in TiDB's newer format, in hex (pkg/util/rowcodec CodecVer). */
const NEWER_ROW = '80';
/** In TiDB's log, once for each try. */
const REFUSED_INGEST = /"do import meets error".*TENANT_MOVES/g;

let moving: Moving;
let tidb: Tidb;
let session: Session;
/** As the tenant's TiDB sees PD. */
let asTenant: Endpoint;
/** Its status address. */
let status: Endpoint;

async function run(...statements: string[]): Promise<void> {
  for (const statement of statements)
    await session.query(statement).catch((error: unknown) => {
      throw new Error(`${statement}: ${String(error)}`);
    });
}

/** What TiDB keeps for the tenant beside rows, as its administrator and its TiDB see it. */
async function belongings(): Promise<unknown> {
  return {
    grants: await session.query("SHOW GRANTS FOR 'reader'@'%'"),
    bindings: (await session.query('SHOW GLOBAL BINDINGS')).map((row) => row['Bind_sql']),
    groups: await session.query(
      "SELECT name, ru_per_sec, priority FROM information_schema.resource_groups WHERE name = 'reports'",
    ),
    policies: await session.query('SELECT * FROM information_schema.placement_policies'),
    attributes: await session.query('SELECT id, attributes FROM information_schema.attributes'),
    inPd: await rulesSeen(asTenant),
  };
}

async function partitions(): Promise<Row[]> {
  return session.query(
    `SELECT table_name, partition_name, tidb_partition_id FROM information_schema.partitions
     WHERE table_schema = 'shop' ORDER BY 1, 2`,
  );
}

async function checkTables(): Promise<number> {
  const tables = await session.query(
    `SELECT table_schema AS s, table_name AS t FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema IN ('shop', 'mysql')`,
  );
  for (const { s, t } of tables) await run(`ADMIN CHECK TABLE \`${String(s)}\`.\`${String(t)}\``);
  return tables.length;
}

async function sums(): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const table of TABLES)
    all.push(await session.query(`SELECT COUNT(*) AS n, MAX(id) AS last FROM shop.${table}`));
  return all;
}

async function nextNumber(): Promise<number> {
  const [row] = await session.query('SELECT NEXTVAL(shop.numbers) AS n');
  return Number(row?.['n']);
}

/** What differs between both sides, for no reason that the embedded store has. */
async function differences({ tenant: { name }, away }: Case): Promise<readonly Found[]> {
  const all = await moving.diff(name);
  if (!away.keyspace) return all;
  const { from } = await moving.record(name);
  // The store rewrites rows of TiDB's older format, which some system tables have; but not in a keyspace.
  const isOlder = ({ what, source = '', target = '' }: Found): boolean =>
    what === 'different values' && !(from.keyspace ? source : target).startsWith(NEWER_ROW);
  return all.filter((one) => !isOlder(one));
}

/** Begins to make an index by ingest, and waits until that is refused. `ended` says how the statement ends. */
async function beginIngest(): Promise<{ readonly ended: Promise<string> }> {
  const refusals = (): number => [...readFileSync(tidb.logPath, 'utf8').matchAll(REFUSED_INGEST)].length;
  const before = refusals();
  const own = await tidb.connect();
  let how: string | undefined;
  const ended = own
    .query('ALTER TABLE shop.late ADD INDEX fast (v)')
    .then(() => 'made', String)
    .then(async (text) => {
      how = text;
      await own.close();
      return text;
    });
  const deadline = Date.now() + WAIT_MS;
  // TiDB tries again and again.
  while (refusals() < before + 2) {
    if (how !== undefined || Date.now() > deadline) throw new Error(`no ingest was refused: ${how ?? ''}`);
    await sleep(200);
  }
  expect(how).toBeUndefined();
  return { ended };
}

/** Has TiDB delete what is too old, and waits until it is gone. */
async function expire(table: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const [row] = await session.query(`SELECT COUNT(*) AS n FROM shop.${table}`);
    if (Number(row?.['n']) === 0) return;
    if (Date.now() > deadline) throw new Error(`${String(row?.['n'])} rows of ${table} are still there`);
    // An answer says that the job has begun, or that one runs.
    await status.http('POST', `/test/ttl/trigger/shop/${table}`).catch(() => undefined);
    await sleep(1000);
  }
}

describe.each(CASES)('$how', (one) => {
  const { tenant, away, api, leavesKeys } = one;
  const { name } = tenant;
  beforeAll(async () => {
    moving = await Moving.start([tenant, { name: 'beta', number: 2 }], { startTidbs: false, api });
    tidb = await moving.stack.startTidb({ tenant: name });
    session = await tidb.connect();
    const own = await moving.stack.certs.client(principalOf(name));
    asTenant = new Endpoint({ pd: `https://${moving.stack.pd.meshAddress}`, ...own });
    status = new Endpoint({ pd: `https://127.0.0.1:${tidb.statusPort}`, ...own });
    moving.startWorker();
  });
  afterAll(async () => {
    await session?.close();
    for (const endpoint of [asTenant, status]) endpoint?.close();
    await moving?.end();
  });

  test('everything is made, and the copy begins', async () => {
    await run(
      'CREATE DATABASE shop',
      'CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(40))',
      'CREATE TABLE shop.gone (id INT PRIMARY KEY, v INT)',
      'CREATE TABLE shop.cut (id INT PRIMARY KEY, v INT)',
      `CREATE TABLE shop.parts (id INT PRIMARY KEY, v INT)
         PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1000), PARTITION p1 VALUES LESS THAN (2000))`,
      'CREATE TABLE shop.other (id INT PRIMARY KEY, v INT)',
      'CREATE TABLE shop.random (id BIGINT PRIMARY KEY AUTO_RANDOM, v INT)',
      'CREATE TABLE shop.late (id INT PRIMARY KEY, v INT)',
      'CREATE SEQUENCE shop.numbers CACHE 10',
      'CREATE PLACEMENT POLICY here FOLLOWERS=1',
      'CREATE TABLE shop.placed (id INT PRIMARY KEY) PLACEMENT POLICY=here',
      "ALTER TABLE shop.placed ATTRIBUTES 'merge_option=deny'",
      'CREATE RESOURCE GROUP reports RU_PER_SEC = 500',
      "CREATE USER 'reader'@'%' RESOURCE GROUP reports",
      "GRANT SELECT ON shop.* TO 'reader'@'%'",
      'CREATE GLOBAL BINDING FOR SELECT * FROM shop.t WHERE v = 1 USING SELECT * FROM shop.t USE INDEX () WHERE v = 1',
    );
    const rows = Array.from({ length: 400 }, (_, i) => `(${i}, 'text ${i}')`).join(', ');
    await run(`INSERT INTO shop.t (v, s) VALUES ${rows}`);
    for (const table of ['gone', 'cut', 'parts', 'other', 'late'])
      await run(`INSERT INTO shop.${table} SELECT id, v FROM shop.t WHERE id < 300`);
    await run('INSERT INTO shop.random (v) SELECT v FROM shop.t');
    expect(await belongings()).toMatchObject({
      bindings: [expect.stringContaining('USE INDEX ()')],
      groups: [{ name: 'reports' }],
      policies: [{ POLICY_NAME: 'here' }],
      attributes: [{ id: 'schema/shop/placed' }],
      inPd: { bundles: [expect.anything()], labels: [expect.anything()] },
    });
    await moving.begin(name, away);
    await moving.follows(name);
    expect(await differences(one)).toEqual([]);
  });

  test('an index by ingest does not end, and one by transactions is made', async () => {
    const ingest = await beginIngest();
    const jobs = await session.query("ADMIN SHOW DDL JOBS 10 WHERE state = 'running'");
    // One worker of a small TiDB makes one index after the other.
    for (const job of jobs) await run(`ADMIN CANCEL DDL JOBS ${String(job['JOB_ID'])}`);
    expect(await ingest.ended).toContain('Cancelled DDL job');
    await run(
      'SET GLOBAL tidb_enable_dist_task = OFF',
      'SET GLOBAL tidb_ddl_enable_fast_reorg = OFF',
      'ALTER TABLE shop.t ADD INDEX slow (v)',
    );
  });

  describe.each([
    ['there', 1],
    ['back', 2],
    ['there again', 3],
  ])('%s', (_, round) => {
    test('its schema changes while it is followed', async () => {
      await run(
        `ALTER TABLE shop.t ADD INDEX slow${round} (v, s)`,
        `ALTER TABLE shop.t MODIFY COLUMN v ${round % 2 === 1 ? 'VARCHAR(30)' : 'INT'}`,
        `CREATE TABLE shop.new${round} (id INT PRIMARY KEY, at DATETIME) TTL = at + INTERVAL 1 DAY`,
        `INSERT INTO shop.new${round} SELECT id, NOW() - INTERVAL 3 DAY FROM shop.t WHERE id < 100`,
        'TRUNCATE TABLE shop.cut',
        'INSERT INTO shop.cut SELECT id, 1 FROM shop.t WHERE id < 50',
        'DROP TABLE shop.gone',
        'CREATE TABLE shop.gone (id INT PRIMARY KEY, v INT)',
        'INSERT INTO shop.gone SELECT id, 2 FROM shop.t WHERE id < 70',
        'ALTER TABLE shop.parts EXCHANGE PARTITION p0 WITH TABLE shop.other',
        'INSERT INTO shop.t (v, s) SELECT 7, s FROM shop.t WHERE id < 20',
        'DELETE FROM shop.t WHERE id BETWEEN 100 AND 120',
      );
      await expire(`new${round}`);
      const garbage = await collectGarbage(moving, name);
      expect(garbage.after).toBeLessThan(garbage.before);
      expect(await differences(one)).toEqual([]);
    });

    test('it is switched, and everything is there', async () => {
      const was = { sums: await sums(), partitions: await partitions(), belongings: await belongings() };
      const number = await nextNumber();
      await moving.switchTo(name, round);
      expect(await sums()).toEqual(was.sums);
      expect(await partitions()).toEqual(was.partitions);
      // Rules follow right after the switch.
      const deadline = Date.now() + WAIT_MS;
      while (!isDeepStrictEqual(await belongings(), was.belongings) && Date.now() < deadline)
        await sleep(100);
      expect(await belongings()).toEqual(was.belongings);
      expect(await nextNumber()).toBeGreaterThan(number);
      await run("INSERT INTO shop.t (v, s) VALUES (1, 'after')", 'INSERT INTO shop.random (v) VALUES (1)');
      expect(await checkTables()).toBeGreaterThan(30);
      expect(await differences(one)).toEqual([]);
    });
  });

  test('at the end, a TiDB that starts anew finds everything, and goes on', async () => {
    const was = { sums: await sums(), partitions: await partitions(), belongings: await belongings() };
    await run('SET GLOBAL tidb_ddl_enable_fast_reorg = ON', 'SET GLOBAL tidb_enable_dist_task = ON');
    const ingest = await beginIngest();
    await moving.finish(name, 'complete');
    expect(await ingest.ended).toBe('made');
    expect((await moving.keysAt(name, {})) > 0).toBe(leavesKeys);
    await session.close();
    await tidb.restart();
    session = await tidb.connect();
    const is = { sums: await sums(), partitions: await partitions(), belongings: await belongings() };
    expect(is).toEqual(was);
    expect(await checkTables()).toBeGreaterThan(30);
    await run('CREATE TABLE shop.after (id INT PRIMARY KEY)', 'INSERT INTO shop.after VALUES (1)');
  });
});
