/**
 * A tenant moves between two storage layers whose clocks, and whose revisions of etcd, are ahead of or behind each other. A client of
 * timestamps and a watch of etcd go on all the time. `npm run test:proofs -- between-clocks`.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { Applier, type Row } from '../../src-ts/move/engine/apply.ts';
import { clocksApart } from '../../src-ts/move/other-pd.ts';
import { KeyMap, keySpaceOf } from '../../src-ts/move/engine/key-space.ts';
import { Storage } from '../../src-ts/move/engine/storage.ts';
import { Throttle } from '../../src-ts/move/engine/throttle.ts';
import { ask } from '../../src-ts/move/wishes.ts';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putIfUnchanged, snapshot } from '../../src-ts/pd/etcd.ts';
import { rowKey } from '../harness/support/keys.ts';
import { Layers } from './layers.ts';
import { Timestamps } from './timestamps.ts';

const ALPHA = { name: 'alpha', number: 1 };
/** Behind by less than the worker waits, and by more. */
const LITTLE_MS = 800;
const MUCH_MS = 6000;
/** By more than a slow switch takes. */
const FAR_MS = 20_000;
const REVISIONS = 3000;
const AT_ONCE = 64;

let layers: Layers;
let asAlpha: Endpoint;
let pump: Timestamps;
let reached: (step: string) => void | Promise<void> = () => undefined;
let steps: string[] = [];

beforeAll(async () => {
  layers = await Layers.start(['a', 'b'], [ALPHA]);
  asAlpha = new Endpoint({
    pd: `https://${layers.of('a').stack.pd.meshAddress}`,
    ...(await layers.clientCerts()),
  });
  const storage = new Storage(new Endpoint({ pd: layers.of('a').stack.pd.directUrl }));
  const space = keySpaceOf(ALPHA);
  const key = rowKey(100, 1);
  key.write('_i', 9, 'latin1');
  const [startTs, commitTs] = [await storage.timestamp(), await storage.timestamp()];
  const rows: Row[] = [{ startTs, commitTs, key: space.encode(key)!, op: 'put', value: Buffer.from('x') }];
  const side = { storage, space };
  await new Applier({
    source: side,
    target: side,
    map: new KeyMap(space, space),
    throttle: new Throttle(),
  }).apply(rows);
  storage.close();
  pump = new Timestamps(asAlpha);
});
beforeEach(() => {
  reached = () => undefined;
  steps = [];
  pump.wrong.length = 0;
});
afterAll(async () => {
  await pump?.stop();
  asAlpha?.close();
  await layers?.end();
});

async function inStep(): Promise<void> {
  const [a, b] = [layers.of('a').pd, layers.of('b').pd];
  while (Math.abs(await clocksApart(a, b)) > 100) await sleep(100);
}

const held = async (): Promise<string> => {
  const { writesHeldMs, allHeldMs } = (await layers.record()).history.at(-1)!;
  return `writes held ${writesHeldMs} ms, all ${allHeldMs} ms`;
};

