/** Runs the Go tool `oracle` (test/harness/servers/tidb/cmd/oracle) and reads what upstream's own codecs make of each case. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { buildTool } from '../harness/stack/builds.ts';

/** One message in one direction. */
export interface Case {
  /** Upstream's name of the request, and the case's number: with the seed they make it again. */
  readonly command: string;
  readonly number: number;
  /** The gRPC method. */
  readonly path: string;
  readonly way: 'request' | 'response';
  /** What the filter is given, as it lies on the wire. */
  readonly given: Uint8Array;
  /** What it must make of it: `wanted`, nothing, or the whole method is refused, or passes unread. */
  readonly outcome: 'bytes' | 'refused' | 'no method' | 'unread';
  readonly wanted: Uint8Array;
  /** Ids of the listed differences from what upstream makes of it. */
  readonly differences: readonly string[];
  /** What upstream makes of it; undefined where it fails. */
  readonly upstream: Uint8Array | undefined;
}

/** One thing in which the filter does something else than upstream, on purpose. */
export interface Difference {
  readonly id: string;
  readonly where: string;
  readonly upstream: string;
  readonly ours: string;
  readonly reason: string;
}

interface Line {
  command: string;
  case: number;
  path: string;
  way: 'request' | 'response' | '';
  in: string | null;
  out: string | null;
  outcome?: 'refused' | 'no method' | 'unread';
  differences?: string[];
  upstream?: string;
  upstreamOutcome?: 'failed';
}

/** Flags of the tool, such as `{ seed: 1, mode: 'raw' }`. */
export type Flags = Readonly<Record<string, string | number>>;

/** The command line that makes the same cases again. */
export function commandLine(subcommand: string, flags: Flags): string {
  return ['oracle', subcommand, ...flagsOf(flags)].join(' ');
}

function flagsOf(flags: Flags): string[] {
  return Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
}

/** @throws Error with the tool's own message when it fails. */
async function* lines(subcommand: string, flags: Flags): AsyncGenerator<string> {
  const tool = await buildTool('oracle');
  const child = spawn(tool, [subcommand, ...flagsOf(flags)], { stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  let problem = '';
  child.stderr.on('data', (text: Buffer) => (problem += text.toString()));
  try {
    yield* createInterface({ input: child.stdout });
    const [code] = (await closed) as [number | null];
    if (code !== 0) throw new Error(`${commandLine(subcommand, flags)} failed: ${problem}`);
  } finally {
    child.kill();
  }
}

/** The cases of `codec`, `pd` or `namespace`. */
export async function* cases(subcommand: 'codec' | 'pd' | 'namespace', flags: Flags): AsyncGenerator<Case> {
  for await (const text of lines(subcommand, flags)) {
    const line = JSON.parse(text) as Line;
    const wanted = Buffer.from(line.out ?? '', 'base64');
    const upstream = line.differences ? Buffer.from(line.upstream ?? '', 'base64') : wanted;
    yield {
      command: line.command,
      number: line.case,
      path: line.path,
      way: line.way === 'response' ? 'response' : 'request',
      given: Buffer.from(line.in ?? '', 'base64'),
      outcome: line.outcome ?? 'bytes',
      wanted,
      differences: line.differences ?? [],
      upstream: line.upstreamOutcome === undefined ? upstream : undefined,
    };
  }
}

/** The whole list of differences. */
export async function differences(): Promise<Difference[]> {
  const found: Difference[] = [];
  for await (const text of lines('differences', {})) found.push(JSON.parse(text) as Difference);
  return found;
}
