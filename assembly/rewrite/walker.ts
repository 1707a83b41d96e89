/**
 * Rewrites one protobuf message by the schema's table: steps over the wire bytes, skips what carries no key, patches keys of equal
 * length where they lie and records a patch for everything else. It has one reading of a message only; what has two is refused.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
import {
  decodeLease,
  decodeName,
  encodeLease,
  encodeName,
  encodeNameEnd,
  isClientLease,
  namedAt,
  namedLength,
} from '../keys/namespace';
import {
  Bound,
  Mapped,
  decodeEncoded,
  decodeEnd,
  decodeKey,
  decodeStart,
  encodeEncoded,
  encodeKey,
  encodeLower,
  encodeUpper,
  mappedAt,
  mappedLength,
  tenantNumber,
} from '../keys/space';
import { isPlainText } from '../keys/text';
import { alloc } from '../memory/arena';
import { endFieldOf, entryOf, flagsOf, recordOf, startFieldOf } from '../schema/messages';
import { Role } from '../schema/table';
import { Status } from '../wire/status';
import { readVarint, varintEnd, varintSize, writeVarint } from '../wire/varint';
import { Exchange, forget, pendingColumns, pendingIndex, remember } from './exchange';
import { columnsAt, columnsLength, findPartitionId, stripPartitionIds } from './partition-id';
import { addPatch, clearPatches, patchCount, setPatch, truncatePatches } from './patches';
import {
  insideResourceGroups,
  isConfigPath,
  isGcWorker,
  isSegment,
  RESERVED_SERVICE,
  WITHHELD,
} from './names';

export const enum Direction {
  REQUEST,
  RESPONSE,
}

/** Deepest nesting; upstream's deepest message has 9 levels. */
export const MAX_DEPTH: i32 = 32;

/** Changes to one message: empty ranges take two bytes on the wire, and a hundred each while they are rewritten. */
export const MAX_PATCHES: u32 = 1 << 20;

/** Coprocessor request type of a plan with executors (tipb DAG). */
const COP_DAG: u64 = 103;
/** A BatchCommands sub-request that asks for nothing: field 255, empty. */
const EMPTY_REQUEST: u32 = 0x000ffa;
const EMPTY_REQUEST_BYTES: usize = 3;
/** BatchCommandsRequest.requests and BatchCommandsResponse.responses; and both messages' request_ids. */
const BATCH_MESSAGES: u32 = 1;
const BATCH_IDS_FIELD: u32 = 2;
/** Room for a tag and a length in front of a field's new bytes. */
const HEADER_BYTES: usize = 10;

const enum Kind {
  UNKNOWN = 0,
  VARINT = 1,
  FIXED64 = 2,
  BYTES = 3,
  MESSAGE = 4,
  FIXED32 = 5,
}

const enum Flag {
  RANGE = 1,
  ENCODED_RANGE = 2,
  BATCH_IDS = 8,
  LEASE_GRANT = 16,
  NAME_RANGE = 128,
  RESOURCE_PATH = 256,
  EXACT_KEY = 512,
  SAFE_POINT_OUT = 1024,
}

const REPEATED: u32 = 1 << 11;
const ESSENTIAL: u32 = 1 << 12;
const PACKABLE: u32 = 1 << 14;

let direction: Direction = Direction.REQUEST;
let exchange: Exchange = changetype<Exchange>(0);
/** Random bits for lease ids that a client leaves to etcd; 48 bits, set before each request. */
let leaseSeed: u64 = 0;

/** Bytes by which the message that was walked last grows. */
let growth: i32 = 0;
/** True when bytes were patched where they lie. */
export let touched: bool = false;

/** The message and field at which a refusal happened, for its text. */
export let failedMessage: u32 = 0;
export let failedField: u32 = 0;

