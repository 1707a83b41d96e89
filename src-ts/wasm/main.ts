/** `npm run asbuild`: compiles what is not current. `--force` compiles all. `--debug` also compiles the filter for a debugger. */
import { BUILDS, DEBUG, ensureBuilt } from './builds.ts';
import { tellBuilt } from './tell.ts';

const builds = process.argv.includes('--debug') ? [...BUILDS, DEBUG] : BUILDS;
await ensureBuilt(builds, { force: process.argv.includes('--force'), onBuilt: tellBuilt });
