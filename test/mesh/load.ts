/** SQL without a pause, for as long as something else changes. */
import { randomInt } from 'node:crypto';
import type { Tidb } from '../harness/stack/tidb.ts';

export interface Load {
  /** Transactions so far. */
  done(): number;
  /** Ends it; gives what the SQL client saw go wrong. */
  stop(): Promise<string[]>;
}

const SESSIONS = 4;
const ROWS = 1000;

/** Transactions over one table, in a few sessions, each of which reads, writes and commits. */
export async function startLoad(tidb: Tidb): Promise<Load> {
  const setup = await tidb.connect();
  await setup.query('CREATE DATABASE IF NOT EXISTS load_test');
  await setup.query('CREATE TABLE IF NOT EXISTS load_test.t (id INT PRIMARY KEY, n INT)');
  await setup.query(
    `INSERT IGNORE INTO load_test.t VALUES ${Array.from({ length: ROWS }, (_, id) => `(${id}, 0)`).join(',')}`,
  );
  await setup.close();
  let running = true;
  let done = 0;
  const problems: string[] = [];
  const workers = Array.from({ length: SESSIONS }, async () => {
    const session = await tidb.connect('load_test');
    while (running) {
      const id = randomInt(ROWS);
      try {
        await session.query('BEGIN');
        await session.query('UPDATE t SET n = n + 1 WHERE id = ?', [id]);
        await session.query('SELECT SUM(n) FROM t WHERE id BETWEEN ? AND ?', [id, id + 50]);
        await session.query('COMMIT');
        done++;
      } catch (error) {
        problems.push(String(error));
        await session.query('ROLLBACK').catch(() => {});
      }
    }
    await session.close();
  });
  return {
    done: () => done,
    async stop() {
      running = false;
      await Promise.all(workers);
      return problems;
    },
  };
}
