/** When the first garbage collection of a storage layer is due. */
import { bootstrapTime } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { entries } from '../pd/etcd.ts';

/** TiDB: pkg/domain/infosync ServerInformationPath. Tenants' servers have their entries under their own prefixes. */
const SERVERS = '/tidb/server/info/';

/**
 * A TiDB looks each minute whether a round is due, and its first look may count as one. The next is due after
 * tidb_gc_run_interval, 10 minutes by default (TiDB: pkg/store/gcworker leaderTick). A round takes a while itself.
 */
export const FIRST_ROUND_MS = 15 * 60_000;

export interface FirstRound {
  /** When the storage layer got its first store, ms since 1970; 0 where PD does not say. */
  readonly bootstrapped: number;
  /** When the first of the storage layer's own TiDBs that run now was started, ms since 1970. */
  readonly collecting: number | undefined;
}

/** When a TiDB was started, ms since 1970; undefined for an entry that does not say. */
function startOf(value: string): number | undefined {
  try {
    const seconds = (JSON.parse(value) as { start_timestamp?: unknown }).start_timestamp;
    return typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined;
  } catch {
    return undefined;
  }
}

export async function firstRound(pd: Endpoint): Promise<FirstRound> {
  const [bootstrapped, servers] = await Promise.all([bootstrapTime(pd), entries(pd, SERVERS)]);
  const starts = servers.flatMap(({ value }) => startOf(value) ?? []);
  return { bootstrapped, collecting: starts.length > 0 ? Math.min(...starts) : undefined };
}
