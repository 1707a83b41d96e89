/** Collects garbage of the whole store, as far as a move allows. */
import * as grpc from '@grpc/grpc-js';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import type { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { entries, putIfUnchanged } from '../../src-ts/pd/etcd.ts';
import { clusterId } from '../../src-ts/pd/timestamp.ts';
import { timestampIn } from '../../src-ts/tenants/holders.ts';
import type { Collected } from '../harness/stack/inspect.ts';
import type { Stack } from '../harness/stack/stack.ts';
import { encode, type Fields } from '../harness/support/messages.ts';
import type { Moving } from '../move/moving.ts';

/** The command itself moves neither PD's safe point nor that of TiDB's collector. */
async function call(pd: Endpoint, method: string, fields: Fields): Promise<void> {
  const header = { clusterId: await clusterId(pd) };
  const message = Buffer.from(encode(`pdpb.${method}Request`, { header, ...fields }));
  const asIs = (bytes: Buffer): Buffer => bytes;
  const options = { deadline: Date.now() + 10_000 };
  await new Promise<void>((resolve, reject) => {
    pd.client(pd.url.host).makeUnaryRequest(
      `/pdpb.PD/${method}`,
      asIs,
      asIs,
      message,
      new grpc.Metadata(),
      options,
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

/** Takes all versions of a store that nobody needs who reads at that timestamp or later. */
async function collectBelow(stack: Stack, pd: Endpoint, safePoint: bigint): Promise<Collected> {
  await call(pd, 'UpdateGCSafePoint', { safePoint });
  return stack.store.inspect.collectGarbage();
}

/** The same in the two steps of TiDB's collector. The first one says to others who need history that it is gone. */
export async function collectAsTidb(stack: Stack, pd: Endpoint, safePoint: bigint): Promise<Collected> {
  const own = { serviceId: Buffer.from('gc_worker'), TTL: 2n ** 63n - 1n };
  await call(pd, 'UpdateServiceGCSafePoint', { ...own, safePoint });
  return collectBelow(stack, pd, safePoint);
}

/**
 * A round of TiDB's collector as of now, as far as all let it whom it asks: TiDBs' oldest transactions in etcd, and services in PD
 * (gc_worker.go, calcNewSafePoint and runGCJob). It does not wait for sessions.
 */
export async function collectRound(stack: Stack, pd: Endpoint, now: bigint): Promise<Collected> {
  const starts = (await entries(pd, '/tidb/server/minstartts')).flatMap(
    ({ value }) => timestampIn(value) ?? [],
  );
  const wanted = [now, ...starts.map((start) => start - 1n)].reduce((a, b) => (a < b ? a : b));
  const own = { serviceId: Buffer.from('gc_worker'), TTL: 2n ** 63n - 1n };
  await call(pd, 'UpdateServiceGCSafePoint', { ...own, safePoint: wanted });
  const { services } = await safePoints(pd);
  const safePoint = services.map((one) => one.safePoint).reduce((a, b) => (a < b ? a : b), wanted);
  const key = '/tidb/store/gcworker/saved_safe_point';
  await putIfUnchanged(pd, [], [{ key, value: String(safePoint) }]);
  return collectBelow(stack, pd, safePoint);
}

/** Takes all versions that the move of this tenant does not keep. */
export async function collectGarbage({ pd, stack }: Moving, tenant: string): Promise<Collected> {
  const { services } = await safePoints(pd);
  const kept = services.find(({ service }) => service === `tidb-mesh/move/${tenant}`);
  if (!kept) throw new Error(`the move of ${tenant} keeps nothing`);
  return collectBelow(stack, pd, kept.safePoint);
}
