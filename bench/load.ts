/** Load for Envoy: both ends of test/harness/servers/tidb/cmd/load, a client and a server that answers with canned bytes. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildTool } from '../test/harness/stack/builds.ts';
import type { CertFiles } from '../test/harness/stack/certs.ts';
import type { Run, ServerProcess } from '../test/harness/stack/processes.ts';

const run = promisify(execFile);

/** A call that is made again and again: frames of gRPC. */
export interface Call {
  readonly name: string;
  readonly path: string;
  readonly request: Uint8Array;
  readonly answer: Uint8Array;
  /** All messages on one stream, instead of one request each. */
  readonly streaming: boolean;
}

/** Times in microseconds, from when a request was due. */
export interface Report {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const PREFIX_BYTES = 5;
/** The core of what is measured, and the cores of everything else. */
export const MEASURED_CORE = '0';

/** Puts a command on these cores; as it is on a machine with one core. */
export function pinned(cores: string, command: string, args: readonly string[]): [string, string[]] {
  return availableParallelism() < 2 ? [command, [...args]] : ['taskset', ['-c', cores, command, ...args]];
}

export function otherCores(): string {
  return `1-${Math.max(1, availableParallelism() - 1)}`;
}

export function frame(message: Uint8Array): Uint8Array {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Starts the server that answers all these calls; resolves to its port. */
export async function startAnswers(owner: Run, calls: readonly Call[]): Promise<number> {
  const tool = await buildTool('load');
  const answers: string[] = [];
  for (const [i, call] of calls.entries()) {
    const file = join(owner.data, `answer-${i}`);
    await writeFile(file, call.answer);
    answers.push('--answer', `${call.path}=${file}`);
    await writeFile(join(owner.data, `request-${call.name.replaceAll(/\W+/g, '-')}`), call.request);
  }
  const [command, args] = pinned(otherCores(), tool, ['serve', ...answers]);
  return printedPort(await owner.spawn({ name: 'answers', command, args }));
}

/** The port of the address that a server prints first. */
async function printedPort(server: ServerProcess): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = /:(\d+)\n/.exec(readFileSync(server.logPath, 'utf8'))?.[1];
    if (port !== undefined) return Number(port);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`a server does not start; see ${server.logPath}`);
}

/** Starts a proxy of Go's gRPC library that reads nothing, on the measured core. */
export async function startPassThrough(
  owner: Run,
  upstream: number,
  { cert, key, ca }: CertFiles,
): Promise<{ port: number; pid: number }> {
  const files = [`--cert=${cert}`, `--key=${key}`, `--ca=${ca}`];
  const tool = await buildTool('passthrough');
  const [command, args] = pinned(MEASURED_CORE, tool, [`--target=127.0.0.1:${upstream}`, ...files]);
  const server = await owner.spawn({ name: 'passthrough', command, args });
  return { port: await printedPort(server), pid: server.pid };
}

export interface DriveOptions {
  readonly port: number;
  readonly certs: CertFiles;
  readonly seconds: number;
  readonly inFlight: number;
  /** Requests per second; absent: as many as are answered. */
  readonly rate?: number;
}

/** Makes a call as often as it can, or at a rate. */
export async function drive(owner: Run, call: Call, options: DriveOptions): Promise<Report> {
  const tool = await buildTool('load');
  const { certs } = options;
  const [command, args] = pinned(otherCores(), tool, [
    'drive',
    `--target=127.0.0.1:${options.port}`,
    `--path=${call.path}`,
    `--body=${join(owner.data, `request-${call.name.replaceAll(/\W+/g, '-')}`)}`,
    `--stream=${call.streaming}`,
    `--streams=${options.inFlight}`,
    `--seconds=${options.seconds}`,
    `--rate=${options.rate ?? 0}`,
    `--cert=${certs.cert}`,
    `--key=${certs.key}`,
    `--ca=${certs.ca}`,
  ]);
  const { stdout } = await run(command, args, { timeout: (options.seconds + 30) * 1000 });
  return JSON.parse(stdout) as Report;
}

/** Seconds of processor time that a process has used. */
export function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const TICKS_PER_SECOND = 100;
  // utime and stime, proc(5)
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The same of its threads that live, to the nanosecond: for work that is shorter than a second. */
export function threadSeconds(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`))
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  return nanoseconds / 1e9;
}
