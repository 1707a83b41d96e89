import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import type { Session } from '../harness/stack/sql.ts';
import { ticked } from '../harness/support/tick.ts';
import { standardPluginConfig, startStack, type Stack } from '../harness/stack/stack.ts';
import { errorOf, inAll, marker, only, tableIds, tableKeysIn, withSessions } from './support/tenants.ts';
import { expectNoKeyOutsideRegion } from './support/store.ts';

const WRITE_CONFLICT = 9007;
const DUPLICATE = 1062;
const DEADLOCK = 1213;
const LOCK_WAIT_TIMEOUT = 1205;
const NOWAIT = 3572;

let stack: Stack;
let tableId: number;
beforeAll(async () => {
  stack = await startStack({ watched: true });
  const ids = await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE tx');
    await session.query(
      'CREATE TABLE tx.t (id BIGINT PRIMARY KEY, v VARCHAR(60), n INT, UNIQUE KEY by_v (v))',
    );
    await session.query('INSERT INTO tx.t VALUES ?', [
      Array.from({ length: 20 }, (_, id) => [id, `${marker(tenant)}-${id}`, 0]),
    ]);
    return (await tableIds(session, 'tx'))['t']!;
  });
  tableId = ids['alpha']!;
  expect(ids['beta']).toBe(tableId);
});
afterAll(async () => {
  await stack?.stop();
});

/** Keys in a text must be those of the tenant's own table, as its TiDB writes them. */
function expectOwnKeys(text: string): void {
  const keys = tableKeysIn(text);
  expect(keys.length).toBeGreaterThan(0);
  for (const key of keys) expect(key).toEqual({ tag: 0, tableId });
}

function expectNothingOfOthers(text: string, tenant: string): void {
  for (const { name } of stack.tenants) if (name !== tenant) expect(text).not.toContain(marker(name));
}

const tenants = ['alpha', 'beta'];

