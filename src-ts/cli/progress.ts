/**
 * Shows what a command is waiting for, in one line of the terminal that it clears in the end. For a command that runs for ever, what is no
 * terminal is a log.
 */

import type { Tell } from '../tell.ts';

const SECOND_MS = 1000;
/** How often a log may have the same line. */
const REPEAT_MS = 30_000;
const CLEAR_LINE = '\r\u001b[K';

export class Progress {
  private line = '';
  private since = 0;
  private timer: NodeJS.Timeout | undefined;

  /** When each line was logged last. */
  private readonly logged = new Map<string, number>();

  /** Shows nothing when the stream is no terminal and no log, or when it is to stay silent. */
  constructor(
    private readonly stream: NodeJS.WriteStream = process.stderr,
    private readonly silent = false,
    private readonly isLog = false,
  ) {}

  readonly tell: Tell = (line) => {
    if (this.silent) return;
    if (!this.stream.isTTY) {
      if (this.isLog) this.log(line);
      return;
    }
    this.line = line;
    this.since = Date.now();
    this.timer ??= setInterval(() => this.draw(), SECOND_MS).unref();
    this.draw();
  };

  /** Clears the line. */
  end(): void {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.stream.write(CLEAR_LINE);
  }

  private log(line: string): void {
    const now = Date.now();
    for (const [known, at] of this.logged) if (now - at >= REPEAT_MS) this.logged.delete(known);
    if (this.logged.has(line)) return;
    this.logged.set(line, now);
    this.stream.write(`${new Date(now).toISOString()} ${line}\n`);
  }

  private draw(): void {
    const seconds = Math.floor((Date.now() - this.since) / SECOND_MS);
    const text = seconds === 0 ? `… ${this.line}` : `… ${this.line} (${seconds} s)`;
    this.stream.write(`${CLEAR_LINE}${text.slice(0, (this.stream.columns || 80) - 1)}`);
  }
}
