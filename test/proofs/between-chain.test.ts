/**
 * A tenant goes on from one storage layer to the next: to a third one, back to the first, and to the second again. Its TiDBs run on through each
 * switch. When the move is completed, they get the PD of the layer that serves the tenant as their path, and the next move begins. All the time
 * they know the cluster id of the first layer. `npm run test:proofs -- between-chain`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { clusterId } from '../../src-ts/pd/timestamp.ts';
import { registered } from '../../src-ts/tenants/registry.ts';
import { emptyTenant } from '../../src-ts/tenants/remove.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { createBank, judge, runBank, type Ledger } from '../move/ledger.ts';
import { Layers, WAIT_MS } from './layers.ts';
import { committed } from './under-load.ts';

const ALPHA = { name: 'alpha', number: 1 };
const CLIENTS = 4;
/** So many commits behind a switch say that clients go on. */
const GO_ON = 100;

let layers: Layers;
let tidb: Tidb;
/** Follows each move, and is started anew when it is over: its client of etcd keeps the addresses of its path. */
let other: Tidb;
/** Who serves the tenant. */
let at = 'a';
const ledgers: Ledger[] = [];

beforeAll(async () => {
  // All have stores and regions with the same ids.
  layers = await Layers.start(['a', 'b', 'c'], [ALPHA], { a: { regionSize: 20_000 } });
  tidb = await layers.of('a').stack.startTidb({ tenant: ALPHA.name });
  await createBank(tidb.mysqlPort);
  other = await layers.of('a').stack.startTidb({ tenant: ALPHA.name, name: 'tidb-other' });
});
afterAll(async () => {
  await layers?.end();
});

const said = (): string => layers.said.slice(-5).join('\n');

/** What `create` says when it refuses. */
const refusalTo = (to: string): Promise<string> =>
  layers.begin(at, to).then(
    () => 'it was begun',
    (error: Error) => error.message,
  );

/** Empties a place, when what its TiDB had there with a lease has gone. */
async function emptied(name: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  for (;;)
    try {
      await emptyTenant(layers.of(name).pd, ALPHA.name, () => undefined);
      return;
    } catch (error) {
      if (!/entries of running TiDBs/.test(String(error)) || Date.now() > deadline) throw error;
      await sleep(1000);
    }
}

test.each([
  { to: 'b', isUsed: false },
  { to: 'c', isUsed: false },
  { to: 'a', isUsed: true },
  { to: 'b', isUsed: true },
])(
  'goes on to $to',
  async ({ to, isUsed }) => {
    const from = at;
    if (isUsed) {
      // What stays there of the former move would belong to keys that are gone.
      expect(await refusalTo(to)).toMatch(/keys in PD's etcd/);
      await emptied(to);
    }
    await layers.begin(from, to);
    layers.startWorker();
    await layers.follows();
    let [over, since] = [false, 0];
    const load = { clients: CLIENTS, pauseMs: 20, readersMayFail: true, onCommit: () => void since++ };
    const firstEntry = ledgers.length * 1_000_000;
    const running = runBank(tidb.mysqlPort, { ...load, firstEntry }, () => over);
    try {
      await sleep(1000);
      const { from: now, history } = await layers.switches().catch((error: Error) => {
        throw new Error(`${error.message}\n${said()}`);
      });
      since = 0;
      expect(now.storage).toBe(to);
      const deadline = Date.now() + WAIT_MS;
      while (since < GO_ON && Date.now() < deadline) await sleep(20);
      const { writesHeldMs, allHeldMs } = history.at(-1)!;
      console.log(
        `${from} to ${to}: writes held ${writesHeldMs} ms, all ${allHeldMs} ms, then ${since} commits\n${JSON.stringify(now)}`,
      );
      expect(since).toBeGreaterThanOrEqual(GO_ON);
    } finally {
      over = true;
    }
    const ledger = await running;
    ledgers.push(ledger);
    console.log(
      [`${committed(ledger)} committed`, ...[...ledger.errors].map(([k, n]) => `${n} x ${k}`)].join('\n'),
    );
    expect(ledger.wrong).toEqual([]);
    for (const one of ledgers) expect(await judge(tidb.mysqlPort, one)).toEqual([]);
    expect(await layers.diff()).toEqual([]);
    await layers.finish('complete');
    await layers.stopWorker();
    expect(said()).not.toContain('could not be released');
    at = to;

    // Its clients know the first layer's id, whatever PD they ask by now.
    const first = String(await clusterId(layers.of('a').pd));
    const { storage, clusterId: shown, movedFrom } = layers.entry() as unknown as Record<string, unknown>;
    expect(storage).toBe(to);
    expect(shown).toEqual(
      to === 'a' ? undefined : { seen: first, own: String(await clusterId(layers.of(to).pd)) },
    );
    // It stays added at the one that it has left.
    const names = (await registered(layers.of(from).pd)).map(({ name }) => name);
    expect(names).toContain(ALPHA.name);
    // The entry has room for one other storage.
    expect(movedFrom).toBeDefined();
    const next = ['a', 'b', 'c'].find((name) => name !== to && name !== from)!;
    expect(await refusalTo(next)).toMatch(new RegExp(`storage ${from} hands alpha over`));

    // Both agree about the schema by etcd, handed over or at home.
    await tidb.stop();
    tidb = await layers.of(to).stack.startTidb({ tenant: ALPHA.name, name: `tidb-at-${to}-from-${from}` });
    const table = `test.after_${ledgers.length}`;
    const [session, second] = await Promise.all([other.connect(), tidb.connect()]);
    try {
      await session.query(`CREATE TABLE ${table} (a INT PRIMARY KEY)`);
      await second.query(`INSERT INTO ${table} VALUES (1)`);
      expect(await session.query(`SELECT a FROM ${table}`)).toEqual([{ a: 1 }]);
    } finally {
      await Promise.all([session.close(), second.close()]);
    }
    await other.stop();
    other = await layers.of(to).stack.startTidb({ tenant: ALPHA.name, name: `other-at-${to}-from-${from}` });
    // A TiDB whose path is the PD of this layer does not need the other one any more.
    await layers.edit((entry) => delete entry['movedFrom']);
    for (const { mysqlPort } of [tidb, other])
      for (const one of ledgers) expect(await judge(mysqlPort, one)).toEqual([]);
  },
  15 * 60_000,
);
