/** The place that a switch leads to, as the tenant's clients see it. */
import { CommandError } from '../../errors.ts';
import type { Engine, Epoch } from '../engine/engine.ts';
import { isBetweenStorages, isImport, type Place } from '../place.ts';
import type { MoveRecord } from '../record.ts';

/** Versions of regions may grow meanwhile. */
const VERSION_MARGIN = 4096;
/** The same for their configuration versions, which change with replicas. */
const CONF_VERSION_MARGIN = 256;
/** The filter takes no larger epochOffset (assembly/tenant/config.ts). */
const MOST_OFFSET = 2 ** 31;

/** What is added to versions at the target, so that they are above all that the tenant's clients have seen. */
function offsetAt(field: 'epochOffset' | 'confVerOffset', { from, to }: MoveRecord, highest: number): number {
  const seen = (from[field] ?? 0) + highest;
  if (seen <= MOST_OFFSET) return Math.max(seen, to[field] ?? 0);
  throw new CommandError(
    'REFUSED',
    `the versions of its regions have reached ${seen}`,
    `stop its TiDBs, and set ${field} to 0 by hand: a TiDB that starts anew knows no versions`,
  );
}

/** Where the tenant will be served: with versions of regions that are above all that its clients have seen. */
export async function placeAtTarget(
  record: MoveRecord,
  engine: Engine,
  { version, confVer }: Epoch,
  latest: bigint,
): Promise<Place> {
  const { from, to } = record;
  // Their TiDBs start anew, and know no regions.
  if (isImport(record)) return to;
  const epochOffset = offsetAt('epochOffset', record, version + VERSION_MARGIN);
  if (!isBetweenStorages(record)) return { ...to, epochOffset };
  const confVerOffset = offsetAt('confVerOffset', record, confVer + CONF_VERSION_MARGIN);
  const { source, target: own } = await engine.clusterIds();
  const seen = from.clusterId?.seen ?? source;
  const readableSince = await engine.readableAtTarget();
  return {
    ...to,
    ...(readableSince === undefined ? {} : { readableSince: String(readableSince) }),
    epochOffset,
    confVerOffset,
    latestSeen: String(latest),
    ...(seen === own ? {} : { clusterId: { seen, own } }),
  };
}
