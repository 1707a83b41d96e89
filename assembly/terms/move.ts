/** The phases of a tenant's move to another key range, and what they hold back. */

/** In the order in which they come. */
export const enum Phase {
  NONE,
  /** What a change feed does not show is refused. */
  PREPARE,
  /** Also, a transaction is committed by its Commit alone. */
  CALM,
  /** Also, nothing new is written. */
  DRAIN,
  /** Also, nothing is written, and nothing is read as of now. */
  FENCE,
  /** Nothing is served. */
  FINAL,
}

/** The names in the configuration, from PREPARE on. */
export const PHASE_NAMES: string[] = ['prepare', 'calm', 'drain', 'fence', 'final'];

/** True when the phase ends by itself. */
export function hasDeadline(phase: Phase): bool {
  return phase >= Phase.CALM && phase <= Phase.FENCE;
}
