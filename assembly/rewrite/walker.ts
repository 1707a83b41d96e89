/**
 * Rewrites one protobuf message by the schema's table: steps over the wire bytes, skips what carries no key, patches keys of equal
 * length where they lie and records a patch for everything else. It has one reading of a message only; what has two is refused.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
import { encodeLease } from '../keys/namespace';
import { apiVersion, capabilities, keyspaceId, mapsTableIds, tenantNumber } from '../keys/space';
import { alloc, isOverspent } from '../memory/arena';
import {
  Flag,
  Kind,
  ESSENTIAL,
  PACKABLE,
  REPEATED,
  endFieldOf,
  entryOf,
  flagsOf,
  recordOf,
  startFieldOf,
} from '../schema/messages';
import { Msg, Role } from '../schema/table';
import { Status } from '../wire/status';
import { readVarint, varintEnd, varintSize, writeVarint } from '../wire/varint';
import {
  BATCH_MESSAGES,
  batchIndex,
  beginBatch,
  buildEmptyCommand,
  buildEmptyRequest,
  buildRefusal,
  builtAt,
  builtLength,
  commandOf,
  isRefusable,
  isRefusedCommand,
  passInBatch,
  noteColumns,
  noteCount,
  noteRefusal,
  refusesCommands,
  rememberNotes,
} from './batch';
import { BATCH_IDS, beginIds, endIds, givenId, nextId } from './batch-ids';
import { CHECKSUM_RULE, appendChecksumRule } from './checksum';
import { remove, replace, replaceField, replaceScalar, setTouched } from './edits';
import { nameRange, namedValue } from './etcd';
import { Exchange, forget, pendingColumns, pendingIndex, pendingRefusal, remember } from './exchange';
import { findField, findVarint, foundEnd } from './find';
import { isKnownContext, rememberContext } from './known-contexts';
import { beginRewrite, followAlone, followRun, runEnd } from './known-layouts';
import { MAX_NESTING } from './layout';
import { learnLayout, wouldLearn } from './learn-layout';
import { Level, MAX_DEPTH, levelAt } from './level';
import { columnsAt, columnsLength, findPartitionId } from '../rows/output-columns';
import {
  addPatch,
  clearPatches,
  grown,
  patchCount,
  reservePatch,
  setPatch,
  truncatePatches,
  unreservePatch,
} from './patches';
import { actsOnRegion, beginRegion } from './region-acts';
import { isLearning } from './regions';
import { GROUP_KEY_FIELD, groupRange, hasGroupSettings, isGroupKey } from './resource-groups';
import { beginService, serviceSafePoint } from './service-safe-point';
import { learnShown } from './shown-regions';
import {
  BoundForm,
  Direction,
  bound,
  bytes,
  direction,
  listed,
  packed,
  scalar,
  useAnswerColumns,
  useDirection,
} from './values';

/** Changes to one message: empty ranges take two bytes on the wire, and a hundred each while they are rewritten. */
export const MAX_PATCHES: u32 = 1 << 20;

/** Fields of one message, all its submessages included. */
export const MAX_FIELDS: u32 = 1 << 24;

/** Coprocessor request types: a plan with executors, and a checksum (tipb DAG and Checksum). */
const COP_DAG: u64 = 103;
const COP_CHECKSUM: u64 = 105;
/** coprocessor.Request.tp */
const COP_TYPE_FIELD: u32 = 2;
/** etcdserverpb.PutRequest.value and lease */
const VALUE_FIELD: u32 = 2;
const LEASE_FIELD: u32 = 3;
/** The context is field 1 of every request that has one. */
const CONTEXT_TAG: u32 = 10;

let exchange: Exchange = changetype<Exchange>(0);
/** Random bits for lease ids that a client leaves to etcd; 48 bits, set before each request. */
let leaseSeed: u64 = 0;
/** The request that is being walked acts on the region that its context names. */
let namesRegion = false;
/** The message that is being walked is to be learned: what is in it is walked, too. */
let learns = false;
/** Fields of messages that have been walked. */
let fieldCount: u32 = 0;

/** The message and field at which a refusal happened, for its text. */
export let failedMessage: u32 = 0;
export let failedField: u32 = 0;

/** Length of the message after `rewrite` returned OK; equal to the old length when only `touched`. */
export let newLength: usize = 0;

/** Sets what the next `rewrite` calls work with. */
export function useExchange(x: Exchange, randomLease: u64): void {
  exchange = x;
  leaseSeed = randomLease;
}

