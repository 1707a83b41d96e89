/**
 * A tenant under load is moved while Envoy and PD are replaced, a VM does not obey, or an old configuration comes. No commit may be lost
 * or invented. Minutes: `npm run test:proofs -- faults`.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { summaryOf } from '../../src-ts/move/diagnosis/show.ts';
import type { Mesh, Order } from '../../src-ts/move/filters/mesh.ts';
import type { Tenant } from '../../src-ts/tenants/tenant.ts';
import { Moving } from '../move/moving.ts';
import { WAIT_MS } from '../move/waiting.ts';
import { OnceAt } from './once-at.ts';
import { committed, UnderLoad } from './under-load.ts';

const ALPHA: Tenant = { name: 'alpha', number: 1 };
const AWAY = { keyNumber: 5 };
let moving: Moving;
let load: UnderLoad;
beforeAll(async () => {
  moving = await Moving.start([ALPHA, { name: 'beta', number: 2 }], { startTidbs: false });
  load = await UnderLoad.start(await moving.stack.startTidb({ tenant: 'alpha' }));
});
afterAll(async () => {
  await moving?.end();
});

describe('while the tenant is followed and switched', () => {
  const once = new OnceAt();
  /** A VM that there is not, which obeys up to this phase. */
  let deafBehind: Order['phase'] | undefined;

  beforeAll(() => {
    const mesh: Mesh = {
      ...moving.heard(),
      vms: async () => {
        const vms = await moving.mesh.vms();
        const [first] = vms;
        const order = moving.ordersOf('alpha')?.move;
        if (deafBehind === undefined || !first || !order) return vms;
        const obeys = ['prepare', 'calm', 'over', deafBehind].includes(order.phase);
        return [...vms, { ...first, name: 'store:20160 (VM 99)', moves: obeys ? first.moves : [] }];
      },
    };
    moving.startWorker({
      mesh,
      limits: { calmMs: 1000, obeyMs: 4000, holdMs: 8000 },
      reached: once.reached,
    });
  });
  afterAll(async () => {
    await moving.stopWorker();
  });

  test('it is copied', async () => {
    await moving.begin('alpha', AWAY);
    await moving.follows('alpha');
    expect(await moving.diff('alpha')).toEqual([]);
  });

  test.each(['calm', 'drain'] as const)(
    'a VM that obeys nothing behind %s: the tenant stays, writes go on, and the VM is named',
    async (phase) => {
      const before = await moving.record('alpha');
      let since = 0;
      const ledger = await load.run(`a deaf VM behind ${phase}`, async () => {
        deafBehind = phase;
        await moving.wish('alpha');
        const { switches } = await moving.until('alpha', ({ problem }) => problem !== undefined);
        expect(switches).toBe(before.switches);
        expect(summaryOf(await moving.record('alpha')).problem).toContain('store:20160 (VM 99)');
        since = Date.now();
        // Its deadline is over by then, whoever tells it.
        await sleep(3000);
      });
      deafBehind = undefined;
      expect(Date.now() - since).toBeGreaterThan(2000);
      expect(committed(ledger)).toBeGreaterThan(20);
      expect(await moving.follows('alpha')).toMatchObject({ from: before.from });
    },
  );

  test('an old configuration after a newer one: the tenant is held until the worker has told the newer one again', async () => {
    await load.run('an old configuration', async () => {
      const old = moving.ordersOf('alpha')!;
      const { switches } = await moving.record('alpha');
      await moving.switchTo('alpha', switches + 1);
      await moving.stack.configure(moving.config({ alpha: old }));
      const phases = async (): Promise<string[]> =>
        (await moving.mesh.vms()).flatMap(({ moves }) => moves.map(({ phase }) => phase));
      const deadline = Date.now() + WAIT_MS;
      for (const isWanted of [true, false])
        while ((await phases()).includes('outdated') !== isWanted) {
          if (Date.now() > deadline) throw new Error((await phases()).join());
          await sleep(20);
        }
      await moving.switchTo('alpha', switches + 2);
    });
  });

  test.each([
    ['Envoy is killed and replaced', 'fence', () => moving.stack.envoy!.restart({ hard: true })],
    ['Envoy is killed and replaced', 'final', () => moving.stack.envoy!.restart({ hard: true })],
    ['Envoy is killed and replaced', 'committed', () => moving.stack.envoy!.restart({ hard: true })],
    ['PD is killed and replaced', 'drain', () => moving.stack.pd.restart()],
    ['PD is killed and replaced', 'final', () => moving.stack.pd.restart()],
    ['PD is killed and replaced', 'after committing', () => moving.stack.pd.restart()],
  ])('%s in %s: nothing is lost', async (_, step, act) => {
    const { switches } = await moving.record('alpha');
    const before = once.count;
    await load.run(`a replacement in ${step}`, async () => {
      once.set(step, act);
      await moving.switchTo('alpha', switches + 1);
      expect(once.count).toBe(before + 1);
    });
  });

  test('PD is killed and replaced while changes are followed', async () => {
    await load.run('PD is replaced', async () => {
      await moving.stack.pd.restart();
      await sleep(1000);
      expect(await moving.diff('alpha')).toEqual([]);
    });
  });

  test('it is given up at home: nothing is left of the copy', async () => {
    const { switches } = await moving.record('alpha');
    if (switches % 2 === 1) await moving.switchTo('alpha', switches + 1);
    const keys = await moving.keysAt('alpha', {});
    await moving.finish('alpha', 'cancel');
    expect(await moving.keysAt('alpha', AWAY)).toBe(0);
    expect(await moving.keysAt('alpha', {})).toBeGreaterThanOrEqual(keys);
  });
});
