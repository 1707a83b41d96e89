/** All commands, in the order of the help. CONTRIBUTING.md says how to add one. */
import type { Definition } from '../definition.ts';
import { doctor } from './doctor.ts';
import { explain } from './explain.ts';
import { createMoveCommand } from './move/create.ts';
import { diffMove } from './move/diff.ts';
import { doctorMoves } from './move/doctor.ts';
import { importCluster } from './move/import.ts';
import { runMoves } from './move/run.ts';
import { listMoves, showMove } from './move/show.ts';
import {
  cancelMove,
  completeMove,
  pauseMove,
  resumeMove,
  reverseMove,
  switchMove,
  throttleMove,
} from './move/wishes.ts';
import { oci } from './oci.ts';
import { render } from './render.ts';
import { applyRules, getRouting, planRules } from './routing.ts';
import { schema } from './schema.ts';
import { addTenants } from './tenants/add.ts';
import { adoptTenants } from './tenants/adopt.ts';
import { emptyTenants } from './tenants/empty.ts';
import { listTenantsCommand } from './tenants/list.ts';
import { removeTenants } from './tenants/remove.ts';
import { setTenants } from './tenants/set.ts';
import { readOnlyTenants, resumeTenants, suspendTenants } from './tenants/states.ts';
import { top } from './top.ts';
import { usage } from './usage.ts';
import { validate } from './validate.ts';

/** Words that only hold other commands. */
export const GROUPS: Readonly<Record<string, string>> = {
  move: 'move a tenant to another key range or storage layer while it works, and back; import a cluster',
  routing: 'see and change which tenant is served where, several at once',
  tenants: 'add, adopt, list, limit, suspend, empty and remove the tenants of a storage layer',
};

export const COMMANDS: readonly Definition[] = [
  validate,
  explain,
  render,
  addTenants,
  adoptTenants,
  listTenantsCommand,
  setTenants,
  suspendTenants,
  readOnlyTenants,
  resumeTenants,
  emptyTenants,
  removeTenants,
  createMoveCommand,
  importCluster,
  runMoves,
  listMoves,
  showMove,
  doctorMoves,
  diffMove,
  switchMove,
  reverseMove,
  completeMove,
  cancelMove,
  pauseMove,
  resumeMove,
  throttleMove,
  getRouting,
  planRules,
  applyRules,
  doctor,
  top,
  usage,
  oci,
  schema,
];
