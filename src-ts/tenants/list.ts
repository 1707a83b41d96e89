/** Lists the tenants of a storage layer with PD's numbers. */
import { resourceGroups } from '../pd/cluster.ts';
import type { Endpoint } from '../pd/endpoint.ts';
import { countKeysAndLeases } from '../pd/etcd.ts';
import { regionsIn } from '../pd/regions.ts';
import { etcdPrefix } from './belongings.ts';
import { missingBoundaries } from './boundaries.ts';
import { ageText, holders } from './holders.ts';
import { registered } from './registry.ts';
import { allRequestUnits, type RequestUnits } from './request-units.ts';

export interface Listed {
  readonly name: string;
  readonly number: number | undefined;
  readonly keySpace: string;
  readonly regions: number;
  /** PD's estimates. */
  readonly approximateMiB: number;
  readonly approximateKeys: number;
  readonly boundaries: 'ok' | 'missing';
  /** Of its own in PD; of tenant 0 nothing tells them from PD's. */
  readonly etcdKeys: number | undefined;
  /** That these keys have. */
  readonly etcdLeases: number | undefined;
  readonly resourceGroups: number | undefined;
  /** Its earliest holder of garbage collection, and for how long; '' if it holds nothing back. */
  readonly holdsBack: string;
  /** Of its own resource group `default`; undefined if it has none. */
  readonly limits: RequestUnits | undefined;
}

export async function listTenants(pd: Endpoint): Promise<Listed[]> {
  const [tenants, holding, limits, groups] = await Promise.all([
    registered(pd),
    holders(pd),
    allRequestUnits(pd),
    resourceGroups(pd),
  ]);
  const missing = new Set((await missingBoundaries(pd, tenants)).map(({ tenant }) => tenant));
  const listed: Listed[] = [];
  for (const { name, number, keySpace, start, end } of tenants) {
    const regions = await regionsIn(pd, start, end);
    const sum = (value: (region: (typeof regions)[number]) => number): number =>
      regions.reduce((total, region) => total + value(region), 0);
    const inEtcd = number === 0 ? undefined : await countKeysAndLeases(pd, etcdPrefix(name));
    const oldest = holding.find(({ tenant }) => tenant === name);
    listed.push({
      name,
      number,
      keySpace,
      regions: regions.length,
      approximateMiB: sum(({ approximateSize }) => approximateSize),
      approximateKeys: sum(({ approximateKeys }) => approximateKeys),
      boundaries: missing.has(name) ? 'missing' : 'ok',
      etcdKeys: inEtcd?.keys,
      etcdLeases: inEtcd?.leases,
      resourceGroups:
        number === undefined || number === 0
          ? undefined
          : groups.filter((group) => group.name.startsWith(`${number}:`)).length,
      holdsBack: oldest ? `${oldest.kind} ${oldest.id}, ${ageText(oldest.since)}` : '',
      limits: number === undefined ? undefined : limits.get(number),
    });
  }
  return listed;
}
