/** Compares both sides of a move, while it goes on. */
import { CommandError } from '../errors.ts';
import { Endpoint, type EndpointOptions } from '../pd/endpoint.ts';
import { diff, type DiffResult } from './diff.ts';
import { sidesOf } from './engine-of.ts';
import type { MoveRecord } from './record.ts';
import { Storage } from './storage.ts';
import { Throttle } from './throttle.ts';

/**
 * Compares at the latest timestamp up to which the target is known to be complete.
 * @throws CommandError when the target does not follow yet
 */
export async function compareSides(
  options: EndpointOptions,
  record: MoveRecord,
  onProgress: (done: number, of: number) => void,
): Promise<DiffResult> {
  const { resolvedTs = '0' } = (record.progress ?? {}) as { resolvedTs?: string };
  if (record.state !== 'following' || resolvedTs === '0')
    throw new CommandError(
      'REFUSED',
      `${record.tenant} is ${record.state}, and its copy is not complete at any time yet`,
      `wait until it follows: tidb-mesh move show ${record.tenant}`,
    );
  const storage = new Storage(new Endpoint(options));
  try {
    const throttle = new Throttle(record.throttle);
    return await diff({ ...sidesOf(storage, record), ts: BigInt(resolvedTs), throttle, onProgress });
  } finally {
    storage.close();
  }
}
