/** Handles requests that act on the region in their context, and contexts that need not be walked again. */
import { endFieldOf, recordOf, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import { isDefaultGroup } from '../../keys/group-names';
import * as current from '../current';
import { fail } from '../current';
import * as fastPath from '../fast-path/fast-path';
import { Level } from '../level';
import * as patches from '../patches';
import { actsOnRegion } from '../region-acts';

/** kvrpcpb.ResourceControlContext.resource_group_name: its tag, and tag and length. */
const GROUP_TAG: u8 = 0x0a;
const GROUP_HEADER_BYTES: usize = 2;
const MAX_EDIT_OFFSET: usize = 0xff;

export function endRegion(level: Level): Status {
  if (level.keyed) return Status.OK;
  const status = actsOnRegion();
  return status == Status.OK ? status : fail(status, level.message, 0);
}

/** Remembers a context that needed no change and no addition, or only the tenant's number in front of its group `default`. */
export function rememberContext(level: Level): void {
  const self = recordOf(level.message);
  const edit = editOf(level);
  if (
    !current.namesRegion &&
    edit >= 0 &&
    level.end != level.start &&
    !level.has(startFieldOf(self)) &&
    !level.has(endFieldOf(self)) &&
    level.seen != 0
  )
    fastPath.rememberContext(level.start, level.end - level.start, <u32>edit);
}

/**
 * What the context needed, as `knownEdit` says it; -1 when it cannot be remembered.
 *
 *   ... 92 01 | 09 | 0a 07 default ...     resource_control_context, its length, the name of the group
 *   ... 92 01 | 0c | 0a 0a 12:default ...
 */
function editOf(level: Level): i32 {
  const count = patches.patchCount - level.firstPatch;
  if (count == 0) return 0;
  if (count != 2) return -1;
  const length = patches.patchAt(level.firstPatch);
  const group = patches.patchAt(level.firstPatch + 1);
  const lengthAt = load<usize>(length);
  const groupAt = load<usize>(group);
  const name = groupAt + GROUP_HEADER_BYTES;
  const offset = groupAt - level.start;
  if (
    load<usize>(length, 4) != lengthAt + 1 ||
    load<u32>(length, 12) != 1 ||
    groupAt != lengthAt + 1 ||
    offset > MAX_EDIT_OFFSET ||
    load<u8>(groupAt) != GROUP_TAG ||
    !isDefaultGroup(name, load<usize>(group, 4) - name)
  )
    return -1;
  return (<i32>offset) | ((<i32>load<u8>(lengthAt)) << 8);
}
