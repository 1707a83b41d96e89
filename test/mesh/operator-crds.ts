/** TiDB Operator's own resource types: files of its repository, which no registry of packages has. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Names the folder with them. */
const FOLDER = 'TIDB_MESH_OPERATOR_CRDS';

/** The files of the operator's versions 1.6 and 2.0; undefined where no folder is named. */
export function operatorCrds(): string[] | undefined {
  const folder = process.env[FOLDER];
  if (folder === undefined) return undefined;
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => join(folder, name));
}

/** For the title of what is skipped without them. */
export const NO_CRDS = `not run: ${FOLDER} names no folder with TiDB Operator's types`;
