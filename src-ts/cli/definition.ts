/** What a command is: its help, its options, and a function from them to a result. */
import type { Command } from 'commander';
import type { CommandError, Exit } from '../errors.ts';
import type { Tell } from '../tell.ts';

export interface Result {
  /** What `--output json` prints. */
  readonly value: unknown;
  /** What people read. */
  readonly text: string;
  /** 0 without it. */
  readonly exit?: Exit;
  /** Parts of the work that failed while others were done. */
  readonly errors?: readonly CommandError[];
}

export interface Call<Options, Args> {
  readonly options: Options;
  readonly args: Args;
  /** Says what takes a while. */
  readonly tell: Tell;
}

/** A command line, and what it does when that is not plain. */
export type Example = string | readonly [line: string, meaning: string];

export interface Definition<Options = never, Args = never> {
  /** The words behind `tidb-mesh`, such as `tenants add`. */
  readonly name: string;
  /** One line: what it does, verb first. */
  readonly summary: string;
  /** What else the help says. */
  readonly about: string;
  readonly examples: readonly [Example, ...Example[]];
  /** What exit codes mean for this command, where that is more than the general meaning. */
  readonly exits?: Partial<Record<Exit, string>>;
  /** It runs until it is interrupted. Where its standard error is no terminal, that is a log of what it does. */
  readonly logs?: boolean;
  /** Adds arguments and options. `--output` comes by itself. */
  readonly define?: (command: Command) => unknown;
  /** @throws CommandError */
  readonly run: (call: Call<Options, Args>) => Result | Promise<Result>;
}
