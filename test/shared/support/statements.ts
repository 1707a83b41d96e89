import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Stack } from '../../harness/stack/stack.ts';
import { openJobs, runStatement, type Places } from '../../harness/support/statement-run.ts';
import { SETUP, STATEMENTS } from '../../harness/support/statements.ts';
import { StoreTime } from '../../gc/support/time.ts';

/** Much longer than any of them takes, and much shorter than what never ends. */
const LIMIT = 60_000;
const OURS = /tidb-mesh/;

/** What alpha keeps in PD beyond its rows: service safe points, and names of restores in etcd. */
async function leftInPd(stack: Stack): Promise<string[]> {
  const services = (await new StoreTime(stack).services()).map(({ service }) => service);
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const folder = '/tidb-mesh/alpha:/tidb/brie/import/restore';
  const range = { key: base64(`${folder}/`), range_end: base64(`${folder}0`) };
  const response = await fetch(`${stack.pd.directUrl}/v3/kv/range`, {
    method: 'POST',
    body: JSON.stringify(range),
  });
  const { kvs = [] } = (await response.json()) as { kvs?: { key: string }[] };
  return [
    ...services.filter((service) => service.startsWith('tidb-mesh:alpha:')),
    ...kvs.map(({ key }) => Buffer.from(key, 'base64').toString()),
  ];
}

/** Tests of every statement that leads to what the storage layer refuses, as alpha. */
export function testStatements(stackOf: () => Stack): void {
  let places: Places;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidb-mesh-statements-'));
    places = { folder, file: join(folder, 'rows.csv') };
    await writeFile(places.file, '5,5\n6,6\n');
    const session = await stackOf().tidbs.get('alpha')!.connect();
    for (const sql of SETUP) await session.query(sql);
    await session.close();
  });
  afterAll(() => rm(places.folder, { recursive: true, force: true }));

  test.each(STATEMENTS.map((statement) => [statement.name, statement] as const))(
    '%s',
    async (_, statement) => {
      const stack = stackOf();
      const alpha = stack.tidbs.get('alpha')!;
      const { error, warnings } = await runStatement(alpha, statement, places, LIMIT);
      const text = [error?.message ?? '', ...warnings].join('\n');
      if (statement.outcome === 'refused') expect(error?.message).toMatch(OURS);
      if (statement.outcome === 'warned' || statement.outcome === 'done') expect(error).toBeUndefined();
      if (statement.outcome === 'warned') expect(text).toMatch(OURS);
      if (statement.outcome === 'done' || statement.outcome === 'own') expect(text).not.toMatch(OURS);
      if (statement.says) expect(text).toMatch(statement.says);
      const session = await alpha.connect();
      expect(await openJobs(session)).toEqual([]);
      await session.close();
      expect(await leftInPd(stack)).toEqual([]);
    },
  );

  test('schema changes go on afterwards, in both tenants', async () => {
    for (const tidb of stackOf().tidbs.values()) {
      const session = await tidb.connect();
      await session.query('CREATE DATABASE refusals_after');
      await session.query('CREATE TABLE refusals_after.t (a INT PRIMARY KEY)');
      await session.query('INSERT INTO refusals_after.t VALUES (1)');
      await session.query('DROP DATABASE refusals_after');
      await session.close();
    }
  });
}
