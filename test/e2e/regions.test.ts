import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Session } from '../harness/stack/sql.ts';
import { startStack, type Stack } from '../harness/stack/stack.ts';
import { Caller } from './support/caller.ts';
import { memcomparable, rowKey, tablePrefix } from '../harness/support/keys.ts';
import { ticked } from '../harness/support/tick.ts';
import { expectNoKeyOutsideRegion } from './support/store.ts';
import { inAll, marker, only, tableIds, tableKeysIn, withSessions } from './support/tenants.ts';

const ROWS = 6000;
const BATCH = 500;
const REGION_BYTES = 256 * 1024;
const ROW_REGIONS = 3;
/** The store looks at sizes every few seconds. */
const SPLIT_TIMEOUT = 90_000;

let stack: Stack;
let tableId: number;

/** A row's group: 40 of them, spread over the handles. */
const group = (id: number): number => (id * 17) % 40;

beforeAll(async () => {
  stack = await startStack({ regionSize: REGION_BYTES });
  const ids = await inAll(stack, async (session, tenant) => {
    await session.query('CREATE DATABASE many');
    await session.query('USE many');
    await session.query(
      'CREATE TABLE t (id BIGINT PRIMARY KEY, g INT, v VARCHAR(200), KEY by_g (g, id), KEY by_v (v))',
    );
    for (let from = 0; from < ROWS; from += BATCH) {
      const rows = Array.from({ length: BATCH }, (_, at) => {
        const id = from + at;
        return [id, group(id), `${marker(tenant)}-${String(id).padStart(6, '0')}-${'x'.repeat(120)}`];
      });
      await session.query('INSERT INTO t VALUES ?', [rows]);
    }
    return (await tableIds(session, 'many'))['t']!;
  });
  tableId = ids['alpha']!;
  await inAll(stack, (session) => waitForSplits(session));
});
afterAll(async () => {
  await stack?.stop();
});

/** Those of its regions that begin with a row: a table's first region and its indexes' do not count. */
async function rowRegions(session: Session): Promise<Record<string, unknown>[]> {
  const regions = await session.query('SHOW TABLE many.t REGIONS');
  return regions.filter((region) => String(region['START_KEY']).startsWith(`t_${tableId}_r_`));
}

async function waitForSplits(session: Session): Promise<void> {
  const end = Date.now() + SPLIT_TIMEOUT;
  let found = 0;
  while (Date.now() < end) {
    found = (await rowRegions(session)).length;
    if (found >= ROW_REGIONS) return;
    await sleep(1000);
  }
  throw new Error(`the rows begin ${found} regions after ${SPLIT_TIMEOUT / 1000} s, not ${ROW_REGIONS}`);
}

const numbers = (rows: Record<string, unknown>[], name = 'id'): number[] =>
  rows.map((row) => Number(row[name]));
const ids = Array.from({ length: ROWS }, (_, id) => id);

test('SHOW TABLE REGIONS shows several of the own table, side by side', async () => {
  await inAll(stack, async (session) => {
    const regions = await session.query('SHOW TABLE many.t REGIONS');
    expect(regions.length).toBeGreaterThanOrEqual(4);
    const rows = await rowRegions(session);
    expect(rows.length).toBeGreaterThanOrEqual(ROW_REGIONS);
    for (const [at, region] of rows.entries())
      if (at > 0) expect(region['START_KEY']).toBe(rows[at - 1]!['END_KEY']);
    for (const region of regions)
      for (const name of ['START_KEY', 'END_KEY']) {
        // Of the own table or, at the first and last region, a neighbouring one; a tag would make the id larger.
        const id = /^t_(\d+)/.exec(String(region[name]))?.[1];
        if (id !== undefined) expect(Number(id)).toBeLessThan(2 ** 48);
      }
  });
});

