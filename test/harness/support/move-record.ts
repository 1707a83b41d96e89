import type { MoveRecord } from '../../../src-ts/move/record.ts';

/** The record of a move of alpha, number 1, to the keys of number 5; it follows. */
export function moveRecord(fields: Partial<MoveRecord> = {}): MoveRecord {
  return {
    tenant: 'alpha',
    number: 1,
    serial: 3,
    state: 'following',
    from: {},
    to: { keyNumber: 5 },
    switches: 0,
    history: [],
    isPaused: false,
    throttle: {},
    createdAt: 1,
    ...fields,
  };
}
