/** `npm run demo`: the packages first, then the demo itself, which installs and starts the servers. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ensurePackages, ROOT } from './setup.mjs';

ensurePackages();
const child = spawn(
  process.execPath,
  ['--import', 'tsx', join(ROOT, 'demo/main.ts'), ...process.argv.slice(2)],
  {
    cwd: ROOT,
    stdio: 'inherit',
  },
);
// The terminal sends Ctrl-C to the whole group: the demo ends its servers itself and says so.
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
