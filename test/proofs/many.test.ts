/**
 * What a move leaves behind, of tenants without a TiDB: ten at once, one that is given up in each state, one whose worker fails at each
 * step, and switches that are refused. `npm run test:proofs -- many`.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { dropLocks } from '../../src-ts/move/engine/locks.ts';
import { PREWRITE } from '../../src-ts/move/engine/methods.ts';
import { tenantAt, type Place } from '../../src-ts/move/place.ts';
import type { Tools } from '../../src-ts/move/steps/tools.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import { Op } from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import { labelRules } from '../../src-ts/pd/regions.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { Moving } from '../move/moving.ts';
import { rowKey } from '../harness/support/keys.ts';
import { UNDECIDED } from '../harness/support/switch-steps.ts';

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

function startWorker(limits: Tools['limits'] = {}): void {
  moving.startWorker({ limits: { calmMs: 1500, ...limits }, reached: (step) => reached(step) });
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
  const side = { storage: moving.storage, space };
  await new Applier({
    source: side,
    target: side,
    map: new KeyMap(space, space),
    throttle: new Throttle(),
  }).apply(rows);
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
  async function isAsBefore(): Promise<void> {
    expect(await moving.keysAt(SOLO.name, {})).toBe(ROWS);
    expect(await moving.keysAt(SOLO.name, AWAY)).toBe(0);
    expect(await kept(SOLO.name)).toEqual([]);
    expect((await moving.mesh.vms()).flatMap(({ moves }) => moves)).toEqual([]);
  }

  test.each([
    'before copying',
    'after copying',
    'copied',
    'before following',
    'after following',
    ...UNDECIDED,
  ])('%s: the source is as it was, and nothing is left at the target', async (step) => {
    let asked = false;
    reached = async (now) => {
      if (now !== step || asked) return;
      asked = true;
      await ask(moving.pd, SOLO.name, 'cancel');
    };
    startWorker();
    await moving.begin(SOLO.name, AWAY);
    if (UNDECIDED.includes(step)) await moving.wish(SOLO.name);
    await moving.isOver(SOLO.name);
    await moving.stopWorker();
    expect(asked).toBe(true);
    await isAsBefore();
  });

  test('after a reverse', async () => {
    startWorker();
    await moving.begin(SOLO.name, AWAY);
    await moving.switchTo(SOLO.name, 2);
    await moving.finish(SOLO.name, 'cancel');
    await moving.stopWorker();
    await isAsBefore();
  });

  test.each([...UNDECIDED, 'after committing', 'committed'])(
    '%s, where the worker fails once: the switch is done later, or given up',
    async (step) => {
      let failed = false;
      reached = (now) => {
        if (now !== step || failed) return;
        failed = true;
        throw new Error('the worker fails here');
      };
      startWorker();
      await moving.begin(SOLO.name, AWAY);
      await moving.switchTo(SOLO.name, 2);
      await moving.finish(SOLO.name, 'cancel');
      await moving.stopWorker();
      expect(failed).toBe(true);
      await isAsBefore();
    },
  );
});

describe('a switch that is refused', () => {
  test('where somebody else has keys: they stay', async () => {
    const other = { name: 'other', number: 41 };
    await load(other);
    await expect(moving.begin(SOLO.name, { keyNumber: 41 })).rejects.toThrow('there are keys at number 41');
    // They come behind the check.
    await moving.begin(SOLO.name, { keyNumber: 42 });
    await load({ name: 'other', number: 42 });
    startWorker();
    const { state } = await moving.until(SOLO.name, ({ problem }) => problem !== undefined);
    expect(state).toBe('copying');
    expect((await moving.record(SOLO.name)).problem).toContain('that the move has not written');
    await moving.finish(SOLO.name, 'cancel');
    await moving.stopWorker();
    for (const keyNumber of [41, 42]) expect(await moving.keysAt(SOLO.name, { keyNumber })).toBe(ROWS);
    expect(await moving.keysAt(SOLO.name, {})).toBe(ROWS);
  });

  test('while a transaction that has begun to commit holds the feed back', async () => {
    startWorker({ maxLagMs: 1500 });
    await moving.begin(SOLO.name, AWAY);
    await moving.follows(SOLO.name);
    const space = keySpaceOf({ ...SOLO, ...moving.ordersOf(SOLO.name)!.place } as Tenant);
    const key = space.encode(keyOf(9999))!;
    const startVersion = await moving.storage.timestamp();
    const mutations = [{ op: Op.Put, key, value: Buffer.from('x') }];
    const fields = { mutations, primaryLock: key, startVersion, lockTtl: 60_000n };
    const errors = await moving.storage.atRegion(space, key, async (located) => {
      const done = await moving.storage.ask(PREWRITE, { context: located.context, ...fields }, located);
      return done.regionError ? { regionError: done.regionError } : { value: done.errors.length };
    });
    expect(errors).toBe(0);
    await sleep(2500);
    await moving.wish(SOLO.name);
    const { problem, switches } = await moving.until(SOLO.name, (record) => record.problem !== undefined);
    expect(problem).toMatch(/the target is \d+ ms behind, more than 1500/);
    expect(switches).toBe(0);
    await dropLocks({ storage: moving.storage, space });
    await moving.switchTo(SOLO.name, 2);
    await moving.finish(SOLO.name, 'cancel');
    await moving.stopWorker();
  });
});