/**
 * Walks the message of `length` bytes at `p`. On OK: `newLength`, `patchCount` and `touched` say what changed, and
 * `applyPatches` builds the result. On anything else the bytes must not be forwarded.
 */
export function rewrite(message: u32, p: usize, length: usize, way: Direction): Status {
  useDirection(way, exchange, leaseSeed);
  clearPatches();
  beginBatch();
  setTouched(false);
  fieldCount = 0;
  if (way == Direction.RESPONSE && exchange.count > 0 && !(flagsOf(recordOf(message)) & Flag.BATCH))
    useAnswerColumns(pendingColumns(exchange, 0));
  if (isLearning && way == Direction.RESPONSE) learnShown(message, p, length);
  beginRewrite();
  if (followAlone(message, p, length)) {
    newLength = length + grown;
    return Status.OK;
  }
  const status = walkToLearn(message, p, p + length, 0);
  if (status == Status.DROP) {
    // The whole answer lies outside: what is left of it is an empty message.
    truncatePatches(0);
    if (length != 0) addPatch(p, p + length, 0, 0);
    newLength = 0;
    return Status.OK;
  }
  newLength = length + grown;
  return status;
}

function fail(status: Status, message: u32, field: u32): Status {
  failedMessage = message;
  failedField = field;
  return status;
}

/** What a request's message asks for before its fields, and what they are told. */
function begin(message: u32, flags: u32): Status {
  if (flags & Flag.NEEDS & ~capabilities()) return fail(Status.WRONG_SPACE, message, 0);
  if (flags & (Flag.ACTS_ALWAYS | Flag.ACTS_WITHOUT_KEYS)) beginRegion();
  if (flags & Flag.SERVICE) beginService();
  if (flags & Flag.HAS_CONTEXT) namesRegion = (flags & (Flag.ACTS_ALWAYS | Flag.ACTS_WITHOUT_KEYS)) != 0;
  return Status.OK;
}

