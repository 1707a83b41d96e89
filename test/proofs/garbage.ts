/** Collects garbage of the whole store, as far as a move allows. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import * as grpc from '@grpc/grpc-js';
import { safePoints } from '../../src-ts/pd/cluster.ts';
import type { Collected } from '../harness/stack/inspect.ts';
import type { Moving } from '../move/moving.ts';

/** pdpb.UpdateGCSafePointRequest: the command itself never moves PD's safe point. */
function request(clusterId: bigint, safePoint: bigint): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.Varint).uint64(clusterId).join();
  writer.tag(2, WireType.Varint).uint64(safePoint);
  return Buffer.from(writer.finish());
}

/** Takes all versions that the move of this tenant does not keep. */
export async function collectGarbage(moving: Moving, tenant: string): Promise<Collected> {
  const { services } = await safePoints(moving.pd);
  const kept = services.find(({ service }) => service === `tidb-mesh/move/${tenant}`);
  if (!kept) throw new Error(`the move of ${tenant} keeps nothing`);
  const message = request(await moving.storage.clusterId(), kept.safePoint);
  const asIs = (bytes: Buffer): Buffer => bytes;
  await new Promise<void>((resolve, reject) => {
    moving.pd
      .client(moving.pd.url.host)
      .makeUnaryRequest(
        '/pdpb.PD/UpdateGCSafePoint',
        asIs,
        asIs,
        message,
        new grpc.Metadata(),
        { deadline: Date.now() + 10_000 },
        (error) => (error ? reject(error) : resolve()),
      );
  });
  return moving.stack.store.inspect.collectGarbage();
}
