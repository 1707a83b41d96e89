/** Exit codes of the commands. */
export const EXIT = { ok: 0, refused: 1, usage: 2 } as const;

/** Ends a command with a text for the user and an exit code, without a stack. */
export class Refusal extends Error {
  constructor(
    message: string,
    readonly exit: number = EXIT.refused,
  ) {
    super(message);
  }
}
