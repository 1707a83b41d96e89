import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheRoot } from './cache.ts';
import { isAlive, processIdentity, type ProcessIdentity } from './identity.ts';
import { killMarked } from './marks.mjs';
import { startReaper } from './reaper.ts';

const KEPT_RUNS = 5;
const RUN_FILE = 'run.json';

/** What a run leaves on disk for the next one, should it not come to its own end. Its folder is the mark of its processes. */
interface RunRecord {
  owner: ProcessIdentity;
}

export interface SpawnOptions {
  /** Names the log file. */
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
  cwd?: string;
  /** Milliseconds to end by itself after SIGTERM, then SIGKILL. */
  grace?: number;
}

/** A server process of a run, its output in a file. */
export interface ServerProcess {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  /** Undefined while it runs. */
  readonly exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  /** SIGTERM, then SIGKILL after the grace; resolves when it is gone. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/** A folder for logs and data, and the processes that were started for it. */
export interface Run {
  readonly folder: string;
  readonly logs: string;
  readonly data: string;
  spawn(options: SpawnOptions): Promise<ServerProcess>;
  /** Ends what still runs, newest first, and removes the data. The logs stay. */
  end(): Promise<void>;
}

const liveRuns = new Set<Run>();
/** By this process: names the runs that begin within one second. */
let runsStarted = 0;
let signalsHandled = false;
let interruptExpected = false;

/** Starts a run, after what runs that crashed have left behind is ended and removed. */
export async function startRun(logFolder?: string): Promise<Run> {
  await cleanLeftovers();
  const stamp = new Date().toISOString().replace(/[-:]/g, '').replace(/\..*/, '');
  const folder = join(cacheRoot(), 'runs', `${stamp}-${process.pid}-${runsStarted++}`);
  const logs = logFolder ?? join(folder, 'logs');
  const data = join(folder, 'data');
  await mkdir(data, { recursive: true });
  await mkdir(logs, { recursive: true });

  const record: RunRecord = { owner: processIdentity(process.pid) };
  await writeFile(join(folder, `${RUN_FILE}.tmp`), JSON.stringify(record));
  await rename(join(folder, `${RUN_FILE}.tmp`), join(folder, RUN_FILE));
  const reaper = startReaper(folder);

  let ended = false;
  const servers: ServerProcess[] = [];
  const run: Run = {
    folder,
    logs,
    data,
    async spawn(options) {
      if (ended) throw new Error(`${options.name} is not started: the run has ended`);
      const logPath = join(logs, `${options.name}.log`);
      const log = openSync(logPath, 'a');
      // Its own session: a Ctrl-C of the terminal reaches us only, and we stop the servers in order.
      const child = spawn(options.command, options.args, {
        stdio: ['ignore', log, log],
        detached: true,
        env: { ...process.env, ...options.env, ...reaper.env },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      });
      closeSync(log);
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (error) => reject(new Error(`${options.name} does not start: ${error.message}`)));
      });
      const server = serverProcess(child, options, logPath, () => {
        servers.splice(servers.indexOf(server), 1);
      });
      servers.push(server);
      return server;
    },
    async end() {
      ended = true;
      liveRuns.delete(run);
      for (const server of [...servers].reverse()) await server.stop();
      // What was started this moment is in no list yet.
      await reaper.reap();
      await rm(data, { recursive: true, force: true });
    },
  };
  liveRuns.add(run);
  handleSignals();
  return run;
}

function serverProcess(
  child: ChildProcess,
  options: SpawnOptions,
  logPath: string,
  onExit: () => void,
): ServerProcess {
  let exit: ServerProcess['exit'];
  const gone = new Promise<void>((resolve) => {
    const ended = (code: number | null, by: NodeJS.Signals | null): void => {
      exit = { code, signal: by };
      onExit();
      resolve();
    };
    if (child.exitCode !== null || child.signalCode !== null) ended(child.exitCode, child.signalCode);
    else child.once('exit', ended);
  });
  return {
    name: options.name,
    pid: child.pid!,
    logPath,
    get exit() {
      return exit;
    },
    async stop() {
      if (exit === undefined) child.kill('SIGTERM');
      const inTime = await Promise.race([
        gone.then(() => true),
        sleep(options.grace ?? 15_000, false, { ref: false }),
      ]);
      if (!inTime) child.kill('SIGKILL');
      await gone;
    },
    async kill() {
      if (exit === undefined) child.kill('SIGKILL');
      await gone;
    },
  };
}

/**
 * Asks again and again until the answer is not undefined. Fails with the end of the log when the server has ended or
 * the time (milliseconds) is over.
 */
export async function waitHealthy<T>(
  server: ServerProcess,
  what: string,
  timeout: number,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const end = Date.now() + timeout;
  let last: unknown;
  for (;;) {
    if (server.exit) {
      const how = server.exit.signal ?? `status ${server.exit.code}`;
      throw new Error(`${server.name} ended with ${how} before ${what}\n${logTail(server.logPath)}`);
    }
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      const because = last instanceof Error ? ` (${last.message})` : '';
      throw new Error(
        `${server.name}: no ${what} within ${timeout / 1000} s${because}\n${logTail(server.logPath)}`,
      );
    }
    await sleep(100);
  }
}

/** The last lines of a log and its path, for error messages. */
export function logTail(path: string, lines = 25): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return `(no log at ${path})`;
  }
  const tail = text.trimEnd().split('\n').slice(-lines);
  return [`--- the end of ${path}`, ...tail.map((line) => line.slice(0, 400)), '---'].join('\n');
}

/** Ends the processes of runs whose owner has died, and removes their data and all but the latest runs' logs. Gives their number. */
export async function cleanLeftovers(): Promise<number> {
  const runs = join(cacheRoot(), 'runs');
  const names = (await readdir(runs).catch(() => [])).sort();
  let ended = 0;
  const finished: string[] = [];
  for (const name of names) {
    const folder = join(runs, name);
    let record: RunRecord;
    try {
      record = JSON.parse(await readFile(join(folder, RUN_FILE), 'utf8')) as RunRecord;
    } catch {
      finished.push(folder);
      continue;
    }
    if (isAlive(record.owner)) continue;
    // Its data is removed last: without it there is nothing to end any more.
    const data = join(folder, 'data');
    if (existsSync(data)) ended += await killMarked(folder);
    await rm(data, { recursive: true, force: true });
    finished.push(folder);
  }
  for (const folder of finished.slice(0, Math.max(0, finished.length - KEPT_RUNS))) {
    await rm(folder, { recursive: true, force: true });
  }
  return ended;
}

/** From now on SIGINT is the regular end: the runs end in order and the exit status is 0. */
export function expectInterrupt(): void {
  interruptExpected = true;
}

/** On SIGINT, SIGTERM and SIGHUP: all runs end in order, then this process, with the status that the shell expects. */
export function handleSignals(): void {
  if (signalsHandled) return;
  signalsHandled = true;
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
  let stopping = false;
  for (const [name, number] of Object.entries(numbers)) {
    process.on(name, () => {
      // Asked twice, we leave at once; the reaper ends the rest.
      if (stopping) process.exit(128 + number);
      stopping = true;
      const status = name === 'SIGINT' && interruptExpected ? 0 : 128 + number;
      void Promise.allSettled([...liveRuns].map((run) => run.end())).then(() => process.exit(status));
    });
  }
}
