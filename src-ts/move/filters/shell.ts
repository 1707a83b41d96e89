/** Runs a shell command, and ends all that it has started when its time is over. */
import { spawn } from 'node:child_process';

/** Of what a command says, the end is kept. */
const MOST_TEXT = 4096;

/**
 * @param file is the command's `$1`
 * @throws Error with the end of what the command said
 */
export function shell(command: string, file: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    // In a group of its own: to end the shell alone would leave its children, which could still deliver an older file.
    const child = spawn('sh', ['-c', command, 'sh', file], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    let isLate = false;
    child.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-MOST_TEXT)));
    const timer = setTimeout(() => {
      isLate = true;
      endGroup(child.pid);
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0 && !isLate) return resolve();
      const end = isLate ? `it had not ended after ${timeoutMs / 1000} s` : `it ended with ${signal ?? code}`;
      reject(new Error([said.trim(), end].filter((text) => text !== '').join('; ')));
    });
  });
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended just now.
  }
}
