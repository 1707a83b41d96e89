/** How long work in this process takes. */

/** How long a run took, in nanoseconds: of all threads, and by the clock. */
export interface Took {
  readonly cpuNs: number;
  readonly wallNs: number;
}

export function clocked(work: () => void): Took {
  const cpu = process.cpuUsage();
  const wall = process.hrtime.bigint();
  work();
  const wallNs = Number(process.hrtime.bigint() - wall);
  const { user, system } = process.cpuUsage(cpu);
  return { cpuNs: (user + system) * 1000, wallNs };
}

/** How often work fits into so many seconds. */
export function timesFor(run: (times: number) => Took, seconds: number): number {
  let times = 1;
  for (;;) {
    const took = run(times).cpuNs / 1e9;
    if (took > seconds / 2) return Math.max(1, Math.round((times * seconds) / took));
    times *= 2;
  }
}
