/** `npm run demo`: the packages first, then the demo itself, which installs and starts the servers. */
import { join } from 'node:path';
import { runNode } from './child.mjs';
import { ensurePackages, ROOT } from './setup.mjs';

await ensurePackages();
process.exit(await runNode(['--import', 'tsx', join(ROOT, 'demo/main.ts'), ...process.argv.slice(2)]));
