/**
 * The storage layer that serves a tenant is gone for good while the tenant is followed to another one: the move ends without it, the copy is
 * kept, and nobody serves it until an operator does. `npm run test:proofs -- between-left`.
 */
import { afterEach, expect, test } from '@jest/globals';
import { keptText } from '../../src-ts/move/diagnosis/kept-copy.ts';
import { ask, fulfilled } from '../../src-ts/move/wishes.ts';
import { timestamp } from '../../src-ts/pd/timestamp.ts';
import { registered } from '../../src-ts/tenants/registry.ts';
import { callGrpc } from '../harness/stack/caller.ts';
import { connect } from '../harness/stack/sql.ts';
import { Layers, WAIT_MS } from './layers.ts';

const ALPHA = { name: 'alpha', number: 1 };

let layers: Layers;

afterEach(async () => {
  await layers?.end();
});

test('a copy whose storage is gone is kept, closed, and can be read at the time that was said', async () => {
  layers = await Layers.start(['a', 'b'], [ALPHA]);
  const [a, b] = [layers.of('a'), layers.of('b')];
  const tidb = await a.stack.startTidb({ tenant: ALPHA.name });
  const sql = await connect(tidb.mysqlPort);
  await sql.query('CREATE TABLE test.kept (id INT PRIMARY KEY, v INT)');
  await sql.query('INSERT INTO test.kept VALUES (1, 1), (2, 2)');
  await layers.begin('a', 'b');
  layers.startWorker();
  await layers.follows();
  await sql.query('INSERT INTO test.kept VALUES (3, 3)');
  const seen = await timestamp(a.pd);
  await layers.until(({ progress }) => BigInt((progress as { resolvedTs?: string }).resolvedTs ?? 0) > seen);
  await sql.close();
  for (const pd of a.stack.pds) await pd.kill();
  for (const pid of [a.stack.store.pid, a.stack.envoy!.pid]) process.kill(pid, 'SIGKILL');
  await ask(b.pd, ALPHA.name, 'cancel');
  const cancelled = { verb: 'cancel', timeoutMs: WAIT_MS, tell: () => undefined } as const;
  await expect(fulfilled(b.pd, ALPHA.name, cancelled)).rejects.toThrow(
    'is not cancelled yet: storage a cannot be asked',
  );
  const record = await ask(b.pd, ALPHA.name, 'cancel', { withoutStorage: true });
  const said = keptText(record);
  console.log(said);
  const [, ts] = /committed up to (\d+)/.exec(said)!;
  const [, since] = /nothing before (\d+)/.exec(said)!;
  expect(await fulfilled(b.pd, ALPHA.name, cancelled)).toBeUndefined();
  expect(layers.entry()).toEqual({ ...ALPHA, storage: 'a', state: 'suspended' });
  const call = async (): Promise<string> =>
    (await callGrpc(b.stack.pd.meshAddress, await layers.clientCerts(), '/pdpb.PD/GetMembers')).status;
  expect(await call()).toBe('PERMISSION_DENIED');
  expect((await registered(b.pd)).map(({ name }) => name)).toContain(ALPHA.name);
  // As docs/move.md says.
  await layers.edit((entry) => {
    Object.assign(entry, { storage: 'b', readableSince: since });
    delete entry['state'];
  });
  const there = await b.stack.startTidb({ tenant: ALPHA.name });
  const copy = await connect(there.mysqlPort);
  const [now] = await copy.query('SELECT COUNT(*) AS n FROM test.kept');
  await copy.query(`SET tidb_snapshot = '${ts}'`);
  const [then] = await copy.query('SELECT COUNT(*) AS n FROM test.kept');
  expect([now, then]).toEqual([{ n: 3 }, { n: 3 }]);
  await copy.close();
});
