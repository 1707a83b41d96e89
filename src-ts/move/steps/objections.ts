/** Why a switch that was asked for is not begun now, in words for who has asked; undefined where nothing is in the way. */
import { unheardServers } from '../../tenants/servers.ts';
import type { Engine, Following } from '../engine/engine.ts';
import { placeText } from '../place.ts';
import type { MoveRecord } from '../record.ts';
import { tidbsText } from '../wishes.ts';
import type { MoveFilters } from './filters.ts';

/** So many locks of open transactions are carried in a millisecond, where a store takes each by itself. */
const LOCKS_PER_MS = 2.5;

/** Why the cluster outside of the mesh cannot be left yet. */
export async function runningTidbs(record: MoveRecord, engine: Engine): Promise<string | undefined> {
  const running = await engine.tidbs();
  if (running.length === 0) return undefined;
  return `${tidbsText(running, placeText(record, record.from))}; stop all of them, and ask again`;
}

/** Why the tenant cannot go back to a cluster outside of the mesh yet. */
export async function strangersThere(record: MoveRecord, engine: Engine): Promise<string | undefined> {
  const running = await engine.strangers();
  if (running.length === 0) return undefined;
  const where = `${placeText(record, record.to)}, where it is not served`;
  return `${tidbsText(running, where)}; stop all of them, ask again, and start them when it has been taken back`;
}

/** Why some filters would not be waited for; undefined when each is asked. */
export async function unheard(filters: MoveFilters): Promise<string | undefined> {
  const { all } = filters;
  const unheard = (await Promise.all(all.map(({ pd, hosts }) => unheardServers(pd, hosts)))).flat();
  if (unheard.length > 0)
    return `no filter is asked at ${unheard.join(', ')}: give every store and member of PD as --envoy, by the address that it advertises`;
  const hidden = (await Promise.all(all.map(async (one) => (await one.hidden?.()) ?? []))).flat();
  if (hidden.length === 0) return drained(filters);
  return `several Envoys answer at ${hidden.join(', ')}, and not each is asked: give the address of every Envoy behind it as --envoy, too`;
}

/** Why an Envoy may still pass requests that nobody can tell of a switch; undefined when there is none. */
async function drained(filters: MoveFilters): Promise<string | undefined> {
  // One that cannot be asked at all shows at the next step.
  const missing = (await Promise.all(filters.all.map((one) => one.vms().catch(() => []))))
    .flat()
    .flatMap((vm) => (vm.missing === undefined ? [] : [`${vm.name} ${vm.missing}`]));
  await filters.keepEnvoys();
  if (missing.length === 0) return undefined;
  return `${missing.join('; ')}: wait until it has ended, and ask again; move run --gone-after says when it is taken for dead`;
}

/** Why the target is too far behind. */
export function lagObjection({ lagMs, trouble }: Following, mostMs: number): string | undefined {
  if (lagMs <= mostMs) return undefined;
  const what = `the target is ${lagMs} ms behind, more than ${mostMs}`;
  return trouble === undefined ? `${what}: wait, or give --max-lag` : `${what}, since ${trouble}`;
}

/** Why so many locks of open transactions cannot be carried over while all requests are held. */
export function tooManyLocks(count: number, allHeldMs: number): string | undefined {
  const most = Math.round(allHeldMs * LOCKS_PER_MS);
  if (count <= most) return undefined;
  return `open transactions hold ${count} locks, more than the ${most} that are carried over while all requests are held; end the large ones (information_schema.cluster_tidb_trx shows them), or give --hold-all more time, and ask again`;
}
