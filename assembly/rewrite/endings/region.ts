/** Handles requests that act on the region in their context, and contexts that need not be walked again. */
import { Flag, endFieldOf, recordOf, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import * as current from '../current';
import { fail } from '../current';
import * as fastPath from '../fast-path/fast-path';
import { Level } from '../level';
import * as patches from '../patches';
import { actsOnRegion } from '../region-acts';

export function endRegion(level: Level, flags: u32): Status {
  if (!(flags & Flag.ACTS_ALWAYS) && level.keyed) return Status.OK;
  const status = actsOnRegion();
  return status == Status.OK ? status : fail(status, level.message, 0);
}

/** Remembers a context that needed no change and no addition. */
export function rememberUnchanged(level: Level): void {
  const self = recordOf(level.message);
  if (
    !current.namesRegion &&
    patches.patchCount == level.firstPatch &&
    level.end != level.start &&
    !level.has(startFieldOf(self)) &&
    !level.has(endFieldOf(self)) &&
    level.seen != 0
  )
    fastPath.rememberContext(level.start, level.end - level.start);
}
