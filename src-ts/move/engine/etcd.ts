/** What a tenant has in etcd, for a move between two PDs: its keys, and the leases that they have, by their ids. */
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import {
  deleteKeys,
  entries,
  grantLease,
  keepAlive,
  leaseIds,
  lifetimeOf,
  MOST_PUTS,
  putAll,
  putIfUnchanged,
  revokeLease,
  snapshot,
  type Entry,
  type Put,
} from '../../pd/etcd.ts';
import { etcdPrefix } from '../../tenants/belongings.ts';
import { minStartFolder } from '../../tenants/holders.ts';
import type { Tenant } from '../../tenants/tenant.ts';

/** No tenant's folder: those end in `:` (record.ts). */
const RAISED = '/tidb-mesh/.revision';
/** Each put raises a revision by one. */
const AT_ONCE = 64;
/** Calls for one lease each. */
const LEASES_AT_ONCE = 256;
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

/** What a tenant has in a PD's etcd: under its own prefix, and in the folder of all TiDBs' oldest reads. Each character is a byte. */
export async function namesIn(pd: Endpoint, tenant: string): Promise<readonly Entry[]> {
  const folders = [etcdPrefix(tenant), minStartFolder(tenant)];
  return (await Promise.all(folders.map((folder) => entries(pd, folder, 'latin1')))).flat();
}

const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');
const putOf = ({ key, value, lease }: Entry): Put => ({ key: bytesOf(key), value: bytesOf(value), lease });

/** So many at once, one part after the other. */
async function inParts<T>(
  all: readonly T[],
  size: number,
  work: (part: readonly T[]) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < all.length; i += size) await work(all.slice(i, i + size));
}

const eachLease = <T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> =>
  inParts(all, LEASES_AT_ONCE, (part) => Promise.all(part.map(work)));

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

/** Of the tenant. Whatever else has a lease is none of it. */
const leasedOf = (all: readonly Entry[], number: number): Entry[] =>
  all.filter(({ lease }) => isOf(lease, number));

/** All leases of the tenant. A client has one before its keys. */
async function leasesOf(pd: Endpoint, all: readonly Entry[], number: number): Promise<bigint[]> {
  const found = await leaseIds(pd);
  // One member's list, which may be a moment behind.
  const leases = new Set([...found, ...all.map(({ lease }) => lease)]);
  return [...leases].filter((lease) => isOf(lease, number));
}

/** Gives all leases of a tenant their whole time again. */
export async function keepLeases(pd: Endpoint, { number }: Pick<Tenant, 'number'>): Promise<void> {
  await eachLease(await leasesOf(pd, [], number), (lease) => keepAlive(pd, lease));
}

export interface CarryOptions {
  /** What the tenant had in the source's etcd before all was held. */
  readonly before?: readonly Entry[] | undefined;
  /** Is asked before what changes leases, and throws when another worker has the move: they may be in use by now. */
  readonly isMine?: () => Promise<void>;
}

/**
 * Gives the target the tenant's keys as the source has them, and the source's revision at least. Nobody writes.
 *
 * Keys with a lease say which TiDBs run, what they read, and who is an owner. Without them, a DDL owner waits for no other TiDB's metadata
 * locks, a TiDB that starts becomes a second owner, and garbage collection takes what open transactions read, until all sessions have been
 * made anew. Whoever waits in an election hears of the end of a key that is not there never. So the leases have the same ids, and all
 * sessions go on: each has its whole time again.
 */
export async function carryEtcd(
  source: Endpoint,
  target: Endpoint,
  { name, number }: Pick<Tenant, 'name' | 'number'>,
  { before, isMine = async () => undefined }: CarryOptions = {},
): Promise<void> {
  // First: a watch goes on behind the last revision that it has seen, and would never tell of a change below that.
  await raiseRevision(source, target);
  const [here, there] = await Promise.all([namesIn(source, name), namesIn(target, name)]);
  // Of an earlier stay, or of a switch that was not done.
  const [leases, old] = await Promise.all([leasesOf(source, here, number), leasesOf(target, there, number)]);
  const lifetimes = new Map<bigint, bigint>();
  await eachLease(leases, async (lease) => {
    const seconds = await lifetimeOf(source, lease);
    if (seconds !== undefined) lifetimes.set(lease, seconds);
  });
  await isMine();
  await eachLease(old, (lease) => revokeLease(target, lease));
  await carryPlain(target, { here, there, before });
  await eachLease([...lifetimes], ([lease, seconds]) => grantLease(target, lease, seconds));
  const alive = leasedOf(here, number).filter(({ lease }) => lifetimes.has(lease));
  for (const turn of [alive.filter((one) => !isOfElection(one)), ...inTurns(alive.filter(isOfElection))])
    await inParts(turn, MOST_PUTS, (part) => putAll(target, part.map(putOf)));
  await endGone(target, leasedOf(before ?? [], number), alive);
}

interface Sides {
  readonly here: readonly Entry[];
  readonly there: readonly Entry[];
  readonly before: CarryOptions['before'];
}

/** Keys without a lease. */
async function carryPlain(target: Endpoint, { here, there, before }: Sides): Promise<void> {
  const isPlain = ({ lease }: Entry): boolean => lease === 0n;
  const wanted = here.filter(isPlain);
  const found = there.filter(isPlain);
  const values = new Map(found.map(({ key, value }) => [key, value]));
  const revisions = new Map(before?.map(({ key, revision }) => [key, revision]));
  // A key that tells of something has the same value each time, as /tidb/privilege. Who watches it may not have heard of the last time.
  const isNews = ({ key, revision }: Entry): boolean =>
    before !== undefined && revisions.get(key) !== revision;
  const changed = wanted.filter((one) => values.get(one.key) !== one.value || isNews(one));
  await inParts(changed, MOST_PUTS, (part) => putAll(target, part.map(putOf)));
  const kept = new Set(wanted.map(({ key }) => key));
  const gone = found.filter(({ key }) => !kept.has(key));
  await inParts(gone, MOST_PUTS, (part) =>
    deleteKeys(
      target,
      part.map(({ key }) => bytesOf(key)),
    ),
  );
}

/** Tells those who wait for the end of a key that it has ended meanwhile: watches at the source had ended by then. */
async function endGone(target: Endpoint, before: readonly Entry[], alive: readonly Entry[]): Promise<void> {
  const kept = new Set(alive.map(({ key }) => key));
  const gone = before.filter((one) => isOfElection(one) && !kept.has(one.key));
  await inParts(gone, MOST_PUTS, async (part) => {
    const keys = part.map(({ key }) => bytesOf(key));
    await putAll(
      target,
      keys.map((key) => ({ key, value: '' })),
    );
    await deleteKeys(target, keys);
  });
}
