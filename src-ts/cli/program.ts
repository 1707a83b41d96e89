/** Makes the `tidb-mesh` program of the definitions of its commands. */
import { Command } from 'commander';
import { EXIT, EXIT_MEANINGS } from '../errors.ts';
import { VERSION } from '../version.ts';
import { COMMANDS, GROUPS } from './commands/index.ts';
import type { Call, Definition, Example, Result } from './definition.ts';
import { errorText, formIn, jsonText, withOutput, type Form } from './output.ts';
import { Progress } from './progress.ts';

/** Exit codes that every command can have. The others are in its definition. */
const { 0: done, 1: failed, 2: usage } = EXIT_MEANINGS;
const COMMON_EXITS = { 0: done, 1: failed, 2: usage };

function exitsOf({ exits = {} }: Pick<Definition, 'exits'>): string {
  return Object.entries({ ...COMMON_EXITS, ...exits })
    .map(([code, meaning]) => `  ${code.padEnd(2)} ${meaning}`)
    .join('\n');
}

function examplesOf(examples: readonly Example[]): string {
  return examples
    .map((example) => (typeof example === 'string' ? `  ${example}` : `  ${example[0]}\n      ${example[1]}`))
    .join('\n');
}

function helpOf(definition: Pick<Definition, 'about' | 'examples' | 'exits'>): string {
  const { about, examples } = definition;
  return `\n${about}\n\nExamples:\n${examplesOf(examples)}\n\nExit codes:\n${exitsOf(definition)}`;
}

function print(result: Result, form: Form): void {
  process.stdout.write(`${form === 'json' ? jsonText(result.value) : result.text}\n`);
  for (const error of result.errors ?? []) process.stderr.write(`${errorText(error, form)}\n`);
}

/** The command with this name below another one, as a group if it is new. */
function groupIn(above: Command, word: string): Command {
  const known = above.commands.find((one) => one.name() === word);
  if (known) return known;
  const examples = COMMANDS.filter(({ name }) => name.startsWith(`${word} `)).map(
    ({ examples: [first] }) => first,
  );
  return above
    .command(word)
    .description(GROUPS[word] ?? '')
    .addHelpText('after', `\nExamples:\n${examplesOf(examples)}`);
}

function add(program: Command, definition: Definition): void {
  const words = definition.name.split(' ');
  const last = words.pop() ?? '';
  const command = words.reduce(groupIn, program).command(last).description(definition.summary);
  definition.define?.(command);
  withOutput(command)
    .addHelpText('after', helpOf(definition))
    .action(async () => {
      const options = command.opts<{ output: Form }>();
      const progress = new Progress(process.stderr, options.output === 'json', definition.logs);
      const call: Call<unknown, unknown> = { options, args: command.processedArgs, tell: progress.tell };
      try {
        const result = await definition.run(call as Call<never, never>);
        progress.end();
        print(result, options.output);
        process.exitCode = result.exit ?? EXIT.ok;
      } finally {
        progress.end();
      }
    });
}

const ROOT_HELP = helpOf({
  about: 'Each command has examples in its own --help. Errors have a code and say what to do.',
  examples: [
    ['tidb-mesh validate mesh.yaml', 'judges the mesh file'],
    ['tidb-mesh render mesh.yaml --out build/manifests', 'writes the manifests'],
    [
      'tidb-mesh tenants add --all --config mesh.yaml --pd http://pd:2379',
      'gives the tenants their boundaries',
    ],
    ['tidb-mesh doctor --config mesh.yaml --pd http://pd:2379', 'finds what is wrong'],
  ],
  exits: EXIT_MEANINGS,
});

/** The program with all its commands. It throws commander's errors instead of printing them. */
export function makeProgram(args: readonly string[] = []): Command {
  const program = new Command('tidb-mesh')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .description('Run many TiDB clusters on one storage layer: check, render and look after the mesh.')
    .addHelpText('after', ROOT_HELP)
    .exitOverride()
    .configureOutput({
      outputError: () => undefined,
      // For a group without a subcommand, commander shows the help as an error.
      writeErr: (text) => (formIn(args) === 'json' ? undefined : process.stderr.write(text)),
    });
  for (const definition of COMMANDS) add(program, definition);
  return program;
}
