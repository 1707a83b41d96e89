/** Shows what a command is waiting for, in one line of the terminal that it clears in the end. */

import type { Tell } from '../tell.ts';

const SECOND_MS = 1000;
const CLEAR_LINE = '\r\u001b[K';

export class Progress {
  private line = '';
  private since = 0;
  private timer: NodeJS.Timeout | undefined;

  /** Shows nothing when the stream is no terminal, or when it is to stay silent. */
  constructor(
    private readonly stream: NodeJS.WriteStream = process.stderr,
    private readonly silent = false,
  ) {}

  readonly tell: Tell = (line) => {
    if (this.silent || !this.stream.isTTY) return;
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

  private draw(): void {
    const seconds = Math.floor((Date.now() - this.since) / SECOND_MS);
    const text = seconds === 0 ? `… ${this.line}` : `… ${this.line} (${seconds} s)`;
    this.stream.write(`${CLEAR_LINE}${text.slice(0, (this.stream.columns || 80) - 1)}`);
  }
}
