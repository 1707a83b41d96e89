/** Does what a request's message needs before its fields are read. The message's flags say what. */
import { capabilities } from '../keys/space';
import { ANY_NEED, Flag } from '../schema/messages';
import { Status } from '../wire/status';
import { fail, setNamesRegion } from './current';
import { Level } from './level';
import { beginRegion } from './region-acts';
import { beginService } from './service-safe-point';

export function beginRequest(level: Level, flags: u32): Status {
  if (flags & ANY_NEED & ~capabilities()) return fail(Status.WRONG_SPACE, level.message, 0);
  const acts = (flags & Flag.ACTS_WITHOUT_KEYS) != 0;
  if (acts) beginRegion();
  if (flags & Flag.SERVICE) beginService();
  if (flags & Flag.HAS_CONTEXT) setNamesRegion(acts);
  return Status.OK;
}
