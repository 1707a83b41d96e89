/** What must hold before a tenant's keys come from a storage layer with another PD. */
import { CommandError } from '../errors.ts';
import { stores } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { countKeys } from '../pd/etcd.ts';
import { millisOf, timestamp } from '../pd/timestamp.ts';
import { belongings, etcdPrefix, isEmpty } from '../tenants/belongings.ts';
import { registered } from '../tenants/registry.ts';
import { spaceOf, type Tenant } from '../tenants/tenant.ts';

/** How far the clocks of both PDs may be apart, ms. A switch waits at most two seconds. */
const MOST_SKEW_MS = 1000;

function refused(why: string, hint: string): CommandError {
  return new CommandError('REFUSED', why, hint);
}

/** One of both PDs, and what it is called. */
interface NamedPd {
  readonly pd: Endpoint;
  readonly name: string;
}

/** @throws CommandError unless the PD knows the tenant, and nothing of it has been there */
export async function mustBeNew(home: Endpoint, tenant: Tenant): Promise<void> {
  const { name, number } = tenant;
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

/** @throws CommandError when some store is down */
export async function storesMustBeUp(pd: Endpoint, where: string): Promise<void> {
  const down = (await stores(pd)).filter(({ state }) => state !== 'Up' && state !== 'Tombstone');
  if (down.length > 0)
    throw refused(
      `store ${down.map(({ id }) => id).join(' and ')} of ${where} is not up`,
      'start it, or remove it from PD',
    );
}

/** How far the clock of the second PD is ahead of the first one's, ms. What the time of asking leaves open counts for neither. */
export async function clocksApart(one: Endpoint, other: Endpoint): Promise<number> {
  const before = Date.now();
  const [there, here] = await Promise.all([timestamp(other), timestamp(one)]);
  const apart = millisOf(there) - millisOf(here);
  return Math.sign(apart) * Math.max(0, Math.abs(apart) - (Date.now() - before));
}

/** What is wrong with clocks that are so far apart; undefined when nothing is. */
export function skewText(apartMs: number, name: string, other: string): string | undefined {
  if (Math.abs(apartMs) <= MOST_SKEW_MS) return undefined;
  return `the clock of ${apartMs > 0 ? other : name} is ${(Math.abs(apartMs) / 1000).toFixed(1)} s ahead`;
}

/** @throws CommandError when a tenant that goes from one PD to the other would get a timestamp twice */
export async function clocksMustAgree(one: NamedPd, other: NamedPd): Promise<void> {
  const skew = skewText(await clocksApart(one.pd, other.pd), one.name, other.name);
  if (skew === undefined) return;
  throw refused(skew, 'set the clocks of both PDs right (NTP): a tenant must never see a timestamp twice');
}
