/** `tidb-mesh tenants list`: shows the tenants that PD knows. */
import type { TenantLimitsConfig } from '../../../config/types.ts';
import { listTenants, type Listed } from '../../../tenants/list.ts';
import { limitsText } from '../../../tenants/limits.ts';
import { watchesAt } from '../../../tenants/mesh-status.ts';
import { requestUnitsText } from '../../../tenants/request-units.ts';
import type { State } from '../../../tenants/tenant.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../../envoys.ts';
import { readTenants, withConfig } from '../../files.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';

/** A tenant as PD has it, its state and the filter's limits where the configuration is at hand. */
interface Row extends Listed {
  readonly state?: State;
  readonly configured?: TenantLimitsConfig;
  /** Open watches of etcd, where the filters are asked. */
  readonly etcdWatches?: number;
}

interface Options extends EnvoyOptions {
  readonly config?: string;
}

/** PD's limit and the filter's. */
function limitOf({ limits, configured }: Row): string {
  const units = limits === undefined ? '-' : requestUnitsText(limits);
  const others = limitsText(configured);
  if (others === '') return units;
  return units === '-' ? others : `${units}, ${others}`;
}

const COLUMNS: readonly (readonly [head: string, cell: (row: Row) => string])[] = [
  ['NAME', ({ name }) => name],
  ['NUMBER', ({ number }) => String(number ?? '?')],
  ['STATE', ({ state }) => state ?? '?'],
  ['KEY RANGE', ({ keySpace }) => keySpace],
  ['REGIONS', ({ regions }) => String(regions)],
  ['ABOUT MiB', ({ approximateMiB }) => String(approximateMiB)],
  ['ABOUT KEYS', ({ approximateKeys }) => String(approximateKeys)],
  ['BOUNDARIES', ({ boundaries }) => boundaries],
  ['ETCD KEYS', ({ etcdKeys }) => String(etcdKeys ?? '-')],
  ['LEASES', ({ etcdLeases }) => String(etcdLeases ?? '-')],
  ['WATCHES', ({ etcdWatches }) => String(etcdWatches ?? '-')],
  ['GROUPS', ({ resourceGroups }) => String(resourceGroups ?? '-')],
  ['LIMIT', limitOf],
  ['HOLDS GC BACK', ({ holdsBack }) => holdsBack || '-'],
];

export const listTenantsCommand = pdCommand<Options, []>({
  name: 'tenants list',
  summary: 'list all tenants: number, key range, regions, size, limit, what holds garbage collection back',
  about: `Sizes are PD's estimates. BOUNDARIES is "missing" while PD has not split regions at both boundaries of a
tenant; \`tidb-mesh doctor\` says more. States and limits of
the filter are in the configuration: give --config to see them. With --envoy, WATCHES are those that
the tenants have open in PD's etcd at these addresses.`,
  examples: [
    'tidb-mesh tenants list --pd http://pd:2379',
    ['tidb-mesh tenants list --config mesh.yaml --pd http://pd:2379', 'with states and limits of the filter'],
    ["tidb-mesh tenants list --pd http://pd:2379 -o json | jq -r '.[].name'", 'names only'],
  ],
  define: (command) => withEnvoys(withConfig(command, 'states and limits of tenants')),
  run: async (pd, { options, tell }) => {
    const { config, envoy = [] } = options;
    const configured = config === undefined ? undefined : readTenants(config);
    tell('asking PD for tenants and regions');
    const watches = envoy.length === 0 ? undefined : await overEnvoys(options, watchesAt);
    const all = (await listTenants(pd)).map((tenant): Row => {
      const entry = configured?.find(({ name }) => name === tenant.name);
      return {
        ...tenant,
        ...(watches ? { etcdWatches: watches.get(tenant.name) ?? 0 } : {}),
        ...(entry ? { state: entry.state ?? 'active', configured: entry.limits ?? {} } : {}),
      };
    });
    const isKnown: Readonly<Record<string, boolean>> = {
      STATE: configured !== undefined,
      WATCHES: watches !== undefined,
    };
    const columns = COLUMNS.filter(([head]) => isKnown[head] ?? true);
    const head = columns.map(([title]) => title);
    const rows = all.map((tenant) => columns.map(([, cell]) => cell(tenant)));
    const text = all.length === 0 ? 'no tenants; add one: tidb-mesh tenants add NAME' : table(head, rows);
    return { value: all, text };
  },
});
