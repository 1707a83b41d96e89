/** `npm run asbuild`: builds what is not current. `--force` builds all. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { BUILDS, ROOT, compile, isCurrent } from './builds.ts';

const force = process.argv.includes('--force');
for (const build of BUILDS) {
  if (!force && isCurrent(build)) continue;
  const start = performance.now();
  await compile(build);
  const size = statSync(join(ROOT, build.output)).size;
  console.log(`${build.name}: ${size} bytes in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}
