// Ends what bears a mark when the process that started it has gone, however it went: its end of our standard input closes even on
// SIGKILL. Usage: reaper.mjs <mark>.
import { killMarked } from './marks.mjs';

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => {});
process.stdin.on('error', () => {});
process.stdin.on('close', () => void killMarked(process.argv[2]));
process.stdin.resume();
