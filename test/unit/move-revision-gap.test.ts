/** A storage layer that is new is far behind in etcd's revisions: a move closes the gap while it goes on. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { raiseRevision } from '../../src-ts/move/engine/etcd.ts';
import { gapText, RevisionGap, revisionsBehind } from '../../src-ts/move/engine/revision-gap.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';

const BEHIND = 201_500;
let source: EtcdModel;
let target: EtcdModel;
let now: number;

beforeEach(() => {
  [source, target] = [new EtcdModel(), new EtcdModel()];
  source.advance(BigInt(BEHIND));
  now = 60_000;
  jest.spyOn(performance, 'now').mockImplementation(() => now);
});
afterEach(() => void jest.restoreAllMocks());

const behind = (): Promise<number> => revisionsBehind(source.endpoint, target.endpoint);

/** Waits until what was begun is done. */
async function settled(): Promise<number> {
  let [before, is] = [-1, await behind()];
  while (is !== before) {
    await sleep(20);
    [before, is] = [is, await behind()];
  }
  return is;
}

test('is raised by 500 a second, and by no more than a thousand at once', async () => {
  const gap = new RevisionGap(source.endpoint, target.endpoint);
  gap.raise();
  gap.raise();
  expect(await settled()).toBe(BEHIND - 1000);
  expect(gap.behind).toBe(BEHIND);
  now += 200;
  gap.raise();
  expect(await settled()).toBe(BEHIND - 1100);
  // A worker that stood still does not make up for it.
  now += 3_600_000;
  gap.raise();
  expect(await settled()).toBe(BEHIND - 2100);
  gap.close();
  now += 1000;
  gap.raise();
  expect(await settled()).toBe(BEHIND - 2100);
});

test('goes no further than the source, and hides no failure at the switch', async () => {
  target.advance(BigInt(BEHIND - 10));
  const gap = new RevisionGap(source.endpoint, target.endpoint);
  gap.raise();
  expect(await settled()).toBe(0);
  source.advance(5n);
  target.failAfter = 0;
  now += 1000;
  gap.raise();
  await settled();
  await expect(raiseRevision(source.endpoint, target.endpoint)).rejects.toThrow();
});

test('says how long it takes until a switch can raise the rest', async () => {
  expect(gapText(200_000)).toBeUndefined();
  expect(gapText(BEHIND)).toBe(
    'etcd of the target is 201500 revisions behind, and is being raised: it can be switched in about 3 s',
  );
  expect(gapText(10_000_000)).toContain('about 5 h');
  await expect(raiseRevision(source.endpoint, target.endpoint)).rejects.toMatchObject({
    message: 'etcd of the target is 201500 revisions behind, more than 200000',
    hint: expect.stringContaining('`move show` says how long'),
  });
  expect(await behind()).toBe(BEHIND);
});
