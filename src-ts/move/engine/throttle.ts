/** Limits what a move reads and writes in a second, and what all moves of a worker do together. */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Rates {
  /** Undefined: no limit. */
  readonly bytesPerSecond?: number | undefined;
  readonly requestsPerSecond?: number | undefined;
}

interface Clock {
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

const REAL: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => void (await sleep(ms, undefined, signal ? { signal } : {})),
};

/** Work is let through at once, and its cost is paid by whoever comes next. So one large piece never waits for ever. */
export class Throttle {
  private free = 0;
  private rates: Rates;

  constructor(
    rates: Rates = {},
    private readonly clock: Clock = REAL,
    /** What others share with it. */
    private readonly all?: Throttle,
  ) {
    this.rates = rates;
  }

  /** One more of those that share this one's rates. */
  part(rates: Rates): Throttle {
    return new Throttle(rates, this.clock, this);
  }

  /** Takes effect with the next request. */
  set(rates: Rates): void {
    this.rates = rates;
    this.free = Math.min(this.free, this.clock.now());
  }

  /** Waits for the turn of one request with this many bytes. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const { bytesPerSecond, requestsPerSecond } = this.rates;
    const now = this.clock.now();
    const turn = Math.max(now, this.free);
    const cost = Math.max(
      bytesPerSecond ? (bytes / bytesPerSecond) * 1000 : 0,
      requestsPerSecond ? 1000 / requestsPerSecond : 0,
    );
    this.free = turn + cost;
    if (turn > now) await this.clock.sleep(turn - now, signal);
    await this.all?.take(bytes, signal);
  }
}
