/** Does what a message needs after its last field, by its flags. There is one function for each kind of ending, called in order. */
import { apiVersion } from '../../keys/space';
import { ANY_ENDING, ANY_NUMBER, Flag, startFieldOf } from '../../schema/messages';
import { Status } from '../../wire/status';
import * as batch from '../batch';
import * as current from '../current';
import { Direction, fail } from '../current';
import { Level } from '../level';
import { sawWatch } from '../watches';
import { addChecksumRule, addContext, addContextFields, addLease, addSafePoint } from './additions';
import { countError } from './errors';
import { endNames } from './names';
import { endNumbers } from './numbers';
import { endRange } from './range';
import { endRegion, rememberContext } from './region';
import { requireFields, requireSettings } from './required';

/** True when there is nothing to do at this message's end, as for most messages. @inline */
export function endsPlainly(flags: u32, self: usize, seen: u64): bool {
  return !(
    flags & ANY_ENDING ||
    (flags & Flag.EXACT_KEY && !((seen >> (<u64>startFieldOf(self))) & 1)) ||
    (flags & Flag.HAS_CONTEXT && !(seen & 2) && apiVersion() != 0) ||
    (flags & Flag.BATCH && batch.needsIds())
  );
}

export function endMessage(level: Level, flags: u32): Status {
  if (flags & ANY_NUMBER && current.direction == Direction.REQUEST) {
    // Bounds are compared as the client sent them.
    const status = endNumbers(level, flags);
    if (status != Status.OK) return status;
  }
  if (flags & (Flag.RANGE | Flag.ENCODED_RANGE)) {
    const status = endRange(level, flags);
    if (status != Status.OK) return status;
  }
  if (current.direction == Direction.RESPONSE) {
    if (flags & Flag.ERRORS) countError(level);
    if (flags & Flag.SAFE_POINT_OUT) addSafePoint(level);
    if (flags & Flag.WATCH_ANSWER) sawWatch(level);
    return Status.OK;
  }
  return endRequest(level, flags);
}

function endRequest(level: Level, flags: u32): Status {
  let status = requireFields(level, flags);
  if (status != Status.OK) return status;
  if (flags & Flag.LEASE_GRANT) {
    if (!current.terms.account.holdings.leases.add()) return fail(Status.TOO_MANY_LEASES, level.message, 0);
    addLease(level);
  }
  if (flags & (Flag.NAME_RANGE | Flag.NAMED_VALUE | Flag.SERVICE | Flag.RESOURCE_PATH)) {
    status = endNames(level, flags);
    if (status != Status.OK) return status;
  }
  status = requireSettings(level, flags);
  if (status != Status.OK) return status;
  if (flags & Flag.ACTS_WITHOUT_KEYS) {
    status = endRegion(level);
    if (status != Status.OK) return status;
  }
  if (flags & Flag.CONTEXT) {
    rememberContext(level);
    addContextFields(level);
  }
  if (flags & Flag.HAS_CONTEXT) addContext(level);
  if (flags & Flag.CHECKSUM_RULE) addChecksumRule(level);
  if (flags & Flag.BATCH && batch.needsIds()) {
    status = batch.rememberNotes(current.exchange, level);
    if (status != Status.OK) return fail(status, level.message, 0);
  }
  return Status.OK;
}
