/**
 * Rewrites one protobuf message by the wire tables. Steps over the wire bytes and skips what carries no key. Patches keys of equal length
 * in place, and records a patch for every other change. A message must have only one reading: an ambiguous one is refused.
 *
 * The loop reads a field's tag and extent and calls the handler of its kind. The message's flags say what to do before the first field and
 * after the last one: see beginnings.ts and endings/.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
import { apiVersion, ownsTheRest } from '../keys/space';
import { alloc, isOverspent } from '../memory/arena';
import {
  ANY_BEGINNING,
  ANY_NUMBER,
  Entry,
  Flag,
  Kind,
  endFieldOf,
  entryOf,
  flagsOf,
  kindIn,
  messageIn,
  recordOf,
  roleIn,
} from '../schema/messages';
import { Msg, Role } from '../schema/table';
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint, varintSize, writeVarint } from '../wire/varint';
import * as batch from './batch';
import { BATCH_MESSAGES } from './batch';
import * as batchIds from './batch-ids';
import { BATCH_IDS } from './batch-ids';
import { beginRequest } from './beginnings';
import * as current from './current';
import { Direction, fail, forgetFailure, useAnswerColumns, useDirection } from './current';
import { remove, replace, setTouched } from './edits';
import { CONTEXT_FIELD } from './endings/additions';
import { endMessage, endsPlainly } from './endings/endings';
import { endNumbers } from './endings/numbers';
import { forget, isRefusal, pendingColumns, pendingIndex, pendingRefusal, sawAnswer } from './exchange';
import { findField } from './find';
import * as find from './find';
import * as fastPath from './fast-path/fast-path';
import { sawId, sawIds } from './latency';
import { Level, MAX_DEPTH, levelAt } from './level';
import * as patches from './patches';
import { addPatch, clearPatches, reservePatch, setPatch, truncatePatches, unreservePatch } from './patches';
import { keepColumns, planMessage } from './plans';
import * as regions from './regions';
import { GROUP_KEY_FIELD, GROUP_MESSAGE, isGroupKey } from './resource-groups';
import { learnShown } from './shown-regions';
import { bounded, bytes, fixed, listed, packed, scalar } from './values';

/** Maximum of changes to one message. An empty range takes two bytes on the wire, and a hundred while it is rewritten. */
export const MAX_PATCHES: u32 = 1 << 20;

/** Maximum of fields in one message, with all its submessages. */
export const MAX_FIELDS: u32 = 1 << 24;

/** Wire types. */
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/** Kind and role in the entry of a field of bytes that is not read. */
const KIND_AND_ROLE: u32 = (Entry.KIND_MASK << Entry.KIND_SHIFT) | Entry.ROLE_MASK;
const OPAQUE_BYTES: u32 = (Kind.BYTES << Entry.KIND_SHIFT) | Role.OPAQUE;
/** The same of a message that is read. */
const READ_MESSAGE: u32 = (Kind.MESSAGE << Entry.KIND_SHIFT) | Role.ROLE_UNSPECIFIED;

/** The header of PD's answers. */
const HEADER: u32 = 1;

/** True while only numbers are judged: tenant 0's other fields pass unread. */
let keepsKeys = false;
/** True while a message is walked to be learned: its submessages are walked, not followed. */
let learns = false;
/** Number of fields walked so far. */
let fieldCount: u32 = 0;

/** Length of the message after `rewrite` returned OK. Equal to the old length when the message was only `touched`. */
export let newLength: usize = 0;

/**
 * Walks the message of `length` bytes at `p`. On OK, `newLength`, `patchCount` and `touched` say what changed, and `applyPatches` builds
 * the result. On any other status, the bytes must not be forwarded.
 */
