/** Calls PD's etcd by gRPC on PD's own port: etcdserverpb.KV of etcd's rpc.proto. */
import type { Endpoint } from './endpoint.ts';
import {
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
} from './generated/etcd/rpc_pb.ts';

const RANGE = {
  path: '/etcdserverpb.KV/Range',
  request: RangeRequestSchema,
  answer: RangeResponseSchema,
} as const;
const DELETE_RANGE = {
  path: '/etcdserverpb.KV/DeleteRange',
  request: DeleteRangeRequestSchema,
  answer: DeleteRangeResponseSchema,
} as const;

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** 0 when the key has no lease. */
  readonly lease: bigint;
}

/** The first key behind all keys with this prefix. */
function behind(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

function range(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  const key = Buffer.from(prefix);
  return { key, rangeEnd: behind(key) };
}

/** Counts the keys with this prefix. */
export async function countKeys(pd: Endpoint, prefix: string): Promise<number> {
  return Number((await pd.grpc(RANGE, { ...range(prefix), countOnly: true })).count);
}

/** Reads the keys with this prefix. */
export async function entries(pd: Endpoint, prefix: string): Promise<Entry[]> {
  const { kvs } = await pd.grpc(RANGE, range(prefix));
  return kvs.map(({ key, value, lease }) => ({
    key: Buffer.from(key).toString(),
    value: Buffer.from(value).toString(),
    lease,
  }));
}

/** Deletes the keys with this prefix. Returns their number. */
export async function deletePrefix(pd: Endpoint, prefix: string): Promise<number> {
  return Number((await pd.grpc(DELETE_RANGE, range(prefix))).deleted);
}
