/** The `tidb-mesh` command. Each subcommand is a file in commands/. */
import { CommanderError, type Command } from 'commander';
import { nearest } from '../config/suggest.ts';
import { CommandError } from '../errors.ts';
import { errorText, formIn } from './output.ts';
import { makeProgram } from './program.ts';

/** What commander has to say of a command line: `error: …`, and perhaps a guess in parentheses. */
function usageError({ code, message }: CommanderError, command: Command): CommandError {
  if (code === 'commander.help')
    return new CommandError('USAGE', 'the subcommand is missing', 'name one of those in the help');
  const [, what = message, guess] =
    /^(?:error: )?(.*?)\s*(?:\(Did you mean ([^)]*)\?\))?$/s.exec(message) ?? [];
  const meant = guess ?? misspeltOption(command);
  const hint = meant === undefined ? `see: ${fullName(command)} --help` : `did you mean ${meant}?`;
  return new CommandError('USAGE', what, hint);
}

/** The command that a command line begins with, such as `tidb-mesh tenants add`. */
function commandIn(above: Command, [word, ...rest]: readonly string[]): Command {
  const command = above.commands.find((one) => one.name() === word);
  return command ? commandIn(command, rest) : above;
}

function fullName(command: Command): string {
  return command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();
}

/** A guess at the first unknown option: commander reports a missing one before it. */
function misspeltOption(command: Command): string | undefined {
  const known = [...command.options.map(({ long }) => long ?? ''), '--help'];
  const unknown = args
    .filter((arg) => arg.startsWith('--'))
    .map((arg) => arg.replace(/=.*/, ''))
    .find((arg) => !known.includes(arg));
  return unknown === undefined ? undefined : nearest(unknown, known);
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
