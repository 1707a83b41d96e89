/** When the claim of a worker is over for an observer, whatever the clocks of both hosts show. */
import { expect, test } from '@jest/globals';
import { CLAIM_MS, Claims, workedOn } from '../../src-ts/move/claims.ts';
import { moves, save, update, type MoveRecord } from '../../src-ts/move/record.ts';
import { EtcdModel } from '../harness/support/etcd-model.ts';
import { moveRecord } from '../harness/support/move-record.ts';

const seen = (revision: bigint, tenant = 'alpha'): Parameters<Claims['isOver']>[0] => ({
  // By a clock that is a year ahead, and by one that is behind.
  record: moveRecord({ tenant, worker: { id: 'a', until: revision % 2n === 0n ? 9e15 : 0 } }),
  revision,
});

test('a claim is over when the record has not changed for its time', () => {
  const claims = new Claims();
  expect(claims.isOver(seen(1n), 0)).toBe(false);
  expect(claims.isOver(seen(1n), CLAIM_MS - 1)).toBe(false);
  expect(claims.isOver(seen(2n), CLAIM_MS)).toBe(false);
  expect(claims.isOver(seen(1n, 'beta'), CLAIM_MS)).toBe(false);
  expect(claims.isOver(seen(2n), 2 * CLAIM_MS - 1)).toBe(false);
  expect(claims.isOver(seen(2n), 2 * CLAIM_MS)).toBe(true);
  expect(claims.isOver(seen(1n, 'beta'), 2 * CLAIM_MS)).toBe(true);
});

/** By clocks that are an hour apart: of a worker that writes its record, and of one that has died. */
test.each([
  ['ahead', 3_600_000],
  ['behind', -3_600_000],
])('who works is told whatever the clocks show: the worker’s is %s', async (_, apartMs) => {
  const { endpoint } = new EtcdModel({});
  const workerOf = (): Pick<MoveRecord, 'worker'> => ({
    worker: { id: 'a', until: Date.now() + apartMs + CLAIM_MS },
  });
  for (const tenant of ['lives', 'died'])
    await save(endpoint, { record: moveRecord({ tenant, ...workerOf() }), revision: 0n });
  await save(endpoint, { record: moveRecord({ tenant: 'none' }), revision: 0n });
  const beat = setInterval(
    () => void update(endpoint, 'lives', (record) => ({ ...record, ...workerOf() })),
    50,
  );
  try {
    expect([...(await workedOn(endpoint, await moves(endpoint), 1000))]).toEqual(['lives']);
  } finally {
    clearInterval(beat);
  }
});