test.each([
  ['information_schema', 'tables'],
  ['metrics_schema', 'up'],
  ['performance_schema', 'setup_actors'],
])('SHOW TABLE %s.%s REGIONS, whose keys no tenant writes, shows the last region', async (schema, table) => {
  await inAll(stack, async (session, tenant) => {
    const regions = await session.query(`SHOW TABLE ${schema}.${table} REGIONS`);
    const caller = await Caller.of(stack, tenant);
    const last = (await caller.regions()).at(-1)!;
    expect(new Set(numbers(regions, 'REGION_ID'))).toEqual(new Set([Number(last.id)]));
  });
});

describe('scans over several regions', () => {
  const cases: [string, string, number[]][] = [
    ['a whole scan', 'SELECT id FROM t', ids],
    ['a reverse scan', 'SELECT id FROM t ORDER BY id DESC', [...ids].reverse()],
    ['a range', 'SELECT id FROM t WHERE id BETWEEN 1000 AND 4999', ids.slice(1000, 5000)],
    [
      'a reverse range with a limit',
      'SELECT id FROM t WHERE id < 5000 ORDER BY id DESC LIMIT 3000',
      ids.slice(2000, 5000).reverse(),
    ],
    ['points', 'SELECT id FROM t WHERE id IN (0, 1, 2999, 5999, 6000)', [0, 1, 2999, 5999]],
    ['one point', 'SELECT id FROM t WHERE id = 4321', [4321]],
    [
      'an index range',
      'SELECT id FROM t USE INDEX (by_g) WHERE g = 13 ORDER BY id',
      ids.filter((id) => group(id) === 13),
    ],
    [
      'a reverse index scan',
      'SELECT id FROM t USE INDEX (by_g) WHERE g >= 38 ORDER BY g DESC, id DESC',
      [39, 38].flatMap((g) => ids.filter((id) => group(id) === g).reverse()),
    ],
    [
      'a table scan with a filter',
      'SELECT id FROM t IGNORE INDEX (by_g) WHERE g = 13 ORDER BY id',
      ids.filter((id) => group(id) === 13),
    ],
    [
      'an index lookup of many rows',
      "SELECT id FROM t USE INDEX (by_v) WHERE v LIKE 'only%' AND g < 20 ORDER BY v",
      ids.filter((id) => group(id) < 20),
    ],
    ['nothing', 'SELECT id FROM t WHERE id > 100000', []],
  ];
  for (const { name: tenant } of [{ name: 'alpha' }, { name: 'beta' }]) {
    for (const paging of ['ON', 'OFF']) {
      test.each(cases)(`%s, tenant ${tenant}, paging ${paging}`, (_title, sql, wanted) =>
        withSessions(stack, tenant, 1, 'many', async (session) => {
          await session!.query(`SET tidb_enable_paging = ${paging}`);
          const found = numbers(await session!.query(sql));
          expect(/ORDER BY/.test(sql) ? found : found.sort((a, b) => a - b)).toEqual(wanted);
        }),
      );
    }
  }

  test('aggregates are pushed down and hold own rows only', async () => {
    await inAll(
      stack,
      async (session, tenant) => {
        const [row] = await session.query(
          'SELECT COUNT(*) AS n, SUM(id) AS s, MIN(id) AS a, MAX(id) AS b, MIN(v) AS v, COUNT(DISTINCT g) AS g FROM t',
        );
        expect(row).toMatchObject({ n: ROWS, s: String((ROWS * (ROWS - 1)) / 2), a: 0, b: ROWS - 1, g: 40 });
        expect(String(row!['v'])).toContain(marker(tenant));
        const groups = await session.query('SELECT g, COUNT(*) AS n FROM t GROUP BY g ORDER BY g');
        expect(groups).toEqual(Array.from({ length: 40 }, (_, g) => ({ g, n: ROWS / 40 })));
      },
      'many',
    );
  });

  test('writes over several regions are atomic, ADMIN CHECK and ANALYZE agree', async () => {
    await inAll(
      stack,
      async (session, tenant) => {
        await session.query('BEGIN');
        await session.query('UPDATE t SET g = g + 100');
        await session.query('ROLLBACK');
        expect(only(await session.query('SELECT MAX(g) FROM t'))).toBe(39);
        await session.query('UPDATE t SET g = g + 100 WHERE id % 3 = 0');
        await session.query('UPDATE t SET g = g - 100 WHERE id % 3 = 0');
        await session.query('ADMIN CHECK TABLE t');
        await session.query('ANALYZE TABLE t');
        const [meta] = await session.query("SHOW STATS_META WHERE db_name = 'many' AND table_name = 't'");
        expect(Number(meta!['Row_count'])).toBe(ROWS);
        expect(only(await session.query('SELECT v FROM t WHERE id = 3000'))).toContain(marker(tenant));
      },
      'many',
    );
  });

  test('an index is filled over several regions in both tenants at the same time', async () => {
    await inAll(
      stack,
      async (session) => {
        await session.query('ALTER TABLE t ADD INDEX by_g_v (g, v)');
        await session.query('ADMIN CHECK INDEX t by_g_v');
        expect(
          numbers(await session.query('SELECT id FROM t USE INDEX (by_g_v) WHERE g = 5 ORDER BY v')),
        ).toEqual(ids.filter((id) => group(id) === 5));
      },
      'many',
    );
  });
});

