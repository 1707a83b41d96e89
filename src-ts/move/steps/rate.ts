/** How fast something grows, over the last half minute. */
const WINDOW_MS = 30_000;

export class Rate {
  private readonly samples: { readonly at: number; readonly value: number }[] = [];

  constructor(private readonly now: () => number = Date.now) {}

  /**
   * @param value so far, of a worker that may have begun in the middle
   * @returns per second; undefined until it can be told
   */
  add(value: number): number | undefined {
    const at = this.now();
    this.samples.push({ at, value });
    while ((this.samples[0]?.at ?? at) < at - WINDOW_MS && this.samples.length > 2) this.samples.shift();
    const [first] = this.samples;
    if (!first || first.at === at) return undefined;
    return ((value - first.value) / (at - first.at)) * 1000;
  }
}