export function rewrite(message: u32, p: usize, length: usize, way: Direction): Status {
  useDirection(way);
  clearPatches();
  batch.beginBatch();
  setTouched(false);
  fieldCount = 0;
  if (way == Direction.RESPONSE && current.exchange.count > 0 && !(flagsOf(recordOf(message)) & Flag.BATCH))
    useAnswerColumns(pendingColumns(current.exchange, 0));
  if (regions.isLearning && way == Direction.RESPONSE) learnShown(message, p, length);
  fastPath.begin();
  keepsKeys = false;
  let status = Status.OK;
  if (!fastPath.followAlone(message, p, length)) {
    status = walkToLearn(message, p, p + length, 0);
    if (status == Status.DROP) status = keepHeader(message, p, p + length);
  }
  newLength = length + patches.grown;
  return status;
}

/** Leaves an answer that lies outside without its fields, but for the header of PD's answers: it may hold an error. */
function keepHeader(message: u32, p: usize, end: usize): Status {
  truncatePatches(0);
  const entry = entryOf(recordOf(message), HEADER);
  const hasHeader = kindIn(entry) == Kind.MESSAGE && messageIn(entry) == Msg.PD_HEADER;
  const value = hasHeader ? findField(p, end, HEADER) : 0;
  if (value == 0) {
    if (p != end) addPatch(p, end, 0, 0);
    return Status.OK;
  }
  const headerEnd = find.foundEnd;
  reservePatch(p);
  const status = walk(Msg.PD_HEADER, value, headerEnd, 1);
  if (status != Status.OK) return status;
  const begin = alloc(8);
  let to = writeVarint(begin, (HEADER << 3) | BYTES);
  to = writeVarint(to, headerEnd - value + patches.grown);
  setPatch(0, value, begin, to - begin);
  if (headerEnd != end) addPatch(headerEnd, end, 0, 0);
  return Status.OK;
}

