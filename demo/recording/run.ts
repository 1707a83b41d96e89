/** Runs a command in a terminal of a fixed size, by util-linux's `script`, and keeps what it prints and when. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** Output that appeared at once, and the seconds that passed before it. */
export interface Piece {
  readonly pause: number;
  readonly text: string;
}

/** `script` writes this line itself, without a time. */
const FIRST_LINE = /^Script started on .*\n/;

/** @throws Error when the command fails. */
export async function record(command: string, { columns, rows }: Size): Promise<Piece[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-recording-'));
  const output = join(folder, 'output');
  const timing = join(folder, 'timing');
  try {
    const sized = `stty cols ${columns} rows ${rows}; ${command}`;
    const files = ['--log-out', output, '--log-timing', timing];
    const child = spawn('script', ['--quiet', '--return', ...files, '--command', sized], {
      env: { ...process.env, TERM: 'xterm-256color', FORCE_COLOR: '1' },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', resolve);
    });
    if (code !== 0) throw new Error(`"${command}" ended with ${code}`);
    return pieces(readFileSync(output), readFileSync(timing, 'utf8'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Each line of the timing is a pause in seconds and a count of bytes. */
export function pieces(output: Buffer, timing: string): Piece[] {
  const decoder = new TextDecoder();
  let at = FIRST_LINE.exec(output.toString('latin1'))?.[0].length ?? 0;
  return timing
    .trim()
    .split('\n')
    .map((line) => {
      const [pause = 0, bytes = 0] = line.split(' ').map(Number);
      const text = decoder.decode(output.subarray(at, at + bytes), { stream: true });
      at += bytes;
      return { pause, text };
    });
}