test('the store saw no key outside the region of its request', () => expectNoKeyOutsideRegion(stack));

describe('views of regions and keys', () => {
  test("information_schema.tikv_region_status shows the own tables' regions only", async () => {
    const seen = await inAll(stack, async (session) => {
      const rows = await session.query(
        `SELECT region_id AS region_id, start_key AS start_key, end_key AS end_key, table_id AS table_id,
           db_name AS db_name, table_name AS table_name FROM information_schema.tikv_region_status`,
      );
      expect(rows.length).toBeGreaterThan(4);
      const tables = new Set(
        numbers(await session.query('SELECT tidb_table_id AS id FROM information_schema.tables')),
      );
      for (const row of rows) {
        // As PD has them, memcomparable: in its first group a key is as it is.
        for (const key of tableKeysIn(`${String(row['start_key'])} ${String(row['end_key'])}`))
          expect(key.tag).toBe(0);
        if (row['table_id'] !== null) expect(tables).toContain(Number(row['table_id']));
      }
      const own = rows.filter((row) => row['table_name'] === 't' && row['db_name'] === 'many');
      expect(own.length).toBeGreaterThanOrEqual(4);
      const shown = numbers(await session.query('SHOW TABLE many.t REGIONS'), 'REGION_ID');
      for (const row of own) expect(shown).toContain(Number(row['region_id']));
      return new Set(shown);
    });
    // A region in the middle of one tenant's table is not the other's.
    const shared = [...seen['alpha']!].filter((id) => seen['beta']!.has(id));
    expect(shared.length).toBeLessThanOrEqual(2);
  });

  test("a region that is wholly the other's cannot be seen", async () => {
    const [alpha, beta] = [await Caller.of(stack, 'alpha'), await Caller.of(stack, 'beta')];
    const [own, others] = [await alpha.regions(), await beta.regions()];
    const ownIds = new Set(own.map((region) => region.id));
    const foreign = others.filter((region) => !ownIds.has(region.id));
    expect(foreign.length).toBeGreaterThan(2);
    // Ends meet: what a tenant sees covers its whole space without a gap.
    for (const regions of [own, others]) {
      expect(regions[0]!.start).toHaveLength(0);
      expect(regions.at(-1)!.end).toHaveLength(0);
      for (const [at, region] of regions.entries())
        if (at > 0) expect(region.start).toEqual(regions[at - 1]!.end);
    }
    const header = await alpha.header();
    for (const region of foreign) {
      const answer = await alpha.pd('GetRegionByID', { header, regionId: region.id }, {}, 'GetRegion');
      expect(answer.fields?.['region']).toBeUndefined();
    }
    const scanned = await alpha.pd('ScanRegions', {
      header,
      startKey: memcomparable(tablePrefix(tableId, 2)),
      endKey: memcomparable(tablePrefix(tableId + 1, 2)),
      limit: 100,
    });
    for (const { region } of (scanned.fields?.['regions'] as { region: { id: bigint } }[] | undefined) ?? [])
      expect(ownIds).toContain(region.id);
    const got = await alpha.pd('GetRegion', { header, regionKey: memcomparable(rowKey(tableId, 3000, 2)) });
    if (got.fields?.['region']) expect(ownIds).toContain(got.fields['region'].id);
  });

  test("the own handle in another tenant's region is refused by the store, not answered", async () => {
    const [alpha, beta] = [await Caller.of(stack, 'alpha'), await Caller.of(stack, 'beta')];
    const key = rowKey(tableId, 3000);
    const { context } = await beta.regionOf(key);
    const answer = await alpha.store('KvGet', ['kvrpcpb.GetRequest', 'kvrpcpb.GetResponse'], {
      context,
      key,
      version: (1n << 62n) - 1n,
    });
    expect(answer.bytes.includes(marker('beta'))).toBe(false);
  });
});

