/** Names of tables by their ids, as a tenant's TiDB keeps them (TiDB pkg/meta/meta.go, pkg/structure/type.go). */
import { memcomparable } from '../../tenants/tenant.ts';
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

/** Right behind all keys that begin so. Its last byte is no 0xff. */
function behind(start: Buffer): Buffer {
  const end = Buffer.from(start);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

async function databases(snapshot: Snapshot, { space }: Side): Promise<Info[]> {
  const start = hashKey('DBs');
  const end = behind(start);
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

/** Ids of tables, and whatever may be the id of a partition. */
export type TableIds = ReadonlySet<string>;

/** Where a table's info has ids of partitions: those that are, that come, and that go (TiDB pkg/meta/model PartitionInfo). */
interface TableInfo {
  readonly id: number;
  readonly partition?: unknown;
}

/**
 * Ids that the schema knows at a timestamp. Keys of any other one belong to a table that was dropped, or truncated.
 * @throws Error when the schema cannot be read as a whole
 */
export async function tableIds(side: Side, ts: bigint, signal?: AbortSignal): Promise<TableIds> {
  const ids = new Set<string>();
  const snapshot = new Snapshot(side, ts, { locks: 'meet', signal });
  const all = await databases(snapshot, side);
  if (all.length === 0 || all.length >= MOST_DATABASES) throw new Error('the databases are not known');
  for (const { id: database } of all) {
    // A field is encoded in groups of eight bytes, of which the first one begins so.
    const start = Buffer.concat([hashKey(`DB:${database}`), Buffer.from('Table:')]);
    const range = side.space.physicalRange({ start, end: behind(start) });
    for await (const { pairs } of snapshot.pages(range))
      for (const { value } of pairs) {
        const { id, partition } = JSON.parse(Buffer.from(value).toString()) as TableInfo;
        ids.add(String(id));
        // Whichever number it is: better one too many.
        for (const [number] of JSON.stringify(partition ?? {}).matchAll(/\d+/g)) ids.add(number);
      }
  }
  return ids;
}
