import { principalOf } from '../test/harness/stack/certs.ts';
import { callGrpc, callHttp } from '../test/harness/stack/caller.ts';
import type { StoreInspector } from '../test/harness/stack/inspect.ts';
import type { Row } from '../test/harness/stack/sql.ts';
import type { Stack, Tenant } from '../test/harness/stack/stack.ts';
import { tablePrefix, takeApart, tenantPrefix, type PhysicalKey } from './keys.ts';

export interface TenantFacts extends Tenant {
  statements: { sql: string; milliseconds: number }[];
  /** The demo table's id in this tenant's TiDB. */
  tableId: number;
  rows: Row[];
  /** The rows' keys in the store, in the rows' order. */
  rowKeys: (PhysicalKey | undefined)[];
  indexKeys: PhysicalKey[];
  /** All keys of the store that carry the tenant's number. */
  keysInStore: number;
}

/** A caller that is no tenant, and the answer that it gets. */
export interface StrangerFacts {
  who: string;
  call: string;
  answer: string;
  refused: boolean;
}

export interface Check {
  claim: string;
  holds: boolean;
  detail: string;
}

export interface Proof {
  tenants: TenantFacts[];
  strangers: StrangerFacts[];
  checks: Check[];
}

const ROWS: Record<string, [number, string, number][]> = {
  alpha: [
    [1, 'Ada', 1900],
    [2, 'Alan', 2450],
    [3, 'Annie', 800],
  ],
  beta: [
    [1, 'Barbara', 120],
    [2, 'Blaise', 99000],
    [3, 'Boole', 3140],
  ],
};
const TABLE = 'shop.orders';

/** Runs the demo's SQL in all tenants at the same time, looks into the store and lets strangers call. */
export async function prove(stack: Stack): Promise<Proof> {
  const tenants = await Promise.all(stack.tenants.map((tenant) => runTenant(stack, tenant)));
  const strangers = await callStrangers(stack);
  return { tenants, strangers, checks: await check(stack, tenants, strangers) };
}

async function runTenant(stack: Stack, tenant: Tenant): Promise<TenantFacts> {
  const tidb = stack.tidbs.get(tenant.name)!;
  const session = await tidb.connect();
  const statements: TenantFacts['statements'] = [];
  const run = async (sql: string): Promise<Row[]> => {
    const started = Date.now();
    const rows = await session.query(sql);
    statements.push({ sql, milliseconds: Date.now() - started });
    return rows;
  };
  try {
    const values = (ROWS[tenant.name] ?? [[1, tenant.name, tenant.number]])
      .map(([id, customer, cents]) => `(${id}, '${customer}', ${cents})`)
      .join(', ');
    await run('CREATE DATABASE shop');
    await run(`CREATE TABLE ${TABLE} (id BIGINT PRIMARY KEY, customer VARCHAR(40), cents INT)`);
    await run(`CREATE INDEX by_customer ON ${TABLE} (customer)`);
    await run(`INSERT INTO ${TABLE} VALUES ${values}`);
    const rows = await run(`SELECT id, customer, cents FROM ${TABLE} ORDER BY id`);
    const [table] = await session.query(
      "SELECT tidb_table_id AS id FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 'orders'",
    );
    const tableId = Number(table?.['id']);
    const stored = await stack.store.inspect.keys(
      tablePrefix(tenant.number, tableId),
      tablePrefix(tenant.number, tableId + 1),
    );
    const keys = stored.map(takeApart).filter((key) => key !== undefined);
    return {
      ...tenant,
      statements,
      tableId,
      rows,
      rowKeys: rows.map((row) =>
        keys.find((key) => key.kind === 'row' && key.handle === BigInt(row['id'] as number)),
      ),
      indexKeys: keys.filter((key) => key.kind === 'index'),
      keysInStore: 0,
    };
  } finally {
    await session.close();
  }
}

async function callStrangers(stack: Stack): Promise<StrangerFacts[]> {
  // No tenant has the namespace of the first, and no rule has the trust domain of the second.
  const principal = principalOf('nobody');
  const elsewhere = `spiffe://elsewhere.example/ns/${stack.tenants[0]!.name}/sa/tidb`;
  const certs = await stack.certs.client(principal);
  const { pd, store } = stack;
  const calls = [
    { who: principal, address: pd.meshAddress, path: '/pdpb.PD/GetMembers' },
    { who: principal, address: store.meshAddress, path: '/tikvpb.Tikv/KvGet' },
    { who: elsewhere, address: store.meshAddress, path: '/tikvpb.Tikv/KvGet' },
  ];
  const facts: StrangerFacts[] = [];
  for (const { who, address, path } of calls) {
    const answer = await callGrpc(address, await stack.certs.client(who), path);
    facts.push({
      who,
      call: `gRPC ${path}`,
      answer: `${answer.status}: ${answer.message}`,
      refused: answer.status === 'PERMISSION_DENIED' && answer.message.includes(who),
    });
  }
  const path = '/pd/api/v1/stores';
  const http = await callHttp(stack.pd.meshAddress, certs, path);
  facts.push({
    who: principal,
    call: `HTTP GET ${path}`,
    answer: `${http.status}: ${http.body.trim().slice(0, 300)}`,
    refused: http.status === 403 && http.body.includes(principal),
  });
  const nobody = await callGrpc(stack.pd.meshAddress, { ca: certs.ca }, '/pdpb.PD/GetMembers', undefined, {
    deadline: 5000,
  });
  facts.push({
    who: 'no certificate',
    call: 'gRPC /pdpb.PD/GetMembers',
    answer: `no connection (${nobody.status})`,
    refused: nobody.status === 'UNAVAILABLE' || nobody.status === 'DEADLINE_EXCEEDED',
  });
  return facts;
}

