/**
 * What a move waits for, or refuses, and says why: a bulk load on its way, clocks that are apart, a place that is somebody else's, and a
 * transaction that is open for long. `npm run test:proofs -- refusals`.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { lookAt, type Look } from '../../src-ts/move/diagnosis/look.ts';
import { Applier } from '../../src-ts/move/engine/apply.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { MULTI_INGEST } from '../../src-ts/move/engine/methods.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import type { Mesh } from '../../src-ts/move/filters/mesh.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { statusOf } from '../../src-ts/tenants/mesh-status.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { principalOf } from '../harness/stack/certs.ts';
import type { Session } from '../harness/stack/sql.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import { rowKey } from '../harness/support/keys.ts';
import { Moving } from '../move/moving.ts';
import { WAIT_MS } from '../move/waiting.ts';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
/** Has no TiDB. */
const BETA: Tenant = { name: 'beta', number: 2 };
const AWAY = { keyNumber: 5 };
const BETA_AWAY = { keyNumber: 6 };
const LIMITS = { calmMs: 1000, maxLagMs: 60_000 };
/** By how much the clocks of the Envoys are ahead of the worker's. */
const AHEAD_MS = 60_000;

let moving: Moving;
beforeAll(async () => {
  moving = await Moving.start([ALPHA, BETA], { startTidbs: false, links: true });
});
afterEach(async () => {
  await moving.stopWorker();
});
afterAll(async () => {
  await moving?.end();
});

function startWorker(limits: Tools['limits'] = LIMITS, mesh: Mesh = moving.heard()): void {
  moving.startWorker({ limits, mesh });
}

async function look(name: string): Promise<Look> {
  const endpoint = { pd: moving.stack.pd.directUrl };
  return lookAt(await moving.record(name), {
    endpoint,
    clusters: new Map(),
    envoys: [],
    locks: true,
    timeoutMs: WAIT_MS,
  });
}

describe('of a tenant without a TiDB', () => {
  let own: Storage;
  beforeAll(async () => {
    const certs = await moving.stack.certs.client(principalOf(BETA.name));
    own = new Storage(new Endpoint({ pd: `https://${moving.stack.pd.meshAddress}`, ...certs }));
    const space = keySpaceOf(BETA);
    const side = { storage: moving.storage, space };
    const map = new KeyMap(space, space);
    const applier = new Applier({ source: side, target: side, map, throttle: new Throttle() });
    const startTs = await moving.storage.timestamp();
    const commitTs = await moving.storage.timestamp();
    // An index: the store reads rows.
    const key = rowKey(100, 1);
    key.write('_i', 9, 'latin1');
    await applier.apply([{ startTs, commitTs, key: space.encode(key)!, op: 'put', value: Buffer.from('x') }]);
  });
  afterAll(() => {
    own?.close();
  });

  test('a place that is somebody else’s is refused', async () => {
    await expect(moving.begin(BETA.name, { keyNumber: ALPHA.number })).rejects.toThrow(
      'among the keys of tenant alpha',
    );
    expect(await moving.isMoving(BETA.name)).toBe(false);
  });

  test('nothing is copied while a bulk load is on its way', async () => {
    const link = moving.stack.store.link!;
    const space = keySpaceOf({ name: 'own', number: 0 });
    const { context, address } = (await own.locate(space, rowKey(100, 1)))!;
    await moving.begin(BETA.name, BETA_AWAY);
    link.hold();
    let answered = false;
    const load = own.pd
      .grpc({ ...MULTI_INGEST, timeoutMs: 2 * WAIT_MS }, { context, ssts: [] }, address)
      .catch(() => undefined)
      .finally(() => (answered = true));
    try {
      const deadline = Date.now() + WAIT_MS;
      const isOpen = async (): Promise<boolean> => {
        const all = await Promise.all(moving.envoys.map((envoy) => statusOf(envoy)));
        return all.some(({ tenants }) => (tenants[BETA.name]?.openStreams ?? 0) > 0);
      };
      while (!(await isOpen())) {
        if (answered || Date.now() > deadline) throw new Error('the load does not wait for the store');
        await sleep(50);
      }
      startWorker({ ...LIMITS, obeyMs: 2000 });
      const { state, problem } = await moving.until(BETA.name, (record) => record.problem !== undefined);
      expect([state, problem]).toEqual([
        'planned',
        expect.stringContaining('where requests are still on their way'),
      ]);
      expect(answered).toBe(false);
    } finally {
      link.free();
    }
    await load;
    await moving.follows(BETA.name);
  });

  test('it is not switched while the clocks of the Envoys are ahead of the worker’s', async () => {
    const mesh = moving.heard();
    const behind: Mesh = {
      ...mesh,
      tell: (tenant, { move, ...orders }) => {
        const until = move?.until === undefined ? {} : { until: move.until - AHEAD_MS };
        return mesh.tell(tenant, { ...orders, ...(move ? { move: { ...move, ...until } } : {}) });
      },
    };
    startWorker({ ...LIMITS, obeyMs: 2000 }, behind);
    await moving.wish(BETA.name);
    const { switches } = await moving.until(BETA.name, ({ problem = '' }) =>
      problem.includes('where it was over already'),
    );
    expect(switches).toBe(0);
    await moving.follows(BETA.name);
    await moving.stopWorker();
    startWorker();
    await moving.switchTo(BETA.name, 2);
    await moving.finish(BETA.name, 'cancel');
  });
});

describe('of a transaction that is open for long', () => {
  let tidb: Tidb;
  let session: Session;
  beforeAll(async () => {
    tidb = await moving.stack.startTidb({ tenant: ALPHA.name });
    session = await tidb.connect();
    for (const statement of [
      'CREATE DATABASE shop',
      'CREATE TABLE shop.t (id INT PRIMARY KEY, v INT)',
      'INSERT INTO shop.t VALUES (1, 1)',
    ])
      await session.query(statement);
    startWorker();
    await moving.begin(ALPHA.name, AWAY);
    await moving.follows(ALPHA.name);
  });
  afterAll(async () => {
    await session?.close();
  });

  test('it is shown when it is idle, goes on after a switch, and commits', async () => {
    const idle = await tidb.connect();
    await idle.query('BEGIN PESSIMISTIC');
    await idle.query('UPDATE shop.t SET v = v + 1 WHERE id = 1');
    await sleep(1000);
    expect((await look(ALPHA.name)).oldestLock).toMatchObject({ table: 'shop.t', isPessimistic: true });
    const { switches } = await moving.record(ALPHA.name);
    await moving.switchTo(ALPHA.name, switches + 1);
    await idle.query('UPDATE shop.t SET v = v + 1 WHERE id = 1');
    await idle.query('COMMIT');
    await idle.close();
    expect(await session.query('SELECT v FROM shop.t')).toEqual([{ v: 3 }]);
  });
});
