import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Build, ROOT } from './builds.ts';

/** Prints one line about a build that was just compiled. */
export function tellBuilt(build: Build, seconds: number): void {
  const { size } = statSync(join(ROOT, build.output));
  console.log(`${build.name}: ${size} bytes in ${seconds.toFixed(1)} s`);
}
