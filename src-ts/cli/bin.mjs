#!/usr/bin/env node
/** `tidb-mesh`: in a clone of the repository it runs the TypeScript as it is, in the npm package what was compiled of it. */
import { existsSync } from 'node:fs';

if (existsSync(new URL('./main.ts', import.meta.url))) {
  const { register } = await import('tsx/esm/api');
  register();
  await import('./main.ts');
} else await import('../../lib/cli/main.js');
