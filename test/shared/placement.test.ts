import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { callHttp } from '../harness/stack/caller.ts';
import { principalOf } from '../harness/stack/certs.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { inAll, only } from '../e2e/support/tenants.ts';
import { memcomparable, tablePrefix } from '../harness/support/keys.ts';
import { testStatements } from './support/statements.ts';

/*
 * Placement policies and attributes, with the same names in both tenants: each sees and changes its own, PD has both. And what TiDB shows of
 * regions.
 */
const NUMBERS: Readonly<Record<string, number>> = { alpha: 1, beta: 2 };
/** FOLLOWERS of the policy `p`, so that the tenants' differ. */
const FOLLOWERS: Readonly<Record<string, number>> = { alpha: 2, beta: 3 };

interface Rule {
  group_id: string;
  id: string;
  start_key: string;
  end_key: string;
  count: number;
}

interface Bundle {
  group_id: string;
  rules: Rule[] | null;
}

interface LabelRule {
  id: string;
  labels: { key: string; value: string }[];
  data: { start_key: string; end_key: string }[];
}

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE shop');
    await session.query(`CREATE PLACEMENT POLICY p FOLLOWERS=${FOLLOWERS[tenant]}`);
    await session.query('CREATE TABLE shop.t (id BIGINT PRIMARY KEY, v INT) PLACEMENT POLICY=p');
    await session.query(
      `CREATE TABLE shop.parts (id BIGINT PRIMARY KEY) PARTITION BY RANGE (id)
       (PARTITION p0 VALUES LESS THAN (100) PLACEMENT POLICY=p, PARTITION p1 VALUES LESS THAN (200))`,
    );
    await session.query("ALTER TABLE shop.t ATTRIBUTES 'merge_option=deny'");
    await session.query("ALTER TABLE shop.parts PARTITION p1 ATTRIBUTES 'merge_option=allow'");
  });
});
afterAll(async () => {
  await stack?.stop();
});

/** PD itself, as the storage's operator sees it. */
async function direct<T>(path: string): Promise<T> {
  const response = await fetch(`${stack.pd.directUrl}/pd/api/v1/${path}`);
  return (await response.json()) as T;
}

/** PD as a tenant sees it. */
async function as<T>(tenant: string, path: string): Promise<T> {
  const certs = await stack.certs.client(principalOf(tenant));
  const { status, body } = await callHttp(stack.pd.meshAddress, certs, `/pd/api/v1/${path}`);
  expect(status).toBe(200);
  return JSON.parse(body) as T;
}

const byGroup = (bundles: Bundle[]): Bundle[] =>
  bundles.toSorted((a, b) => (a.group_id < b.group_id ? -1 : 1));

/** The tenant's bundles as PD has them, with the tenant's own names and keys. */
function ownBundles(bundles: Bundle[], tenant: string): Bundle[] {
  const prefix = `tidb-mesh:${tenant}:`;
  const tag = (0x8000 + NUMBERS[tenant]!).toString(16);
  const key = (hex: string): string => {
    expect(hex.slice(0, 6)).toBe(`74${tag}`);
    return `748000${hex.slice(6)}`;
  };
  return bundles
    .filter((bundle) => bundle.group_id.startsWith(prefix))
    .map((bundle) => ({
      ...bundle,
      group_id: bundle.group_id.slice(prefix.length),
      rules: bundle.rules!.map((rule) => ({
        ...rule,
        group_id: rule.group_id.slice(prefix.length),
        start_key: key(rule.start_key),
        end_key: key(rule.end_key),
      })),
    }));
}

