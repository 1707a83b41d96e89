/** What a tenant has in etcd, for a move between two PDs: its keys, and the leases that they have, by their ids. */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import {
  deleteIfUnchanged,
  entries,
  grantLease,
  lifetimeOf,
  MOST_PUTS,
  putIfUnchanged,
  putLeased,
  revokeLease,
  snapshot,
  type Entry,
} from '../pd/etcd.ts';
import { etcdPrefix } from '../tenants/belongings.ts';
import type { Tenant } from '../tenants/tenant.ts';

/** No tenant's folder: those end in `:` (record.ts). */
const RAISED = '/tidb-mesh/.revision';
/** Each put raises a revision by one. */
const AT_ONCE = 64;
/** Minutes of puts. */
export const MOST_RAISED = 200_000;
/** `1 | number:15 | id:48`: the lease ids of tenants but 0, as the filter maps them. The number is the same in every storage layer. */
const ID_BITS = 48n;
const OF_TENANTS = 0x8000n;

export async function revisionOf(pd: Endpoint): Promise<bigint> {
  return (await snapshot(pd, RAISED)).revision;
}

/** Raises the revision by so many, unless `isOver` says that it is not to go on. */
export async function raiseBy(pd: Endpoint, count: number, isOver = (): boolean => false): Promise<void> {
  for (let left = count; left > 0 && !isOver(); left -= AT_ONCE)
    await Promise.all(
      Array.from({ length: Math.min(left, AT_ONCE) }, () =>
        putIfUnchanged(pd, [], [{ key: RAISED, value: '' }]),
      ),
    );
}

/**
 * Brings the target's etcd to the source's revision. A client watches from the last revision that it has seen, and etcd would say nothing
 * until it gets there.
 * @throws CommandError when it is too far behind
 */
export async function raiseRevision(source: Endpoint, target: Endpoint): Promise<void> {
  const wanted = await revisionOf(source);
  for (;;) {
    const missing = Number(wanted - (await revisionOf(target)));
    if (missing <= 0) return;
    if (missing > MOST_RAISED)
      throw new CommandError(
        'REFUSED',
        `etcd of the target is ${missing} revisions behind, more than ${MOST_RAISED}`,
        'a worker raises it while the move follows: `move show` says how long that takes; ask again then',
      );
    await raiseBy(target, Math.min(missing, AT_ONCE));
  }
}

/** So many at once, one part after the other. */
async function inParts<T>(
  all: readonly T[],
  size: number,
  work: (part: readonly T[]) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < all.length; i += size) await work(all.slice(i, i + size));
}

const eachOf = <T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> =>
  inParts(all, AT_ONCE, (part) => Promise.all(part.map(work)));

const isOf = (lease: bigint, number: number): boolean =>
  BigInt.asUintN(64, lease) >> ID_BITS === (OF_TENANTS | BigInt(number));

/**
 * The first of each folder, the second of each, and so on. In an election of etcd (client/v3/concurrency), who created its key first is the
 * owner, and keys of one transaction have one revision.
 */
function inTurns(all: readonly Entry[]): Entry[][] {
  const turns: Entry[][] = [];
  const counts = new Map<string, number>();
  for (const entry of [...all].sort((a, b) => (a.created < b.created ? -1 : 1))) {
    const folder = entry.key.slice(0, entry.key.lastIndexOf('/'));
    const turn = counts.get(folder) ?? 0;
    counts.set(folder, turn + 1);
    (turns[turn] ??= []).push(entry);
  }
  return turns;
}

/** True for the key of somebody who waits in an election or for a lock: its name is that of the lease, as the client knows it. */
const isOfElection = ({ key, lease }: Entry): boolean =>
  key.endsWith(`/${BigInt.asUintN(Number(ID_BITS), lease).toString(16)}`);

/** What the tenant has with leases. Whatever else has one is none of it. */
const leasedOf = (all: readonly Entry[], { number }: Pick<Tenant, 'number'>): Entry[] =>
  all.filter(({ lease }) => isOf(lease, number));

export interface CarryOptions {
  /** What the tenant had in the source's etcd before all was held. */
  readonly before?: readonly Entry[];
  /** Is asked before what changes leases, and throws when another worker has the move: they may be in use by now. */
  readonly isMine?: () => Promise<void>;
}

/**
 * Gives the target the tenant's keys as the source has them, and the source's revision at least. Nobody writes.
 *
 * Keys with a lease say which TiDBs run, what they read, and who is an owner. Without them, a DDL owner waits for no other TiDB's metadata
 * locks, and a TiDB that starts becomes a second owner, until all sessions have been made anew. Whoever waits in an election hears of the end
 * of a key that is not there never. So the leases have the same ids, and all sessions go on: each has its whole time again.
 */
export async function carryEtcd(
  source: Endpoint,
  target: Endpoint,
  tenant: Pick<Tenant, 'name' | 'number'>,
  { before = [], isMine = async () => undefined }: CarryOptions = {},
): Promise<void> {
  // First: a watch goes on behind the last revision that it has seen, and would never tell of a change below that.
  await raiseRevision(source, target);
  const prefix = etcdPrefix(tenant.name);
  const [here, there] = await Promise.all([entries(source, prefix), entries(target, prefix)]);
  const leased = leasedOf(here, tenant);
  const lifetimes = new Map<bigint, bigint>();
  await eachOf([...new Set(leased.map(({ lease }) => lease))], async (lease) => {
    const seconds = await lifetimeOf(source, lease);
    if (seconds !== undefined) lifetimes.set(lease, seconds);
  });
  await isMine();
  // Of an earlier stay, or of a switch that was not done.
  const old = leasedOf(there, tenant).map(({ lease }) => lease);
  await eachOf([...new Set([...old, ...lifetimes.keys()])], (lease) => revokeLease(target, lease));
  await carryPlain(target, here, there);
  await eachOf([...lifetimes], ([lease, seconds]) => grantLease(target, lease, seconds));
  const alive = leased.filter(({ lease }) => lifetimes.has(lease));
  for (const turn of inTurns(alive)) await inParts(turn, MOST_PUTS, (part) => putLeased(target, part));
  await endGone(target, leasedOf(before, tenant), alive);
}

/** Keys without a lease. */
async function carryPlain(target: Endpoint, here: readonly Entry[], there: readonly Entry[]): Promise<void> {
  const wanted = here.filter(({ lease }) => lease === 0n);
  const found = there.filter(({ lease }) => lease === 0n);
  const values = new Map(found.map(({ key, value }) => [key, value]));
  const changed = wanted.filter(({ key, value }) => values.get(key) !== value);
  await inParts(changed, MOST_PUTS, (part) => putIfUnchanged(target, [], part));
  const kept = new Set(wanted.map(({ key }) => key));
  for (const one of found) if (!kept.has(one.key)) await deleteIfUnchanged(target, one);
}

/** Tells those who wait for the end of a key that it has ended meanwhile: watches at the source had ended by then. */
async function endGone(target: Endpoint, before: readonly Entry[], alive: readonly Entry[]): Promise<void> {
  const kept = new Set(alive.map(({ key }) => key));
  for (const { key } of before.filter((one) => isOfElection(one) && !kept.has(one.key))) {
    const revision = await putIfUnchanged(target, [{ key, value: '', revision: 0n }]);
    if (revision !== undefined) await deleteIfUnchanged(target, { key, revision });
  }
}
