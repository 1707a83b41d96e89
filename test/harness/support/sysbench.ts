import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Installs Debian's sysbench where it is missing. Throws with what to do when that fails. */
export function requireSysbench(): void {
  const there = (): boolean => spawnSync('sysbench', ['--version'], { stdio: 'ignore' }).status === 0;
  if (there()) return;
  console.log('sysbench is not installed: trying apt-get install -y sysbench');
  const steps = [
    ['update', '-q'],
    ['install', '-q', '-y', '--no-install-recommends', 'sysbench'],
  ];
  for (const step of steps) {
    const done = spawnSync('apt-get', step, {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
    if (done.status !== 0 && step[0] === 'install')
      throw new Error(
        `sysbench could not be installed; install it (Debian: apt-get install sysbench) and start again\n${done.stderr ?? done.error?.message ?? ''}`,
      );
  }
  if (!there()) throw new Error('sysbench was installed but does not start');
}

/** Scripts that come with sysbench. */
export type Workload = 'oltp_point_select' | 'oltp_read_only' | 'oltp_read_write';

export interface SysbenchOptions {
  /** By default oltp_read_write. */
  workload?: Workload;
  mysqlPort: number;
  database: string;
  tables: number;
  tableSize: number;
  threads: number;
}

export interface SysbenchResult {
  transactions: number;
  transactionsPerSecond: number;
  queries: number;
  /** Errors that it retried after: conflicts and deadlocks. */
  ignoredErrors: number;
  reconnects: number;
  milliseconds: { average: number; p99: number; max: number };
  output: string;
}

function args(options: SysbenchOptions): string[] {
  return [
    options.workload ?? 'oltp_read_write',
    '--db-driver=mysql',
    '--mysql-host=127.0.0.1',
    `--mysql-port=${options.mysqlPort}`,
    '--mysql-user=root',
    `--mysql-db=${options.database}`,
    `--tables=${options.tables}`,
    `--table-size=${options.tableSize}`,
    `--threads=${options.threads}`,
    '--rand-type=uniform',
  ];
}

export async function sysbenchPrepare(options: SysbenchOptions): Promise<void> {
  await sysbench([...args(options), 'prepare']);
}

/** Runs the workload. Throws when sysbench ends with an error, as it does at every SQL error but conflicts. */
export async function sysbenchRun(options: SysbenchOptions, seconds: number): Promise<SysbenchResult> {
  const output = await sysbench([
    ...args(options),
    `--time=${seconds}`,
    '--percentile=99',
    '--report-interval=10',
    'run',
  ]);
  const number = (pattern: RegExp): number => {
    const found = pattern.exec(output)?.[1];
    if (found === undefined) throw new Error(`sysbench does not tell ${String(pattern)}\n${output}`);
    return Number(found);
  };
  return {
    transactions: number(/transactions:\s+(\d+)/),
    transactionsPerSecond: number(/transactions:\s+\d+\s+\(([\d.]+) per sec/),
    queries: number(/queries:\s+(\d+)/),
    ignoredErrors: number(/ignored errors:\s+(\d+)/),
    reconnects: number(/reconnects:\s+(\d+)/),
    milliseconds: {
      average: number(/avg:\s+([\d.]+)/),
      p99: number(/99th percentile:\s+([\d.]+)/),
      max: number(/max:\s+([\d.]+)/),
    },
    output,
  };
}

async function sysbench(given: string[]): Promise<string> {
  try {
    return (await run('sysbench', given, { maxBuffer: 16 * 1024 * 1024 })).stdout;
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error(`${message}\n${stdout ?? ''}\n${stderr ?? ''}`, { cause: error });
  }
}
