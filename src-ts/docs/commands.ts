/** The `--help` of the command and of all its subcommands, as they print it, and the codes of their errors. */
import type { Command } from 'commander';
import { makeProgram } from '../cli/program.ts';
import { ERRORS, EXIT_MEANINGS } from '../errors.ts';

/** Columns, so that the page does not depend on a terminal. */
const WIDTH = 98;

interface Leaf {
  readonly path: string;
  readonly command: Command;
}

/** Every command that does something, with its full name. */
export function subcommands(): Leaf[] {
  return makeProgram().commands.flatMap((command) => leaves(command));
}

export function commandsReference(): string {
  const commands = subcommands().map(
    ({ path, command }) => `### ${path}\n\n\`\`\`\n${helpOf(command)}\n\`\`\``,
  );
  return [exitCodes(), errorCodes(), ...commands].join('\n\n');
}

function exitCodes(): string {
  const rows = Object.entries(EXIT_MEANINGS).map(([code, meaning]) => `| ${code} | ${meaning} |`);
  return ['### Exit codes', '', '| code | meaning |', '| --- | --- |', ...rows].join('\n');
}

function errorCodes(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { exit, means }]) => `| \`${code}\` | ${exit} | ${means} |`,
  );
  return ['### Error codes', '', '| code | exit code | meaning |', '| --- | --- | --- |', ...rows].join('\n');
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
