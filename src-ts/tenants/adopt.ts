/** Makes a cluster that was there before the mesh tenant 0. It checks what must hold, and moves nothing: PD gets one more boundary. */
import { keyStores, placementRules, resourceGroups } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { countKeys, entries } from '../pd/etcd.ts';
import { countKeysIn } from '../pd/ranges.ts';
import { labelRules } from '../pd/regions.ts';
import { FOLDER } from '../move/record.ts';
import { addTenant } from './add.ts';
import { etcdPrefix, isEmpty, isTenantsOwn, MOST_KEYS, rangeOf } from './belongings.ts';
import { holders } from './holders.ts';
import { conflict, registered, registeredBeside, reserved, type Registered } from './registry.ts';
import { fromMemcomparable, spaceOf, type KeySpace, type Tenant } from './tenant.ts';
import type { Tell } from '../tell.ts';

/** Something that was looked at. `must`: it stands against adopting. `note`: the operator should know it. */
export interface Check {
  readonly level: 'ok' | 'note' | 'must';
  readonly what: string;
  /** What to do; '' where nothing has to be done. */
  readonly remedy: string;
}

const ok = (what: string): Check => ({ level: 'ok', what, remedy: '' });
const note = (what: string, remedy: string): Check => ({ level: 'note', what, remedy });
const must = (what: string, remedy: string): Check => ({ level: 'must', what, remedy });

/** TiDB: pkg/domain/infosync ServerInformationPath. */
const SERVERS = '/tidb/server/info/';
/** What the filter gives to tenants in etcd, and in PD's rules. */
const TENANTS_KEYS = '/tidb-mesh/';
const TENANTS_RULES = 'tidb-mesh:';

/** Checks everything that must hold before a cluster becomes tenant 0. It changes nothing. */
export async function checkAdoption(pd: Endpoint, name: string, tell: Tell): Promise<Check[]> {
  const tenant: Tenant = { name, number: 0 };
  const others = (await registered(pd)).filter((other) => other.name !== name);
  const against = conflict(tenant, await registeredBeside(pd, name));
  const checks = [
    against ? must(against.what, against.hint) : ok(`no other tenant has the name ${name} or the number 0`),
    await storesAreUp(pd),
  ];
  tell('asking the stores for keys');
  return [
    ...checks,
    await hasKeys(pd, spaceOf(tenant)),
    await nothingAmongTenants(pd, [...others, ...(await reserved(pd))]),
    await namesAreFree(pd, others),
    ...(await whoRuns(pd)),
  ];
}

async function storesAreUp(pd: Endpoint): Promise<Check> {
  const all = await keyStores(pd);
  const down = all.filter(({ state }) => state !== 'Up');
  return down.length === 0
    ? ok(all.length === 1 ? 'the store is up' : `all ${all.length} stores are up`)
    : must(
        `store ${down.map(({ id }) => id).join(' and ')} is not up`,
        'start it, or remove it from PD: a check could miss its keys',
      );
}

async function hasKeys(pd: Endpoint, space: KeySpace): Promise<Check> {
  return (await isEmpty(pd, space))
    ? must('the store holds no keys that were there before', 'add a new tenant: tidb-mesh tenants add')
    : ok('the store holds keys that were there before');
}

/** The parts of the store behind tenant 0 that no tenant owns. */
function gaps(others: readonly Registered[]): { start: Buffer; end: Buffer }[] {
  const found: { start: Buffer; end: Buffer }[] = [];
  let start = spaceOf({ name: '', number: 0 }).end;
  const behind = others
    .map((other) => ({ start: fromMemcomparable(other.start), end: fromMemcomparable(other.end) }))
    .filter((one): one is { start: Buffer; end: Buffer } => one.start !== undefined && one.end !== undefined)
    .filter((one) => Buffer.compare(one.end, start) > 0)
    .sort((a, b) => Buffer.compare(a.start, b.start));
  for (const one of behind) {
    if (Buffer.compare(start, one.start) < 0) found.push({ start, end: one.start });
    start = one.end;
  }
  return [...found, { start, end: Buffer.alloc(0) }];
}

async function nothingAmongTenants(pd: Endpoint, others: readonly Registered[]): Promise<Check> {
  let count = 0;
  for (const { start, end } of gaps(others)) {
    const space: KeySpace = { start, end, mode: 'txn', memcomparable: true, keyspaceId: undefined, text: '' };
    count += await countKeysIn(pd, rangeOf(space), MOST_KEYS);
  }
  return count === 0
    ? ok('no key lies behind t 80 01, where tenants have theirs')
    : must(
        `${count >= MOST_KEYS ? `${count} keys or more` : count === 1 ? '1 key' : `${count} keys`} of no tenant behind t 80 01: tenant 0 would not see them`,
        'add the tenants that they belong to (tenants add --with-data), or delete them',
      );
}

/** Finds names in PD that would be another tenant's, so that tenant 0 would not see them. */
async function namesAreFree(pd: Endpoint, others: readonly Registered[]): Promise<Check> {
  const isKnown = (id: string): boolean => others.some(({ name }) => isTenantsOwn(id, name));
  const hasNumber = (group: string): boolean => others.some(({ number }) => group.startsWith(`${number}:`));
  const [groups, placement, labels, keys, moving, ...known] = await Promise.all([
    resourceGroups(pd),
    placementRules(pd),
    labelRules(pd),
    countKeys(pd, TENANTS_KEYS),
    countKeys(pd, FOLDER),
    ...others.map(({ name }) => countKeys(pd, etcdPrefix(name))),
  ]);
  const taken = [
    ...groups
      .map((group) => group.name)
      .filter((group) => /^\d+:/.test(group) && !hasNumber(group))
      .map((group) => `resource group ${group}`),
    ...placement
      .filter((id) => id.startsWith(TENANTS_RULES) && !isKnown(id))
      .map((id) => `placement rule ${id}`),
    ...labels
      .map(({ id }) => id)
      .filter((id) => id.startsWith(TENANTS_RULES) && !isKnown(id))
      .map((id) => `region label rule ${id}`),
  ];
  const left = keys - moving - known.reduce((sum, count) => sum + count, 0);
  if (left > 0) taken.push(`${left} keys in etcd below ${TENANTS_KEYS}`);
  return taken.length === 0
    ? ok("no name in PD looks like a tenant's")
    : must(
        `names that would be another tenant's: ${taken.join(', ')}`,
        'rename or delete them, or add the tenants that they belong to',
      );
}

/** Says what runs past the mesh, and must be led through it. */
async function whoRuns(pd: Endpoint): Promise<Check[]> {
  const [servers, holding] = await Promise.all([entries(pd, SERVERS), holders(pd)]);
  const services = holding.filter(({ kind, tenant }) => kind === 'service' && tenant === undefined);
  return [
    servers.length === 0
      ? ok('no TiDB of the cluster runs')
      : note(
          `${servers.length} of the cluster's TiDBs ${servers.length === 1 ? 'runs' : 'run'} past the mesh`,
          'they may go on; restart them one by one with the certificate of the tenant',
        ),
    ...services.map(({ id }) =>
      note(
        `service ${id} has a safe point in PD`,
        'it goes on past the mesh; through the mesh it gets a safe point of its own, and the old one expires',
      ),
    ),
  ];
}

/**
 * Makes the cluster tenant 0. PD splits a region at its end; no key is changed.
 * @returns false if it is there already
 * @throws CommandError
 */
export async function adopt(pd: Endpoint, name: string, tell: Tell): Promise<boolean> {
  const { isNew } = await addTenant(pd, { name, number: 0 }, { withData: true, tell });
  return isNew;
}
