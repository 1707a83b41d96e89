import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { inAll, only } from '../e2e/support/tenants.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import type { Session } from '../harness/stack/sql.ts';
import type { Tidb } from '../harness/stack/tidb.ts';

/* What TiDBs agree on through PD's etcd, with the same names in both tenants. alpha has two TiDBs, beta one. */
const EXPIRED = 10;
const FRESH = 5;
/** TiDB looks for tables whose rows expire every few seconds, and starts a job within a minute. */
const TTL_TIMEOUT = 180_000;
/** An owner that was killed is missed when its lease has run out. */
const OWNER_TIMEOUT = 120_000;

let stack: Stack;
let second: Tidb;

beforeAll(async () => {
  stack = await startStack();
  second = await stack.startTidb({ tenant: 'alpha', name: 'tidb-alpha-second' });
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE same');
    await session.query('USE same');
    await session.query('CREATE SEQUENCE s');
    await session.query(
      'CREATE TABLE one (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(20)) AUTO_ID_CACHE 1',
    );
    await session.query(
      `CREATE TABLE aging (id BIGINT PRIMARY KEY, born DATETIME) TTL = born + INTERVAL 1 DAY TTL_ENABLE = '${tenant === 'alpha' ? 'ON' : 'OFF'}' TTL_JOB_INTERVAL = '1m'`,
    );
    for (let id = 0; id < EXPIRED + FRESH; id++)
      await session.query('INSERT INTO aging VALUES (?, NOW() - INTERVAL ? DAY)', [id, id < EXPIRED ? 9 : 0]);
  });
});
afterAll(async () => {
  await stack?.stop();
});

async function until<T>(what: string, timeout: number, ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + timeout;
  for (;;) {
    const found = await ask();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${timeout / 1000} s`);
    await sleep(500);
  }
}

test('sequences of one name count by themselves', async () => {
  const drawn = await inAll(stack, async (session) => {
    const values: number[] = [];
    for (let i = 0; i < 20; i++) values.push(Number(only(await session.query('SELECT NEXTVAL(same.s)'))));
    return values;
  });
  const first = Array.from({ length: 20 }, (_, i) => i + 1);
  expect(drawn).toEqual({ alpha: first, beta: first });
});

test('the auto-id service of a tenant serves all its TiDBs, and no other tenant', async () => {
  const other = await second.connect('same');
  try {
    const ids = await inAll(stack, async (session, tenant) => {
      const sessions: Session[] = tenant === 'alpha' ? [session, other] : [session];
      for (let i = 0; i < 20; i++)
        await sessions[i % sessions.length]!.query('INSERT INTO same.one (v) VALUES (?)', [tenant]);
      return (await session.query('SELECT id FROM same.one ORDER BY id')).map((row) => Number(row['id']));
    });
    const all = Array.from({ length: 20 }, (_, i) => i + 1);
    // With one server for both TiDBs there is no gap; each caching by itself would jump.
    expect(ids).toEqual({ alpha: all, beta: all });
  } finally {
    await other.close();
  }
});

test('rows expire in the tenant whose table says so', async () => {
  const count = async (): Promise<Record<string, number>> =>
    inAll(stack, async (session) => Number(only(await session.query('SELECT COUNT(*) FROM same.aging'))));
  await until('the expired rows go', TTL_TIMEOUT, async () =>
    (await count())['alpha'] === FRESH ? true : undefined,
  );
  expect(await count()).toEqual({ alpha: FRESH, beta: EXPIRED + FRESH });
  const jobs = await inAll(stack, async (session) =>
    Number(
      only(
        await session.query("SELECT COUNT(*) FROM mysql.tidb_ttl_job_history WHERE table_schema = 'same'"),
      ),
    ),
  );
  expect(jobs['alpha']).toBeGreaterThan(0);
  expect(jobs['beta']).toBe(0);
});

test('an owner of DDL that is killed is followed by the other TiDB of its own tenant', async () => {
  const isOwner = async (tidb: Tidb): Promise<boolean> => {
    const session = await tidb.connect();
    try {
      return Number(only(await session.query('SELECT TIDB_IS_DDL_OWNER()'))) === 1;
    } finally {
      await session.close();
    }
  };
  const [first, beta] = [stack.tidbs.get('alpha')!, stack.tidbs.get('beta')!];
  expect(await isOwner(beta)).toBe(true);
  expect([await isOwner(first), await isOwner(second)].filter(Boolean)).toHaveLength(1);
  const [owner, heir] = (await isOwner(first)) ? [first, second] : [second, first];
  await owner.kill();
  await until('the other becomes the owner', OWNER_TIMEOUT, async () =>
    (await isOwner(heir)) ? true : undefined,
  );
  expect(await isOwner(beta)).toBe(true);
  for (const tidb of [heir, beta]) {
    const session = await tidb.connect('same');
    try {
      await session.query('CREATE TABLE later (id INT PRIMARY KEY)');
      await session.query('ALTER TABLE one ADD INDEX by_v (v)');
      await session.query('ADMIN CHECK TABLE one');
      const shown = await session.query('ADMIN SHOW DDL');
      expect(String(shown[0]!['OWNER_ADDRESS'])).toContain(String(tidb.mysqlPort));
    } finally {
      await session.close();
    }
  }
});
