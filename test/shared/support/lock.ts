/** A lock on an index key, as a tenant's TiDB would leave it, through the mesh. */
import { expect } from '@jest/globals';
import type { Caller } from '../../e2e/support/caller.ts';
import { rowKey } from '../../harness/support/keys.ts';

/** PD's clock may be some milliseconds behind, and a scan does not see locks of its future. */
const MILLIS_AGO = 10_000;

export interface Lock {
  readonly key: Buffer;
  readonly startVersion: bigint;
}

/** Locks an index key of table 100 for a minute. */
export async function lockKey(caller: Caller, handle: number): Promise<Lock> {
  const key = rowKey(100, handle);
  // An index: the store reads rows.
  key.write('_i', 9, 'latin1');
  const { context } = await caller.regionOf(key);
  const startVersion = BigInt(Date.now() - MILLIS_AGO) << 18n;
  const prewrite = await caller.store('KvPrewrite', ['kvrpcpb.PrewriteRequest', 'kvrpcpb.PrewriteResponse'], {
    context,
    mutations: [{ op: 0, key, value: Buffer.from('value') }],
    primaryLock: key,
    startVersion,
    lockTtl: 60_000n,
    txnSize: 1n,
  });
  expect(prewrite).toMatchObject({ status: 'OK', fields: { errors: [] } });
  return { key, startVersion };
}
