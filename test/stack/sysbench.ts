/** sysbench, Debian's package: prepares its tables and runs a bounded load against one TiDB. */
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { connect } from './sql.ts';

const run = promisify(execFile);
const DATABASE = 'sbtest';
/** Time beyond the load's own that sysbench gets to connect and to report. */
const GRACE_SECONDS = 60;

export interface Load {
  /** A script that comes with sysbench, such as `oltp_read_write`. */
  script: string;
  threads: number;
  seconds: number;
  tables: number;
  /** Rows per table. */
  rows: number;
}

export interface LoadResult {
  transactionsPerSecond: number;
  /** Errors that sysbench did not ignore; lock conflicts are retried and are not among them. */
  errors: number;
  p95Milliseconds: number;
  output: string;
}

/** Installs the package where that is possible. Throws with what to do where it is not. */
export function ensureSysbench(): void {
  if (spawnSync('sysbench', ['--version']).status === 0) return;
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'sysbench']])
    spawnSync('apt-get', args, {
      stdio: 'ignore',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  if (spawnSync('sysbench', ['--version']).status !== 0)
    throw new Error('sysbench is not there and could not be installed; run: sudo apt-get install sysbench');
}

function args(port: number, load: Load): string[] {
  return [
    load.script,
    '--db-driver=mysql',
    '--mysql-host=127.0.0.1',
    `--mysql-port=${port}`,
    '--mysql-user=root',
    `--mysql-db=${DATABASE}`,
    `--tables=${load.tables}`,
    `--table-size=${load.rows}`,
    `--threads=${load.threads}`,
    `--time=${load.seconds}`,
    '--mysql-ignore-errors=1213,8022,8028,9007',
    '--rand-type=uniform',
  ];
}

/** Creates and fills the tables. */
export async function prepareLoad(port: number, load: Load): Promise<void> {
  ensureSysbench();
  const session = await connect(port);
  try {
    await session.query(`CREATE DATABASE IF NOT EXISTS ${DATABASE}`);
  } finally {
    await session.close();
  }
  await run('sysbench', [...args(port, load), 'prepare'], { timeout: 300_000, maxBuffer: 1 << 26 });
}

function figure(output: string, pattern: RegExp): number {
  const found = pattern.exec(output)?.[1];
  if (found === undefined) throw new Error(`sysbench printed no ${pattern.source}\n${output}`);
  return Number(found);
}

/** Runs the load. Rejects, with sysbench's own output, when it ends with an error. */
export async function runLoad(port: number, load: Load): Promise<LoadResult> {
  const timeout = (load.seconds + GRACE_SECONDS) * 1000;
  const { stdout } = await run('sysbench', [...args(port, load), 'run'], { timeout, maxBuffer: 1 << 26 });
  return {
    transactionsPerSecond: figure(stdout, /transactions:\s+\d+\s+\(([\d.]+) per sec/),
    errors: figure(stdout, /ignored errors:\s+(\d+)/),
    p95Milliseconds: figure(stdout, /95th percentile:\s+([\d.]+)/),
    output: stdout,
  };
}