function walk(message: u32, p: usize, end: usize, depth: i32): Status {
  if (depth > MAX_DEPTH) return fail(Status.TOO_DEEP, message, 0);
  const self = recordOf(message);
  const flags = flagsOf(self);
  const level = levelAt(depth);
  level.begin(p, patchCount);
  const request = direction == Direction.REQUEST;
  if (flags & Flag.BEGINS) {
    if (flags & Flag.OWNERS && tenantNumber() == 0) {
      return Status.OK;
    }
    if (request) {
      const status = begin(message, flags);
      if (status != Status.OK) return status;
      // One that names a region to act on is walked for what it names.
      if (flags & Flag.CONTEXT && !namesRegion && isKnownContext(p, end - p)) p = end;
    } else if (flags & Flag.BATCH && exchange.count > 0) beginIds(level);
  }

  let seen: u64 = 0;
  let fields: u32 = 0;
  let run: u32 = 0;
  // Whatever changed nothing goes on with the next field; what may have changed something goes through the end of this loop.
  while (p < end) {
    const at = p;
    fields++;
    let tag = <u32>load<u8>(p);
    if (tag < 0x80) p++;
    else {
      const wide = readVarint(p, end);
      if (varintEnd == 0 || wide > 0xffffffff || varintSize(wide) != <i32>(varintEnd - p))
        return fail(Status.MALFORMED, message, 0);
      tag = <u32>wide;
      p = varintEnd;
    }
    const field = tag >> 3;
    const wire = tag & 7;
    if (field == 0) return fail(Status.MALFORMED, message, 0);
    const entry = entryOf(self, field);
    const kind = (entry >> 8) & 7;

    if (kind != Kind.UNKNOWN && !(entry & REPEATED)) {
      const bit = (<u64>1) << (field & 63);
      if (field < 64) {
        if (seen & bit) return fail(Status.DUPLICATE, message, field);
        seen |= bit;
      } else {
        if (level.seenHigh & bit) return fail(Status.DUPLICATE, message, field);
        level.seenHigh |= bit;
      }
    }

    if (wire == 0) {
      const valueAt = p;
      let value: u64 = p < end ? <u64>load<u8>(p) : 0x80;
      if (value < 0x80) p++;
      else {
        value = readVarint(p, end);
        p = varintEnd;
        if (p == 0) return fail(Status.MALFORMED, message, field);
      }
      if (kind == Kind.UNKNOWN) continue;
      if (kind != Kind.VARINT) return fail(Status.MALFORMED, message, field);
      const role = entry & 0xff;
      if (role == Role.ROLE_UNSPECIFIED) continue;
      if (role == Role.REVERSE) {
        level.reverse = value != 0;
        continue;
      }
      if (role == Role.COP_TYPE) {
        level.copType = value;
        continue;
      }
      if (role == Role.BATCH_IDS) continue;
      const status = entry & REPEATED ? listed(role, at, p, value) : scalar(role, at, valueAt, p, value);
      if (status != Status.OK) return fail(status, message, field);
    } else if (wire == 2) {
      const lengthAt = p;
      let size: u64 = p < end ? <u64>load<u8>(p) : 0x80;
      if (size < 0x80) p++;
      else {
        size = readVarint(p, end);
        p = varintEnd;
      }
      if (p == 0 || size > <u64>(end - p)) return fail(Status.MALFORMED, message, field);
      const value = p;
      const length = <usize>size;
      p += length;
      if (kind == Kind.MESSAGE) {
        // One request of a batch holds one command: decoders take the last one, refusals the first.
        if (message == Msg.BATCH_REQUEST && level.members++ > 0)
          return fail(Status.DUPLICATE, message, field);
        if (message == Msg.BATCH_REQUEST && request && isRefusedCommand(field))
          return fail(Status.BY_POLICY, message, field);
        const role = entry & 0xff;
        let status = Status.OK;
        if (role == Role.REFUSED && request) return fail(Status.NOT_FOR_TENANTS, message, field);
        if (role == Role.EMPTIED && request) {
          buildEmptyCommand();
          replace(at, p, builtAt, builtLength);
        } else if (role == Role.DROP || role == Role.EMPTIED || role == Role.REFUSED) {
          remove(at, p);
        } else if (
          entry & REPEATED &&
          !learns &&
          mayFollow(entry >> 16, level, depth) &&
          (run = followRun(entry >> 16, at, lengthAt, value, p, end)) > 0
        ) {
          p = runEnd;
          fields += run;
          level.listed = level.listed || field == startFieldOf(self);
          if (flags & Flag.BATCH) {
            passInBatch(run);
            exchange.outstanding += request ? run : -(<i32>run);
          }
        } else if (flags & Flag.BATCH && field == BATCH_MESSAGES) {
          passInBatch(1);
          exchange.outstanding += request ? 1 : -1;
          if (request) status = batchRequest(entry, at, lengthAt, value, p, depth);
          else if (level.idsAt == 0) status = nested(entry >> 16, entry, at, lengthAt, value, p, depth);
          else {
            if (!nextId(level, end)) return fail(Status.MALFORMED, message, BATCH_IDS);
            status = batchResponse(givenId, entry, at, lengthAt, value, p, depth);
            if (exchange.count == 0) endIds(level);
          }
        } else {
          level.listed = level.listed || field == startFieldOf(self);
          if (request && isUnchanged(entry >> 16, value, length)) continue;
          status = nested(entry >> 16, entry, at, lengthAt, value, p, depth);
        }
        if (status == Status.DROP) truncatePatches(level.firstPatch);
        if (status != Status.OK) return status;
      } else if (kind == Kind.BYTES) {
        const role = entry & 0xff;
        if (role == Role.OPAQUE) continue;
        switch (role) {
          case Role.RANGE_START:
          case Role.ENC_START:
          case Role.PLACE_START:
            level.startAt = at;
            level.startBytes = value;
            level.startTo = p;
            continue;
          case Role.RANGE_END:
          case Role.ENC_END:
          case Role.PLACE_END:
            level.endAt = at;
            level.endBytes = value;
            level.endTo = p;
            continue;
          case Role.DAG: {
            if (!request) continue;
            if (level.copType == 0) level.copType = findVarint(p, end, COP_TYPE_FIELD);
            const status = plan(level.copType, at, lengthAt, value, p, depth);
            if (status != Status.OK) return status;
            continue;
          }
          case Role.ETCD_READ_KEY:
          case Role.ETCD_KEY:
            level.reads = role == Role.ETCD_READ_KEY;
            level.startAt = at;
            level.startBytes = value;
            level.startTo = p;
            if (flags & Flag.NAME_RANGE) continue;
            break;
          case Role.RESOURCE_PATH:
            level.startAt = at;
            level.startBytes = value;
            level.startTo = p;
            continue;
          case Role.RESOURCE_VALUE: {
            const key = findField(level.start, end, GROUP_KEY_FIELD);
            if (value == p) continue;
            if (key == 0) return Status.DROP;
            if (!isGroupKey(key, foundEnd - key)) continue;
            const status = nested(Msg.RESOURCE_GROUP, ESSENTIAL, at, lengthAt, value, p, depth);
            if (status == Status.DROP) truncatePatches(level.firstPatch);
            if (status != Status.OK) return status;
            continue;
          }
          case Role.ETCD_END:
          case Role.RESOURCE_END:
          case Role.ETCD_VALUE:
            level.endAt = at;
            level.endBytes = value;
            level.endTo = p;
            continue;
          case Role.KEY:
            level.keyed = true;
        }
        const status = bytes(role, tag, at, value, length, p);
        if (status == Status.DROP) {
          truncatePatches(level.firstPatch);
          return status;
        }
        if (status != Status.OK) return fail(status, message, field);
      } else if (kind == Kind.UNKNOWN) {
        if (flags & Flag.LENIENT) continue;
        if (request) return fail(Status.UNKNOWN_FIELD, message, field);
        remove(at, p);
      } else {
        if (!(entry & PACKABLE)) return fail(Status.MALFORMED, message, field);
        const role = entry & 0xff;
        if (role == Role.ROLE_UNSPECIFIED || role == Role.BATCH_IDS) continue;
        const status = packed(role, tag, at, value, p);
        if (status != Status.OK) return fail(status, message, field);
      }
    } else if (wire == 1 || wire == 5) {
      const size: usize = wire == 1 ? 8 : 4;
      if (size > end - p || (kind != Kind.UNKNOWN && kind != (wire == 1 ? Kind.FIXED64 : Kind.FIXED32)))
        return fail(Status.MALFORMED, message, field);
      p += size;
      continue;
    } else return fail(wire == 3 || wire == 4 ? Status.GROUP : Status.MALFORMED, message, field);

    if (patchCount > MAX_PATCHES || isOverspent()) return fail(Status.TOO_MANY_CHANGES, message, 0);
  }
  fieldCount += fields;
  if (fieldCount > MAX_FIELDS) return fail(Status.TOO_MANY_FIELDS, message, 0);

  if (
    flags & Flag.ENDS ||
    (flags & Flag.EXACT_KEY && !hasSeen(seen, 0, startFieldOf(self))) ||
    (flags & Flag.HAS_CONTEXT && !(seen & 2) && apiVersion() != 0) ||
    (flags & Flag.BATCH && noteCount > 0) ||
    message == Msg.PUT_RESOURCE_GROUP ||
    message == Msg.CHECKSUM_REQUEST
  )
    return finish(message, flags, level, end, seen);
  return Status.OK;
}