describe.each(tenants)('tenant %s', (tenant) => {
  const use = <T>(work: Parameters<typeof withSessions<T>>[4]) => withSessions(stack, tenant, 2, 'tx', work);

  test('an optimistic conflict fails at commit and names the own key, table and handle', () =>
    use(async (one, two) => {
      await one!.query('BEGIN OPTIMISTIC');
      await two!.query('BEGIN OPTIMISTIC');
      await one!.query('UPDATE t SET n = n + 1 WHERE id = 1');
      await two!.query('UPDATE t SET n = n + 10 WHERE id = 1');
      await two!.query('COMMIT');
      const error = await errorOf(one!.query('COMMIT'));
      expect(error.errno).toBe(WRITE_CONFLICT);
      expect(error.message).toContain('tableName=tx.t');
      expect(error.message).toContain('handle=1');
      expectOwnKeys(error.message);
      expectNothingOfOthers(error.message, tenant);
      expect(only(await one!.query('SELECT n FROM t WHERE id = 1'))).toBe(10);
    }));

  test('an optimistic retry after a conflict succeeds', () =>
    use(async (one, two) => {
      for (let attempt = 0; attempt < 2; attempt++) {
        await one!.query('BEGIN OPTIMISTIC');
        await one!.query('UPDATE t SET n = n + 1 WHERE v = ?', [`${marker(tenant)}-2`]);
        if (attempt === 0) {
          await two!.query('UPDATE t SET n = 100 WHERE id = 2');
          expect((await errorOf(one!.query('COMMIT'))).errno).toBe(WRITE_CONFLICT);
        } else await one!.query('COMMIT');
      }
      expect(only(await one!.query('SELECT n FROM t WHERE id = 2'))).toBe(101);
    }));

  test('a duplicate is found by the store in an optimistic transaction', () =>
    use(async (one) => {
      await one!.query('BEGIN OPTIMISTIC');
      await one!.query('INSERT INTO t VALUES (3, ?, 0)', [`${tenant}-new`]);
      const error = await errorOf(one!.query('COMMIT'));
      expect(error).toMatchObject({
        errno: DUPLICATE,
        message: expect.stringMatching(/'3' for key 't.PRIMARY'/),
      });
      const unique = await errorOf(one!.query('INSERT INTO t VALUES (900, ?, 0)', [`${marker(tenant)}-4`]));
      expect(unique).toMatchObject({
        errno: DUPLICATE,
        message: expect.stringContaining(`${marker(tenant)}-4`),
      });
    }));

  test('a pessimistic lock makes another session wait, then time out; another row is free', () =>
    use(async (one, two) => {
      await one!.query('BEGIN PESSIMISTIC');
      await one!.query('SELECT * FROM t WHERE id = 5 FOR UPDATE');
      await two!.query('SET innodb_lock_wait_timeout = 1');
      // A statement of its own would be an optimistic transaction, which heeds no lock wait timeout.
      await two!.query('BEGIN PESSIMISTIC');
      const started = Date.now();
      expect((await errorOf(two!.query('UPDATE t SET n = 1 WHERE id = 5'))).errno).toBe(LOCK_WAIT_TIMEOUT);
      expect(Date.now() - started).toBeGreaterThanOrEqual(900);
      expect((await errorOf(two!.query('SELECT * FROM t WHERE id = 5 FOR UPDATE NOWAIT'))).errno).toBe(
        NOWAIT,
      );
      await two!.query('UPDATE t SET n = 1 WHERE id = 6');
      await two!.query('COMMIT');
      await one!.query('COMMIT');
      await two!.query('UPDATE t SET n = 1 WHERE id = 5');
    }));

  test('a waiting session goes on when the holder commits, and sees what it wrote', () =>
    use(async (one, two) => {
      await one!.query('BEGIN PESSIMISTIC');
      await one!.query('UPDATE t SET n = 40 WHERE id = 7');
      await two!.query('BEGIN PESSIMISTIC');
      let ended = false;
      const waiting = two!.query('UPDATE t SET n = n + 2 WHERE id = 7').then(() => (ended = true));
      await sleep(500);
      expect(ended).toBe(false);
      await one!.query('COMMIT');
      await waiting;
      await two!.query('COMMIT');
      expect(only(await one!.query('SELECT n FROM t WHERE id = 7'))).toBe(42);
    }));

  test('a locking read through a unique index locks the row', () =>
    use(async (one, two) => {
      await one!.query('BEGIN PESSIMISTIC');
      await one!.query('SELECT * FROM t USE INDEX (by_v) WHERE v = ? FOR UPDATE', [`${marker(tenant)}-8`]);
      await two!.query('SET innodb_lock_wait_timeout = 1');
      await two!.query('BEGIN PESSIMISTIC');
      expect((await errorOf(two!.query('UPDATE t SET n = 1 WHERE id = 8'))).errno).toBe(LOCK_WAIT_TIMEOUT);
      await two!.query('ROLLBACK');
      await one!.query('ROLLBACK');
    }));

  test('a transaction of many keys (async commit and secondaries) is atomic', () =>
    use(async (one, two) => {
      await one!.query('BEGIN');
      await one!.query('UPDATE t SET n = 77');
      expect(only(await two!.query('SELECT COUNT(*) FROM t WHERE n = 77'))).toBe(0);
      await one!.query('COMMIT');
      expect(only(await two!.query('SELECT COUNT(*) FROM t WHERE n = 77'))).toBe(20);
      await one!.query('UPDATE t SET n = 0');
    }));
});

test("one tenant's locks are nothing to the other, on the same table id and handle", () =>
  withSessions(stack, 'alpha', 1, 'tx', (alpha) =>
    withSessions(stack, 'beta', 1, 'tx', async (beta) => {
      await alpha!.query('BEGIN PESSIMISTIC');
      await alpha!.query('UPDATE t SET n = 1 WHERE id = 9');
      await beta!.query('SET innodb_lock_wait_timeout = 1');
      await beta!.query('BEGIN PESSIMISTIC');
      await beta!.query('UPDATE t SET n = 2 WHERE id = 9');
      await beta!.query('COMMIT');
      await alpha!.query('COMMIT');
      expect(only(await alpha!.query('SELECT n FROM t WHERE id = 9'))).toBe(1);
      expect(only(await beta!.query('SELECT n FROM t WHERE id = 9'))).toBe(2);
    }),
  ));

