/** An end for what is done while requests are held: what has not come to a decision by then is given up. */
import { CommandError } from '../../errors.ts';
import { stopper } from '../engine/stopper.ts';

/** What was being done when the time was over. */
export class HeldTooLong extends CommandError {
  constructor(what: string, ms: number, doing: string, hint: string) {
    super('REFUSED', `${what} for ${ms / 1000} s while ${doing}`, hint);
    this.name = 'HeldTooLong';
  }
}

export class Hold {
  private readonly stop = stopper();
  private readonly timer: NodeJS.Timeout;
  /** By a clock that nobody sets. */
  private readonly end: number;
  private doing = 'it began';

  /**
   * @param what has lasted, in words: `requests had been held`
   * @param hint what to do
   */
  constructor(
    private readonly ms: number,
    private readonly what: string,
    private readonly hint: string,
  ) {
    this.end = performance.now() + ms;
    this.timer = setTimeout(() => this.stop.abort(this.error()), ms);
  }

  private error(): HeldTooLong {
    return new HeldTooLong(this.what, this.ms, this.doing, this.hint);
  }

  /** @throws HeldTooLong when the time is over, also when this process has stood still meanwhile */
  check(): void {
    if (performance.now() >= this.end) throw this.error();
  }

  /**
   * Does something, and waits no longer than until the end.
   * @param doing in words, for who reads why it was given up
   * @param act must change nothing of its own accord once the signal has come
   * @throws HeldTooLong
   */
  async within<T>(doing: string, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.check();
    this.doing = doing;
    const { signal } = this.stop;
    let late = (): void => undefined;
    try {
      return await Promise.race([
        act(signal),
        new Promise<never>((_, reject) => {
          late = () => reject(this.error());
          signal.addEventListener('abort', late);
        }),
      ]);
    } finally {
      signal.removeEventListener('abort', late);
      this.check();
    }
  }

  /** Nothing is held any more. */
  close(): void {
    clearTimeout(this.timer);
  }
}
