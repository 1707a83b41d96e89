/** Installs and builds the servers that the tests need, so that no test waits for a build. */
import { prepare } from '../stack/builds.ts';
import { progressFor } from '../stack/progress.ts';

try {
  await prepare(progressFor());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
