/** Reads PD's timestamps: milliseconds since 1970 in the upper bits, a counter in the lower 18 (client-go oracle.ComposeTS). */
import type { Endpoint } from './endpoint.ts';
import { TsoRequestSchema, TsoResponseSchema } from './generated/pd/pdpb_pb.ts';

const LOGICAL_BITS = 18n;

const TSO = {
  path: '/pdpb.PD/Tso',
  request: TsoRequestSchema,
  answer: TsoResponseSchema,
  isStream: true,
  isRead: true,
} as const;

/** The time of a timestamp, ms since 1970. */
export function millisOf(timestamp: bigint): number {
  return Number(timestamp >> LOGICAL_BITS);
}

export async function clusterId(pd: Pick<Endpoint, 'http'>): Promise<bigint> {
  const { id } = (await pd.http('GET', '/pd/api/v1/cluster')) as { id: string | number };
  return BigInt(id);
}

/**
 * Gets a timestamp of this moment from PD's leader (pdpb.PD/Tso).
 * @throws CallError when no address of `--pd` is the leader
 */
export async function timestamp(pd: Endpoint, cluster = clusterId(pd)): Promise<bigint> {
  const header = { clusterId: await cluster };
  const answer = await pd.grpc(TSO, { header, count: 1 });
  return ((answer.timestamp?.physical ?? 0n) << LOGICAL_BITS) | (answer.timestamp?.logical ?? 0n);
}
