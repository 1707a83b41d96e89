/** The phases of a tenant's move to another key range, and what they hold back. proto/ says what each call is for: mesh.Kind. */
import { Call } from '../schema/table';
import { Ascii, ascii } from '../wire/bytes';

/** In the order in which they come. */
export const enum MovePhase {
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
  /** As in PREPARE. What comes without a move behind it is the move's end. */
  OVER,
  /** None that this version of the filter knows. */
  UNKNOWN,
}

/** What a configuration is to a tenant that moves or has moved, see Account.accept. */
export const enum Standing {
  CURRENT,
  /** From before what was obeyed: the tenant's keys may be elsewhere by now. */
  OUTDATED,
  /** It has no move, and the end of the move was not told. */
  UNTOLD,
  /** Its phase is not known. */
  UNKNOWN,
}

/** The same as ASCII, for those that are not CURRENT. */
export const STANDINGS: Ascii[] = [ascii('outdated'), ascii('untold'), ascii('unknown')];

/** The same as ASCII. */
export const PHASES: Ascii[] = [
  ascii('prepare'),
  ascii('calm'),
  ascii('drain'),
  ascii('fence'),
  ascii('final'),
  ascii('over'),
];

/** The names in the configuration, from PREPARE on. */
export const PHASE_NAMES: string[] = ['prepare', 'calm', 'drain', 'fence', 'final', 'over'];

/** The operations that are refused in every phase, see policy/policy-bits; 0 before the first move. */
export let refusedBits: usize = 0;

export function useRefusedBits(bits: usize): void {
  refusedBits = bits;
}

/** True when a request of this kind to the store is held back. */
export function isHeldIn(phase: MovePhase, call: u32): bool {
  if (phase < MovePhase.DRAIN) return false;
  if (phase == MovePhase.FINAL) return call != Call.FIND && call != Call.UNSPECIFIED;
  return call == Call.WRITE || (phase == MovePhase.FENCE && call == Call.FINISH);
}

/** The same for a request that is alone on its stream. Reads are not told apart by their timestamps. */
export function isHeldAlone(phase: MovePhase, call: u32): bool {
  return isHeldIn(phase == MovePhase.FENCE ? MovePhase.FINAL : phase, call);
}

/** True when the phase ends by itself. */
export function hasDeadline(phase: MovePhase): bool {
  return phase >= MovePhase.CALM && phase <= MovePhase.FENCE;
}
