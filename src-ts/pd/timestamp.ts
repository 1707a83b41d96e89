/** PD's timestamps: milliseconds since 1970 in the upper bits, a counter in the lower 18 (client-go oracle.ComposeTS). */
import type { Endpoint } from './endpoint.ts';
import { Message, bytes, number } from './wire.ts';

const LOGICAL_BITS = 18n;

/** The moment that a timestamp names, ms since 1970. */
export function millisOf(timestamp: bigint): number {
  return Number(timestamp >> LOGICAL_BITS);
}

export async function clusterId(pd: Endpoint): Promise<bigint> {
  const { id } = (await pd.http('GET', '/pd/api/v1/cluster')) as { id: string | number };
  return BigInt(id);
}

/**
 * A timestamp of this moment, by pdpb.PD/Tso at PD's leader.
 * @throws CallError when `--pd` is not the leader
 */
export async function timestamp(pd: Endpoint): Promise<bigint> {
  const header = bytes(1, number(1, await clusterId(pd)));
  const request = Buffer.concat([header, number(2, 1)]);
  const answer = new Message(await pd.grpc('/pdpb.PD/Tso', request, { stream: true })).message(3);
  return (answer.number(1) << LOGICAL_BITS) | answer.number(2);
}
