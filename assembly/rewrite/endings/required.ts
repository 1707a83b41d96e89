/** Refuses requests without a field whose absence upstream takes to mean everything. */
import { Flag, endFieldOf, recordOf, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import { fail } from '../current';
import { countNumbers, findField } from '../find';
import { Level } from '../level';
import { hasGroupSettings } from '../resource-groups';

/** Of a resource group, which PD keeps in etcd and in memory. TiDB's have some hundred bytes. */
const MAX_GROUP_BYTES: usize = 64 * 1024;
/** kvrpcpb.PrewriteRequest.pessimistic_actions */
const PESSIMISTIC_ACTIONS: u32 = 7;

/** Requires an exact key or a path. Absent, they mean the store's empty key, or the whole meta storage. */
export function requireFields(level: Level, flags: u32): Status {
  if (!(flags & (Flag.EXACT_KEY | Flag.RESOURCE_PATH))) return Status.OK;
  const field = startFieldOf(recordOf(level.message));
  if (level.has(field)) return Status.OK;
  return fail(flags & Flag.EXACT_KEY ? Status.KEY_OUTSIDE : Status.NAME_OUTSIDE, level.message, field);
}

/** Requires lists without which TiKV stops, and settings without which PD stops. */
export function requireSettings(level: Level, flags: u32): Status {
  if (flags & Flag.GROUP_SETTINGS) {
    if (level.end - level.start > MAX_GROUP_BYTES) return fail(Status.TEXT_TOO_LONG, level.message, 0);
    if (!hasGroupSettings(level.start, level.end)) return fail(Status.GROUP_SETTINGS, level.message, 0);
  }
  if (!(flags & Flag.REQUIRED_LIST)) return Status.OK;
  const list = endFieldOf(recordOf(level.message));
  // Messages were counted, keys were not.
  if (level.listed == 0 && findField(level.start, level.end, list) == 0)
    return fail(Status.VALUE_OUTSIDE, level.message, list);
  if (level.pessimistic && countNumbers(level.start, level.end, PESSIMISTIC_ACTIONS) != level.listed)
    return fail(Status.VALUE_OUTSIDE, level.message, PESSIMISTIC_ACTIONS);
  return Status.OK;
}