/** Index in BatchCommands' list of the sub-request being walked; -1 outside of a batch. */
let batchIndex: i32 = -1;
/** Column layouts found in this batch: index:u32 | columns:u32 | length:u32, in the arena. */
let batchFound: usize = 0;
let batchFoundCount: u32 = 0;
let batchFoundCapacity: u32 = 0;
/** Layout for the answer being walked; 0 when its request did not ask for `_tidb_tid`. */
let answerColumns: usize = 0;

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
  direction = way;
  clearPatches();
  touched = false;
  growth = 0;
  batchIndex = -1;
  batchFoundCount = 0;
  answerColumns = 0;
  if (way == Direction.RESPONSE && exchange.count > 0 && !(flagsOf(recordOf(message)) & Flag.BATCH_IDS))
    answerColumns = pendingColumns(exchange, 0);
  const status = walk(message, p, p + length, 0);
  if (status == Status.DROP) {
    // The whole answer lies outside: what is left of it is an empty message.
    truncatePatches(0);
    if (length != 0) addPatch(p, p + length, 0, 0);
    newLength = 0;
    return Status.OK;
  }
  newLength = length + growth;
  return status;
}

function fail(status: Status, message: u32, field: u32): Status {
  failedMessage = message;
  failedField = field;
  return status;
}