/** @inline */
function boundForm(flags: u32): BoundForm {
  if (flags & Flag.PLACES) return BoundForm.PLACE;
  return flags & Flag.ENCODED_RANGE ? BoundForm.ENCODED : BoundForm.RAW;
}

/** What a message asks for behind its last field. */
function finish(message: u32, flags: u32, level: Level, end: usize, seen: u64): Status {
  const self = recordOf(message);
  const startField = startFieldOf(self);
  const endField = endFieldOf(self);
  const request = direction == Direction.REQUEST;
  if (flags & (Flag.RANGE | Flag.ENCODED_RANGE)) {
    const form = boundForm(flags);
    let status = Status.OK;
    if (startField != 0) {
      status = bound(
        form,
        !level.reverse,
        startField,
        level.startAt == 0 ? end : level.startAt,
        level.startBytes,
        level.startAt == 0 ? end : level.startTo,
      );
    }
    if (status == Status.OK && endField != 0) {
      status = bound(
        form,
        level.reverse,
        endField,
        level.endAt == 0 ? end : level.endAt,
        level.endBytes,
        level.endAt == 0 ? end : level.endTo,
      );
    }
    if (status == Status.DROP) {
      truncatePatches(level.firstPatch);
      return status;
    }
    if (status != Status.OK) return fail(status, message, startField);
  }
  if (flags & Flag.SAFE_POINT_OUT && direction == Direction.RESPONSE && !(seen & ((<u64>1) << startField)))
    replaceScalar(startField << 3, end, end, exchange.remembered);
  if (request) {
    if (flags & (Flag.RESOURCE_PATH | Flag.LEASE_GRANT | Flag.EXACT_KEY)) {
      const absent = !(seen & ((<u64>1) << startField));
      // Absent, an exact key would be the store's empty key, and a path the whole of the meta storage.
      if (absent && flags & Flag.EXACT_KEY) return fail(Status.KEY_OUTSIDE, message, startField);
      if (absent && flags & Flag.RESOURCE_PATH) return fail(Status.NAME_OUTSIDE, message, startField);
      // LeaseGrantRequest.ID is field 2.
      if (flags & Flag.LEASE_GRANT && !(seen & 4)) replaceScalar(2 << 3, end, end, encodeLease(leaseSeed));
    }
    if (flags & (Flag.NAME_RANGE | Flag.NAMED_VALUE | Flag.SERVICE)) {
      let status: Status;
      // An absent name is the first one of all.
      if (level.startAt == 0) level.startAt = level.startBytes = level.startTo = end;
      if (flags & Flag.SERVICE) status = serviceSafePoint(exchange);
      else if (flags & Flag.NAMED_VALUE) {
        const lease = findVarint(level.start, end, LEASE_FIELD);
        status = namedValue(
          level.startBytes,
          level.startTo - level.startBytes,
          VALUE_FIELD,
          level.endAt,
          level.endBytes,
          level.endTo,
          lease,
        );
      } else
        status = nameRange(
          startField,
          level.startAt,
          level.startBytes,
          level.startTo,
          endField,
          level.endAt,
          level.endBytes,
          level.endTo,
          level.reads,
        );
      if (status != Status.OK) return fail(status, message, startField);
    }
    if (flags & Flag.RESOURCE_PATH) {
      const status = groupRange(
        (startField << 3) | 2,
        level.startAt,
        level.startBytes,
        level.startTo,
        level.endBytes,
        level.endTo,
      );
      if (status != Status.OK) return fail(status, message, startField);
    }
    if (message == Msg.PUT_RESOURCE_GROUP && !hasGroupSettings(level.start, end))
      return fail(Status.GROUP_SETTINGS, message, 0);
    if (flags & Flag.REQUIRED_LIST && !level.listed) return fail(Status.RANGES_MISSING, message, startField);
    if (flags & Flag.ACTS_ALWAYS || (flags & Flag.ACTS_WITHOUT_KEYS && !level.keyed)) {
      const status = actsOnRegion();
      if (status != Status.OK) return fail(status, message, 0);
    }
    if (
      flags & Flag.CONTEXT &&
      !namesRegion &&
      patchCount == level.firstPatch &&
      end != level.start &&
      !hasSeen(seen, level.seenHigh, startField) &&
      !hasSeen(seen, level.seenHigh, endField) &&
      seen != 0
    )
      rememberContext(level.start, end - level.start);
    if (flags & Flag.CONTEXT && apiVersion() != 0) {
      if (!hasSeen(seen, level.seenHigh, startField)) replaceScalar(startField << 3, end, end, apiVersion());
      if (endField != 0 && !hasSeen(seen, level.seenHigh, endField))
        replaceScalar(endField << 3, end, end, keyspaceId());
    }
    if (flags & Flag.HAS_CONTEXT && !(seen & 2) && apiVersion() != 0) insertContext(end);
    if (message == Msg.CHECKSUM_REQUEST && !hasSeen(seen, level.seenHigh, CHECKSUM_RULE))
      appendChecksumRule(end);
    if (noteCount > 0 && flags & Flag.BATCH) {
      const status = rememberNotes(exchange, level, end);
      if (status != Status.OK) return fail(status, message, 0);
    }
  }
  return Status.OK;
}

