/**
 * What a tenant's TiDBs know of each other lasts while it goes between two storage layers: the DDL owner waits for the metadata locks of the
 * other TiDB, and when the owner dies, the other one becomes it. `npm run test:proofs -- between-schema`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { entries } from '../../src-ts/pd/etcd.ts';
import { etcdPrefix } from '../../src-ts/tenants/belongings.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { Layers } from './layers.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** Without metadata locks, adding an index to three rows takes three seconds on busy cores. */
const WATCH_MS = 15_000;
const LOOK_MS = 100;
/** TiDB tells the other ones every second what it has of the schema. */
const SCHEMA_MS = 1500;

let layers: Layers;
let tidbs: readonly [Tidb, Tidb];

beforeAll(async () => {
  layers = await Layers.start(['a', 'b'], [ALPHA]);
  const { stack } = layers.of('a');
  tidbs = [await stack.startTidb({ tenant: ALPHA.name }), await stack.startTidb({ tenant: ALPHA.name })];
  // An index that is built by bulk loads waits at its end, too.
  await ask(tidbs[0], 'SET GLOBAL tidb_enable_dist_task = OFF');
  await ask(tidbs[0], 'SET GLOBAL tidb_ddl_enable_fast_reorg = OFF');
  await layers.begin('a', 'b');
  layers.startWorker();
  await layers.follows();
}, 400_000);
afterAll(async () => layers?.end(), 120_000);

async function ask(tidb: Tidb, statement: string): Promise<Record<string, unknown>[]> {
  const session = await tidb.connect();
  try {
    return (await session.query(statement)) as Record<string, unknown>[];
  } finally {
    await session.close();
  }
}

/** The owner of changes of the schema first. */
async function ownerFirst(): Promise<[Tidb, Tidb]> {
  const [shown] = await ask(tidbs[0], 'ADMIN SHOW DDL');
  const [one, other] = tidbs;
  return shown?.['SELF_ID'] === shown?.['OWNER_ID'] ? [one, other] : [other, one];
}

/** Whose keys end with them, as etcd has them. */
async function leased(name: string): Promise<Record<string, bigint>> {
  const all = await entries(layers.of(name).pd, etcdPrefix(ALPHA.name));
  return Object.fromEntries(all.filter(({ lease }) => lease !== 0n).map(({ key, lease }) => [key, lease]));
}

test.each([
  ['there', 'a', 'b'],
  ['back', 'b', 'a'],
])(
  'ADD INDEX right after a switch waits for an open transaction of the other TiDB: %s',
  async (table, from, to) => {
    const [owner, other] = await ownerFirst();
    await ask(owner, `CREATE TABLE test.${table} (id INT PRIMARY KEY, v INT)`);
    await ask(owner, `INSERT INTO test.${table} VALUES (1, 1), (2, 2)`);
    await sleep(SCHEMA_MS);
    const session = await other.connect();
    try {
      await session.query('BEGIN');
      await session.query(`INSERT INTO test.${table} VALUES (3, 3)`);
      const before = await leased(from);
      await layers.switches();
      expect(await leased(to)).toMatchObject(before);
      let isDone = false;
      const change = ask(owner, `ALTER TABLE test.${table} ADD INDEX i (v)`);
      // One that fails is told below.
      void change.catch(() => undefined).then(() => (isDone = true));
      const until = Date.now() + WATCH_MS;
      while (Date.now() < until && !isDone) await sleep(LOOK_MS);
      if (isDone) expect(await change).toBe('waiting');
      await session.query('COMMIT');
      await change;
      await ask(owner, `ADMIN CHECK TABLE test.${table}`);
      expect(await ask(other, `SELECT id FROM test.${table} USE INDEX (i) WHERE v = 3`)).toEqual([{ id: 3 }]);
    } finally {
      await session.close();
    }
  },
  200_000,
);

test('when the owner dies after the switches, the other TiDB changes the schema', async () => {
  const [owner, other] = await ownerFirst();
  await owner.kill();
  await ask(other, 'CREATE TABLE test.after (id INT PRIMARY KEY)');
  expect(await ask(other, 'ADMIN SHOW DDL')).toMatchObject([{ RUNNING_JOBS: '' }]);
}, 240_000);
