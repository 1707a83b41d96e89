/**
 * Ten tenants at once go from one storage layer to another, back, and there again, by one worker whose moves share a budget. None has a
 * TiDB. `npm run test:proofs -- between-many`.
 */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { labelRules } from '../../src-ts/pd/regions.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { rowKey } from '../harness/support/keys.ts';
import { Layers, spread, WAIT_MS } from './layers.ts';

const TEN: Tenant[] = Array.from({ length: 10 }, (_, i) => ({ name: `t${i}`, number: 10 + i }));
const ROWS = 300;
const VALUE_BYTES = 512;
/** Of all ten copies together. */
const BYTES_PER_SECOND = 30_000;
/** Ten at once wait for each other. How long they hold is not judged. */
const LIMITS = { calmMs: 60_000, holdMs: 60_000, allHeldMs: 60_000, obeyMs: 60_000, maxLagMs: 60_000 };
const KIB = 1024;
const NAMES = ['a', 'b'];

let layers: Layers;
beforeAll(async () => {
  layers = await Layers.start(NAMES, TEN, { a: { regionSize: 20_000 } });
  for (const tenant of TEN) await load(tenant);
});
afterAll(async () => {
  await layers?.end();
});

/** A key as a TiDB has it of an index: the store reads rows, so it gets none. */
function keyOf(handle: number): Buffer {
  const key = rowKey(100, handle);
  key.write('_i', 9, 'latin1');
  return key;
}

async function load({ name, number }: Tenant): Promise<void> {
  const space = keySpaceOf({ name, number });
  const storage = new Storage(layers.of('a').pd);
  const [startTs, commitTs] = [await storage.timestamp(), await storage.timestamp()];
  const rows = Array.from({ length: ROWS }, (_, i): Row => ({
    startTs,
    commitTs,
    key: space.encode(keyOf(i))!,
    op: 'put',
    value: Buffer.alloc(VALUE_BYTES, `${name} ${i} `),
  }));
  const side = { storage, space };
  const map = new KeyMap(space, space);
  await new Applier({ source: side, target: side, map, throttle: new Throttle() }).apply(rows);
  storage.close();
}

/** What the PDs keep for a tenant's move. */
async function kept(tenant: string): Promise<string[]> {
  const all = await Promise.all(
    NAMES.map(async (name) => {
      const { pd } = layers.of(name);
      const rules = (await labelRules(pd)).map(({ id }) => id).filter((id) => id.endsWith(`${tenant}.move`));
      const points = (await safePoints(pd)).services.map(({ service }) => service);
      return [...rules, ...points.filter((service) => service.endsWith(`/${tenant}`))];
    }),
  );
  return all.flat();
}

test('ten tenants are copied within the budget that they share', async () => {
  const all = new Throttle({ bytesPerSecond: BYTES_PER_SECOND });
  for (const { name } of TEN) await layers.begin('a', 'b', name);
  const began = Date.now();
  layers.startWorker({
    limits: LIMITS,
    engineOf: (record, isMine) => layers.engineOf(record, isMine, all),
  });
  const records = await Promise.all(TEN.map(({ name }) => layers.follows(name)));
  const seconds = (Date.now() - began) / 1000;
  const bytes = records.reduce((sum, { copied }) => sum + (copied?.bytes ?? 0), 0);
  console.log(
    `ten copied: ${(bytes / KIB).toFixed(0)} KiB in ${seconds.toFixed(1)} s, ${(bytes / KIB / seconds).toFixed(0)} of ${(BYTES_PER_SECOND / KIB).toFixed(0)} KiB/s`,
  );
  expect(bytes).toBeGreaterThan(TEN.length * ROWS * VALUE_BYTES);
  // What is read last is paid by whoever comes next: a tenant's keys.
  expect(bytes).toBeLessThanOrEqual(BYTES_PER_SECOND * seconds + bytes / TEN.length);
});

test.each([1, 2, 3])('switch %i: all at once', async (count) => {
  const began = Date.now();
  const outcomes = await Promise.allSettled(TEN.map(({ name }) => layers.switches(name, 2 * WAIT_MS)));
  const records = await Promise.all(TEN.map(({ name }) => layers.record(name)));
  const held = records.flatMap(({ history }) => history.at(-1) ?? []);
  console.log(
    `switch ${count}, ten at once in ${((Date.now() - began) / 1000).toFixed(1)} s: held for ms, p50 / worst: writes ${spread(held.map((one) => one.writesHeldMs))}, all ${spread(held.map((one) => one.allHeldMs))}; memory ${Math.round(process.memoryUsage().rss / 2 ** 20)} MB`,
  );
  expect(outcomes.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []))).toEqual([]);
  const at = count % 2 === 1 ? 'b' : 'a';
  for (const { from, tenant } of records)
    expect([from.storage, layers.entry(tenant).storage]).toEqual([at, at]);
});

test('both sides of each are equal, and nothing is left of the moves at their end', async () => {
  for (const { name } of TEN) expect([name, await layers.diff(name)]).toEqual([name, []]);
  await Promise.all(TEN.map(({ name }) => layers.finish('complete', name)));
  await layers.stopWorker();
  for (const { name } of TEN) {
    expect([name, await layers.keysAt('b', name), await layers.keysAt('a', name)]).toEqual([name, ROWS, 0]);
    expect(await kept(name)).toEqual([]);
    expect(layers.entry(name)).toMatchObject({ storage: 'b', movedFrom: { storage: 'a' } });
    expect(layers.entry(name)).not.toHaveProperty('move');
  }
  for (const name of NAMES) expect(await layers.movesAt(name)).toEqual([]);
});
