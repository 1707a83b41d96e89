/** Steps of a move, as its worker names them (src-ts/move/steps/). */

/** Of a switch that has begun, until the new place is written down. */
export const UNDECIDED = [
  'after switching',
  'calm',
  'drain',
  'fence',
  'settled',
  'final',
  'caught up',
  'locks carried',
  'before committing',
];
