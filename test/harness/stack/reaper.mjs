// Ends a run's processes when the process that started them has gone, however it went: its end of our standard input
// closes even on SIGKILL. Lines on standard input: "+pid start" and "-pid start", as of identity.ts. Plain JavaScript,
// since it has to start at once and without a loader.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const watched = new Set();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line[0] === '+') watched.add(line.slice(1));
  else watched.delete(line.slice(1));
});
lines.on('close', () => {
  for (const identity of watched) {
    const [pid, start] = identity.split(' ');
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      if (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] === start)
        process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
});
