import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from '../harness/stack/sql.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { errorOf, inAll, marker, only } from './support/tenants.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(async () => {
  await stack?.stop();
});

describe('Envoy is restarted under load', () => {
  const ACCOUNTS = 40;
  const START = 1000;
  const WORKERS = 3;
  const RECOVERY = 60_000;

  test.each([
    ['in order', false],
    ['killed', true],
  ])('%s: the workload goes on, no row is wrong', async (_title, hard) => {
    await inAll(stack, async (session, tenant) => {
      await session.query('CREATE DATABASE IF NOT EXISTS bank');
      await session.query('DROP TABLE IF EXISTS bank.accounts, bank.done');
      await session.query(
        'CREATE TABLE bank.accounts (id INT PRIMARY KEY, balance INT, owner VARCHAR(40), KEY (balance))',
      );
      await session.query('CREATE TABLE bank.done (worker INT, n INT, PRIMARY KEY (worker, n))');
      await session.query('INSERT INTO bank.accounts VALUES ?', [
        Array.from({ length: ACCOUNTS }, (_, id) => [id, START, marker(tenant)]),
      ]);
    });

    let stopped = false;
    /** Per tenant: committed transfers, and errors by text. */
    const counts = new Map(
      stack.tenants.map(({ name }) => [name, { commits: 0, errors: new Map<string, number>() }]),
    );
    const wrong: string[] = [];
    /** Transfers whose commit was answered: each must be there at the end. */
    const answered = new Map<string, [number, number][]>(stack.tenants.map(({ name }) => [name, []]));

    const work = async (tenant: string, worker: number): Promise<void> => {
      const count = counts.get(tenant)!;
      let session = await stack.tidbs.get(tenant)!.connect('bank');
      for (let n = 0; !stopped; n++) {
        const from = (n * 7 + worker * 13) % ACCOUNTS;
        const to = (from + 1 + (n % 11)) % ACCOUNTS;
        const [low, high] = [Math.min(from, to), Math.max(from, to)];
        try {
          await session.query('BEGIN PESSIMISTIC');
          const rows = await session.query(
            'SELECT id, owner FROM accounts WHERE id IN (?, ?) ORDER BY id FOR UPDATE',
            [low, high],
          );
          if (rows.length !== 2 || rows.some((row) => row['owner'] !== marker(tenant)))
            wrong.push(`${tenant}: ${JSON.stringify(rows)}`);
          await session.query('UPDATE accounts SET balance = balance - 1 WHERE id = ?', [from]);
          await session.query('UPDATE accounts SET balance = balance + 1 WHERE id = ?', [to]);
          await session.query('INSERT INTO done VALUES (?, ?)', [worker, n]);
          await session.query('COMMIT');
          count.commits++;
          answered.get(tenant)!.push([worker, n]);
        } catch (error) {
          const text = (error as Error).message.replace(/[0-9a-f]{6,}|\d{3,}/gi, '#').slice(0, 120);
          count.errors.set(text, (count.errors.get(text) ?? 0) + 1);
          await session.query('ROLLBACK').catch(async () => {
            await session.close();
            session = await stack.tidbs.get(tenant)!.connect('bank');
          });
        }
      }
      await session.close();
    };

    const workers = stack.tenants.flatMap(({ name }) =>
      Array.from({ length: WORKERS }, (_, worker) => work(name, worker)),
    );
    await sleep(3000);
    const before = new Map([...counts].map(([tenant, { commits }]) => [tenant, commits]));
    for (const commits of before.values()) expect(commits).toBeGreaterThan(10);
    await stack.envoy!.restart({ hard });
    const restarted = Date.now();
    const atRestart = new Map([...counts].map(([tenant, { commits }]) => [tenant, commits]));
    const recovered = new Map<string, number>();
    while (recovered.size < stack.tenants.length && Date.now() - restarted < RECOVERY) {
      await sleep(50);
      for (const [tenant, { commits }] of counts)
        if (!recovered.has(tenant) && commits >= atRestart.get(tenant)! + 10)
          recovered.set(tenant, Date.now() - restarted);
    }
    await sleep(2000);
    stopped = true;
    await Promise.all(workers);
    console.log(
      `Envoy ${hard ? 'killed' : 'restarted'}: `,
      [...counts].map(([tenant, { commits, errors }]) => ({
        tenant,
        commits,
        recoveredAfterMs: recovered.get(tenant),
        errors: Object.fromEntries(errors),
      })),
    );

    expect([...recovered.keys()].sort()).toEqual(stack.tenants.map(({ name }) => name).sort());
    expect(wrong).toEqual([]);
    await inAll(
      stack,
      async (session, tenant) => {
        expect(Number(only(await session.query('SELECT SUM(balance) FROM accounts')))).toBe(ACCOUNTS * START);
        expect(await session.query('SELECT DISTINCT owner FROM accounts')).toEqual([
          { owner: marker(tenant) },
        ]);
        const done = new Set(
          (await session.query('SELECT worker, n FROM done')).map(
            (row) => `${String(row['worker'])} ${String(row['n'])}`,
          ),
        );
        for (const [worker, n] of answered.get(tenant)!) expect(done).toContain(`${worker} ${n}`);
        await session.query('ADMIN CHECK TABLE accounts');
      },
      'bank',
    );
  });
});

