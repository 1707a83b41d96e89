/**
 * Maps resource groups in PD's protocols: their names, and their keys in the meta storage.
 *
 *   resource_group/settings/<name>   a resource_manager.ResourceGroup
 *   resource_group/controller        JSON, one for the whole store
 *
 * The group `default` of tenants that share it lies among all tenants' groups. So reads of all groups go on unchanged, and the answer loses
 * what is not the tenant's. A part of the groups cannot be read: where an answer ends would tell names of others'.
 */
import * as groups from '../keys/group-names';
import { MAX_GROUP_BYTES } from '../keys/group-names';
import { Mapped } from '../keys/mapped';
import { tenantNumber } from '../keys/space';
import { alloc } from '../memory/arena';
import { Msg } from '../schema/table';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import * as current from './current';
import { replaceField } from './edits';
import * as find from './find';
import { CONTROLLER, isSegment } from './names';
import { Span } from './span';

/** meta_storagepb.KeyValue.key */
export const GROUP_KEY_FIELD: u32 = 1;
/** The message under the key of a group. */
export const GROUP_MESSAGE: u32 = Msg.RESOURCE_GROUP;

/** PD's client reads and watches whatever begins with it (client/resource_manager_client.go). */
const GROUPS: Ascii = ascii('resource_group/settings');
/** The folder of all tenants' groups in etcd. */
export const GROUPS_FOLDER: Ascii = ascii('resource_group/settings/');

/** resource_manager.ResourceGroup: mode, r_u_settings; its r_u; its settings. */
const MODE_FIELD: u32 = 2;
const RU_SETTINGS_FIELD: u32 = 3;
const ONLY_FIELD: u32 = 1;
const RU_MODE: u64 = 1;

/** Maps the name of a group in a field. `own`: the request would make, change or delete the group. */
export function group(request: bool, own: bool, tag: u32, field: Span): Status {
  const value = field.bytes;
  const length = field.length;
  if (!request) {
    // A group that was made before the tenant got its own `default` may still lead to PD's: the name alone drops no answer.
    if (!own && groups.isDefaultGroup(value, length)) return Status.OK;
    return settled(groups.decodeGroup(value, length), Status.DROP, tag, field);
  }
  if (own) {
    // PD joins the name to a path, and cleans the path.
    if (length == 0 || !isSegment(value, length)) return Status.GROUP_NAME;
    if (groups.isDefaultGroup(value, length) && tenantNumber() != 0) return Status.GROUP_DEFAULT;
  }
  const mapped = groups.encodeGroup(value, length);
  const stored = mapped == Mapped.REPLACED ? groups.groupLength : length;
  // PD has no group with such a name, and refuses to make one. TiKV would count for it all the same.
  if (mapped != Mapped.OUTSIDE && stored > MAX_GROUP_BYTES) {
    if (!own) return Status.TEXT_TOO_LONG;
    if (tenantNumber() != 0) return Status.GROUP_NAME;
  }
  return settled(mapped, Status.NAME_OUTSIDE, tag, field);
}

/**
 * Maps the name of the group in a request to TiKV, which keeps each name as a label of its metrics. One beyond those that a tenant may name
 * becomes its `default`. TiKV counts for that, too, what names a group that it does not know.
 */
export function groupLabel(tag: u32, field: Span): Status {
  // One that is too long is refused, and must not be remembered.
  const isKept = field.length <= MAX_GROUP_BYTES;
  if (!isKept || current.terms.account.groups.admits(field.bytes, field.length))
    return group(true, false, tag, field);
  const isMapped = groups.encodeDefaultGroup() == Mapped.REPLACED;
  replaceField(
    tag,
    field.at,
    field.end,
    isMapped ? groups.groupAt : changetype<usize>(groups.DEFAULT),
    isMapped ? groups.groupLength : groups.DEFAULT.length,
  );
  return Status.OK;
}

