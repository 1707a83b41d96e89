import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';

export type Row = Record<string, unknown>;

/** A session on a TiDB, as root. Numbers beyond 2^53 come as strings. */
export interface Session {
  readonly connection: Connection;
  /** Rows of one statement; none for statements without a result. */
  query(sql: string, values?: unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

export async function connect(port: number, database?: string, host = '127.0.0.1'): Promise<Session> {
  const connection = await createConnection({
    host,
    port,
    user: 'root',
    ...(database === undefined ? {} : { database }),
    supportBigNumbers: true,
    connectTimeout: 10_000,
  });
  // Without a listener, a server that goes away would end this process.
  connection.on('error', () => {});
  return {
    connection,
    async query(sql, values) {
      const [rows] = await connection.query<RowDataPacket[]>(sql, values);
      return Array.isArray(rows) ? rows : [];
    },
    async close() {
      await connection.end().catch(() => connection.destroy());
    },
  };
}