/** Walks the message [p, end). DROP: the whole message must leave the answer, and the caller rolls back its changes. */
function walk(message: u32, p: usize, end: usize, depth: i32): Status {
  if (depth > MAX_DEPTH) return fail(Status.TOO_DEEP, message, 0);
  const self = recordOf(message);
  const flags = flagsOf(self);
  const level = levelAt(depth);
  level.begin(message, p, end, depth, patches.patchCount);
  if (flags & ANY_BEGINNING && !keepsKeys) {
    if (flags & Flag.OWNERS && ownsTheRest())
      return current.walksContexts || current.direction == Direction.REQUEST
        ? walkNumbers(message, p, end, depth)
        : Status.OK;
    if (current.direction == Direction.REQUEST) {
      const status = beginRequest(level, flags);
      if (status != Status.OK) return status;
      // When the request acts on its region, the context must be walked to read it.
      if (flags & Flag.CONTEXT && !current.namesRegion && fastPath.isKnownContext(p, end - p)) p = end;
    } else if (flags & Flag.BATCH && needsAnswers()) batchIds.beginIds(level);
  }

  let seen: u64 = 0;
  let fields: u32 = 0;
  while (p < end) {
    const at = p;
    fields++;
    let tag = <u32>load<u8>(p);
    if (tag < 0x80) p++;
    else {
      tag = wideTag(p, end);
      p = varint.readEnd;
    }
    const field = tag >> 3;
    if (field == 0) return fail(Status.MALFORMED, message, 0);
    const entry = entryOf(self, field);
    const kind = kindIn(entry);

    if (kind != Kind.UNKNOWN && !(entry & Entry.REPEATED)) {
      const bit = (<u64>1) << (field & 63);
      if ((field < 64 ? seen : level.seenHigh) & bit) return fail(Status.DUPLICATE, message, field);
      if (field < 64) seen |= bit;
      else level.seenHigh |= bit;
    }

    // Pass a field that is not read. Hand any other to its handler, with its extent.
    let status: Status;
    const valueAt = p;
    switch (tag & 7) {
      case VARINT: {
        let value: u64 = p < end ? <u64>load<u8>(p) : 0x80;
        if (value < 0x80) p++;
        else {
          value = readVarint(p, end);
          p = varint.readEnd;
          if (p == 0) return fail(Status.MALFORMED, message, field);
        }
        if (kind == Kind.UNKNOWN) {
          level.field.set(at, 0, valueAt, p);
          status = onUnknown(level, flags, field);
          break;
        }
        if (kind != Kind.VARINT) return fail(Status.MALFORMED, message, field);
        if (roleIn(entry) == Role.ROLE_UNSPECIFIED) continue;
        if (keepsKeys && !isAlwaysJudged(roleIn(entry))) continue;
        level.field.set(at, 0, valueAt, p);
        status = onNumber(level, entry, field, value);
        break;
      }
      case BYTES: {
        let size: u64 = p < end ? <u64>load<u8>(p) : 0x80;
        if (size < 0x80) p++;
        else {
          size = readVarint(p, end);
          p = varint.readEnd;
        }
        if (p == 0 || size > <u64>(end - p)) return fail(Status.MALFORMED, message, field);
        const value = p;
        p += <usize>size;
        if ((entry & KIND_AND_ROLE) == OPAQUE_BYTES) continue;
        if (keepsKeys && (entry & KIND_AND_ROLE) != READ_MESSAGE && kind != Kind.UNKNOWN) continue;
        level.field.set(at, valueAt, value, p);
        status = onLengthDelimited(level, flags, entry, tag);
        p = level.field.end;
        break;
      }
      case FIXED64:
      case FIXED32: {
        const isWide = (tag & 7) == FIXED64;
        const size: usize = isWide ? 8 : 4;
        const isRight = kind == Kind.UNKNOWN || kind == (isWide ? Kind.FIXED64 : Kind.FIXED32);
        if (size > end - p || !isRight) return fail(Status.MALFORMED, message, field);
        p += size;
        if (kind == Kind.UNKNOWN) {
          level.field.set(at, 0, valueAt, p);
          status = onUnknown(level, flags, field);
          break;
        }
        if (roleIn(entry) == Role.ROLE_UNSPECIFIED) continue;
        level.field.set(at, 0, valueAt, p);
        status = fixed(roleIn(entry), level.field);
        if (status != Status.OK) fail(status, message, field);
        break;
      }
      case START_GROUP:
      case END_GROUP:
        return fail(Status.GROUP, message, field);
      default:
        return fail(Status.MALFORMED, message, field);
    }
    if (status != Status.OK) return status;
    if (patches.patchCount > MAX_PATCHES || isOverspent()) return fail(Status.TOO_MANY_CHANGES, message, 0);
  }
  fieldCount += fields;
  if (fieldCount > MAX_FIELDS) return fail(Status.TOO_MANY_FIELDS, message, 0);
  if (keepsKeys)
    return flags & ANY_NUMBER && current.direction == Direction.REQUEST
      ? endNumbers(level, flags)
      : Status.OK;
  if (endsPlainly(flags, self, seen)) return Status.OK;
  level.seen = seen;
  return endMessage(level, flags);
}

/** Walks a message of tenant 0 that passes unread but for the versions of regions in it, and for numbers that the store cannot take. */
function walkNumbers(message: u32, p: usize, end: usize, depth: i32): Status {
  keepsKeys = true;
  const status = walk(message, p, end, depth);
  keepsKeys = false;
  return status;
}

/** True for roles of numbers that are judged where keys are kept. */
function isAlwaysJudged(role: u32): bool {
  return role >= Role.ONE_OF || (role == Role.REGION_VERSION && current.walksContexts);
}

/** True when answers of a batch are told apart by their ids. @inline */
function needsAnswers(): bool {
  return current.exchange.count > 0 || current.exchange.earlier > 0;
}

/** Reads a tag of several bytes, which end at `varint.readEnd`. 0 when it is no tag, or longer than it needs to be. */
function wideTag(p: usize, end: usize): u32 {
  const tag = readVarint(p, end);
  const isTag = varint.readEnd != 0 && tag <= 0xffffffff && varintSize(tag) == <i32>(varint.readEnd - p);
  return isTag ? <u32>tag : 0;
}

