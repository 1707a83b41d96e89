/** How every command prints: a result on the standard output, errors and progress on the standard error. */
import Table from 'cli-table3';
import { Option, type Command } from 'commander';
import pc from 'picocolors';
import type { CommandError } from '../errors.ts';

export const FORMS = ['table', 'json'] as const;
export type Form = (typeof FORMS)[number];

/** Adds `--output`, and `--json` as its short form. */
export function withOutput(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <form>', 'how to print the result and errors').choices(FORMS).default('table'),
    )
    .addOption(new Option('--json', 'short for --output json').implies({ output: 'json' }));
}

/** The form that a command line asks for, also when the rest of it is wrong. */
export function formIn(args: readonly string[]): Form {
  const asks = args.some(
    (arg, i) =>
      /^(--json|--output=json|-o=?json)$/.test(arg) ||
      (arg === 'json' && /^(-o|--output)$/.test(args[i - 1] ?? '')),
  );
  return asks ? 'json' : 'table';
}

/** A table without lines: columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = Object.fromEntries(
    [
      ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
      ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'],
    ].map((side) => [side, '']),
  );
  const made = new Table({
    head: [...head],
    chars: { ...none, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  made.push(...rows.map((row) => [...row]));
  return made.toString().replaceAll(/ +$/gm, '');
}

export function jsonText(value: unknown): string {
  return JSON.stringify(value, undefined, 2);
}

/** The text of an error: for people with its code and what to do, for programs one JSON object. */
export function errorText(error: CommandError, form: Form): string {
  if (form === 'json') return jsonText(error);
  const hint = error.hint === '' ? '' : `\n  ${pc.cyan('→')} ${error.hint.replaceAll('\n', '\n    ')}`;
  return `${pc.red('error:')} ${error.message} ${pc.dim(`[${error.code}]`)}${hint}`;
}
