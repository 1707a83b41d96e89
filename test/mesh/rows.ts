/** The same table in every tenant, and where its entries lie in the store. */
import { tablePrefix } from '../harness/support/keys.ts';
import type { Row } from '../harness/stack/sql.ts';
import type { Tidb } from '../harness/stack/tidb.ts';
import type { Mesh, Tenant } from './mesh.ts';

/** First byte of a table's keys. */
const TABLE = 't'.charCodeAt(0);

export interface Filled {
  /** As the tenant's TiDB numbers it. */
  tableId: number;
  rows: Row[];
  /** Keys of the table that bear the tenant's number: two rows and two entries in each of two indexes. */
  stored: number;
}

/** Makes table `m.t` with two rows that bear the tenant's name, adds an index to it and checks it. */
export async function fillTable(mesh: Mesh, tidb: Tidb, { name, number }: Tenant): Promise<Filled> {
  const session = await tidb.connect();
  await session.query('CREATE DATABASE m');
  await session.query('CREATE TABLE m.t (id INT PRIMARY KEY, v VARCHAR(20), KEY (v))');
  await session.query('INSERT INTO m.t VALUES (1, ?), (2, ?)', [name, `${name}-2`]);
  await session.query('ALTER TABLE m.t ADD INDEX later (v, id)');
  await session.query('ADMIN CHECK TABLE m.t');
  const rows = await session.query('SELECT * FROM m.t ORDER BY id');
  const [row] = await session.query(
    "SELECT TIDB_TABLE_ID AS id FROM information_schema.tables WHERE TABLE_SCHEMA = 'm'",
  );
  await session.close();
  const tableId = Number(row!['id']);
  const prefix = tablePrefix(tableId, number);
  const end = Buffer.from(prefix);
  end[end.length - 1]!++;
  return { tableId, rows, stored: (await mesh.store.inspect.keys(prefix, end)).length };
}

/** The first three bytes, in hex, of all table keys in the store, each once, in order: `t`, then a tenant's number. */
export async function tableTags(mesh: Mesh): Promise<string[]> {
  const all = await mesh.store.inspect.keys(Buffer.alloc(0), Buffer.alloc(0), 100_000);
  const tags = all.filter(({ key }) => key[0] === TABLE).map(({ key }) => key.subarray(0, 3).toString('hex'));
  return [...new Set(tags)].sort();
}
