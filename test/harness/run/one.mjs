/** `npm run test:unit` and its kin: one jest project, after the packages and what it needs of the filter. Further arguments go to jest. */
import { runNode } from './child.mjs';
import { buildArguments, ensurePackages, jestArguments } from './setup.mjs';

await ensurePackages();
const [project = 'unit', ...rest] = process.argv.slice(2);
const built = await runNode(buildArguments(project, rest.length > 0));
process.exit(built || (await runNode([...jestArguments(project), ...rest])));
