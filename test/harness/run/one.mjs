/** `npm run test:unit` and its kin: one jest project, after the packages and the filter are built. Further arguments go to jest. */
import { spawnSync } from 'node:child_process';
import { ensurePackages, jestArguments, ROOT } from './setup.mjs';

ensurePackages();
const [project = 'unit', ...rest] = process.argv.slice(2);
const run = (args) => spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
const built = run(['--import', 'tsx', 'src-ts/wasm/main.ts']);
process.exit(built || run([...jestArguments(project), ...rest]));