/** Maps the name of a group of regions in a request. PD spreads regions evenly in each group: tenants must not share one. */
export function scatterGroup(tag: u32, field: Span): Status {
  return settled(groups.encodeOwnGroup(field.bytes, field.length), Status.NAME_OUTSIDE, tag, field);
}

function settled(mapped: Mapped, outside: Status, tag: u32, field: Span): Status {
  if (mapped == Mapped.OUTSIDE) return outside;
  if (mapped == Mapped.REPLACED) replaceField(tag, field.at, field.end, groups.groupAt, groups.groupLength);
  return Status.OK;
}

/** Maps a key of the meta storage in an answer. Only the tenant's own groups and what all tenants share stay. */
export function groupKey(tag: u32, field: Span): Status {
  const value = field.bytes;
  const length = field.length;
  if (equals(value, length, CONTROLLER)) return Status.OK;
  if (!isGroupKey(value, length)) return Status.DROP;
  const name = value + GROUPS_FOLDER.length;
  return settledKey(groups.decodeGroup(name, length - GROUPS_FOLDER.length), Status.DROP, tag, field);
}

function settledKey(mapped: Mapped, outside: Status, tag: u32, field: Span): Status {
  if (mapped == Mapped.OUTSIDE) return outside;
  if (mapped != Mapped.REPLACED) return Status.OK;
  const key = alloc(GROUPS_FOLDER.length + groups.groupLength);
  memory.copy(key, changetype<usize>(GROUPS_FOLDER), GROUPS_FOLDER.length);
  memory.copy(key + GROUPS_FOLDER.length, groups.groupAt, groups.groupLength);
  replaceField(tag, field.at, field.end, key, GROUPS_FOLDER.length + groups.groupLength);
  return Status.OK;
}

/** True for the key of a group. */
export function isGroupKey(key: usize, length: usize): bool {
  return <i32>length > GROUPS_FOLDER.length && startsWith(key, length, GROUPS_FOLDER);
}

/** Checks a request's read of the meta storage from `path` to `last`. `last` has no bytes when one key is read. */
export function groupRange(field: u32, path: Span, last: Span): Status {
  const key = path.bytes;
  const length = path.length;
  if (last.length != 0)
    return isAllBehind(GROUPS, path, last) || isAllBehind(CONTROLLER, path, last)
      ? Status.OK
      : Status.NAME_OUTSIDE;
  if (equals(key, length, CONTROLLER)) return Status.OK;
  if (!isGroupKey(key, length)) return Status.NAME_OUTSIDE;
  const name = key + GROUPS_FOLDER.length;
  return settledKey(
    groups.encodeGroup(name, length - GROUPS_FOLDER.length),
    Status.NAME_OUTSIDE,
    (field << 3) | 2,
    path,
  );
}

/** True when the range holds all keys that begin with the prefix, and no others: its end is the prefix with a higher last byte. */
function isAllBehind(prefix: Ascii, path: Span, last: Span): bool {
  const before = <usize>prefix.length - 1;
  return (
    equals(path.bytes, path.length, prefix) &&
    last.length == before + 1 &&
    isSameBytes(last.bytes, path.bytes, before) &&
    load<u8>(last.bytes + before) == load<u8>(path.bytes + before) + 1
  );
}

/** True when the request puts a group with the settings that PD needs. PD stops without them. */
export function hasGroupSettings(p: usize, end: usize): bool {
  let at = find.findField(p, end, ONLY_FIELD);
  if (at == 0) return false;
  const groupEnd = find.foundEnd;
  if (find.findVarint(at, groupEnd, MODE_FIELD) != RU_MODE || find.findField(at, groupEnd, ONLY_FIELD) == 0)
    return false;
  at = find.findField(at, groupEnd, RU_SETTINGS_FIELD);
  if (at == 0) return false;
  at = find.findField(at, find.foundEnd, ONLY_FIELD);
  return at != 0 && find.findField(at, find.foundEnd, ONLY_FIELD) != 0;
}