function walk(message: u32, p: usize, end: usize, depth: i32): Status {
  if (depth > MAX_DEPTH) return fail(Status.TOO_DEEP, message, 0);
  const self = recordOf(message);
  const flags = flagsOf(self);
  const startField = startFieldOf(self);
  const endField = endFieldOf(self);
  const firstPatch = patchCount;

  let total: i32 = 0;
  let seen: u64 = 0;
  let seenHigh: u64 = 0;
  let startAt: usize = 0;
  let startTo: usize = 0;
  let startBytes: usize = 0;
  let endAt: usize = 0;
  let endTo: usize = 0;
  let endBytes: usize = 0;
  let reverse = false;
  let copType: u64 = 0;
  let dagAt: usize = 0;
  let dagLength: usize = 0;
  let idsAt: usize = 0;
  let idsEnd: usize = 0;
  let index: i32 = 0;

  if (flags & Flag.BATCH_IDS && direction == Direction.RESPONSE && exchange.count > 0) {
    idsAt = findPacked(p, end, BATCH_IDS_FIELD);
    if (idsAt != 0) idsEnd = packedEnd;
  }

  while (p < end) {
    if (patchCount > MAX_PATCHES) return fail(Status.TOO_MANY_CHANGES, message, 0);
    const at = p;
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
        if (seenHigh & bit) return fail(Status.DUPLICATE, message, field);
        seenHigh |= bit;
      }
    }

    if (wire == 0) {
      const value = readVarint(p, end);
      if (varintEnd == 0) return fail(Status.MALFORMED, message, field);
      const valueAt = p;
      p = varintEnd;
      if (kind == Kind.UNKNOWN) continue;
      if (kind != Kind.VARINT) return fail(Status.MALFORMED, message, field);
      const role = entry & 0xff;
      if (role == Role.ROLE_UNSPECIFIED) continue;
      if (role == Role.REVERSE) reverse = value != 0;
      else if (role == Role.COP_TYPE) copType = value;
      else if (role == Role.BATCH_IDS) return fail(Status.MALFORMED, message, field);
      else {
        const status = scalar(role, at, valueAt, p, value);
        if (status != Status.OK) return fail(status, message, field);
        total += growth;
      }
      continue;
    }

    if (wire == 2) {
      const size = readVarint(p, end);
      const lengthAt = p;
      p = varintEnd;
      if (p == 0 || size > <u64>(end - p)) return fail(Status.MALFORMED, message, field);
      const value = p;
      const length = <usize>size;
      p += length;
      if (kind == Kind.MESSAGE) {
        const role = entry & 0xff;
        if (role != Role.ROLE_UNSPECIFIED && (role == Role.DROP || role == Role.EMPTIED)) {
          const kept = role == Role.EMPTIED && direction == Direction.REQUEST;
          total += replaceWhole(at, p, kept);
          continue;
        }
        if (flags & Flag.BATCH_IDS && field == BATCH_MESSAGES) {
          batchIndex = index++;
          if (idsAt != 0) {
            const id = readVarint(idsAt, idsEnd);
            if (varintEnd == 0) return fail(Status.MALFORMED, message, field);
            idsAt = varintEnd == idsEnd ? 0 : varintEnd;
            const pending = pendingIndex(exchange, id);
            answerColumns = pending < 0 ? 0 : pendingColumns(exchange, pending);
            const status = nested(entry, at, lengthAt, value, p, depth);
            if (pending >= 0) forget(exchange, pending);
            answerColumns = 0;
            if (status != Status.OK) return status;
            total += growth;
            continue;
          }
        }
        const status = nested(entry, at, lengthAt, value, p, depth);
        if (status == Status.DROP) {
          truncatePatches(firstPatch);
          return status;
        }
        if (status != Status.OK) return status;
        total += growth;
        continue;
      }
      if (kind == Kind.BYTES) {
        const role = entry & 0xff;
        if (role == Role.OPAQUE) continue;
        switch (role) {
          case Role.RANGE_START:
          case Role.ENC_START:
            startAt = at;
            startBytes = value;
            startTo = p;
            continue;
          case Role.RANGE_END:
          case Role.ENC_END:
            endAt = at;
            endBytes = value;
            endTo = p;
            continue;
          case Role.DAG:
            dagAt = value;
            dagLength = length;
            continue;
        }
        const status = bytes(role, tag, at, value, length, p);
        if (status == Status.DROP) {
          truncatePatches(firstPatch);
          return status;
        }
        if (status != Status.OK) return fail(status, message, field);
        total += growth;
        continue;
      }
      if (kind == Kind.UNKNOWN) {
        if (direction == Direction.REQUEST) return fail(Status.UNKNOWN_FIELD, message, field);
        addPatch(at, p, 0, 0);
        total -= <i32>(p - at);
        continue;
      }
      if (!(entry & PACKABLE)) return fail(Status.MALFORMED, message, field);
      if ((entry & 0xff) == Role.BATCH_IDS && direction == Direction.REQUEST) {
        idsAt = value;
        idsEnd = p;
      }
      continue;
    }

    if (wire == 1 || wire == 5) {
      const size: usize = wire == 1 ? 8 : 4;
      if (size > end - p || (kind != Kind.UNKNOWN && kind != (wire == 1 ? Kind.FIXED64 : Kind.FIXED32)))
        return fail(Status.MALFORMED, message, field);
      p += size;
      continue;
    }
    return fail(wire == 3 || wire == 4 ? Status.GROUP : Status.MALFORMED, message, field);
  }

  if (flags & (Flag.RANGE | Flag.ENCODED_RANGE)) {
    const encoded = (flags & Flag.ENCODED_RANGE) != 0;
    let status = Status.OK;
    if (startField != 0) {
      status = bound(
        encoded,
        !reverse,
        startField,
        startAt == 0 ? end : startAt,
        startBytes,
        startAt == 0 ? end : startTo,
      );
      if (status == Status.OK) total += growth;
    }
    if (status == Status.OK && endField != 0) {
      status = bound(
        encoded,
        reverse,
        endField,
        endAt == 0 ? end : endAt,
        endBytes,
        endAt == 0 ? end : endTo,
      );
      if (status == Status.OK) total += growth;
    }
    if (status == Status.DROP) {
      truncatePatches(firstPatch);
      return status;
    }
    if (status != Status.OK) return fail(status, message, startField);
  }
  if (flags & Flag.SAFE_POINT_OUT && direction == Direction.RESPONSE && !(seen & ((<u64>1) << startField)))
    total += replaceScalar(startField << 3, end, end, exchange.remembered);
  if (direction == Direction.REQUEST) {
    if (flags & (Flag.NAME_RANGE | Flag.RESOURCE_PATH | Flag.LEASE_GRANT | Flag.EXACT_KEY)) {
      const absent = !(seen & ((<u64>1) << startField));
      // Absent, an exact key would be the store's empty key, and a path the whole of the meta storage.
      if (absent && flags & Flag.EXACT_KEY) return fail(Status.KEY_OUTSIDE, message, startField);
      if (absent && flags & Flag.RESOURCE_PATH) return fail(Status.NAME_OUTSIDE, message, startField);
      // An absent name means everything from the first one on.
      if (absent && flags & Flag.NAME_RANGE) {
        encodeName(0, 0);
        total += replaceField((startField << 3) | 2, end, end, namedAt, namedLength);
      }
      // LeaseGrantRequest.ID is field 2.
      if (flags & Flag.LEASE_GRANT && !(seen & 4))
        total += replaceScalar(2 << 3, end, end, encodeLease(leaseSeed));
    }
    if (dagAt != 0 && copType == COP_DAG) {
      const status = plan(dagAt, dagLength);
      if (status != Status.OK) return fail(status, message, 0);
    }
    if (batchFoundCount > 0 && flags & Flag.BATCH_IDS) {
      const status = rememberBatch(idsAt, idsEnd);
      if (status != Status.OK) return fail(status, message, 0);
    }
  }
  growth = total;
  return Status.OK;
}

