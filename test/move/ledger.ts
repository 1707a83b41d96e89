/** Clients of a bank that know what they were told. */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Session } from '../harness/stack/sql.ts';

export const ACCOUNTS = 64;
export const BALANCE = 1000;

/** What one client did: numbers of its entries in the log, by what it was told of them. */
export interface Told {
  readonly client: number;
  readonly committed: number[];
  readonly refused: number[];
  /** The connection was lost, or TiDB itself did not know. */
  readonly unknown: number[];
}

export interface Ledger {
  readonly told: readonly Told[];
  /** Errors of statements, by number and beginning. */
  readonly errors: Map<string, number>;
  /** What readers saw that cannot be. */
  readonly wrong: string[];
  /** The longest time that one transaction took, ms. */
  longestMs: number;
}

export async function createBank(port: number): Promise<void> {
  const session = await connect(port);
  await session.query('CREATE DATABASE bank');
  await session.query('CREATE TABLE bank.accounts (id INT PRIMARY KEY, balance INT NOT NULL)');
  await session.query(
    'CREATE TABLE bank.log (client INT, n INT, amount INT, PRIMARY KEY (client, n), KEY by_n (n))',
  );
  const rows = Array.from({ length: ACCOUNTS }, (_, id) => `(${id}, ${BALANCE})`);
  await session.query(`INSERT INTO bank.accounts VALUES ${rows.join(', ')}`);
  await session.close();
}

/** How long a TiDB may be away. */
const RECONNECT_MS = 60_000;
/** Numbers of errors after which nobody knows whether the transaction has committed. */
const UNKNOWN = new Set([8501, 2013, 2006, 1105]);

interface SqlError {
  readonly errno?: number;
  readonly code?: string;
  readonly message: string;
}

/** Whether nobody knows if the transaction has committed whose COMMIT ended so. */
function isUnknown(error: unknown): boolean {
  const { errno, code } = error as SqlError;
  return errno === undefined || UNKNOWN.has(errno) || code === 'PROTOCOL_CONNECTION_LOST';
}

/** Counts an error by its kind. */
export function countError(errors: Map<string, number>, error: unknown): void {
  const kind = kindOf(error as SqlError);
  errors.set(kind, (errors.get(kind) ?? 0) + 1);
}

/** Ends a transaction that failed. Returns a session that works, a new one if need be, once TiDB is there. */
export async function recover(session: Session, port: number): Promise<Session> {
  try {
    await session.query('ROLLBACK');
    return session;
  } catch {
    await session.close();
  }
  const deadline = Date.now() + RECONNECT_MS;
  for (;;)
    try {
      return await connect(port);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(100);
    }
}

function kindOf({ errno, code, message }: SqlError): string {
  return `${errno ?? code ?? '?'} ${message.replaceAll(/\d{4,}/g, 'N').slice(0, 70)}`;
}

async function transfer(session: Session, client: number, n: number, isPessimistic: boolean): Promise<void> {
  const from = (client * 7 + n) % ACCOUNTS;
  const to = (client * 13 + n * 5 + 1) % ACCOUNTS;
  const amount = 1 + (n % 9);
  await session.query(isPessimistic ? 'BEGIN PESSIMISTIC' : 'BEGIN OPTIMISTIC');
  await session.query('UPDATE bank.accounts SET balance = balance - ? WHERE id = ?', [amount, from]);
  await session.query('UPDATE bank.accounts SET balance = balance + ? WHERE id = ?', [amount, to]);
  await session.query('INSERT INTO bank.log VALUES (?, ?, ?)', [client, n, amount]);
  await session.query('COMMIT');
}

async function runClient(
  port: number,
  told: Told,
  ledger: Ledger,
  isOver: () => boolean,
  { firstEntry = 0, pauseMs = 0, onCommit }: Load,
): Promise<void> {
  let session = await connect(port);
  for (let n = firstEntry; !isOver(); n++) {
    const began = Date.now();
    try {
      await transfer(session, told.client, n, told.client % 2 === 0);
      told.committed.push(n);
      onCommit?.();
    } catch (error) {
      countError(ledger.errors, error);
      (isUnknown(error) ? told.unknown : told.refused).push(n);
      session = await recover(session, port);
    }
    ledger.longestMs = Math.max(ledger.longestMs, Date.now() - began);
    if (pauseMs > 0) await sleep(pauseMs);
  }
  await session.close();
}

/** Sees every transfer as a whole, and never less than before. */
async function runReader(port: number, ledger: Ledger, isOver: () => boolean, load: Load): Promise<void> {
  let session = await connect(port);
  const seen = new Map<number, number>();
  while (!isOver()) {
    try {
      await readOnce(session, seen, ledger);
    } catch (error) {
      if (!load.readersMayFail) throw error;
      countError(ledger.errors, error);
      session = await recover(session, port);
    }
    await sleep(20);
  }
  await session.close();
}

async function readOnce(session: Session, seen: Map<number, number>, { wrong }: Ledger): Promise<void> {
  const [sum] = await session.query('SELECT SUM(balance) AS sum FROM bank.accounts');
  if (Number(sum?.['sum']) !== ACCOUNTS * BALANCE)
    wrong.push(`the balances are ${String(sum?.['sum'])} in all`);
  for (const { client, n } of await session.query(
    'SELECT client, COUNT(*) AS n FROM bank.log GROUP BY client',
  )) {
    const before = seen.get(Number(client)) ?? 0;
    if (Number(n) < before)
      wrong.push(`client ${String(client)} had ${before} entries, and has ${String(n)}`);
    seen.set(Number(client), Number(n));
  }
}

export interface Load {
  readonly clients: number;
  /** Clients number their entries in the log from here on. Default 0. */
  readonly firstEntry?: number;
  /** Between two transactions of a client, ms. Default 0. */
  readonly pauseMs?: number;
  /** Whether an error of the reader is one of many, and not the end. Default false. */
  readonly readersMayFail?: boolean;
  /** Called for each commit that was answered. */
  readonly onCommit?: () => void;
}

/** Runs clients and a reader until it is over. */
export async function runBank(port: number, load: Load, isOver: () => boolean): Promise<Ledger> {
  const told = Array.from({ length: load.clients }, (_, client): Told => ({
    client,
    committed: [],
    refused: [],
    unknown: [],
  }));
  const ledger: Ledger = { told, errors: new Map(), wrong: [], longestMs: 0 };
  await Promise.all([
    ...told.map((one) => runClient(port, one, ledger, isOver, load)),
    runReader(port, ledger, isOver, load),
  ]);
  return ledger;
}

/** What the tables say that the clients were not told, and the other way round. */
export async function judge(port: number, { told }: Ledger): Promise<string[]> {
  const session = await connect(port);
  const found: string[] = [];
  for (const { client, committed, refused } of told) {
    const rows = await session.query('SELECT n FROM bank.log WHERE client = ?', [client]);
    const there = new Set(rows.map(({ n }) => Number(n)));
    for (const n of committed) if (!there.has(n)) found.push(`lost: client ${client}, entry ${n}`);
    for (const n of refused) if (there.has(n)) found.push(`phantom: client ${client}, entry ${n}`);
  }
  const [sum] = await session.query('SELECT SUM(balance) AS sum FROM bank.accounts');
  if (Number(sum?.['sum']) !== ACCOUNTS * BALANCE)
    found.push(`the balances are ${String(sum?.['sum'])} in all`);
  for (const table of ['accounts', 'log']) await session.query(`ADMIN CHECK TABLE bank.${table}`);
  await session.close();
  return found;
}
