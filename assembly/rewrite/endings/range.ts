/** Maps a range. An absent bound equals an empty one. A later field may say which of the two is the lower bound. */
import { Flag, endFieldOf, recordOf, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import { fail } from '../current';
import { Level } from '../level';
import { BoundForm, bound } from '../values';

/** @inline */
function formOf(flags: u32): BoundForm {
  if (flags & Flag.PLACES) return BoundForm.PLACE;
  return flags & Flag.ENCODED_RANGE ? BoundForm.ENCODED : BoundForm.RAW;
}

export function endRange(level: Level, flags: u32): Status {
  const form = formOf(flags);
  const self = recordOf(level.message);
  const startField = startFieldOf(self);
  const endField = endFieldOf(self);
  level.first.standAt(level.end);
  level.last.standAt(level.end);
  let status = Status.OK;
  if (startField != 0) status = bound(form, !level.reverse, startField, level.first);
  if (status == Status.OK && endField != 0) status = bound(form, level.reverse, endField, level.last);
  return status == Status.OK ? status : fail(status, level.message, startField);
}