/** Walks a submessage whose field spans [at, end) and fixes its length. DROP: the whole of its parent must go as well. */
function nested(entry: u32, at: usize, lengthAt: usize, value: usize, end: usize, depth: i32): Status {
  const slot = patchCount;
  addPatch(lengthAt, lengthAt, 0, 0);
  const status = walk(entry >> 16, value, end, depth + 1);
  if (status == Status.DROP) {
    if (entry & ESSENTIAL) return status;
    truncatePatches(slot);
    addPatch(at, end, 0, 0);
    growth = -(<i32>(end - at));
    return Status.OK;
  }
  if (status != Status.OK) return status;
  if (patchCount == slot + 1) {
    truncatePatches(slot);
    return status;
  }
  if (growth == 0) return status;
  const length = <u64>(end - value + growth);
  const size = alloc(8);
  const sizeBytes = writeVarint(size, length) - size;
  setPatch(slot, value, size, sizeBytes);
  growth += <i32>(sizeBytes - (value - lengthAt));
  return status;
}

/** Removes the field [at, end), or turns it into an empty sub-request. */
function replaceWhole(at: usize, end: usize, emptied: bool): i32 {
  if (!emptied) {
    addPatch(at, end, 0, 0);
    return -(<i32>(end - at));
  }
  const empty = alloc(8);
  store<u32>(empty, EMPTY_REQUEST);
  addPatch(at, end, empty, EMPTY_REQUEST_BYTES);
  return <i32>(EMPTY_REQUEST_BYTES - (end - at));
}

/** Replaces the field [at, end), which may be empty (an insertion), by tag, length and the given bytes. Gives the growth. */
function replaceField(tag: u32, at: usize, end: usize, value: usize, length: usize): i32 {
  const field = alloc(HEADER_BYTES + length);
  let to = writeVarint(writeVarint(field, tag), length);
  memory.copy(to, value, length);
  to += length;
  addPatch(at, end, field, to - field);
  return <i32>(to - field) - <i32>(end - at);
}

/** The same for a varint field. */
function replaceScalar(tag: u32, at: usize, end: usize, value: u64): i32 {
  const field = alloc(24);
  const to = writeVarint(writeVarint(field, tag), value);
  addPatch(at, end, field, to - field);
  return <i32>(to - field) - <i32>(end - at);
}

/** Puts what a mapping did into the message; leaves the growth in `growth`. */
function settle(mapped: Mapped, tag: u32, at: usize, end: usize): Status {
  growth = 0;
  if (mapped == Mapped.IN_PLACE) touched = true;
  else if (mapped == Mapped.REPLACED) growth = replaceField(tag, at, end, mappedAt, mappedLength);
  else if (mapped == Mapped.BROKEN) return Status.MALFORMED;
  return Status.OK;
}

