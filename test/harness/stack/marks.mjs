// Processes are found by a mark in their environment, which their children inherit: so none is missed that was started at the very
// moment when its run ended, or by another one. Plain JavaScript, since the reaper has to start at once and without a loader.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** The environment variable. */
export const MARK = 'TIDB_MESH_RUN';

const BETWEEN_LOOKS_MS = 50;
/** A process that is just being started takes its environment a moment later. */
const EMPTY_LOOKS = 2;

/** Pids of the processes that run with this value of MARK; zombies have ended. */
export function markedPids(value, name = MARK) {
  const wanted = `${name}=${value}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(wanted);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Ends them all by SIGKILL; resolves with how many there were when none is left. */
export async function killMarked(value) {
  const ended = new Set();
  for (let empty = 0; empty < EMPTY_LOOKS;) {
    const pids = markedPids(value);
    for (const pid of pids) {
      ended.add(pid);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
    empty = pids.length === 0 ? empty + 1 : 0;
    if (empty < EMPTY_LOOKS) await sleep(BETWEEN_LOOKS_MS);
  }
  return ended.size;
}