/** Handles a field that has a length, by its kind. The walk goes on at the end of `level.field`. */
function onLengthDelimited(level: Level, flags: u32, entry: u32, tag: u32): Status {
  switch (kindIn(entry)) {
    case Kind.MESSAGE:
      return onMessage(level, flags, entry, tag >> 3);
    case Kind.BYTES:
      return onBytes(level, flags, entry, tag);
    case Kind.UNKNOWN:
      return onUnknown(level, flags, tag >> 3);
    default:
      return onPacked(level, entry, tag);
  }
}

/** Handles a number in a field of its own. */
function onNumber(level: Level, entry: u32, field: u32, value: u64): Status {
  const role = roleIn(entry);
  if (role == Role.REVERSE) {
    // TiKV reads 32 bits of it: a larger number would have two meanings.
    if (value > 1) return fail(Status.VALUE_OUTSIDE, level.message, field);
    level.reverse = value != 0;
  } else if (role == Role.COP_TYPE) level.copType = value;
  else if (role == Role.BATCH_IDS) {
    if (current.isMeasured) sawId(value);
  } else if (role >= Role.ONE_OF && role <= Role.CAPPED) {
    const status = bounded(entry, level.field, value);
    if (status != Status.OK) return fail(status, level.message, field);
  } else {
    if (role == Role.FOR_UPDATE) level.pessimistic = value != 0;
    if (role == Role.TXN_START) {
      level.begun = value != 0;
      if (keepsKeys) return Status.OK;
    }
    const status =
      entry & Entry.REPEATED ? listed(role, level.field, value) : scalar(role, level.field, value);
    if (status != Status.OK) return fail(status, level.message, field);
  }
  return Status.OK;
}

/** Handles a piece of a list of numbers. */
function onPacked(level: Level, entry: u32, tag: u32): Status {
  if (!(entry & Entry.PACKABLE)) return fail(Status.MALFORMED, level.message, tag >> 3);
  const role = roleIn(entry);
  if (role == Role.ROLE_UNSPECIFIED) return Status.OK;
  if (role == Role.BATCH_IDS) {
    if (current.isMeasured) sawIds(level.field.bytes, level.field.end);
    return Status.OK;
  }
  const status = packed(role, tag, level.field);
  return status == Status.OK ? status : fail(status, level.message, tag >> 3);
}

/**
 * Handles a field that the schema does not know, of any wire type: removes it from an answer, refuses it in a request. Its meaning was never
 * judged: bytes may hold a key, and a number may be one on which the store stops.
 */
function onUnknown(level: Level, flags: u32, field: u32): Status {
  if (flags & Flag.LENIENT) return Status.OK;
  if (current.direction == Direction.REQUEST) return fail(Status.UNKNOWN_FIELD, level.message, field);
  if (keepsKeys) return Status.OK;
  remove(level.field.at, level.field.end);
  return Status.OK;
}

/** Handles bytes or a text. What must be judged together with other fields waits for the message's end. */
function onBytes(level: Level, flags: u32, entry: u32, tag: u32): Status {
  const role = roleIn(entry);
  switch (role) {
    case Role.RANGE_START:
    case Role.ENC_START:
    case Role.PLACE_START:
    case Role.RESOURCE_PATH:
      level.first.take(level.field);
      return Status.OK;
    case Role.RANGE_END:
    case Role.ENC_END:
    case Role.PLACE_END:
    case Role.ETCD_END:
    case Role.RESOURCE_END:
    case Role.ETCD_VALUE:
      level.last.take(level.field);
      return Status.OK;
    case Role.ETCD_READ_KEY:
    case Role.ETCD_KEY:
      level.reads = role == Role.ETCD_READ_KEY;
      level.first.take(level.field);
      if (flags & Flag.NAME_RANGE) return Status.OK;
      break;
    case Role.DAG:
      return current.direction == Direction.REQUEST ? plan(level) : Status.OK;
    case Role.RESOURCE_VALUE:
      return groupValue(level);
    case Role.KEY:
      level.keyed = true;
  }
  const status = bytes(role, tag, level.field);
  return status == Status.OK ? status : fail(status, level.message, tag >> 3);
}

