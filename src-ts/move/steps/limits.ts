/** How long the steps of a move wait, and how long they hold requests. */
export interface Limits {
  /** How far behind the target may be when a switch begins, ms. */
  readonly maxLagMs: number;
  /** How long writes may be held before the filter lets them go on, ms. */
  readonly holdMs: number;
  /** How long all requests may be held before the switch is given up, ms. Once it is decided, nothing leads back. */
  readonly allHeldMs: number;
  /** How long to wait for all VMs to obey, ms. */
  readonly obeyMs: number;
  /** For what was committed asynchronously before the calm to be cleaned up, and for commits after the last first phase, ms. */
  readonly settleMs: number;
  /**
   * How long transactions go on committing in two phases after a switch, done or not, ms. One whose first prewrites came before must not
   * end as an asynchronous commit: longer than client-go tries to prewrite. It sleeps for 40 s (txnkv/transaction/2pc.go,
   * PrewriteMaxBackoff) times tidb_backoff_weight, which is 2 (kv/variables.go, DefBackOffWeight; config/retry/backoff.go), and a request
   * lasts 30 s (internal/client ReadTimeoutShort). It does not count the time of requests before the last one.
   */
  readonly calmMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxLagMs: 5000,
  holdMs: 10_000,
  allHeldMs: 20_000,
  obeyMs: 10_000,
  settleMs: 300,
  calmMs: 180_000,
};
