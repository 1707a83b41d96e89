import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MARK } from './marks.mjs';

export interface Reaper {
  /** What a process is started with, so that the reaper finds it and all that it starts. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends what still bears the mark; resolves when nothing is left, the reaper itself included. */
  reap(): Promise<void>;
}

/** Starts a process that outlives this one, should it be killed, and then ends all that was started with the mark. */
export function startReaper(mark: string): Reaper {
  const child = spawn(process.execPath, [fileURLToPath(new URL('reaper.mjs', import.meta.url)), mark], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own session: a Ctrl-C of the terminal does not reach it.
    detached: true,
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.unref();
  child.stdin.on('error', () => {});
  return {
    env: { [MARK]: mark },
    async reap() {
      // Referenced again: otherwise nothing would keep this process alive until the reaper has gone.
      child.ref();
      child.stdin.end();
      await gone;
    },
  };
}
