/** `tidb-mesh tenants list`: shows the tenants that PD knows. */
import { listTenants, type Listed } from '../../../tenants/list.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';

const HEAD = [
  'NAME',
  'NUMBER',
  'KEY RANGE',
  'REGIONS',
  'ABOUT MiB',
  'ABOUT KEYS',
  'BOUNDARIES',
  'HOLDS GC BACK',
];

export const listTenantsCommand = pdCommand<object, []>({
  name: 'tenants list',
  summary: 'list all tenants: number, key range, regions, size, what holds garbage collection back',
  about: `Sizes are PD's estimates. BOUNDARIES is "missing" while PD has not split regions at both boundaries of a
tenant; \`tidb-mesh doctor\` says more.`,
  examples: [
    'tidb-mesh tenants list --pd http://pd:2379',
    ["tidb-mesh tenants list --pd http://pd:2379 -o json | jq -r '.[].name'", 'names only'],
  ],
  run: async (pd, { tell }) => {
    tell('asking PD for tenants and regions');
    const all = await listTenants(pd);
    const text =
      all.length === 0 ? 'no tenants; add one: tidb-mesh tenants add NAME' : table(HEAD, all.map(rowOf));
    return { value: all, text };
  },
});

function rowOf(tenant: Listed): string[] {
  return [
    tenant.name,
    String(tenant.number ?? '?'),
    tenant.keySpace,
    String(tenant.regions),
    String(tenant.approximateMiB),
    String(tenant.approximateKeys),
    tenant.borders,
    tenant.holdsBack || '-',
  ];
}