describe('clocks', () => {
  test('a move between clocks that are seconds apart is not begun', async () => {
    await layers.jump('a', MUCH_MS);
    await expect(layers.begin('a', 'b')).rejects.toThrow(/the clock of PD of storage a is [\d.]+ s ahead/);
    await inStep();
    await layers.begin('a', 'b');
    layers.startWorker({
      reached: async (step) => {
        steps.push(step);
        await reached(step);
      },
    });
    await layers.follows();
    await pump.start();
    await pump.more(20);
  });

  test('the target is behind by less than two seconds: everything waits for it', async () => {
    reached = async (step) => {
      if (step === 'caught up') await layers.jump('a', LITTLE_MS);
    };
    await layers.switches();
    console.log(
      `the target was ${LITTLE_MS} ms behind: ${await held()}; no timestamp for ${pump.longestMs} ms`,
    );
    await pump.more(50);
    expect(pump.wrong).toEqual([]);
  });

  test('the target is behind by more, before: nothing is held', async () => {
    await layers.jump('b', MUCH_MS);
    await expect(layers.switches()).rejects.toThrow(
      /the clock of PD at number 1 in storage a is [\d.]+ s behind/,
    );
    expect(steps).not.toContain('calm');
    await pump.more(50);
    expect((await layers.record()).from.storage).toBe('b');
  });

  test('the target is behind by more, in the middle: the tenant stays, and works', async () => {
    await inStep();
    await layers.follows();
    reached = async (step) => {
      if (step === 'caught up') await layers.jump('b', FAR_MS);
    };
    await expect(layers.switches()).rejects.toThrow(/the switch was not done: .* s behind/);
    const { from, switches } = await layers.record();
    expect([from.storage, switches]).toEqual(['b', 1]);
    await pump.more(50);
    expect(pump.wrong).toEqual([]);
    reached = () => undefined;
    await inStep();
    await layers.switches();
    expect((await layers.record()).from.storage).toBe('a');
    await pump.more(50);
  });

  test('the target is far ahead: no timestamp goes back', async () => {
    await layers.jump('b', FAR_MS);
    await layers.switches();
    await pump.more(50);
    // PD stands still until its time has come, and the way back is refused until then.
    await expect(layers.switches()).rejects.toThrow('s behind');
    await inStep();
    await layers.switches();
    await pump.more(50);
    expect(pump.wrong).toEqual([]);
  });

  test("a timestamp that is not later than the source's last one is refused by the filter", async () => {
    await layers.switches();
    await layers.stopWorker();
    const future = String(BigInt(Date.now() + MUCH_MS) << 18n);
    const before = pump.latest;
    await layers.edit((entry) => (entry['latestSeen'] = future));
    await sleep(1000);
    // What was on its way has come.
    const { count } = pump;
    await sleep(1000);
    expect(pump.count).toBe(count);
    await pump.more(20);
    expect(pump.latest).toBeGreaterThan(BigInt(future));
    expect(pump.latest).toBeGreaterThan(before);
    expect(pump.wrong).toEqual([]);
    layers.startWorker();
  });
});

describe('revisions of etcd', () => {
  const revision = async (name: string): Promise<bigint> =>
    (await snapshot(layers.of(name).pd, '/tidb-mesh/none')).revision;

  /** Raises a revision by puts. */
  async function raise(name: string): Promise<void> {
    for (let i = 0; i < REVISIONS; i += AT_ONCE)
      await Promise.all(
        Array.from({ length: AT_ONCE }, () =>
          putIfUnchanged(layers.of(name).pd, [], [{ key: '/tidb-mesh/.test', value: '' }]),
        ),
      );
  }

  test.each(['a', 'b', 'a'])(
    'those of %s are ahead by thousands: a switch brings the other one there',
    async (ahead) => {
      const { from } = await layers.follows();
      await raise(ahead);
      const before = await revision(from.storage ?? '');
      const began = Date.now();
      await layers.switches();
      const { from: now } = await layers.record();
      const after = await revision(now.storage ?? '');
      console.log(
        `from ${from.storage ?? ''} at ${before} to ${now.storage ?? ''} at ${after}: ${Date.now() - began} ms; ${await held()}`,
      );
      expect(now.storage).not.toBe(from.storage);
      expect(after).toBeGreaterThanOrEqual(before);
      await pump.more(20);
      expect(pump.wrong).toEqual([]);
    },
  );

  test('a name that is written at the source is there, and what is gone is gone', async () => {
    const { from } = await layers.follows();
    const key = '/tidb-mesh/alpha:/tidb/name';
    await putIfUnchanged(layers.of(from.storage ?? '').pd, [], [{ key, value: '1' }]);
    await layers.switches();
    const { from: now } = await layers.record();
    const { entries } = await snapshot(layers.of(now.storage ?? '').pd, key);
    expect(entries.map(({ value }) => value)).toEqual(['1']);
  });

  test('the way back is open at the end', async () => {
    const { switches } = await layers.follows();
    if (switches % 2 === 1) await layers.switches();
    await ask(layers.homeLayer.pd, ALPHA.name, 'cancel');
    const deadline = Date.now() + 60_000;
    while ((await layers.isMoving()) && Date.now() < deadline) await sleep(50);
    expect(await layers.isMoving()).toBe(false);
    await pump.more(20);
    expect(pump.wrong).toEqual([]);
  });
});