/*
 * TiDB asks PD to scatter each new region, then for the operator that does it. One that is turned away is asked for again, seconds later:
 * so nothing may be turned away.
 */
describe('statements that split regions wait for nobody', () => {
  // What earlier tests did is counted with the tick.
  beforeAll(ticked);

  const turnedAway = async (): Promise<number> => {
    const found = await stack.envoy!.stats(/tidbmesh_region_acts_turned_away_total$/);
    return [...found.values()].reduce((sum, count) => sum + count, 0);
  };
  /** Calls that PD has answered. */
  const answered = async (method: string): Promise<number> => {
    const metrics = await (await fetch(`${stack.pd.directUrl}/metrics`)).text();
    const lines = metrics.split('\n').filter((line) => line.startsWith('grpc_server_handled_total{'));
    return lines
      .filter((line) => line.includes(`grpc_method="${method}"`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  };

  test.each([
    ['SPLIT TABLE', 'SPLIT TABLE many.t BETWEEN (0) AND (1000000) REGIONS 16', 15],
    ['SPLIT TABLE INDEX', 'SPLIT TABLE many.t INDEX by_g BETWEEN (0, 0) AND (1000000, 0) REGIONS 8', 8],
    ['SPLIT TABLE BY', 'SPLIT TABLE many.t BY (2000000), (3000000), (4000000)', 3],
    ['a pre-split table', 'CREATE TABLE many.pre (a INT) SHARD_ROW_ID_BITS = 4 PRE_SPLIT_REGIONS = 3', 8],
    [
      'a pre-split table of random ids',
      'CREATE TABLE many.random (id BIGINT PRIMARY KEY AUTO_RANDOM(5)) PRE_SPLIT_REGIONS = 3',
      8,
    ],
  ])('%s', (_, sql, least) =>
    withSessions(stack, 'alpha', 1, 'many', async (session) => {
      await session!.query('SET tidb_wait_split_region_finish = 1');
      await session!.query("SET tidb_scatter_region = 'table'");
      const before = [await turnedAway(), await answered('ScatterRegion')];
      const [row] = await session!.query(sql);
      await ticked();
      const turned = (await turnedAway()) - before[0]!;
      const scattered = (await answered('ScatterRegion')) - before[1]!;
      // Where PD has not heard of a new region yet, client-go asks once more, with or without the mesh. The filter cannot hear of it
      // sooner than PD, and turns that one away.
      expect(turned).toBeLessThan(3);
      expect(scattered - turned).toBeGreaterThanOrEqual(row ? Number(row['TOTAL_SPLIT_REGION']) : least - 1);
    }),
  );
});
