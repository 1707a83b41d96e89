/** The one error type of the commands: a stable code, what is wrong, what to do, and an exit code. */

/** Exit codes, the same for every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, bug: 70 } as const;
export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** What each exit code means. `docs/commands.md` and every `--help` show it. */
export const EXIT_MEANINGS: Readonly<Record<Exit, string>> = {
  0: 'done',
  1: 'refused, not valid, or different from what it must be',
  2: 'the command line is wrong, or a file cannot be read',
  3: 'PD or a store does not answer',
  70: 'a bug in tidb-mesh',
};

/** Every code that an error can have. `docs/commands.md` lists them. */
export const ERRORS = {
  USAGE: { exit: EXIT.usage, means: 'The command line is wrong.' },
  FILE: { exit: EXIT.usage, means: 'A file cannot be read.' },
  INVALID: { exit: EXIT.failed, means: 'A mesh file or pluginConfig is not valid.' },
  DIFFERENT: { exit: EXIT.failed, means: '`render --check` found files that differ.' },
  REFUSED: {
    exit: EXIT.failed,
    means: 'The storage layer is not in a state that allows the command. The message says what it changed.',
  },
  NOT_YET: { exit: EXIT.failed, means: 'What a command waited for has not happened in time.' },
  NOT_EMPTY: { exit: EXIT.failed, means: 'Something of a tenant is left. Nothing was changed.' },
  PD_ERROR: { exit: EXIT.failed, means: 'PD, a store or Prometheus answered with an error.' },
  UNREACHABLE: { exit: EXIT.unreachable, means: 'PD, a store or Prometheus does not answer.' },
  BUG: { exit: EXIT.bug, means: 'A bug in tidb-mesh.' },
} as const satisfies Record<string, { readonly exit: Exit; readonly means: string }>;
export type ErrorCode = keyof typeof ERRORS;

/** Ends a command with a text for the user and an exit code, without a stack. */
export class CommandError extends Error {
  constructor(
    readonly code: ErrorCode,
    /** What is wrong, with the value that is. */
    message: string,
    /** What to do, verb first. */
    readonly hint: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CommandError';
  }

  get exit(): Exit {
    return ERRORS[this.code].exit;
  }

  /** What `--output json` prints. */
  toJSON(): object {
    return { code: this.code, message: this.message, hint: this.hint, exit: this.exit };
  }
}
