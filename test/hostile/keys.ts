/** Keys that every tenant has, by the same names. */
import { tablePrefix } from '../harness/support/keys.ts';

export const TABLE = 100;
/** A key as of an index: the store looks into the values of rows. */
export const ENTRY = Buffer.concat([tablePrefix(TABLE), Buffer.from('_i'), Buffer.alloc(8, 1)]);
/** One that no forged request names. */
export const QUIET = Buffer.concat([tablePrefix(TABLE - 1), Buffer.from('_i'), Buffer.alloc(8, 1)]);
export const TABLE_END = tablePrefix(TABLE + 1);