/** One bound of a range; `value` is where the field's bytes begin, [at, end) the field, both at the message's end when absent. */
function bound(encoded: bool, lower: bool, field: u32, at: usize, value: usize, end: usize): Status {
  const length = at == end ? 0 : end - value;
  let mapped: Mapped;
  if (direction == Direction.REQUEST) {
    if (encoded) mapped = encodeEncoded(value, length, lower ? Bound.LOWER : Bound.UPPER);
    else mapped = lower ? encodeLower(value, length) : encodeUpper(value, length);
  } else {
    if (encoded) mapped = decodeEncoded(value, length, lower ? Bound.LOWER : Bound.UPPER);
    else mapped = lower ? decodeStart(value, length) : decodeEnd(value, length);
    if (mapped == Mapped.OUTSIDE) return Status.DROP;
  }
  return settle(mapped, (field << 3) | 2, at, end);
}

/** A bytes or string field with a role. [at, end) is the whole field. */
function bytes(role: u32, tag: u32, at: usize, value: usize, length: usize, end: usize): Status {
  growth = 0;
  const request = direction == Direction.REQUEST;
  switch (role) {
    case Role.NAME:
    case Role.HOST:
      return Status.OK;
    case Role.KEY_OR_NONE:
      if (length == 0) return Status.OK;
    // fall through
    case Role.KEY:
    case Role.KEY_DROP:
      if (request) {
        const mapped = encodeKey(value, length);
        return mapped == Mapped.OUTSIDE ? Status.KEY_OUTSIDE : settle(mapped, tag, at, end);
      }
      return decoded(decodeKey(value, length), role == Role.KEY_DROP, tag, at, end, length);
    case Role.ENC_KEY:
      if (request) {
        const mapped = encodeEncoded(value, length, Bound.KEY);
        return mapped == Mapped.OUTSIDE ? Status.KEY_OUTSIDE : settle(mapped, tag, at, end);
      }
      return decoded(decodeEncoded(value, length, Bound.KEY), false, tag, at, end, length);
    case Role.DROP:
      growth = replaceWhole(at, end, false);
      return Status.OK;
    case Role.TEXT:
      if (!request && !isPlainText(value, length))
        growth = replaceField(tag, at, end, changetype<usize>(WITHHELD), WITHHELD.length);
      return Status.OK;
    case Role.SELECT:
      if (request || answerColumns == 0) return Status.OK;
      touched = true;
      return stripPartitionIds(value, length, answerColumns, tenantNumber());
    case Role.ETCD_KEY:
      if (request) encodeName(value, length);
      else if (decodeName(value, length) == Mapped.OUTSIDE) return Status.DROP;
      growth = replaceField(tag, at, end, namedAt, namedLength);
      return Status.OK;
    case Role.ETCD_END:
      if (encodeNameEnd(value, length) == Mapped.REPLACED)
        growth = replaceField(tag, at, end, namedAt, namedLength);
      return Status.OK;
    case Role.SERVICE_ID:
      if (!request) return Status.OK;
      if (!isGcWorker(value, length)) return Status.SERVICE_ID;
      growth = replaceField(tag, at, end, changetype<usize>(RESERVED_SERVICE), RESERVED_SERVICE.length);
      return Status.OK;
    case Role.RESOURCE_PATH:
      return insideResourceGroups(value, length) ? Status.OK : Status.NAME_OUTSIDE;
    case Role.SEGMENT:
      return !request || isSegment(value, length) ? Status.OK : Status.NAME_OUTSIDE;
    case Role.CONFIG_PATH:
      return !request || isConfigPath(value, length) ? Status.OK : Status.NAME_OUTSIDE;
    default:
      // A role that the walker does not know must never pass.
      return Status.MALFORMED;
  }
}

/** An exact key of an answer. Another tenant's is blanked, or takes its message with it. */
function decoded(mapped: Mapped, drops: bool, tag: u32, at: usize, end: usize, length: usize): Status {
  if (mapped != Mapped.OUTSIDE) return settle(mapped, tag, at, end);
  if (drops) return Status.DROP;
  growth = length == 0 ? 0 : replaceField(tag, at, end, 0, 0);
  return Status.OK;
}

