/** The `--help` of the command and of all its subcommands, as they print it. */
import { readdirSync } from 'node:fs';
import { Command } from 'commander';

const COMMANDS = new URL('../cli/commands/', import.meta.url);
/** Columns, so that the page does not depend on a terminal. */
const WIDTH = 98;

interface CommandModule {
  readonly register: (program: Command) => void;
}

interface Leaf {
  readonly path: string;
  readonly command: Command;
}

/** Every command that does something, with its full name. */
export async function subcommands(): Promise<Leaf[]> {
  const program = new Command('tidb-mesh');
  for (const file of readdirSync(COMMANDS).sort()) {
    const module = (await import(new URL(file, COMMANDS).href)) as CommandModule;
    module.register(program);
  }
  return program.commands.flatMap((command) => leaves(command));
}

export async function commandsReference(): Promise<string> {
  return (await subcommands())
    .map(({ path, command }) => `### ${path}\n\n\`\`\`\n${helpOf(command)}\n\`\`\``)
    .join('\n\n');
}

function leaves(command: Command, above = ''): Leaf[] {
  const path = `${above}${command.name()}`;
  return command.commands.length === 0
    ? [{ path, command }]
    : command.commands.flatMap((sub) => leaves(sub, `${path} `));
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (more) => (text += more),
    getOutHelpWidth: () => WIDTH,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trimEnd();
}
