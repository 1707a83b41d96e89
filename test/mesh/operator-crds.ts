/** TiDB Operator's own resource types, where the folder with them is beside the repository. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from '../harness/stack/builds.ts';

const FOLDER = '../shared/crds';
/** Names another folder. */
const OVERRIDE = 'TIDB_MESH_OPERATOR_CRDS';

/** The files of the operator's versions 1.6 and 2.0; undefined where there are none. */
export function operatorCrds(): string[] | undefined {
  const folder = process.env[OVERRIDE] ?? join(REPOSITORY, FOLDER);
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => join(folder, name));
}

/** For the title of what is skipped without them. */
export const NO_CRDS = `not run: there is no folder ${FOLDER}, and ${OVERRIDE} names none`;
