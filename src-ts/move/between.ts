/** Begins to move a tenant from one storage layer of the mesh to another one (docs/decisions/0017). */
import { CommandError } from '../errors.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { clusterId } from '../pd/timestamp.ts';
import type { Tell } from '../tell.ts';
import { isEmpty } from '../tenants/belongings.ts';
import { hasRangeOf, registered } from '../tenants/registry.ts';
import { spaceOf, type Tenant } from '../tenants/tenant.ts';
import { groupsMustFit } from './engine/groups.ts';
import { mustBeFree } from './engine/reservation.ts';
import { gapText, revisionsBehind } from './engine/revision-gap.ts';
import { mustNotBeMoving } from './filters/config.ts';
import { clocksMustAgree, mustBeNew, storesMustBeUp } from './other-pd.ts';
import { placeOf, placeText, type Place } from './place.ts';
import { findMove, firstSerial, save, type MoveRecord, type Throttle } from './record.ts';

/** A storage layer: its name in the mesh file, and its PD. */
export interface NamedStorage {
  readonly name: string;
  readonly pd: Endpoint;
}

export interface BetweenOptions {
  /** As the mesh file has it at the storage that serves it. */
  readonly tenant: Tenant;
  readonly from: NamedStorage;
  /** Its PD has the record of the move. */
  readonly to: NamedStorage;
  readonly throttle?: Throttle;
  /** Checks only. */
  readonly dryRun?: boolean;
  readonly tell?: Tell;
}

function refused(why: string, hint: string): CommandError {
  return new CommandError('REFUSED', why, hint);
}

function checkTenant(tenant: Tenant): void {
  const { name, number, prefix, ...rest } = tenant;
  mustNotBeMoving(tenant);
  const { movedFrom } = tenant as { movedFrom?: string | { readonly storage?: string } };
  const before = typeof movedFrom === 'string' ? movedFrom : movedFrom?.storage;
  if (before !== undefined)
    throw refused(
      `storage ${before} hands ${name} over, where it came from, and a tenant's entry has room for one other storage`,
      `let every TiDB of ${name} have the PD of the storage that serves it as its path, start them anew, and remove movedFrom from its entry`,
    );
  if (number === 0)
    throw refused(
      `${name} is tenant 0, which no storage layer can take back`,
      'import its cluster into a tenant with a number of its own: tidb-mesh move import',
    );
  if (prefix || spaceOf({ name, number, ...rest }).mode === 'raw')
    throw refused(`${name} has a prefix or is for RawKV`, 'move a tenant of table keys or of a keyspace');
}

async function checkSource({ name: storage, pd }: NamedStorage, tenant: Tenant, from: Place): Promise<void> {
  const { name } = tenant;
  const where = `storage ${storage}`;
  if (await findMove(pd, name))
    throw refused(
      `${name} is being moved already, and PD of ${where} has the record`,
      `end that move first; see: tidb-mesh move show ${name} --pd URL`,
    );
  const own = (await registered(pd)).find((one) => one.name === name);
  if (!own || !hasRangeOf(own, tenant))
    throw refused(
      `PD of ${where} does not have ${name} at ${placeText(tenant, from)}`,
      'give the newest configuration: the worker of its last move has written its place there',
    );
  await storesMustBeUp(pd, where);
  if (await isEmpty(pd, spaceOf(tenant)))
    throw refused(`${name} has no keys in ${where}`, 'a tenant without keys need not be moved');
}

async function checkTarget({ name: storage, pd }: NamedStorage, tenant: Tenant): Promise<void> {
  const there = await findMove(pd, tenant.name);
  if (there)
    throw refused(
      `${tenant.name} is being moved already`,
      `look at it: tidb-mesh move show ${tenant.name}; give it up: tidb-mesh move cancel ${tenant.name}`,
    );
  await mustBeNew(pd, tenant);
  await mustBeFree(pd, tenant);
  await storesMustBeUp(pd, `storage ${storage}`);
}

/**
 * Begins a move between two storage layers. The tenant has the same number and the same kind of keys in both.
 * @throws CommandError with what to do
 */
export async function createBetween({
  tenant,
  from,
  to,
  throttle = {},
  dryRun = false,
  tell = () => undefined,
}: BetweenOptions): Promise<MoveRecord> {
  checkTenant(tenant);
  const { name, number, keyNumber, keyspace } = tenant;
  const source: Place = { ...placeOf({ ...tenant }), storage: from.name };
  const [there, here] = [String(await clusterId(from.pd)), String(await clusterId(to.pd))];
  if (there === here)
    throw refused(
      `storages ${from.name} and ${to.name} have the same PD`,
      'give the PD of each: --pd and --storages',
    );
  await checkSource(from, tenant, source);
  await checkTarget(to, {
    name,
    number,
    ...(keyNumber === undefined ? {} : { keyNumber }),
    ...(keyspace ? { keyspace } : {}),
  });
  await groupsMustFit({ pd: from.pd, number }, { pd: to.pd, number });
  await clocksMustAgree(
    { pd: to.pd, name: `PD of storage ${to.name}` },
    { pd: from.pd, name: `PD of storage ${from.name}` },
  );
  const gap = gapText(await revisionsBehind(from.pd, to.pd));
  if (gap !== undefined) tell(`${name}: ${gap}, from when a worker begins`);
  const record: MoveRecord = {
    tenant: name,
    number,
    serial: await firstSerial([to.pd, from.pd], name),
    state: 'planned',
    home: to.name,
    pdIds: { home: here, other: there },
    from: source,
    to: { storage: to.name, ...placeOf({ keyNumber, keyspace }) },
    switches: 0,
    history: [],
    isPaused: false,
    throttle,
    createdAt: Date.now(),
  };
  if (!dryRun) await save(to.pd, { record, revision: 0n });
  return record;
}
