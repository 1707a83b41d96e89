/**
 * What a move leaves behind, of tenants without a TiDB: ten at once, and one that is given up before it is followed.
 * `npm run test:proofs -- many`.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Applier, type Row } from '../../src-ts/move/apply.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/key-space.ts';
import { tenantAt, type Place } from '../../src-ts/move/place.ts';
import { Throttle } from '../../src-ts/move/throttle.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { labelRules } from '../../src-ts/pd/regions.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { Moving } from '../move/moving.ts';
import { rowKey } from '../harness/support/keys.ts';

const TEN: Tenant[] = Array.from({ length: 10 }, (_, i) => ({ name: `t${i}`, number: 10 + i }));
const SOLO: Tenant = { name: 'solo', number: 30 };
const AWAY = { keyNumber: 40 };
const ROWS = 300;

let moving: Moving;
/** Is awaited at each step of a worker. */
let reached: (step: string) => void | Promise<void> = () => undefined;
beforeAll(async () => {
  moving = await Moving.start([...TEN, SOLO], { startTidbs: false });
  for (const tenant of [...TEN, SOLO]) await load(tenant);
});
beforeEach(() => {
  reached = () => undefined;
});
afterAll(async () => {
  await moving?.end();
});

function startWorker(): void {
  moving.startWorker({ limits: { calmMs: 500 }, reached: (step) => reached(step) });
}

/** A key as a TiDB has it of an index: the store reads rows, so it gets none. */
function keyOf(handle: number): Buffer {
  const key = rowKey(100, handle);
  key.write('_i', 9, 'latin1');
  return key;
}

async function load({ name, number }: Tenant, place: Place = {}): Promise<void> {
  const space = keySpaceOf(tenantAt({ name, number }, place));
  const startTs = await moving.storage.timestamp();
  const commitTs = await moving.storage.timestamp();
  const rows = Array.from({ length: ROWS }, (_, i): Row => ({
    startTs,
    commitTs,
    key: space.encode(keyOf(i))!,
    op: 'put',
    value: Buffer.from(`${name} ${i}`),
  }));
  const target = { storage: moving.storage, space };
  await new Applier({ target, map: new KeyMap(space, space), throttle: new Throttle() }).apply(rows);
}

/** What PD keeps for a tenant's move. */
async function kept(name: string): Promise<string[]> {
  const rules = (await labelRules(moving.pd)).map(({ id }) => id).filter((id) => id.endsWith(`${name}.move`));
  const points = (await safePoints(moving.pd)).services.map(({ service }) => service);
  return [...rules, ...points.filter((service) => service.endsWith(`/${name}`))];
}

describe('ten tenants at once', () => {
  const to = ({ number }: Tenant): Place => ({ keyNumber: number + 100 });
  test('are moved by one worker, there and back and there', async () => {
    startWorker();
    await Promise.all(TEN.map((tenant) => moving.begin(tenant.name, to(tenant))));
    await Promise.all(TEN.map(({ name }) => moving.follows(name)));
    for (const { name } of TEN) expect([name, await moving.diff(name)]).toEqual([name, []]);
    for (const count of [1, 2, 3]) await Promise.all(TEN.map(({ name }) => moving.switchTo(name, count)));
    const all = await Promise.all(TEN.map(({ name }) => moving.record(name)));
    console.log(
      `ten at once: held for ms, writes and all: ${all
        .flatMap(({ history }) => history.map((one) => `${one.writesHeldMs}/${one.allHeldMs}`))
        .join(' ')}; memory ${Math.round(process.memoryUsage().rss / 2 ** 20)} MB`,
    );
    for (const { name } of TEN) expect([name, await moving.diff(name)]).toEqual([name, []]);
    await Promise.all(TEN.map(({ name }) => moving.finish(name, 'complete')));
    await moving.stopWorker();
    for (const tenant of TEN) {
      expect(await moving.keysAt(tenant.name, to(tenant))).toBe(ROWS);
      expect(await moving.keysAt(tenant.name, {})).toBe(0);
      expect(await kept(tenant.name)).toEqual([]);
    }
  });
});

describe('a move that is given up', () => {
  test.each(['before copying', 'after copying', 'copied', 'before following'])(
    '%s: the source is as it was, and nothing is left at the target',
    async (step) => {
      let asked = false;
      reached = async (now) => {
        if (now !== step || asked) return;
        asked = true;
        await ask(moving.pd, SOLO.name, 'cancel');
      };
      startWorker();
      await moving.begin(SOLO.name, AWAY);
      await moving.isOver(SOLO.name);
      await moving.stopWorker();
      expect(asked).toBe(true);
      expect(await moving.keysAt(SOLO.name, {})).toBe(ROWS);
      expect(await moving.keysAt(SOLO.name, AWAY)).toBe(0);
      expect(await kept(SOLO.name)).toEqual([]);
      expect((await moving.mesh.vms()).flatMap(({ moves }) => moves)).toEqual([]);
    },
  );
});
