/** The `tidb-mesh` command. Each command is a module of its own in commands/. */
import { Command, CommanderError } from 'commander';
import { register as doctor } from './commands/doctor.ts';
import { register as tenants } from './commands/tenants.ts';

const USAGE = 2;

const program = new Command('tidb-mesh')
  .description('Many TiDB clusters on one storage layer')
  .exitOverride();
for (const register of [tenants, doctor]) register(program);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Help is no error, everything else is one of the command line.
  process.exitCode = error.exitCode === 0 ? 0 : USAGE;
}
