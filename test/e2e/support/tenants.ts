import type { Row, Session } from '../../harness/stack/sql.ts';
import type { Stack } from '../../harness/stack/stack.ts';

/** A tenant's own text for rows: no other tenant's rows hold it. */
export function marker(tenant: string): string {
  return `only-${tenant}-has-this`;
}

/** Runs `work` for every tenant at the same time and gives the results by tenant's name, in the tenants' order. */
export async function inAll<T>(
  stack: Stack,
  work: (session: Session, tenant: string, number: number) => Promise<T>,
  database?: string,
): Promise<Record<string, T>> {
  const done = await Promise.all(
    stack.tenants.map(async ({ name, number }) => {
      const session = await stack.tidbs.get(name)!.connect(database);
      try {
        return [name, await work(session, name, number)] as const;
      } finally {
        await session.close();
      }
    }),
  );
  return Object.fromEntries(done);
}

/** Opens `count` sessions of one tenant for `work` and closes them however it ends. */
export async function withSessions<T>(
  stack: Stack,
  tenant: string,
  count: number,
  database: string,
  work: (...sessions: Session[]) => Promise<T>,
): Promise<T> {
  const sessions = await Promise.all(
    Array.from({ length: count }, () => stack.tidbs.get(tenant)!.connect(database)),
  );
  try {
    return await work(...sessions);
  } finally {
    await Promise.all(sessions.map((session) => session.close()));
  }
}

/** An error as MySQL's protocol carries it. */
export interface SqlError {
  errno: number;
  message: string;
}

/** The error of a statement that must fail. */
export async function errorOf(work: Promise<unknown>): Promise<SqlError> {
  try {
    await work;
  } catch (error) {
    const { errno, message } = error as Error & { errno?: number };
    return { errno: errno ?? 0, message };
  }
  throw new Error('the statement did not fail');
}

/** First value of the first row. */
export function only(rows: Row[]): unknown {
  return Object.values(rows[0] ?? {})[0];
}

/** Table ids of a database by table's name, as its TiDB tells them. */
export async function tableIds(session: Session, database: string): Promise<Record<string, number>> {
  const rows = await session.query(
    'SELECT table_name AS name, tidb_table_id AS id FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name',
    [database],
  );
  return Object.fromEntries(rows.map((row) => [row['name'] as string, Number(row['id'])]));
}

/** Every key that a text shows in hex and that begins like a table's: `t`, then a sign bit. */
export function tableKeysIn(text: string): { tag: number; tableId: number }[] {
  return [...text.matchAll(/74(8[0-9a-f]{3})([0-9a-f]{12})/gi)].map((found) => ({
    // Above the sign bit; 0 in a key as TiDB makes it, the tenant's number in a key of the store.
    tag: Number.parseInt(found[1]!, 16) - 0x8000,
    tableId: Number.parseInt(found[2]!, 16),
  }));
}
