/** Names of tables by their ids, as a tenant's TiDB keeps them (TiDB pkg/meta/meta.go, pkg/structure/type.go). */
import { memcomparable } from '../tenants/tenant.ts';
import { after, Snapshot } from './snapshot.ts';
import type { Side } from './storage.ts';

const META = Buffer.from('m');
const HASH_DATA = 'h'.charCodeAt(0);
/** More databases are not looked through. */
const MOST_DATABASES = 1000;

interface Info {
  readonly id: number;
  readonly db_name?: { readonly O: string };
  readonly name?: { readonly O: string };
}

/** The logical key of a field, or where the fields of a hash begin. */
function hashKey(key: string, field?: string): Buffer {
  const type = Buffer.alloc(8);
  type.writeBigUInt64BE(BigInt(HASH_DATA));
  const parts = [META, memcomparable(Buffer.from(key)), type];
  return Buffer.concat(field === undefined ? parts : [...parts, memcomparable(Buffer.from(field))]);
}

async function databases(snapshot: Snapshot, { space }: Side): Promise<Info[]> {
  const start = hashKey('DBs');
  const end = Buffer.from(start);
  end[end.length - 1] = HASH_DATA + 1;
  const found: Info[] = [];
  for await (const { pairs } of snapshot.pages(space.physicalRange({ start, end }))) {
    found.push(...pairs.map(({ value }) => JSON.parse(Buffer.from(value).toString()) as Info));
    if (found.length >= MOST_DATABASES) break;
  }
  return found;
}

/**
 * `database.table` by id. Partitions, and tables that are gone, have none.
 * @param ts at which the schema is read
 */
export async function tableNames(
  side: Side,
  ids: readonly string[],
  ts: bigint,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  const wanted = new Set(ids);
  if (wanted.size === 0) return names;
  const snapshot = new Snapshot(side, ts, { locks: 'ignore', signal });
  for (const { id, db_name: database } of await databases(snapshot, side))
    for (const table of wanted) {
      const start = side.space.encode(hashKey(`DB:${id}`, `Table:${table}`));
      if (!start) continue;
      const [pair] = (await snapshot.page({ start, end: after(start) })).pairs;
      if (!pair) continue;
      const { name } = JSON.parse(Buffer.from(pair.value).toString()) as Info;
      names.set(table, `${database?.O ?? ''}.${name?.O ?? ''}`);
      wanted.delete(table);
    }
  return names;
}
