/**
 * `npm run refusals`: runs every statement that meets a refusal as a tenant and on a cluster of its own, and says how each ended; with
 * `-- --write` it writes docs/refused-statements.json and docs/refused-statements.md.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { startStack, type Stack } from '../stack/stack.ts';
import type { Tidb } from '../stack/tidb.ts';
import { NoAnswer, openJobs, runStatement, type Places } from '../support/statement-run.ts';
import {
  STATEMENTS_JSON,
  STATEMENTS_PAGE,
  statementsPage,
  type Ended,
  type Measured,
} from '../support/statements-page.ts';
import { SETUP, STATEMENTS, type Statement } from '../support/statements.ts';

const LIMIT = 60_000;
/** Numbers that differ from run to run. */
const RUNNING_NUMBERS = /(?<=table-|rule_|DDL_)\d+/g;

/** What TiDB wraps around our sentence is left out. */
function short(text: string): string {
  const ours = text.indexOf('tidb-mesh');
  const from = ours < 0 ? text : text.slice(ours);
  return from
    .split('\n')[0]!
    .replace(/['"]+$/, '')
    .replaceAll(RUNNING_NUMBERS, 'N')
    .slice(0, 300);
}

async function run(tidb: Tidb, statement: Statement, places: Places): Promise<Ended> {
  const { milliseconds, error, warnings } = await runStatement(tidb, statement, places, LIMIT).catch(
    (late) => {
      if (!(late instanceof NoAnswer)) throw late;
      return { milliseconds: LIMIT, error: { errno: 0, message: late.message }, warnings: [] };
    },
  );
  const ours = warnings.find((warning) => warning.includes('tidb-mesh'));
  const own = statement.outcome === 'own' ? warnings[0] : undefined;
  const text = error?.message ?? ours ?? own;
  return { milliseconds: Math.round(milliseconds), ...(text === undefined ? {} : { says: short(text) }) };
}

async function prepared(stack: Stack): Promise<Tidb> {
  const tidb = [...stack.tidbs.values()][0]!;
  const session = await tidb.connect();
  for (const sql of SETUP) await session.query(sql);
  await session.close();
  return tidb;
}

async function measure(): Promise<Measured[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tidb-mesh-statements-'));
  const places: Places = { folder, file: join(folder, 'rows.csv') };
  await writeFile(places.file, '5,5\n6,6\n');
  const stacks: Stack[] = [];
  try {
    const tenants = [{ name: 'alpha', number: 1 }];
    for (const mesh of [true, false]) stacks.push(await startStack({ tenants, mesh }));
    const [tenant, direct] = [await prepared(stacks[0]!), await prepared(stacks[1]!)];
    const measured: Measured[] = [];
    for (const statement of STATEMENTS) {
      const { name, sql, outcome, notDirect } = statement;
      const ended = await run(tenant, statement, places);
      const session = await tenant.connect();
      const left = await openJobs(session);
      await session.close();
      const beside = notDirect ?? (await run(direct, statement, places));
      measured.push({ name, sql, outcome, tenant: ended, direct: beside, left });
      console.log(
        `${name}: ${ended.milliseconds} ms, ${ended.says ?? 'ok'}; ${JSON.stringify(beside)} ${left.join(', ')}`,
      );
    }
    return measured;
  } finally {
    for (const stack of stacks) await stack.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const measured = await measure();
if (process.argv.includes('--write')) {
  await writeFile(STATEMENTS_JSON, await format(JSON.stringify(measured), { parser: 'json' }));
  await writeFile(STATEMENTS_PAGE, await statementsPage(measured));
}
