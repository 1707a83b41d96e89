/**
 * `npm run test:unit` and its kin: one jest project, after the packages and what it needs of the filter. `--long`
 * runs more rounds, `--minutes N` goes on for so long, `--rounds N` does it so often, and `--json FILE` writes what is measured. Further
 * arguments go to jest.
 */
import { runNode } from './child.mjs';
import { buildArguments, ensurePackages, jestArguments } from './setup.mjs';

await ensurePackages();
const LONG = '--long';
const [project = 'unit', ...given] = process.argv.slice(2);
const rest = given.filter((argument) => argument !== LONG);
if (rest.length < given.length) process.env.TIDB_MESH_LONG = '1';
for (const name of ['minutes', 'rounds', 'json']) {
  const at = rest.indexOf(`--${name}`);
  if (at >= 0) process.env[`TIDB_MESH_${name.toUpperCase()}`] = rest.splice(at, 2)[1];
}
const built = await runNode(buildArguments(project, rest.length > 0));
process.exit(built || (await runNode([...jestArguments(project), ...rest])));