/** A varint field with a role. [at, end) is the whole field, the value begins at `valueAt`. */
function scalar(role: u32, at: usize, valueAt: usize, end: usize, value: u64): Status {
  growth = 0;
  const request = direction == Direction.REQUEST;
  let result = value;
  switch (role) {
    case Role.LEASE_ID:
    case Role.LEASE_GRANT_ID:
      if (!request) result = decodeLease(value);
      else if (!isClientLease(value)) return Status.NAME_OUTSIDE;
      else result = encodeLease(value == 0 && role == Role.LEASE_GRANT_ID ? leaseSeed : value);
      break;
    case Role.API_VERSION:
    case Role.KEYSPACE_ID:
    case Role.SERVICE_TTL:
      if (request) result = 0;
      break;
    case Role.SAFE_POINT_IN:
      if (!request) break;
      exchange.remembered = value;
      result = 0;
      break;
    case Role.SAFE_POINT_OUT:
      if (!request) result = exchange.remembered;
      break;
    case Role.SAFE_POINT_MIN:
      if (!request) result = min<u64>(exchange.remembered, value);
      break;
    case Role.OPAQUE:
    case Role.NAME:
      break;
    default:
      return Status.MALFORMED;
  }
  if (result == value) return Status.OK;
  const to = alloc(16);
  const size = writeVarint(to, result) - to;
  addPatch(valueAt, end, to, size);
  growth = <i32>size - <i32>(end - valueAt);
  return Status.OK;
}

/** Keeps what the answer to this coprocessor request must know. */
function plan(at: usize, length: usize): Status {
  const status = findPartitionId(at, length);
  if (status != Status.OK || columnsAt == 0) return status;
  if (batchIndex < 0)
    return remember(exchange, 0, columnsAt, columnsLength) ? Status.OK : Status.TOO_MANY_PENDING;
  if (batchFoundCount == batchFoundCapacity || batchFoundCount == 0) {
    // The arena forgot the list of the batch before.
    const capacity = batchFoundCount == 0 ? 16 : batchFoundCapacity * 2;
    const list = alloc(capacity * 12);
    memory.copy(list, batchFound, batchFoundCount * 12);
    batchFound = list;
    batchFoundCapacity = capacity;
  }
  const entry = batchFound + batchFoundCount++ * 12;
  const columns = alloc(columnsLength);
  memory.copy(columns, columnsAt, columnsLength);
  store<u32>(entry, batchIndex);
  store<usize>(entry, columns, 4);
  store<usize>(entry, columnsLength, 8);
  return Status.OK;
}

/** Joins the layouts of a batch with the request ids, which come behind the requests on the wire. */
function rememberBatch(ids: usize, idsEnd: usize): Status {
  let position: i32 = 0;
  for (let i: u32 = 0; i < batchFoundCount; i++) {
    const entry = batchFound + i * 12;
    const wanted = load<i32>(entry);
    let id: u64 = 0;
    while (position <= wanted) {
      id = readVarint(ids, idsEnd);
      if (ids == 0 || varintEnd == 0) return Status.MALFORMED;
      ids = varintEnd;
      position++;
    }
    if (!remember(exchange, id, load<usize>(entry, 4), load<usize>(entry, 8))) return Status.TOO_MANY_PENDING;
  }
  return Status.OK;
}

/** Where the packed field found last ends. */
let packedEnd: usize = 0;

/** Where the bytes of the packed field `wanted` begin; 0 when absent or malformed (the walk itself will say so). */
function findPacked(p: usize, end: usize, wanted: u32): usize {
  while (p < end) {
    const tag = readVarint(p, end);
    if (varintEnd == 0) return 0;
    p = varintEnd;
    const wire = (<u32>tag) & 7;
    const value = readVarint(p, end);
    if (wire == 0) {
      if (varintEnd == 0) return 0;
      p = varintEnd;
      continue;
    }
    if (wire != 2 || varintEnd == 0 || value > <u64>(end - varintEnd)) return 0;
    p = varintEnd + <usize>value;
    if (tag >> 3 == wanted) {
      packedEnd = p;
      return varintEnd;
    }
  }
  return 0;
}