test('a deadlock in both tenants at the same time: each side sees its own keys only', async () => {
  // Other rows in each tenant, so that a mix-up shows.
  const rows: Record<string, [number, number]> = { alpha: [11, 12], beta: [13, 14] };
  const deadlocks = await Promise.all(
    tenants.map((tenant) =>
      withSessions(stack, tenant, 2, 'tx', async (one, two) => {
        const [first, second] = rows[tenant]!;
        await one!.query('BEGIN PESSIMISTIC');
        await two!.query('BEGIN PESSIMISTIC');
        await one!.query('UPDATE t SET n = 1 WHERE id = ?', [first]);
        await two!.query('UPDATE t SET n = 2 WHERE id = ?', [second]);
        const waiting = one!.query('UPDATE t SET n = 1 WHERE id = ?', [second]).then(
          () => undefined,
          (error: unknown) => error as Error & { errno: number },
        );
        await sleep(300);
        const other = await two!.query('UPDATE t SET n = 2 WHERE id = ?', [first]).then(
          () => undefined,
          (error: unknown) => error as Error & { errno: number },
        );
        await two!.query('ROLLBACK');
        const failures = [await waiting, other].filter((error) => error !== undefined);
        await one!.query('ROLLBACK');
        expect(failures).toHaveLength(1);
        expect(failures[0]!.errno).toBe(DEADLOCK);
        expect(failures[0]!.message).not.toMatch(/74800[1-9]/);
        return one!.query('SELECT * FROM information_schema.deadlocks');
      }),
    ),
  );
  for (const [index, tenant] of tenants.entries()) {
    const found = deadlocks[index]!;
    expect(found).toHaveLength(2);
    const handles = found.map((row) => {
      const info = JSON.parse(String(row['KEY_INFO'])) as Record<string, unknown>;
      expect(info).toMatchObject({ db_name: 'tx', table_name: 't', table_id: tableId });
      expectOwnKeys(String(row['KEY']));
      return Number(info['handle_value']);
    });
    expect(handles.sort()).toEqual(rows[tenant]);
  }
});

test('what a key means is told by the tenant itself: tidb_decode_key and TIDB_MVCC_INFO', async () => {
  await inAll(stack, async (session, tenant) => {
    const rows = await session.query('SHOW TABLE tx.t REGIONS');
    expect(rows.length).toBeGreaterThan(0);
    const encoded = only(await session.query("SELECT TIDB_ENCODE_RECORD_KEY('tx', 't', 3) AS k")) as string;
    expect(tableKeysIn(encoded)).toEqual([{ tag: 0, tableId }]);
    const decoded = JSON.parse(String(only(await session.query('SELECT TIDB_DECODE_KEY(?)', [encoded])))) as {
      table_id: string;
    };
    expect(Number(decoded.table_id)).toBe(tableId);
    const versions = String(only(await session.query('SELECT TIDB_MVCC_INFO(?)', [encoded])));
    expect(versions.toLowerCase()).toContain(encoded.toLowerCase());
    // Its own row is in there, in base64, and no other's.
    const values = [...versions.matchAll(/"value": ?"([^"]*)"/g)].map((found) =>
      Buffer.from(found[1]!, 'base64').toString('latin1'),
    );
    expect(values.join()).toContain(marker(tenant));
    expectNothingOfOthers(values.join(), tenant);
  });
});

