/** What two tenants do while their servers fail: lists that are appended to, and a group of rows of which each is written once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Session } from '../harness/stack/sql.ts';
import { countError, recover } from '../move/ledger.ts';
import { judgeHistory, longForks, type Op, type Txn } from './list-append.ts';

/** Lists that are in use at a time, and appends until the next ones. */
const LISTS = 4;
const APPENDS = 120;
const GROUP = 6;
/** Errors of COMMIT after which the transaction is certainly not committed. */
const CERTAIN = new Set([9007, 8022, 8002, 8005, 8028, 1213, 1205, 3572]);
const PAUSE_MS = 10;

export interface Done {
  readonly history: Txn[];
  readonly reads: Map<number, Set<number>[]>;
  /** Rows of groups that were certainly written. */
  readonly written: Map<number, Set<number>>;
  readonly errors: Map<string, number>;
  /** What cannot be. */
  readonly wrong: string[];
}

export async function createLists(port: number): Promise<void> {
  const session = await connect(port);
  await session.query('CREATE DATABASE faults');
  await session.query('CREATE TABLE faults.lists (k INT PRIMARY KEY, v LONGTEXT NOT NULL)');
  await session.query(
    'CREATE TABLE faults.rows (g INT, k INT, owner VARCHAR(20), PRIMARY KEY (g, k), KEY by_owner (owner, g))',
  );
  await session.close();
}

const listOf = (text: unknown): string[] => (typeof text === 'string' && text !== '' ? text.split(',') : []);

/** One transaction. What it did is in `ops` even when it fails. Optimistic ones read their snapshot, pessimistic ones lock what they read. */
async function runTxn(
  session: Session,
  plan: readonly Op[],
  ops: Op[],
  isPessimistic: boolean,
): Promise<void> {
  await session.query(isPessimistic ? 'BEGIN PESSIMISTIC' : 'BEGIN OPTIMISTIC');
  for (const op of plan)
    if ('append' in op) {
      ops.push(op);
      await session.query(
        "INSERT INTO faults.lists VALUES (?, ?) ON DUPLICATE KEY UPDATE v = CONCAT(v, ',', VALUES(v))",
        [op.append, op.value],
      );
    } else {
      const lock = isPessimistic ? ' FOR UPDATE' : '';
      const [row] = await session.query(`SELECT v FROM faults.lists WHERE k = ?${lock}`, [op.read]);
      ops.push({ read: op.read, list: listOf(row?.['v']) });
    }
}

/** Runs the clients of one tenant until it is over. */
export async function runLists(
  tenant: string,
  port: number,
  { clients, isOver }: { clients: number; isOver: () => boolean },
): Promise<Done> {
  const done: Done = { history: [], reads: new Map(), written: new Map(), errors: new Map(), wrong: [] };
  let appends = 0;
  let values = 0;
  const planOne = (): Op[] =>
    Array.from({ length: 1 + Math.floor(Math.random() * 3) }, (): Op => {
      const key = Math.floor(appends / APPENDS) * LISTS + Math.floor(Math.random() * LISTS);
      if (Math.random() < 0.5) return { read: key, list: [] };
      appends++;
      return { append: key, value: `${tenant}:${++values}` };
    });

  const append = async (client: number): Promise<void> => {
    let session = await connect(port);
    for (let n = 0; !isOver(); n++) {
      const ops: Op[] = [];
      let isCommitting = false;
      const planned = planOne();
      try {
        await runTxn(session, planned, ops, (client + n) % 2 === 0);
        isCommitting = true;
        await session.query('COMMIT');
        done.history.push({ ops, outcome: 'committed' });
      } catch (error) {
        const isCertain = !isCommitting || CERTAIN.has((error as { errno?: number }).errno ?? 0);
        done.history.push({ ops, outcome: isCertain ? 'aborted' : 'unknown' });
        countError(done.errors, error);
        session = await recover(session, port);
      }
      await sleep(PAUSE_MS);
    }
    await session.close();
  };

  let group = 0;
  const write = async (): Promise<void> => {
    let session = await connect(port);
    for (let n = 0; !isOver(); n++) {
      group = Math.floor(n / GROUP);
      const key = n % GROUP;
      try {
        await session.query('INSERT INTO faults.rows VALUES (?, ?, ?)', [group, key, tenant]);
        if (!done.written.has(group)) done.written.set(group, new Set());
        done.written.get(group)!.add(key);
      } catch (error) {
        countError(done.errors, error);
        session = await recover(session, port);
      }
      await sleep(PAUSE_MS);
    }
    await session.close();
  };

  const read = async (): Promise<void> => {
    let session = await connect(port);
    while (!isOver()) {
      const of = group;
      try {
        const rows = await session.query('SELECT k, owner FROM faults.rows WHERE g = ?', [of]);
        for (const { owner } of rows)
          if (owner !== tenant) done.wrong.push(`${tenant} reads a row of ${String(owner)}`);
        if (!done.reads.has(of)) done.reads.set(of, []);
        done.reads.get(of)!.push(new Set(rows.map(({ k }) => Number(k))));
      } catch (error) {
        countError(done.errors, error);
        session = await recover(session, port);
      }
      await sleep(PAUSE_MS);
    }
    await session.close();
  };
  await Promise.all([
    ...Array.from({ length: clients }, (_, client) => append(client)),
    write(),
    read(),
    read(),
  ]);
  return done;
}

/** Holds what was done against the rules, and against what is there at the end. */
export async function judgeLists(tenant: string, port: number, done: Done): Promise<string[]> {
  const session = await connect(port);
  const rows = await session.query('SELECT k, v FROM faults.lists');
  const final = new Map(rows.map(({ k, v }) => [Number(k), listOf(v)]));
  const found = [...done.wrong];
  for (const [key, list] of final)
    for (const value of list)
      if (!value.startsWith(`${tenant}:`)) found.push(`list ${key} of ${tenant} holds ${value}`);
  for (const { kind, what } of judgeHistory(done.history, final)) found.push(`${kind}: ${what}`);
  for (const [group, reads] of done.reads)
    for (const fork of longForks(reads)) found.push(`long fork in group ${group}: ${fork}`);
  const there = await session.query('SELECT g, k, owner FROM faults.rows');
  const keys = new Set(there.map(({ g, k }) => `${String(g)} ${String(k)}`));
  for (const { owner } of there) if (owner !== tenant) found.push(`a row of ${String(owner)} in ${tenant}`);
  for (const [group, written] of done.written)
    for (const key of written) if (!keys.has(`${group} ${key}`)) found.push(`lost row ${group} ${key}`);
  for (const table of ['lists', 'rows']) await session.query(`ADMIN CHECK TABLE faults.${table}`);
  await session.close();
  return found;
}
