/** The `tidb-mesh` command. Each subcommand is a file in commands/. */
import { CommanderError, type Command } from 'commander';
import { CommandError } from '../errors.ts';
import { errorText, formIn } from './output.ts';
import { makeProgram } from './program.ts';

/** What commander has to say of a command line: `error: …`, and perhaps a guess in parentheses. */
function usageError({ code, message }: CommanderError, command: string): CommandError {
  if (code === 'commander.help')
    return new CommandError('USAGE', 'the subcommand is missing', 'name one of those in the help');
  const [, what = message, guess] =
    /^(?:error: )?(.*?)\s*(?:\(Did you mean ([^)]*)\?\))?$/s.exec(message) ?? [];
  const hint = guess === undefined ? `see: ${command} --help` : `did you mean ${guess}?`;
  return new CommandError('USAGE', what, hint);
}

/** The command that a command line begins with, such as `tidb-mesh tenants add`. */
function commandIn(above: Command, [word, ...rest]: readonly string[]): string {
  const command = above.commands.find((one) => one.name() === word);
  return command ? `${above.name()} ${commandIn(command, rest)}` : above.name();
}

function asCommandError(error: unknown): CommandError {
  if (error instanceof CommandError) return error;
  if (error instanceof CommanderError) return usageError(error, commandIn(program, args));
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CommandError('BUG', text, 'this is a bug in tidb-mesh: report it with these lines', {
    cause: error,
  });
}

const args = process.argv.slice(2);
const program = makeProgram(args);
try {
  await program.parseAsync(args, { from: 'user' });
} catch (error) {
  // The help and the version, which were asked for.
  if (!(error instanceof CommanderError && error.exitCode === 0)) {
    const problem = asCommandError(error);
    process.stderr.write(`${errorText(problem, formIn(args))}\n`);
    process.exitCode = problem.exit;
  }
}
