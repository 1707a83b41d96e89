/** Begins a move: checks what must hold, and writes its record. A worker does the rest. */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { clusterId } from '../pd/timestamp.ts';
import { belongings, isEmpty } from '../tenants/belongings.ts';
import { hasRangeOf, rangeText, registered } from '../tenants/registry.ts';
import { overlaps, spaceOf, type Tenant } from '../tenants/tenant.ts';
import { tidbsOf } from './engine/engine-of.ts';
import { mustBeFree } from './engine/reservation.ts';
import { mustNotBeMoving } from './filters/config.ts';
import { isSamePlace, placeOf, placeText, shownAt, tenantAt, type Place } from './place.ts';
import { findMove, firstSerial, forget, moves, save, type MoveRecord, type Throttle } from './record.ts';
import { tidbsText } from './wishes.ts';

/** A move to begin. */
export interface NewMove {
  readonly tenant: Tenant;
  readonly to: Place;
  readonly throttle?: Throttle;
  /** The tenants of the configuration. */
  readonly all: readonly Tenant[];
  /** Of tenant 0: no TiDB of the storage layer runs, and nobody collects garbage from the first switch on. */
  readonly withoutCollector?: boolean;
  /** Checks only. */
  readonly dryRun?: boolean;
}

function refused(why: string, hint: string): CommandError {
  return new CommandError('REFUSED', why, hint);
}

/**
 * PD keeps where a tenant was moved last. A configuration from before would begin at a range that is not the tenant's any more.
 * @throws CommandError
 */
async function checkSource(pd: Endpoint, tenant: Tenant): Promise<void> {
  const { name, number } = tenant;
  const own = (await registered(pd)).find((one) => one.name === name);
  if (!own)
    throw refused(`PD does not know ${name}`, `first: tidb-mesh tenants add ${name} --number ${number}`);
  if (!hasRangeOf(own, tenant))
    throw refused(
      `${name} is at ${placeText(tenant, placeOf({ ...tenant }))} in the configuration, and at ${rangeText(own)} in PD`,
      'give the newest configuration: the worker of its last move has written its place there',
    );
}

/**
 * A TiDB of the storage layer works in the rows and the etcd names of tenant 0. After a switch, it would go on in the old copy, and share
 * the election of the DDL owner with tenant 0's TiDBs. PD does not tell whose a TiDB is: the caller says that none is the storage layer's.
 * @throws CommandError
 */
async function checkTenantZero(pd: Endpoint, { name }: Tenant): Promise<void> {
  const running = await tidbsOf(pd);
  const now = running.length > 0 ? `; ${tidbsText(running, 'its names')}` : '';
  throw refused(
    `${name} is tenant 0: a TiDB of the storage layer would work on in the old copy, and without one nobody collects garbage after a switch${now}`,
    'stop those that are not tenant 0 to the filter, start none again, read docs/move.md#tenant-0, and give --without-collector',
  );
}

/**
 * What is wrong with moving this tenant there.
 * @throws CommandError with what to do
 */
async function check(
  pd: Endpoint,
  { tenant, to, all, withoutCollector = false }: Pick<NewMove, 'tenant' | 'to' | 'all' | 'withoutCollector'>,
): Promise<void> {
  const { name, servedBy } = tenant;
  mustNotBeMoving(tenant);
  if (servedBy !== undefined)
    throw refused(
      `storage ${servedBy} serves ${name}, and this is the configuration of another one`,
      `give the configuration and PD of storage ${servedBy}`,
    );
  const there = await findMove(pd, name);
  if (there)
    throw refused(
      `${name} is being moved already, to ${placeText(tenant, there.record.to)}`,
      `look at it: tidb-mesh move show ${name}; give it up: tidb-mesh move cancel ${name}`,
    );
  if (spaceOf(tenant).mode === 'raw')
    throw refused(
      `${name} is a RawKV tenant, whose keys have no versions and no change feed`,
      'stop its clients, and copy its keys by a RawKV client',
    );
  if (tenant.prefix) throw refused(`${name} has a prefix`, 'move a tenant of table keys or of a keyspace');
  if (isSamePlace(placeOf({ ...tenant }), to))
    throw refused(`${name} is at ${placeText(tenant, to)} already`, 'give it another number or keyspace');
  const target = tenantAt(tenant, to);
  const moving = (await moves(pd)).find(({ record }) =>
    [record.from, record.to].some(
      (place) =>
        record.tenant !== name && overlaps(spaceOf(tenantAt({ ...record, name }, place)), spaceOf(target)),
    ),
  );
  if (moving)
    throw refused(
      `${moving.record.tenant} is being moved to or from there`,
      'give it another number or keyspace',
    );
  await checkSource(pd, tenant);
  if (spaceOf(tenant).start.length === 0 && !withoutCollector) await checkTenantZero(pd, tenant);
  await mustBeFree(pd, target);
  const twin = all.find(
    (other) =>
      other.name !== name && to.keyNumber !== undefined && (other.keyNumber ?? other.number) === to.keyNumber,
  );
  if (twin) throw refused(`number ${to.keyNumber ?? ''} is tenant ${twin.name}'s`, 'take another number');
  if (await isEmpty(pd, spaceOf(tenant)))
    throw refused(
      `${name} has no keys at ${placeText(tenant, placeOf({ ...tenant }))}`,
      'see where it is: tidb-mesh tenants list; a tenant without keys need not be moved',
    );
  if (!(await isEmpty(pd, spaceOf(target)))) {
    const keys = (await belongings(pd, target, spaceOf(target))).find(({ what }) => what.includes('key'));
    throw refused(
      `there are keys at ${placeText(tenant, to)}${keys ? `: ${keys.count}` : ''}`,
      'take another number; or destroy them, if nobody needs them',
    );
  }
}

/**
 * Begins to move a tenant.
 * @throws CommandError
 */
export async function createMove(pd: Endpoint, move: NewMove): Promise<MoveRecord> {
  const { tenant, to, throttle = {}, dryRun = false } = move;
  await check(pd, move);
  const record: MoveRecord = {
    tenant: tenant.name,
    number: tenant.number,
    serial: await firstSerial([pd], tenant.name),
    state: 'planned',
    pdIds: { home: String(await clusterId(pd)) },
    from: placeOf({ ...tenant }),
    to: { ...shownAt(placeOf({ ...tenant })), ...to },
    switches: 0,
    history: [],
    isPaused: false,
    throttle,
    createdAt: Date.now(),
  };
  if (dryRun) return record;
  const stored = await save(pd, { record, revision: 0n });
  try {
    // Somebody else may have taken the place since. They look for this record when they have written theirs.
    await mustBeFree(pd, tenantAt(tenant, to));
  } catch (error) {
    await forget(pd, stored);
    throw error;
  }
  return record;
}
