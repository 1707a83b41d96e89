/** Counts the errors that the store answers a tenant, by class. */
import { entryOf, errorClassIn, recordOf } from '../../schema/messages';
import { ErrorClass } from '../../schema/table';
import { countOfErrors } from '../../terms/account';
import * as current from '../current';
import { Level } from '../level';

/** Counts an answer with an error once: as its field with the highest number says. What goes with every error has a low number. */
export function countError(level: Level): void {
  const self = recordOf(level.message);
  let seen = level.seen;
  while (seen != 0) {
    const field = <u32>(63 - clz(seen));
    const errorClass = errorClassIn(entryOf(self, field));
    if (errorClass != ErrorClass.UNSPECIFIED) {
      current.terms.account.add(countOfErrors(errorClass), 1);
      return;
    }
    seen ^= (<u64>1) << field;
  }
}
