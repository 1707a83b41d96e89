/** `tidb-mesh tenants list`: shows the tenants that PD knows. */
import { listTenants, type Listed } from '../../../tenants/list.ts';
import { requestUnitsText } from '../../../tenants/request-units.ts';
import type { State } from '../../../tenants/tenant.ts';
import { readTenants, withConfig } from '../../files.ts';
import { table } from '../../output.ts';
import { pdCommand } from '../../pd.ts';

/** A tenant as PD has it, and its state where the configuration is at hand. */
type Row = Listed & { readonly state?: State };

const COLUMNS: readonly (readonly [head: string, cell: (row: Row) => string])[] = [
  ['NAME', ({ name }) => name],
  ['NUMBER', ({ number }) => String(number ?? '?')],
  ['STATE', ({ state }) => state ?? '?'],
  ['KEY RANGE', ({ keySpace }) => keySpace],
  ['REGIONS', ({ regions }) => String(regions)],
  ['ABOUT MiB', ({ approximateMiB }) => String(approximateMiB)],
  ['ABOUT KEYS', ({ approximateKeys }) => String(approximateKeys)],
  ['BOUNDARIES', ({ boundaries }) => boundaries],
  ['LIMIT', ({ limits }) => (limits === undefined ? '-' : requestUnitsText(limits))],
  ['HOLDS GC BACK', ({ holdsBack }) => holdsBack || '-'],
];

export const listTenantsCommand = pdCommand<{ readonly config?: string }, []>({
  name: 'tenants list',
  summary: 'list all tenants: number, key range, regions, size, limit, what holds garbage collection back',
  about: `Sizes are PD's estimates. BOUNDARIES is "missing" while PD has not split regions at both boundaries of a
tenant; \`tidb-mesh doctor\` says more. States are in the configuration: give --config to see them.`,
  examples: [
    'tidb-mesh tenants list --pd http://pd:2379',
    ['tidb-mesh tenants list --config mesh.yaml --pd http://pd:2379', 'with states'],
    ["tidb-mesh tenants list --pd http://pd:2379 -o json | jq -r '.[].name'", 'names only'],
  ],
  define: (command) => withConfig(command, 'states of tenants'),
  run: async (pd, { options: { config }, tell }) => {
    const configured = config === undefined ? undefined : readTenants(config);
    tell('asking PD for tenants and regions');
    const all = (await listTenants(pd)).map((tenant): Row => {
      const entry = configured?.find(({ name }) => name === tenant.name);
      return entry === undefined ? tenant : { ...tenant, state: entry.state ?? 'active' };
    });
    const columns = COLUMNS.filter(([head]) => head !== 'STATE' || configured !== undefined);
    const head = columns.map(([title]) => title);
    const rows = all.map((tenant) => columns.map(([, cell]) => cell(tenant)));
    const text = all.length === 0 ? 'no tenants; add one: tidb-mesh tenants add NAME' : table(head, rows);
    return { value: all, text };
  },
});