async function check(stack: Stack, tenants: TenantFacts[], strangers: StrangerFacts[]): Promise<Check[]> {
  const ids = tenants.map((tenant) => tenant.tableId);
  const contents = tenants.map((tenant) => JSON.stringify(tenant.rows));
  // The storage layer's own TiDB has no number: its meta keys go from `m` to `n`, its table keys lie before tenant 1's.
  const own = [
    [Buffer.from('m'), Buffer.from('n')],
    [Buffer.from('t'), tenantPrefix(1)],
  ] as const;
  // TiDBs write in the background all the time, so only the gaps between the tenants' key ranges are compared.
  let foreign = 0;
  let system = 0;
  for (const [start, end] of own) system += await countKeys(stack.store.inspect, start, end);
  foreign += await countKeys(stack.store.inspect, Buffer.alloc(0), own[0][0]);
  foreign += await countKeys(stack.store.inspect, own[0][1], own[1][0]);
  let from: Buffer = own[1][1];
  for (const tenant of [...tenants].sort((a, b) => a.number - b.number)) {
    const [start, end] = [tenantPrefix(tenant.number), tenantPrefix(tenant.number + 1)];
    foreign += await countKeys(stack.store.inspect, from, start);
    tenant.keysInStore = await countKeys(stack.store.inspect, start, end);
    from = end;
  }
  foreign += await countKeys(stack.store.inspect, from, Buffer.alloc(0));
  return [
    {
      claim: 'The table has the same id in every tenant',
      holds: ids.every((id) => id > 0 && id === ids[0]),
      detail: tenants.map((tenant) => `${tenant.name}: ${tenant.tableId}`).join(', '),
    },
    {
      claim: 'Each tenant reads its own rows',
      holds: new Set(contents).size === tenants.length && tenants.every((tenant) => tenant.rows.length > 0),
      detail: tenants.map((tenant) => `${tenant.name}: ${tenant.rows.length} rows`).join(', '),
    },
    {
      claim: 'Each row lies in the store under its tenant, table id and handle',
      holds: tenants.every((tenant) =>
        tenant.rowKeys.every((key) => key?.tenant === tenant.number && key.tableId === tenant.tableId),
      ),
      detail: tenants
        .map((tenant) => `${tenant.name}: ${tenant.rowKeys.filter((key) => key).length} row keys`)
        .join(', '),
    },
    {
      claim: 'Each index entry lies there, too',
      holds: tenants.every((tenant) => tenant.indexKeys.length === tenant.rows.length),
      detail: tenants.map((tenant) => `${tenant.name}: ${tenant.indexKeys.length} index keys`).join(', '),
    },
    {
      claim: "Every key of the whole store belongs to one of the tenants or to the storage layer's own TiDB",
      holds: foreign === 0 && system > 0 && tenants.every((tenant) => tenant.keysInStore > 0),
      detail: [
        ...tenants.map((tenant) => `${tenant.name}: ${tenant.keysInStore} keys`),
        `the storage layer's: ${system}`,
        `nobody's: ${foreign}`,
      ].join(', '),
    },
    await checkGarbageCollector(stack),
    {
      claim: 'A caller whose certificate belongs to no tenant is refused, with the reason',
      holds: strangers.length > 0 && strangers.every((stranger) => stranger.refused),
      detail: `${strangers.filter((stranger) => stranger.refused).length} of ${strangers.length} calls refused`,
    },
  ];
}

/** Each tenant's TiDBs elect a gc_worker of their own. The store's safe point moves with this one only. */
async function checkGarbageCollector(stack: Stack): Promise<Check> {
  const session = await stack.systemTidb!.connect();
  try {
    const [leader] = await session.query(
      "SELECT variable_value AS description FROM mysql.tidb WHERE variable_name = 'tikv_gc_leader_desc'",
    );
    const description = String(leader?.['description'] ?? 'nobody');
    return {
      claim: "The storage layer's own TiDB leads the garbage collection of the whole store",
      holds: description.includes(`pid:${stack.systemTidb!.pid},`),
      detail: description,
    };
  } finally {
    await session.close();
  }
}

/** Counts the keys in [start, end), page by page. */
async function countKeys(inspect: StoreInspector, start: Uint8Array, end: Uint8Array): Promise<number> {
  const page = 10_000;
  let count = 0;
  let from: Uint8Array = start;
  for (;;) {
    const keys = await inspect.keys(from, end, page);
    count += keys.length;
    if (keys.length < page) return count;
    from = Buffer.concat([keys.at(-1)!.key, Buffer.of(0)]);
  }
}
