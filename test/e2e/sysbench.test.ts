import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import {
  requireSysbench,
  sysbenchPrepare,
  sysbenchRun,
  type SysbenchOptions,
} from '../harness/support/sysbench.ts';
import { inAll } from './support/tenants.ts';

const SECONDS = 30;
const TABLES = 2;
const TABLE_SIZE = 10_000;

let stack: Stack;
beforeAll(async () => {
  requireSysbench();
  stack = await startStack();
  await inAll(stack, (session) => session.query('CREATE DATABASE sbtest'));
});
afterAll(async () => {
  await stack?.stop();
});

test(`oltp_read_write for ${SECONDS} s in both tenants at once, without an error`, async () => {
  const options = (tenant: string): SysbenchOptions => ({
    mysqlPort: stack.tidbs.get(tenant)!.mysqlPort,
    database: 'sbtest',
    tables: TABLES,
    tableSize: TABLE_SIZE,
    threads: 4,
  });
  await Promise.all(stack.tenants.map(({ name }) => sysbenchPrepare(options(name))));
  const results = await Promise.all(
    stack.tenants.map(async ({ name }) => ({ name, ...(await sysbenchRun(options(name), SECONDS)) })),
  );
  const memory = await stack.envoy!.stats(/tidbmesh_vm_memory_bytes/);
  console.log(
    results.map(({ name, transactionsPerSecond, ignoredErrors }) => ({
      name,
      transactionsPerSecond,
      ignoredErrors,
    })),
    Object.fromEntries(memory),
  );
  for (const result of results) {
    expect(result).toMatchObject({ ignoredErrors: 0, reconnects: 0 });
    expect(result.transactions).toBeGreaterThan(100);
  }
  await inAll(
    stack,
    async (session) => {
      for (let table = 1; table <= TABLES; table++) {
        await session.query(`ADMIN CHECK TABLE sbtest${table}`);
        const [row] = await session.query(
          `SELECT COUNT(*) AS n, MIN(id) AS a, MAX(id) AS b FROM sbtest${table}`,
        );
        expect(row).toEqual({ n: TABLE_SIZE, a: 1, b: TABLE_SIZE });
      }
    },
    'sbtest',
  );
});