/** True for a request's context that is known to hold nothing to change. */
function isUnchanged(message: u32, p: usize, length: usize): bool {
  return message == Msg.CONTEXT && !namesRegion && apiVersion() == 0 && isKnownContext(p, length);
}

/** @inline */
function hasSeen(seen: u64, seenHigh: u64, field: u32): bool {
  return (((field < 64 ? seen : seenHigh) >> (field & 63)) & 1) != 0;
}

/** A request without a context gets one that says the key space's API version. */
function insertContext(end: usize): void {
  const context = recordOf(Msg.CONTEXT);
  const at = alloc(32);
  let to = writeVarint(writeVarint(at, startFieldOf(context) << 3), apiVersion());
  to = writeVarint(writeVarint(to, endFieldOf(context) << 3), keyspaceId());
  replaceField(CONTEXT_TAG, end, end, at, to - at);
}

/** One request of a batch. Refused, it goes on as an empty one, and its answer will say why. */
function batchRequest(entry: u32, at: usize, lengthAt: usize, value: usize, end: usize, depth: i32): Status {
  const before = patchCount;
  const status = nested(entry >> 16, entry, at, lengthAt, value, end, depth);
  if (status == Status.OK) return status;
  const command = commandOf(value, end);
  if (!isRefusable(status, command)) return status;
  truncatePatches(before);
  noteRefusal(command, status);
  buildEmptyRequest();
  replace(at, end, builtAt, builtLength);
  return Status.OK;
}

