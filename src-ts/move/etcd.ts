/** What a tenant has in etcd, for a move between two PDs. What has a lease ends with it: its TiDBs write that anew. */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { deleteIfUnchanged, entries, MOST_PUTS, putIfUnchanged, snapshot, type Entry } from '../pd/etcd.ts';
import { etcdPrefix } from '../tenants/belongings.ts';

/** No tenant's folder: those end in `:` (record.ts). */
const RAISED = '/tidb-mesh/.revision';
/** Each put raises a revision by one. */
const AT_ONCE = 64;
/** Minutes of puts. */
const MOST_RAISED = 200_000n;

async function revisionOf(pd: Endpoint): Promise<bigint> {
  return (await snapshot(pd, RAISED)).revision;
}

/**
 * Brings the target's etcd to the source's revision. A client watches from the last revision that it has seen, and etcd would say nothing
 * until it gets there.
 * @throws CommandError when it is too far behind
 */
export async function raiseRevision(source: Endpoint, target: Endpoint): Promise<void> {
  const wanted = await revisionOf(source);
  for (;;) {
    const missing = wanted - (await revisionOf(target));
    if (missing <= 0n) return;
    if (missing > MOST_RAISED)
      throw new CommandError(
        'REFUSED',
        `etcd of the target is ${missing} revisions behind, more than ${MOST_RAISED}`,
        'move the tenant to a storage layer whose PD is older',
      );
    const count = Number(missing < AT_ONCE ? missing : AT_ONCE);
    await Promise.all(
      Array.from({ length: count }, () => putIfUnchanged(target, [], [{ key: RAISED, value: '' }])),
    );
  }
}

const withoutLease = (all: readonly Entry[]): Entry[] => all.filter(({ lease }) => lease === 0n);

/** Gives the target the tenant's keys without a lease as the source has them, and the source's revision at least. Nobody writes. */
export async function carryEtcd(source: Endpoint, target: Endpoint, tenant: string): Promise<void> {
  // First: a watch goes on behind the last revision that it has seen, and would never tell of a change below that.
  await raiseRevision(source, target);
  const prefix = etcdPrefix(tenant);
  const [wanted, there] = (await Promise.all([entries(source, prefix), entries(target, prefix)])).map(
    withoutLease,
  ) as [Entry[], Entry[]];
  const values = new Map(there.map(({ key, value }) => [key, value]));
  const changed = wanted.filter(({ key, value }) => values.get(key) !== value);
  for (let i = 0; i < changed.length; i += MOST_PUTS)
    await putIfUnchanged(target, [], changed.slice(i, i + MOST_PUTS));
  const kept = new Set(wanted.map(({ key }) => key));
  for (const one of there) if (!kept.has(one.key)) await deleteIfUnchanged(target, one);
}
