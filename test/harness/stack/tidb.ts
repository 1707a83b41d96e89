import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertFiles } from './certs.ts';
import { waitHealthy, type Run, type ServerProcess } from './processes.ts';
import { connect, type Session } from './sql.ts';

export interface TidbOptions {
  /** Names the log file and the data folder. */
  name: string;
  binary: string;
  ports: { mysql: number; status: number };
  /** Where it listens and is reached; default 127.0.0.1. */
  host?: string;
  /** PD as this TiDB is to see it, `host:port`. */
  pdAddress: string;
  /** The cluster certificate; without one it speaks plaintext. */
  certs?: CertFiles;
  /** Lines of TOML in front of the rest, for what a test needs. */
  extraConfig?: string;
  /** Milliseconds to its first answer, bootstrap included. Default 180 s; on idle cores it takes a few. */
  timeout?: number;
}

/** A stock TiDB server. */
export interface Tidb {
  readonly name: string;
  readonly mysqlPort: number;
  readonly statusPort: number;
  readonly logPath: string;
  readonly pid: number;
  /** Milliseconds from its process' start to its first answer. */
  readonly startMilliseconds: number;
  connect(database?: string): Promise<Session>;
  /** Stops it and starts it again on the same ports; resolves when it answers. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

const START_TIMEOUT = 180_000;

/** Starts a TiDB and waits until it answers, bootstrap included. */
export async function startTidb(run: Run, options: TidbOptions): Promise<Tidb> {
  const folder = join(run.data, options.name);
  await mkdir(folder, { recursive: true });
  const configPath = join(folder, 'tidb.toml');
  await writeFile(configPath, tidbConfig(options, folder));

  let server: ServerProcess;
  let took = 0;
  const start = async (): Promise<void> => {
    const started = Date.now();
    server = await run.spawn({
      name: options.name,
      command: options.binary,
      args: ['--config', configPath],
      // It makes folders where it is started.
      cwd: folder,
      grace: 30_000,
    });
    const session = await waitHealthy(server, 'answer to SQL', options.timeout ?? START_TIMEOUT, () =>
      connect(options.ports.mysql, undefined, options.host),
    );
    took = Date.now() - started;
    await session.close();
  };
  await start();

  return {
    name: options.name,
    mysqlPort: options.ports.mysql,
    statusPort: options.ports.status,
    get logPath() {
      return server.logPath;
    },
    get pid() {
      return server.pid;
    },
    get startMilliseconds() {
      return took;
    },
    connect: (database) => connect(options.ports.mysql, database, options.host),
    async restart() {
      await server.stop();
      await start();
    },
    stop: () => server.stop(),
    kill: () => server.kill(),
  };
}

function tidbConfig(options: TidbOptions, folder: string): string {
  const text = JSON.stringify;
  const { certs, ports, host = '127.0.0.1' } = options;
  return `${options.extraConfig ?? ''}
host = ${text(host)}
advertise-address = ${text(host)}
port = ${ports.mysql}
socket = ""
store = "tikv"
path = ${text(options.pdAddress)}
temp-dir = ${text(join(folder, 'tmp'))}
tmp-storage-path = ${text(join(folder, 'spill'))}

[status]
status-host = ${text(host)}
status-port = ${ports.status}

[log]
level = "info"
slow-query-file = ${text(join(folder, 'slow.log'))}
${
  certs
    ? `
[security]
cluster-ssl-ca = ${text(certs.ca)}
cluster-ssl-cert = ${text(certs.cert)}
cluster-ssl-key = ${text(certs.key)}
`
    : ''
}`;
}