/** Handles a submessage. Walks it, follows it with others of its list that are alike, or removes it unread. */
function onMessage(level: Level, flags: u32, entry: u32, field: u32): Status {
  const request = current.direction == Direction.REQUEST;
  if (request && flags & Flag.COMMAND) {
    // One request of a batch must hold one command: decoders take the last one, refusals the first.
    if (level.members++ > 0) return fail(Status.DUPLICATE, level.message, field);
    if (batch.refusesCommands()) {
      const refused = batch.refusalOfCommand(field);
      if (refused != Status.OK) return fail(refused, level.message, field);
    }
  }
  if (roleIn(entry) != Role.ROLE_UNSPECIFIED) return onUnread(level, roleIn(entry), field);
  const inBatch = flags & Flag.BATCH && field == BATCH_MESSAGES;
  const isListed = flags & Flag.REQUIRED_LIST && field == endFieldOf(recordOf(level.message));
  if (isListed) level.listed++;
  if (entry & Entry.REPEATED && !learns && mayFollow(level, flags)) {
    const run = fastPath.followRun(messageIn(entry), level.field, level.end);
    if (run > 0) {
      level.field.end = fastPath.runEnd;
      fieldCount += run - 1 + fastPath.runFields;
      if (isListed) level.listed += run - 1;
      if (inBatch) passCommands(level, run);
      return Status.OK;
    }
  }
  if (inBatch) {
    passCommands(level, 1);
    return request ? batchRequest(level, entry) : batchResponse(level, entry);
  }
  if (request && flags & Flag.HAS_CONTEXT && field == CONTEXT_FIELD && isUnchanged(level)) return Status.OK;
  return nested(level, messageIn(entry), entry);
}

/** Handles a message that is not read: removes it, or replaces it by something harmless. */
function onUnread(level: Level, role: u32, field: u32): Status {
  const span = level.field;
  if (current.direction == Direction.REQUEST) {
    if (role == Role.REFUSED) return fail(Status.NOT_FOR_TENANTS, level.message, field);
    if (role == Role.EMPTIED) {
      batch.buildEmptyCommand();
      replace(span.at, span.end, batch.builtAt, batch.builtLength);
      return Status.OK;
    }
  }
  // A role that the walker does not know must never pass.
  if (role != Role.DROP && role != Role.EMPTIED && role != Role.REFUSED)
    return fail(Status.MALFORMED, level.message, field);
  remove(span.at, span.end);
  return Status.OK;
}

/** True for a request's context that is known to need no change. */
function isUnchanged(level: Level): bool {
  return (
    !current.namesRegion &&
    apiVersion() == 0 &&
    fastPath.isKnownContext(level.field.bytes, level.field.length)
  );
}

/** Counts messages of a batch that pass, all with the command of the current field. */
function passCommands(level: Level, count: u32): void {
  batch.passInBatch(count);
  if (current.direction == Direction.REQUEST)
    batch.countCommands(batch.commandOf(level.field.bytes, level.field.end), count);
  current.exchange.outstanding += current.direction == Direction.REQUEST ? <i32>count : -(<i32>count);
}

/** Handles one request of a batch. A refused request is replaced by an empty one, and its answer will say why. */
function batchRequest(level: Level, entry: u32): Status {
  const before = patches.patchCount;
  const status = nested(level, messageIn(entry), entry);
  const field = level.field;
  if (status == Status.OK) {
    if (current.exchange.isTracked) batch.noteWrite(batch.commandOf(field.bytes, field.end));
    return status;
  }
  const command = batch.commandOf(field.bytes, field.end);
  if (!batch.isRefusable(status, command)) return status;
  truncatePatches(before);
  batch.noteRefusal(command, status);
  forgetFailure();
  batch.buildEmptyRequest();
  replace(field.at, field.end, batch.builtAt, batch.builtLength);
  return Status.OK;
}