/** One response of a batch, with what its request left for it. */
function batchResponse(
  id: u64,
  entry: u32,
  at: usize,
  lengthAt: usize,
  value: usize,
  end: usize,
  depth: i32,
): Status {
  const pending = pendingIndex(exchange, id);
  if (pending < 0) return nested(entry >> 16, entry, at, lengthAt, value, end, depth);
  const refusal = pendingRefusal(exchange, pending);
  let status = Status.OK;
  if (refusal != 0) {
    buildRefusal(refusal);
    replace(at, end, builtAt, builtLength);
  } else {
    useAnswerColumns(pendingColumns(exchange, pending));
    status = nested(entry >> 16, entry, at, lengthAt, value, end, depth);
    useAnswerColumns(0);
  }
  forget(exchange, pending);
  return status;
}

/**
 * Walks a submessage whose field, with this entry, spans [at, end), and fixes its length. DROP: the whole of its parent must go as well.
 */
function nested(
  message: u32,
  entry: u32,
  at: usize,
  lengthAt: usize,
  value: usize,
  end: usize,
  depth: i32,
): Status {
  const slot = patchCount;
  const before = grown;
  reservePatch(lengthAt);
  // Of lists there are many alike.
  const status =
    entry & REPEATED ? walkToLearn(message, value, end, depth + 1) : walk(message, value, end, depth + 1);
  if (status == Status.DROP) {
    if (entry & ESSENTIAL) return status;
    truncatePatches(slot);
    remove(at, end);
    return Status.OK;
  }
  if (status != Status.OK) return status;
  if (patchCount == slot + 1) {
    unreservePatch();
    return status;
  }
  if (grown == before) return status;
  const size = alloc(8);
  const sizeBytes = writeVarint(size, end - value + (grown - before)) - size;
  setPatch(slot, value, size, sizeBytes);
  return status;
}

/** Walks a message, and learns its layout where nothing is known of its like: what is in it is not learned, too. */
function walkToLearn(message: u32, p: usize, end: usize, depth: i32): Status {
  if (learns || !wouldLearn(message, p, end - p)) return walk(message, p, end, depth);
  const firstPatch = patchCount;
  const before = grown;
  learns = true;
  const status = walk(message, p, end, depth);
  learns = false;
  if (status == Status.OK) learnLayout(message, p, end - p, firstPatch, grown - before);
  return status;
}

/** True where all is known from a layout: not of commands that are refused, what was asked for, and how deep it lies. */
function mayFollow(message: u32, level: Level, depth: i32): bool {
  if (depth >= MAX_DEPTH - MAX_NESTING) return false;
  if (message == Msg.BATCH_REQUEST) return !refusesCommands();
  return message != Msg.BATCH_RESPONSE || level.idsAt == 0;
}

/** A coprocessor request's plan: what its answer must know is kept, what names a table or a key is mapped. */
function plan(type: u64, at: usize, lengthAt: usize, value: usize, end: usize, depth: i32): Status {
  if (type == COP_CHECKSUM) return nested(Msg.CHECKSUM_REQUEST, 0, at, lengthAt, value, end, depth);
  if (type != COP_DAG || !mapsTableIds()) return Status.OK;
  const status = findPartitionId(value, end - value);
  if (status != Status.OK) return fail(status, Msg.COPROCESSOR_REQUEST, 0);
  if (columnsAt != 0) {
    if (batchIndex >= 0) noteColumns(columnsAt, columnsLength);
    else if (!remember(exchange, 0, 0, columnsAt, columnsLength))
      return fail(Status.TOO_MANY_PENDING, Msg.COPROCESSOR_REQUEST, 0);
  }
  return nested(Msg.DAG_REQUEST, 0, at, lengthAt, value, end, depth);
}
