/** When the claim of a worker is over for an observer, whatever the clocks of both hosts show. */
import { expect, test } from '@jest/globals';
import { CLAIM_MS, Claims } from '../../src-ts/move/claims.ts';
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
