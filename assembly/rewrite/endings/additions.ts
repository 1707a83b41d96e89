/** Adds fields that a message lacks. */
import { encodeLease } from '../../keys/namespace';
import { apiVersion, keyspaceId } from '../../keys/space';
import { alloc } from '../../memory/arena';
import { endFieldOf, entryOf, messageIn, recordOf, startFieldOf } from '../../schema/messages';
import { writeVarint } from '../../wire/varint';
import { CHECKSUM_RULE, appendChecksumRule } from '../checksum';
import * as current from '../current';
import { replaceField, replaceScalar } from '../edits';
import { Level } from '../level';

/** The context is field 1 of every request that has one. */
export const CONTEXT_FIELD: u32 = 1;
/** etcdserverpb.LeaseGrantRequest.ID */
const LEASE_ID_FIELD: u32 = 2;

function addNumber(level: Level, field: u32, value: u64): void {
  if (field != 0 && !level.has(field)) replaceScalar(field << 3, level.end, level.end, value);
}

/** Adds to an answer the safe point that its request held. */
export function addSafePoint(level: Level): void {
  addNumber(level, startFieldOf(recordOf(level.message)), current.exchange.remembered);
}

/** Adds a lease id of the tenant's own. An id chosen by etcd could be any tenant's. */
export function addLease(level: Level): void {
  addNumber(level, LEASE_ID_FIELD, encodeLease(current.leaseSeed));
}

/** Adds API version and keyspace to a request's context. */
export function addContextFields(level: Level): void {
  if (apiVersion() == 0) return;
  const self = recordOf(level.message);
  addNumber(level, startFieldOf(self), apiVersion());
  addNumber(level, endFieldOf(self), keyspaceId());
}

/** Adds a context with these fields to a request that has none. */
export function addContext(level: Level): void {
  if (apiVersion() == 0 || level.has(CONTEXT_FIELD)) return;
  const context = recordOf(messageIn(entryOf(recordOf(level.message), CONTEXT_FIELD)));
  const at = alloc(32);
  let to = writeVarint(writeVarint(at, startFieldOf(context) << 3), apiVersion());
  to = writeVarint(writeVarint(to, endFieldOf(context) << 3), keyspaceId());
  replaceField((CONTEXT_FIELD << 3) | 2, level.end, level.end, at, to - at);
}

/** Adds the rule that makes keys count as the client's own. */
export function addChecksumRule(level: Level): void {
  if (!level.has(CHECKSUM_RULE)) appendChecksumRule(level.end);
}
