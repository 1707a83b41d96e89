/** Begins to import a cluster outside of the mesh as a tenant: checks what must hold, and writes the move's record. A worker does the rest. */
import { CommandError } from '../errors.ts';
import { placementRules, stores } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { clusterId, millisOf, timestamp } from '../pd/timestamp.ts';
import { belongings, etcdPrefix, isEmpty } from '../tenants/belongings.ts';
import { countKeys } from '../pd/etcd.ts';
import { registered } from '../tenants/registry.ts';
import { spaceOf, type Tenant } from '../tenants/tenant.ts';
import { placeOf } from './place.ts';
import { moves, save, type MoveRecord, type Throttle } from './record.ts';

/** How far the clocks of both PDs may be apart, ms. A switch waits at most two seconds. */
const MOST_SKEW_MS = 1000;

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
  const all = await registered(home);
  if (!all.some((one) => one.name === name))
    throw refused(`PD does not know ${name}`, `first: tidb-mesh tenants add ${name} --number ${number}`);
  if (!(await isEmpty(home, spaceOf(tenant)))) {
    const [keys] = await belongings(home, tenant);
    throw refused(
      `${name} has keys already: ${keys?.count ?? 'some'}`,
      `import into a new tenant; or destroy them: tidb-mesh tenants empty ${name} --confirm ${name}`,
    );
  }
  // Of a TiDB that has run: what it has written down there belongs to keys that are gone.
  const inEtcd = await countKeys(home, etcdPrefix(name));
  if (inEtcd > 0)
    throw refused(
      `${name} has ${inEtcd} keys in PD's etcd: a TiDB of it has run`,
      `stop it, then: tidb-mesh tenants empty ${name} --confirm ${name}`,
    );
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
  { cluster, outside, leaveTiflash }: ImportOptions,
): Promise<void> {
  if ((await clusterId(outside)) === (await clusterId(home)))
    throw refused(
      `cluster ${cluster} is the mesh's own storage layer`,
      'to make what lies there tenant 0: tidb-mesh tenants adopt',
    );
  const down = (await stores(outside)).filter(({ state }) => state !== 'Up' && state !== 'Tombstone');
  if (down.length > 0)
    throw refused(
      `store ${down.map(({ id }) => id).join(' and ')} of cluster ${cluster} is not up`,
      'start it, or remove it from PD',
    );
  if (await isEmpty(outside, spaceOf({ name: cluster, number: 0 })))
    throw refused(
      `cluster ${cluster} holds no keys of a TiDB`,
      'see if it is the right one; a cluster with API V2 cannot be imported',
    );
  const before = Date.now();
  const [there, here] = await Promise.all([timestamp(outside), timestamp(home)]);
  const skew = Math.abs(millisOf(there) - millisOf(here)) - (Date.now() - before);
  if (skew > MOST_SKEW_MS)
    throw refused(
      `the clock of ${there > here ? `cluster ${cluster}` : "the mesh's PD"} is ${(skew / 1000).toFixed(1)} s ahead`,
      'set the clocks of both PDs right (NTP): a tenant must never see a timestamp twice',
    );
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
  await checkMoves(home, tenant, cluster);
  await checkTenant(home, tenant);
  await checkCluster(home, options);
  const record: MoveRecord = {
    tenant: tenant.name,
    number: tenant.number,
    // Above all serials of a former import of the tenant, which the filter remembers.
    serial: Math.floor(Date.now() / 1000),
    state: 'planned',
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
