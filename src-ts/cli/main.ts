/** The `tidb-mesh` command. Each subcommand is a module of its own in commands/. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { register as doctor } from './commands/doctor.ts';
import { register as explain } from './commands/explain.ts';
import { register as oci } from './commands/oci.ts';
import { register as render } from './commands/render.ts';
import { register as schema } from './commands/schema.ts';
import { register as tenants } from './commands/tenants.ts';
import { register as validate } from './commands/validate.ts';
import { EXIT, Refusal } from './outcome.ts';

const COMMANDS = [validate, explain, render, tenants, doctor, oci, schema];

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('tidb-mesh')
  .version(version)
  .description('Many TiDB clusters on one storage layer: checks and renders what the mesh is made of.')
  .showHelpAfterError('(tidb-mesh --help shows how)')
  .addHelpText('after', '\nExit codes: 0 all is well, 1 refused or different, 2 wrong usage.');
for (const register of COMMANDS) register(program);

function exitOnUsage(command: Command): void {
  command.exitOverride();
  command.commands.forEach(exitOnUsage);
}
exitOnUsage(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else if (error instanceof Refusal) {
    console.error(error.message);
    process.exitCode = error.exit;
  } else throw error;
}