describe('placement policies', () => {
  test('PD has both tenants’ rules, each over its own keys; each tenant is shown its own', async () => {
    const all = await direct<Bundle[]>('config/placement-rule');
    for (const tenant of ['alpha', 'beta']) {
      const own = ownBundles(all, tenant);
      // The table's, and the partition's.
      expect(own).toHaveLength(2);
      for (const { rules } of own)
        expect(rules!.reduce((sum, rule) => sum + rule.count, 0)).toBe(FOLLOWERS[tenant]! + 1);
      expect(byGroup(await as(tenant, 'config/placement-rule'))).toEqual(byGroup(own));
      const [first] = own;
      expect(await as(tenant, `config/placement-rule/${first!.group_id}`)).toEqual(first);
      expect(await as(tenant, `config/rules/group/${first!.group_id}`)).toEqual(first!.rules);
    }
    // The same table ids, so the same groups.
    const groups = (tenant: string): string[] => ownBundles(all, tenant).map((bundle) => bundle.group_id);
    expect(groups('alpha').toSorted()).toEqual(groups('beta').toSorted());
  });

  test('SHOW and information_schema show one’s own', async () => {
    const shown = await inAll(stack, async (session) => ({
      policies: await session.query(
        'SELECT policy_name, followers FROM information_schema.placement_policies',
      ),
      placement: (await session.query('SHOW PLACEMENT')).map((row) => [row.Target, row.Placement]),
      create: JSON.stringify(await session.query('SHOW CREATE TABLE shop.t')),
    }));
    for (const [tenant, { policies, placement, create }] of Object.entries(shown)) {
      expect(policies).toHaveLength(1);
      expect(JSON.stringify(policies)).toContain(String(FOLLOWERS[tenant]));
      expect(placement).toContainEqual(['POLICY p', `FOLLOWERS=${FOLLOWERS[tenant]}`]);
      expect(placement.map(([target]) => target).toSorted()).toEqual([
        'POLICY p',
        'TABLE shop.parts PARTITION p0',
        'TABLE shop.t',
      ]);
      expect(create).toContain('PLACEMENT POLICY');
    }
  });

  test('a policy that one tenant changes and drops is the other’s no more and no less', async () => {
    const before = ownBundles(await direct('config/placement-rule'), 'beta');
    const session = await stack.tidbs.get('alpha')!.connect('shop');
    try {
      await session.query('ALTER PLACEMENT POLICY p FOLLOWERS=4');
      const changed = ownBundles(await direct('config/placement-rule'), 'alpha');
      expect(changed.flatMap(({ rules }) => rules!.map((rule) => rule.count))).toEqual([5, 5]);
      await session.query('ALTER TABLE t PLACEMENT POLICY=default');
      await session.query('ALTER TABLE parts PARTITION p0 PLACEMENT POLICY=default');
      await session.query('DROP PLACEMENT POLICY p');
    } finally {
      await session.close();
    }
    const after = await direct<Bundle[]>('config/placement-rule');
    expect(ownBundles(after, 'alpha').filter(({ rules }) => (rules ?? []).length > 0)).toEqual([]);
    expect(byGroup(ownBundles(after, 'beta'))).toEqual(byGroup(before));
  });
});

