/** `tidb-mesh schema`: prints the JSON schema of the pluginConfig. */
import type { Command } from 'commander';
import { schemaText } from '../../config/schema.ts';

export function register(program: Command): void {
  program
    .command('schema')
    .description('prints the JSON schema of the pluginConfig, for editors')
    .addHelpText(
      'after',
      `
An editor completes and checks a pluginConfig that begins with {"$schema": "<path or URL of the schema>", …}.
What a schema cannot say, such as a number that two tenants share, \`tidb-mesh validate\` does.`,
    )
    .action(() => {
      process.stdout.write(schemaText());
    });
}
