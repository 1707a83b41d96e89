/** PD's etcd, spoken to by gRPC on PD's own port: etcdserverpb.KV of etcd's rpc.proto. */
import type { Endpoint } from './endpoint.ts';
import { Message, bytes, number } from './wire.ts';

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** 0 when the key does not go by itself. */
  readonly lease: bigint;
}

/** The first key behind all that begin with this one. */
function behind(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

/** RangeRequest and DeleteRangeRequest: key = 1, range_end = 2. */
function range(prefix: string): Buffer {
  const start = Buffer.from(prefix);
  return Buffer.concat([bytes(1, start), bytes(2, behind(start))]);
}

/** How many keys begin with this. */
export async function countKeys(pd: Endpoint, prefix: string): Promise<number> {
  const countOnly = number(9, 1);
  const answer = await pd.grpc('/etcdserverpb.KV/Range', Buffer.concat([range(prefix), countOnly]));
  return Number(new Message(answer).number(4));
}

/** The keys that begin with this. */
export async function entries(pd: Endpoint, prefix: string): Promise<Entry[]> {
  const answer = await pd.grpc('/etcdserverpb.KV/Range', range(prefix));
  return new Message(answer).messages(2).map((entry) => ({
    key: entry.text(1),
    value: entry.text(5),
    lease: entry.number(6),
  }));
}

/** Deletes the keys that begin with this; gives their number. */
export async function deletePrefix(pd: Endpoint, prefix: string): Promise<number> {
  const answer = await pd.grpc('/etcdserverpb.KV/DeleteRange', range(prefix));
  return Number(new Message(answer).number(2));
}
