#!/usr/bin/env node
/** `tidb-mesh`: runs the TypeScript of this repository as it is. */
import { register } from 'tsx/esm/api';

register();
await import('./main.ts');
