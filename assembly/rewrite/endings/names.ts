/** Maps names in PD's etcd and meta storage whose fields are judged together. */
import { Flag, endFieldOf, recordOf, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import * as current from '../current';
import { fail } from '../current';
import { nameRange, namedValue } from '../etcd';
import { findVarint } from '../find';
import { Level } from '../level';
import { groupRange } from '../resource-groups';
import { serviceSafePoint } from '../service-safe-point';
import { watchRange } from '../watches';

/** etcdserverpb.PutRequest.value and lease */
const VALUE_FIELD: u32 = 2;
const LEASE_FIELD: u32 = 3;

export function endNames(level: Level, flags: u32): Status {
  const self = recordOf(level.message);
  const startField = startFieldOf(self);
  // An absent name means the first name of all.
  level.first.standAt(level.end);
  let status: Status;
  if (flags & Flag.SERVICE) status = serviceSafePoint(current.exchange);
  else if (flags & Flag.NAMED_VALUE) {
    const lease = findVarint(level.start, level.end, LEASE_FIELD);
    status = namedValue(level.first, VALUE_FIELD, level.last, lease);
  } else if (flags & Flag.WATCH) status = watchRange(level, startField);
  else if (flags & Flag.NAME_RANGE)
    status = nameRange(startField, level.first, endFieldOf(self), level.last, level.reads);
  else status = groupRange(startField, level.first, level.last);
  return status == Status.OK ? status : fail(status, level.message, startField);
}