describe('a TiDB is restarted', () => {
  let second: Tidb;
  beforeAll(async () => {
    second = await stack.startTidb({ tenant: 'alpha', name: 'tidb-alpha-second' });
    await inAll(stack, async (session, tenant) => {
      await session.query('CREATE DATABASE re');
      await session.query('CREATE TABLE re.t (id INT PRIMARY KEY, v VARCHAR(40), KEY (v))');
      await session.query('INSERT INTO re.t VALUES (1, ?), (2, ?)', [marker(tenant), marker(tenant)]);
    });
  });
  afterAll(async () => {
    await second?.stop();
  });

  const on = async <T>(tidb: Tidb, work: (session: Session) => Promise<T>): Promise<T> => {
    const session = await tidb.connect();
    try {
      return await work(session);
    } finally {
      await session.close();
    }
  };

  test('two TiDBs of a tenant share its schema: what one changes the other knows when the statement ends', async () => {
    const first = stack.tidbs.get('alpha')!;
    expect(await on(second, (session) => session.query('SELECT id, v FROM re.t'))).toHaveLength(2);
    await on(second, (session) => session.query('ALTER TABLE re.t ADD COLUMN a INT DEFAULT 5'));
    expect(only(await on(first, (session) => session.query('SELECT SUM(a) FROM re.t')))).toBe('10');
    await on(first, (session) => session.query('ALTER TABLE re.t ADD INDEX by_a (a)'));
    expect(
      only(
        await on(second, (session) =>
          session.query('SELECT COUNT(*) FROM re.t USE INDEX (by_a) WHERE a = 5'),
        ),
      ),
    ).toBe(2);
    const servers = await on(first, (session) =>
      session.query('SELECT port FROM information_schema.tidb_servers_info'),
    );
    expect(servers.map((row) => Number(row['port'])).sort()).toEqual(
      [first.mysqlPort, second.mysqlPort].sort(),
    );
    const other = await on(stack.tidbs.get('beta')!, (session) => session.query('SHOW COLUMNS FROM re.t'));
    expect(other.map((row) => row['Field'])).toEqual(['id', 'v']);
  });

  test('the data is there after the restart, and the schema goes on in step with the other TiDB', async () => {
    const first = stack.tidbs.get('alpha')!;
    await first.restart();
    expect(await on(first, (session) => session.query('SELECT id, v FROM re.t ORDER BY id'))).toEqual([
      { id: 1, v: marker('alpha') },
      { id: 2, v: marker('alpha') },
    ]);
    await on(second, (session) => session.query('ALTER TABLE re.t ADD COLUMN b INT DEFAULT 6'));
    expect(only(await on(first, (session) => session.query('SELECT SUM(b) FROM re.t')))).toBe('12');
    await on(first, (session) => session.query('ALTER TABLE re.t DROP COLUMN a'));
    expect((await errorOf(on(second, (session) => session.query('SELECT a FROM re.t')))).message).toMatch(
      /Unknown column/,
    );
    await on(first, (session) => session.query('ADMIN CHECK TABLE re.t'));
  });

  test('a TiDB that was killed leaves nothing that stops the other', async () => {
    const first = stack.tidbs.get('alpha')!;
    const session = await first.connect('re');
    await session.query('BEGIN PESSIMISTIC');
    await session.query("UPDATE t SET v = 'lost' WHERE id = 1");
    await first.kill();
    await session.close();
    // Its lock lives on until its time to live is over, some seconds; then the other resolves it.
    await on(second, async (other) => {
      await other.query("UPDATE re.t SET v = CONCAT(v, '!') WHERE id = 1");
      expect(only(await other.query('SELECT v FROM re.t WHERE id = 1'))).toBe(`${marker('alpha')}!`);
    });
    await first.restart();
    expect(only(await on(first, (other) => other.query('SELECT v FROM re.t WHERE id = 1')))).toBe(
      `${marker('alpha')}!`,
    );
  });
});
