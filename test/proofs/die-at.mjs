/** `tidb-mesh`, which is killed when the worker of a move reaches the step in TIDB_MESH_DIE_AT. The command itself knows nothing of it. */
import { register } from 'tsx/esm/api';

register();
const { Move } = await import('../../src-ts/move/steps/move.ts');
const last = process.env['TIDB_MESH_DIE_AT'];
Move.prototype.reached = async (step) => {
  if (step === last) process.kill(process.pid, 'SIGKILL');
};
await import('../../src-ts/cli/main.ts');
