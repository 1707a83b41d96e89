/** Runs one of the statements of statements.ts, with a limit of time, and says what came of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DATABASE, type Statement } from './statements.ts';
import type { Row, Session } from '../stack/sql.ts';
import type { Tidb } from '../stack/tidb.ts';

/** What a statement came to. */
export interface Outcome {
  milliseconds: number;
  /** Undefined when it did not answer in time, and was killed. */
  error?: { errno: number; message: string };
  rows?: number;
  warnings: string[];
}

export class NoAnswer extends Error {}

/** What stands for `{...}` in a statement. */
export interface Places {
  /** A folder that TiDB may write to. */
  folder: string;
  /** A CSV file of two numbers a line. */
  file: string;
}

/** PD's timestamps hold milliseconds since 1970 above this many bits of a counter. */
const LOGICAL_BITS = 18n;

async function fill(session: Session, sql: string, { folder, file }: Places): Promise<string> {
  const [times] = await session.query(
    `SELECT UNIX_TIMESTAMP(NOW(3) - INTERVAL 1 SECOND) AS unix,
      CAST(NOW(3) - INTERVAL 1 SECOND AS CHAR) AS second, CAST(NOW(3) - INTERVAL 1 HOUR AS CHAR) AS hour`,
  );
  const { unix, second, hour } = times as { unix: string; second: string; hour: string };
  return sql
    .replace('{a second ago as TSO}', String(BigInt(Math.trunc(Number(unix) * 1000)) << LOGICAL_BITS))
    .replace('{a second ago}', `'${second}'`)
    .replace('{an hour ago}', `'${hour}'`)
    .replace('{folder}', folder)
    .replace('{file}', file);
}

/** Rejects with NoAnswer after so many milliseconds. */
async function within<T>(limit: number, work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  const controller = new AbortController();
  const late = sleep(limit, undefined, { signal: controller.signal }).then(() => {
    throw new NoAnswer(`no answer within ${limit / 1000} s`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    controller.abort();
  }
}

/**
 * Runs the statement in a session of its own.
 * @throws NoAnswer when it, or what it needs, takes longer than `limit` ms; it is killed
 */
export async function runStatement(
  tidb: Tidb,
  statement: Statement,
  places: Places,
  limit: number,
): Promise<Outcome> {
  const session = await tidb.connect(DATABASE);
  const ask = (sql: string): Promise<Row[]> => within(limit, session.query(sql));
  try {
    for (const sql of statement.before ?? []) await ask(sql);
    const sql = await fill(session, statement.sql, places);
    const began = performance.now();
    const done = await ask(sql).then(
      (rows) => ({ rows: rows.length }),
      (error: Error & { errno?: number }) => {
        if (error instanceof NoAnswer) throw error;
        return { error: { errno: error.errno ?? 0, message: error.message.trim() } };
      },
    );
    const milliseconds = performance.now() - began;
    const warnings = (await ask('SHOW WARNINGS')).map((row) => String(row['Message']).trim());
    for (const after of statement.after ?? []) await ask(after).catch(() => undefined);
    return { milliseconds, ...done, warnings: 'error' in done ? [] : warnings };
  } catch (error) {
    if (error instanceof NoAnswer) await kill(tidb, session);
    throw error;
  } finally {
    await within(5000, session.close()).catch(() => session.connection.destroy());
  }
}

async function kill(tidb: Tidb, session: Session): Promise<void> {
  const other = await tidb.connect();
  const id = session.connection.threadId;
  await within(5000, other.query(`KILL TIDB ${String(id)}`)).catch(() => undefined);
  await other.close();
}

const FINISHED = ['synced', 'cancelled', 'rollback done'];

/** DDL jobs of a TiDB that have not come to an end. */
export async function openJobs(session: Session): Promise<string[]> {
  const jobs = await session.query('ADMIN SHOW DDL JOBS 20');
  return jobs
    .filter((job) => !FINISHED.includes(String(job['STATE'])))
    .map((job) => `${String(job['JOB_ID'])} ${String(job['JOB_TYPE'])} ${String(job['STATE'])}`);
}