/** Handles one response of a batch, with the note that its request left. */
function batchResponse(level: Level, entry: u32): Status {
  if (level.idsAt == 0) return nested(level, messageIn(entry), entry);
  if (!batchIds.nextId(level)) return fail(Status.MALFORMED, level.message, BATCH_IDS);
  const pending = pendingIndex(current.exchange, batchIds.givenId);
  if (pending < 0) {
    sawAnswer(current.exchange, batchIds.givenId);
    if (!needsAnswers()) batchIds.endIds(level);
    return nested(level, messageIn(entry), entry);
  }
  const refusal = pendingRefusal(current.exchange, pending);
  let status = Status.OK;
  if (isRefusal(refusal)) {
    batch.buildRefusal(refusal);
    replace(level.field.at, level.field.end, batch.builtAt, batch.builtLength);
  } else {
    if (refusal == 0) sawAnswer(current.exchange, batchIds.givenId);
    useAnswerColumns(pendingColumns(current.exchange, pending));
    status = nested(level, messageIn(entry), entry);
    useAnswerColumns(0);
  }
  forget(current.exchange, pending);
  if (!needsAnswers()) batchIds.endIds(level);
  return status;
}

/** Handles the value under a key of the meta storage. Without the key its owner is unknown. */
function groupValue(level: Level): Status {
  if (level.field.length == 0) return Status.OK;
  const key = find.findField(level.start, level.end, GROUP_KEY_FIELD);
  if (key == 0) return Status.DROP;
  return isGroupKey(key, find.foundEnd - key) ? nested(level, GROUP_MESSAGE, Entry.ESSENTIAL) : Status.OK;
}

/** Handles a coprocessor request's plan. */
function plan(level: Level): Status {
  const message = planMessage(level);
  if (message == 0) return Status.OK;
  const status = keepColumns(level);
  return status == Status.OK ? nested(level, message, 0) : status;
}

/**
 * Walks the message in the current field, and corrects its length. A DROP removes the field, or is returned when the parent must go too.
 */
function nested(level: Level, message: u32, entry: u32): Status {
  const field = level.field;
  const value = field.bytes;
  const end = field.end;
  const lengthAt = field.lengthAt;
  const slot = patches.patchCount;
  const before = patches.grown;
  reservePatch(lengthAt);
  // Lists hold many messages that are alike.
  const status =
    entry & Entry.REPEATED
      ? walkToLearn(message, value, end, level.depth + 1)
      : walk(message, value, end, level.depth + 1);
  if (status == Status.DROP) {
    truncatePatches(slot);
    if (entry & Entry.ESSENTIAL) return status;
    remove(field.at, end);
    return Status.OK;
  }
  if (status != Status.OK) return status;
  if (patches.patchCount == slot + 1) {
    unreservePatch();
    return status;
  }
  if (patches.grown == before) return status;
  const size = alloc(8);
  const sizeBytes = writeVarint(size, end - value + (patches.grown - before)) - size;
  setPatch(slot, value, size, sizeBytes);
  return status;
}

/** Walks a message. Learns its layout when no such message is known; its submessages are not learned then. */
function walkToLearn(message: u32, p: usize, end: usize, depth: i32): Status {
  if (learns || keepsKeys || !fastPath.wouldLearn(message, p, end - p)) return walk(message, p, end, depth);
  const firstPatch = patches.patchCount;
  const before = patches.grown;
  learns = true;
  const status = walk(message, p, end, depth);
  learns = false;
  if (status == Status.OK) fastPath.learn(message, p, end - p, firstPatch, patches.grown - before);
  return status;
}

/**
 * True when layouts tell everything. Not when a command may be refused, when an id of a batch is needed, or when the message lies too deep.
 */
function mayFollow(level: Level, flags: u32): bool {
  if (level.depth >= MAX_DEPTH - fastPath.nesting() || level.idsAt != 0 || keepsKeys) return false;
  return !(flags & Flag.BATCH && current.direction == Direction.REQUEST && batch.refusesCommands());
}
