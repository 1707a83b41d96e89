/** Begins to import a cluster outside of the mesh as a tenant: checks what must hold, and writes the move's record. A worker does the rest. */
import { CommandError } from '../errors.ts';
import { placementRules } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { clusterId } from '../pd/timestamp.ts';
import { isEmpty } from '../tenants/belongings.ts';
import { spaceOf, type Tenant } from '../tenants/tenant.ts';
import { groupsMustFit } from './engine/groups.ts';
import { mustNotBeMoving } from './filters/config.ts';
import { clocksMustAgree, mustBeNew, storesMustBeUp } from './other-pd.ts';
import { placeOf } from './place.ts';
import { firstSerial, moves, save, type MoveRecord, type Throttle } from './record.ts';
import type { PdIds } from './same-pd.ts';

/** The group of placement rules of TiFlash replicas: TiDB pkg/domain/infosync. */
const TIFLASH = 'tiflash/';

export interface ImportOptions {
  readonly tenant: Tenant;
  /** The cluster's name, and its PD. */
  readonly cluster: string;
  readonly outside: Endpoint;
  readonly throttle?: Throttle;
  /** TiFlash replicas may stay behind. */
  readonly leaveTiflash?: boolean;
  /** Checks only. */
  readonly dryRun?: boolean;
}

function refused(why: string, hint: string): CommandError {
  return new CommandError('REFUSED', why, hint);
}

async function checkTenant(home: Endpoint, tenant: Tenant): Promise<void> {
  const { name, number, state = 'active', prefix } = tenant;
  if (number === 0) throw refused(`${name} is tenant 0`, 'import into a tenant with a number of its own');
  if (prefix ?? (spaceOf(tenant).mode === 'raw' || undefined))
    throw refused(
      `${name} has a prefix or is for RawKV`,
      'import into a tenant of table keys or of a keyspace',
    );
  if (state !== 'suspended')
    throw refused(
      `${name} is ${state}: its TiDBs could write where the cluster's keys are copied to`,
      `first: tidb-mesh tenants suspend ${name} --config FILE, and bring the file to the Envoys`,
    );
  await mustBeNew(home, tenant);
}

async function checkMoves(home: Endpoint, tenant: Tenant, cluster: string): Promise<void> {
  for (const { record } of await moves(home)) {
    if (record.tenant === tenant.name)
      throw refused(
        `${tenant.name} is being moved already`,
        `look at it: tidb-mesh move show ${tenant.name}; give it up: tidb-mesh move cancel ${tenant.name}`,
      );
    if ([record.from, record.to].some((place) => place.cluster === cluster))
      throw refused(
        `cluster ${cluster} is being imported as ${record.tenant}`,
        'a cluster becomes one tenant',
      );
  }
}

async function checkCluster(
  home: Endpoint,
  { tenant, cluster, outside, leaveTiflash }: ImportOptions,
  { home: here, other: there }: PdIds,
): Promise<void> {
  if (there === here)
    throw refused(
      `cluster ${cluster} is the mesh's own storage layer`,
      'to make what lies there tenant 0: tidb-mesh tenants adopt',
    );
  const where = `cluster ${cluster}`;
  await storesMustBeUp(outside, where);
  if (await isEmpty(outside, spaceOf({ name: cluster, number: 0 })))
    throw refused(
      `cluster ${cluster} holds no keys of a TiDB`,
      'see if it is the right one; a cluster with API V2 cannot be imported',
    );
  await clocksMustAgree({ pd: home, name: "the mesh's PD" }, { pd: outside, name: where });
  await groupsMustFit({ pd: outside, number: undefined }, { pd: home, number: tenant.number });
  if (leaveTiflash) return;
  const replicas = (await placementRules(outside)).filter((id) => id.startsWith(TIFLASH)).length;
  if (replicas > 0)
    throw refused(
      `cluster ${cluster} has TiFlash replicas of ${replicas} tables, and no tenant of the mesh can have any`,
      'begin with --leave-tiflash, and after the switch: ALTER TABLE … SET TIFLASH REPLICA 0',
    );
}

/**
 * Begins to import a cluster.
 * @throws CommandError with what to do
 */
export async function createImport(home: Endpoint, options: ImportOptions): Promise<MoveRecord> {
  const { tenant, cluster, throttle = {}, dryRun = false } = options;
  mustNotBeMoving(tenant);
  await checkMoves(home, tenant, cluster);
  await checkTenant(home, tenant);
  const pdIds = { home: String(await clusterId(home)), other: String(await clusterId(options.outside)) };
  await checkCluster(home, options, pdIds);
  const record: MoveRecord = {
    tenant: tenant.name,
    number: tenant.number,
    serial: await firstSerial([home], tenant.name),
    state: 'planned',
    pdIds,
    keptState: 'active',
    from: { cluster },
    to: placeOf({ ...tenant }),
    switches: 0,
    history: [],
    isPaused: false,
    throttle,
    createdAt: Date.now(),
  };
  if (!dryRun) await save(home, { record, revision: 0n });
  return record;
}
