/** Compares both sides of a move, while it goes on. */
import { CommandError } from '../../errors.ts';
import type { EndpointOptions } from '../../pd/endpoint.ts';
import type { Clusters } from '../clusters.ts';
import { diff, type DiffResult } from '../engine/diff.ts';
import { sidesOf } from '../engine/engine-of.ts';
import { diffService, whileKept } from '../engine/space.ts';
import { tableIds, type TableIds } from '../engine/table-names.ts';
import { Throttle } from '../engine/throttle.ts';
import type { MoveRecord } from '../record.ts';

/**
 * Compares at the latest timestamp up to which the target is known to be complete.
 * @throws CommandError when the target does not follow yet
 */
export async function compareSides(
  options: EndpointOptions,
  clusters: Clusters,
  record: MoveRecord,
  onProgress: (done: number, of: number) => void,
): Promise<DiffResult> {
  const { resolvedTs = '0' } = (record.progress ?? {}) as { resolvedTs?: string };
  // Each part of a copy was read at a time of its own. Before the last of these, the copy shows nothing of it.
  const isWhole = BigInt(resolvedTs) >= BigInt(record.to.readableSince ?? 0);
  if (record.state !== 'following' || resolvedTs === '0' || !isWhole)
    throw new CommandError(
      'REFUSED',
      `${record.tenant} is ${record.state}, and its copy is not complete at any time yet`,
      `wait until it follows: tidb-mesh move show ${record.tenant}`,
    );
  const { source, target, close } = sidesOf(options, clusters, record);
  try {
    const throttle = new Throttle(record.throttle);
    const ts = BigInt(resolvedTs);
    // The worker keeps what it still needs, and that goes on with the changes: it may pass this time while it is compared.
    const storages = [...new Set([source.storage, target.storage])];
    const knownIds = (signal: AbortSignal): Promise<TableIds> => tableIds(source, ts, signal);
    return await whileKept(storages, diffService(record.tenant), ts, (signal) =>
      diff({ source, target, ts, throttle, signal, knownIds: () => knownIds(signal), onProgress }),
    );
  } finally {
    close();
  }
}