describe('attributes', () => {
  const labels = async (): Promise<LabelRule[]> =>
    (await direct<LabelRule[]>('config/region-label/rules')).filter(({ id }) => id.startsWith('tidb-mesh:'));

  test('the same names in both tenants: PD has both, information_schema one’s own', async () => {
    const all = await labels();
    expect(all.map(({ id }) => id).toSorted()).toEqual([
      'tidb-mesh:alpha:schema/shop/parts/p1',
      'tidb-mesh:alpha:schema/shop/t',
      'tidb-mesh:beta:schema/shop/parts/p1',
      'tidb-mesh:beta:schema/shop/t',
    ]);
    for (const { id, data } of all) {
      const number = NUMBERS[id.split(':')[1]!]!;
      for (const { start_key, end_key } of data)
        for (const key of [start_key, end_key])
          expect(key.startsWith(`74${(0x8000 + number).toString(16)}`)).toBe(true);
    }
    const shown = await inAll(stack, async (session) =>
      session.query('SELECT id, attributes, ranges FROM information_schema.attributes ORDER BY id'),
    );
    for (const rows of Object.values(shown))
      expect(rows.map((row) => Object.values(row).slice(0, 2))).toEqual([
        ['schema/shop/parts/p1', '"merge_option=allow"'],
        ['schema/shop/t', '"merge_option=deny"'],
      ]);
  });

  test('TRUNCATE and RENAME move them, DEFAULT removes one’s own', async () => {
    const before = (await labels()).filter(({ id }) => id.includes('beta'));
    const session = await stack.tidbs.get('alpha')!.connect('shop');
    try {
      await session.query('TRUNCATE TABLE t');
      const id = Number(
        only(
          await session.query(
            "SELECT tidb_table_id FROM information_schema.tables WHERE table_schema = 'shop' AND table_name = 't'",
          ),
        ),
      );
      const own = (await labels()).find((rule) => rule.id === 'tidb-mesh:alpha:schema/shop/t')!;
      expect(own.data[0]!.start_key).toBe(memcomparable(tablePrefix(id, 1)).toString('hex'));
      await session.query('RENAME TABLE t TO u');
      expect((await labels()).map((rule) => rule.id)).toContain('tidb-mesh:alpha:schema/shop/u');
      await session.query('ALTER TABLE u ATTRIBUTES DEFAULT');
      await session.query('ALTER TABLE parts PARTITION p1 ATTRIBUTES DEFAULT');
      // Those of a dropped table stay until TiDB's GC, for RECOVER TABLE.
      await session.query('DROP TABLE u, parts');
    } finally {
      await session.close();
    }
    const after = await labels();
    expect(after.filter(({ id }) => id.includes('alpha'))).toEqual([]);
    expect(after).toEqual(expect.arrayContaining(before));
    expect(after).toHaveLength(before.length);
  });
});

describe('regions', () => {
  test('are shown as those of the tenant’s tables', async () => {
    await inAll(stack, async (session, tenant) => {
      await session.query('CREATE TABLE shop.r (id BIGINT PRIMARY KEY, v INT)');
      await session.query('INSERT INTO shop.r VALUES (1, 1), (2, 2)');
      const regions = await session.query('SHOW TABLE shop.r REGIONS');
      expect(regions.length).toBeGreaterThan(0);
      const ids = regions.map((row) => Number(row.REGION_ID));
      const status = await session.query(
        "SELECT region_id, start_key, end_key FROM information_schema.tikv_region_status WHERE db_name = 'shop' AND table_name = 'r'",
      );
      expect(status.length).toBeGreaterThan(0);
      const known = new Map(
        (
          await direct<{ regions: { id: number; start_key: string; end_key: string }[] }>('regions')
        ).regions.map((region) => [region.id, region]),
      );
      const tag = (0x8000 + NUMBERS[tenant]!).toString(16);
      for (const id of ids) {
        const { start_key, end_key } = known.get(id)!;
        expect(start_key.slice(0, 6) === `74${tag}` || end_key.slice(0, 6) === `74${tag}`).toBe(true);
      }
      const all = await session.query('SELECT region_id FROM information_schema.tikv_region_peers');
      const own = await as<{ count: number; regions: unknown[] }>(tenant, 'regions');
      expect(own.count).toBe(own.regions.length);
      expect(all).toHaveLength(own.count);
      expect(own.count).toBeLessThan(known.size);
    });
  });

  test('a store’s regions, and those that a check finds, are one’s own', async () => {
    const { stores } = await direct<{ stores: { store: { id: number } }[] }>('stores');
    for (const path of [`regions/store/${stores[0]!.store.id}`, 'regions/check/empty-region']) {
      const all = await direct<{ count: number }>(path);
      const alpha = await as<{ count: number; regions: { id: number }[] | null }>('alpha', path);
      expect(alpha.count).toBe((alpha.regions ?? []).length);
      expect(alpha.count).toBeLessThan(all.count);
    }
  });
});

describe('statements that lead to what is refused end at once, and leave nothing behind', () =>
  testStatements(() => stack));
