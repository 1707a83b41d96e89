/** A cluster that was there before the mesh becomes tenant 0: what is checked first, and that no byte of it changes. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Endpoint } from '../../src-ts/pd/endpoint.ts';
import { putResourceGroup, deleteResourceGroup } from '../../src-ts/pd/cluster.ts';
import { adoptTenants } from '../../src-ts/cli/commands/tenants/adopt.ts';
import { checkAdoption, type Check } from '../../src-ts/tenants/adopt.ts';
import { addTenant } from '../../src-ts/tenants/add.ts';
import { registered } from '../../src-ts/tenants/registry.ts';
import { Caller } from '../e2e/support/caller.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { lockKey } from './support/lock.ts';

const ROWS = 200;
/** The first key behind tenant 0: `t` 80 01. */
const LIMIT = Buffer.from('748001', 'hex');
const NONE = Buffer.alloc(0);
const silent = (): void => undefined;

let stack: Stack;
let pd: Endpoint;

beforeAll(async () => {
  stack = await startStack({
    tenants: [
      { name: 'legacy', number: 0 },
      { name: 'beta', number: 2 },
    ],
    startTidbs: false,
    boundaries: false,
  });
  pd = new Endpoint({ pd: stack.pd.directUrl });
  // The cluster before the mesh: a TiDB that reaches PD and the store past the filter.
  const before = await stack.startTidb({ direct: true });
  const session = await before.connect();
  await session.query('CREATE DATABASE shop');
  await session.query('CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, v VARCHAR(64), KEY by_v (v))');
  const rows = Array.from({ length: ROWS }, (_, i) => `(${i}, 'order-${i % 7}')`);
  await session.query(`INSERT INTO shop.orders VALUES ${rows.join(', ')}`);
  await session.query('CREATE RESOURCE GROUP reports RU_PER_SEC = 500');
  await session.close();
  await before.stop();
});
afterAll(async () => {
  pd?.close();
  await stack?.stop();
});

/** Every version of every key that tenant 0 will own, as the store has it. */
async function content(): Promise<string[]> {
  const all = await stack.store.inspect.versions(NONE, LIMIT, 1_000_000);
  return all.map(({ key, startTs, commitTs, valueLength }) =>
    [key.toString('hex'), startTs, commitTs, valueLength].join(' '),
  );
}

/** Runs the command. Gives its text, or what it was refused with. */
async function adopt(name: string, check = false): Promise<string> {
  try {
    const options = { pd: stack.pd.directUrl, ...(check ? { check: true as const } : {}) };
    return (await adoptTenants.run({ options, args: [name], tell: silent })).text;
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

/** What stands against adopting. */
async function against(name: string): Promise<string> {
  const checks = await checkAdoption(pd, name, silent);
  return checks
    .filter(({ level }) => level === 'must')
    .map(({ what }: Check) => what)
    .join('; ');
}

describe('what stands against it is found first', () => {
  test('a name in PD that would be another tenant is known by', async () => {
    const settings = { r_u: { settings: { fill_rate: 5, burst_limit: 5 } } };
    await putResourceGroup(pd, { name: '5:reports', mode: 1, r_u_settings: settings });
    expect(await against('legacy')).toBe("names that would be another tenant's: resource group 5:reports");
    expect(await adopt('legacy')).toMatch(
      /^refused: legacy cannot be adopted, and nothing was changed: names/,
    );
    await deleteResourceGroup(pd, '5:reports');
    expect(await registered(pd)).toEqual([]);
  });

  test('a key among the tenants, until its tenant is added', async () => {
    await lockKey(await Caller.of(stack, 'beta'), 1);
    expect(await against('legacy')).toMatch(/^1 key of no tenant behind t 80 01/);
    await addTenant(pd, { name: 'beta', number: 2 }, { withData: true, tell: silent });
    expect(await against('legacy')).toBe('');
    expect(await against('beta')).toMatch(/tenant beta has number 2/);
  });
});

describe('the cluster as tenant 0', () => {
  test('has every byte that it had, and a boundary', async () => {
    const before = await content();
    expect(before.length).toBeGreaterThan(ROWS);
    expect(await adopt('legacy', true)).toMatch(/\nlegacy can be adopted$/);
    expect(await registered(pd)).toHaveLength(1);
    expect(await adopt('legacy')).toMatch(/^legacy is tenant 0; no key was changed$/m);
    expect(await content()).toEqual(before);
    expect((await registered(pd)).map(({ name, number }) => [name, number])).toEqual([
      ['legacy', 0],
      ['beta', 2],
    ]);
    expect(await adopt('legacy')).toMatch(/^legacy is tenant 0 already$/m);
    expect(await against('other')).toMatch(/number 0 is tenant legacy's/);
  });

  test('is read and written by its TiDB through the mesh', async () => {
    const foreign = async (): Promise<string[]> =>
      (await stack.store.inspect.keys(LIMIT, NONE)).map(({ key }) => key.toString('hex'));
    const others = await foreign();
    const tidb = await stack.startTidb({ tenant: 'legacy' });
    const session = await tidb.connect();
    try {
      const [row] = await session.query(
        "SELECT COUNT(*) AS n, SUM(v = 'order-3') AS threes FROM shop.orders",
      );
      expect([Number(row!['n']), Number(row!['threes'])]).toEqual([ROWS, 29]);
      await session.query('ADMIN CHECK TABLE shop.orders');
      await session.query("UPDATE shop.orders SET v = 'new' WHERE id < 10");
      await session.query('CREATE TABLE shop.after (id BIGINT PRIMARY KEY)');
      await session.query('INSERT INTO shop.after VALUES (1)');
      await session.query('SET RESOURCE GROUP reports');
      const [changed] = await session.query("SELECT COUNT(*) AS n FROM shop.orders WHERE v = 'new'");
      expect(Number(changed!['n'])).toBe(10);
      const groups = await session.query('SELECT name FROM information_schema.resource_groups ORDER BY name');
      expect(groups.map((group) => String(group['name'] ?? group['NAME']))).toEqual(['default', 'reports']);
    } finally {
      await session.close();
    }
    expect(await foreign()).toEqual(others);
    // A TiDB past the mesh goes on beside it: they share rows, and wait for each other's schema changes.
    const past = await (await stack.startTidb({ direct: true })).connect();
    const through = await tidb.connect();
    try {
      await past.query('ALTER TABLE shop.after ADD COLUMN v INT DEFAULT 5');
      expect(await through.query('SELECT id, v FROM shop.after')).toEqual([{ id: 1, v: 5 }]);
      await through.query('ALTER TABLE shop.after ADD INDEX by_v (v)');
      await through.query('INSERT INTO shop.after VALUES (2, 6)');
      expect(await past.query('SELECT id FROM shop.after USE INDEX (by_v) WHERE v = 6')).toEqual([{ id: 2 }]);
    } finally {
      await Promise.all([past.close(), through.close()]);
    }
    expect(await foreign()).toEqual(others);
  });
});