describe('the state of alpha changes while its TiDB works', () => {
  const READ_ONLY = /tidb-mesh\[TENANT_READ_ONLY\]: the tenant is read-only/;
  const SUSPENDED = /tidb-mesh\[TENANT_SUSPENDED\]: the tenant is suspended/;
  /** TiDB spreads its requests over a few streams to the store, which several workers of Envoy serve. */
  const AT_ONCE = 12;

  const push = (state: string): Promise<void> =>
    stack.configure({
      ...standardPluginConfig(stack.tenants),
      tenants: stack.tenants.map((one) => (one.name === 'alpha' ? { ...one, state } : one)),
    });
  /** Until this statement of all sessions ends as wanted, on all streams. Gives the seconds that it took. */
  const until = async (sessions: Session[], sql: string, wanted: RegExp | undefined): Promise<number> => {
    const began = Date.now();
    const ends = async (session: Session): Promise<string> =>
      session.query(sql).then(
        () => '',
        (error: Error) => error.message,
      );
    for (;;) {
      const messages = await Promise.all(sessions.map(ends));
      if (messages.every((message) => (wanted ? wanted.test(message) : message === '')))
        return (Date.now() - began) / 1000;
      await sleep(50);
    }
  };
  const use = <T>(tenant: string, work: Parameters<typeof withSessions<T>>[4]) =>
    withSessions(stack, tenant, AT_ONCE, 'tx', work);

  test('read-only: a write fails at once with one error, a transaction can end, reads go on, beta writes', () =>
    use('alpha', async (...sessions) => {
      const [begun, other] = sessions as [Session, Session];
      await begun.query('BEGIN PESSIMISTIC');
      await begun.query('UPDATE t SET n = 5 WHERE id = 15');
      await push('read-only');
      await until(sessions.slice(2), 'UPDATE t SET n = n + 1 WHERE id = 16', READ_ONLY);
      expect((await errorOf(begun.query('COMMIT'))).message).toMatch(READ_ONLY);
      // The lock is gone: it was rolled back.
      expect(only(await other.query('SELECT n FROM t WHERE id = 15'))).not.toBe(5);
      expect((await errorOf(other.query('CREATE TABLE tx.refused (id INT)'))).message).toMatch(READ_ONLY);
      await use('beta', (beta) => beta!.query('UPDATE t SET n = 5 WHERE id = 15'));
    }));

  test('the status shows that every worker has taken the configuration, on the ports of PD and of the store', async () => {
    interface Status {
      vms: { stale: boolean; configs: { hash: number }[] }[];
      tenants: Record<string, { state: string; requests: Record<string, number> }>;
    }
    const certs = await stack.certs.client(principalOf('storage', 'operator'));
    for (const address of [stack.pd.meshAddress, stack.store.meshAddress]) {
      let status: Status;
      do {
        await sleep(100);
        const answer = await callHttp(address, certs, '/tidb-mesh/status');
        expect(answer.status).toBe(200);
        status = JSON.parse(answer.body) as Status;
        // A configuration is told with the next second.
      } while (new Set(status.vms.flatMap(({ configs }) => configs.map(({ hash }) => hash))).size > 1);
      expect(status.vms.length).toBeGreaterThanOrEqual(2);
      expect(status.vms.some(({ stale }) => stale)).toBe(false);
      expect(status.tenants['alpha']!.state).toBe('read-only');
      expect(status.tenants['beta']!.state).toBe('active');
      for (const { requests } of Object.values(status.tenants))
        for (const kind of ['read', 'write', 'finish', 'find', 'etcd'])
          expect([kind, requests[kind]! > 0]).toEqual([kind, true]);
    }
    const tenant = await callHttp(
      stack.store.meshAddress,
      await stack.certs.client(principalOf('alpha')),
      '/tidb-mesh/status',
    );
    expect(tenant.status).toBe(403);
    expect(tenant.body).not.toMatch(/alpha|beta/);
  });

  test('suspended: a read fails at once and names the state; active again, all is served', () =>
    use('alpha', async (...sessions) => {
      await push('suspended');
      await until(sessions, 'SELECT * FROM t WHERE id = 16', SUSPENDED);
      expect((await errorOf(sessions[0]!.query('SELECT SUM(n) FROM t'))).message).toMatch(SUSPENDED);
      await use('beta', (beta) => beta!.query('SELECT SUM(n) FROM t'));
      await push('active');
      await until(sessions, 'SELECT SUM(n) FROM t', undefined);
      await until(sessions.slice(0, 1), 'UPDATE t SET n = 5 WHERE id = 15', undefined);
    }));
});

test('alpha over its rate: every statement succeeds, and some have waited', async () => {
  const SESSIONS = 6;
  const STATEMENTS = 8;
  const push = (limits: object): Promise<void> =>
    stack.configure({
      ...standardPluginConfig(stack.tenants),
      tenants: stack.tenants.map((one) => (one.name === 'alpha' ? { ...one, limits } : one)),
    });
  const delays = async (): Promise<number> => {
    await ticked();
    const found = await stack.envoy!.stats(/tenant=\.=alpha;.*limit=\.=requestsPerSecond;.*delayed_total$/);
    return [...found.values()].reduce((sum, value) => sum + value, 0);
  };
  await withSessions(stack, 'alpha', SESSIONS, 'tx', async (...sessions) => {
    const ids = sessions.map((_, i) => i + 1);
    await sessions[0]!.query('UPDATE t SET n = 0');
    await push({ requestsPerSecond: 40 });
    let rounds = 0;
    // The new configuration is on its way in the first one.
    do {
      rounds++;
      await Promise.all(
        sessions.map(async (session, i) => {
          for (let j = 0; j < STATEMENTS; j++)
            await session.query('UPDATE t SET n = n + 1 WHERE id = ?', [ids[i]]);
        }),
      );
    } while ((await delays()) === 0);
    const rows = await sessions[0]!.query('SELECT n FROM t WHERE id IN (?)', [ids]);
    expect(rows.map((row) => Number(row['n']))).toEqual(ids.map(() => rounds * STATEMENTS));
    await push({});
  });
});

test('the store saw no key outside the region of its request', () => expectNoKeyOutsideRegion(stack));
