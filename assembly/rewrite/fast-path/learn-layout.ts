/**
 * Learns the layout of a message that the walker has just let through. Reads it again with the same tables. Gives up at anything that may
 * differ between messages of that structure.
 */
import { Regular, isRegular, isTaggedInPlace, regularOf, regularTail, shortestRegular } from './regular';
import { mapsTableIds } from '../../keys/space';
import {
  ANY_NEED,
  Flag,
  Kind,
  endFieldOf,
  entryOf,
  errorClassIn,
  flagsOf,
  kindIn,
  limitAt,
  limitPlaceIn,
  messageIn,
  recordOf,
  roleIn,
  startFieldOf,
} from '../../schema/messages';
import { ErrorClass, Role } from '../../schema/table';
import * as varint from '../../wire/varint';
import { readVarint } from '../../wire/varint';
import * as contexts from './known-contexts';
import * as layouts from './known-layouts';
import {
  Check,
  EDIT_BYTES,
  LAYOUT_BYTES,
  LEAST_SAME,
  LONGEST,
  Layout,
  MAX_CHECKS,
  MAX_EDITS,
  MAX_NESTING,
  MAX_VECTORS,
  MOST_SAME,
  SHORTEST,
} from './layout';
import * as columns from '../../rows/output-columns';
import * as patches from '../patches';
import { patchAt } from '../patches';
import { namesTimestamp } from '../plans';
import * as current from '../current';
import { Direction } from '../current';

/** How many others must claim the place of a new layout before it is replaced: when it was learned, and when it could not be. */
const FIRST_TRUST: u32 = 4;
const HOPELESS_TRUST: u32 = 64;

/**
 * Flags that a learned message may have: what they ask for follows from the message's structure. Not Flag.REVERSIBLE: which bound is the lower
 * one depends on a value.
 */
const LEARNABLE: u32 =
  Flag.RANGE |
  Flag.ENCODED_RANGE |
  Flag.PLACES |
  Flag.EXACT_KEY |
  ANY_NEED |
  Flag.LENIENT |
  Flag.HAS_CONTEXT |
  Flag.REQUIRED_LIST |
  Flag.COMMAND |
  Flag.ERRORS |
  Flag.NOT_ZERO |
  Flag.TXN_START;

const VECTOR: usize = 16;

const draft: Layout = changetype<Layout>(memory.data(LAYOUT_BYTES, 16));
let begin: usize = 0;
let size: usize = 0;
/** Offset of the newest vector in the message. */
let vectorAt: usize = 0;

/** True when the message is to be learned after its walk: its layout is unknown, and its place in the table is free or given up. */
export function wouldLearn(message: u32, p: usize, length: usize): bool {
  if (length - SHORTEST > LONGEST - SHORTEST || flagsOf(recordOf(message)) & ~LEARNABLE) return false;
  const layout = layouts.layoutPlace(layouts.layoutSpace, layouts.layoutOf(message, p, length));
  // Patches of the current message may point to this layout's edits.
  if (layout.followedIn == layouts.rewriteSerial) return false;
  if (layout.trust == 0) return true;
  layout.trust--;
  return false;
}

/**
 * Learns the message of `length` bytes at `p`. It was walked with status OK, without following others. It grows by `growth`, with the
 * patches from `firstPatch` on. Its keys may already be patched in place.
 */
export function learnLayout(message: u32, p: usize, length: usize, firstPatch: u32, growth: i32): void {
  const space = layouts.layoutSpace;
  const what = layouts.layoutOf(message, p, length);
  begin = p;
  size = length;
  memory.fill(changetype<usize>(draft), 0, LAYOUT_BYTES);
  draft.space = space;
  draft.what = what;
  draft.growth = growth;
  draft.isHopeless = !learn(message, p, p + length, 0) || !keepEdits(firstPatch);
  draft.trust = draft.isHopeless ? HOPELESS_TRUST : FIRST_TRUST;
  memory.copy(changetype<usize>(layouts.layoutPlace(space, what)), changetype<usize>(draft), LAYOUT_BYTES);
}

/** Requires the bits `mask` of the byte at `at` to be as they are. */
function fix(at: usize, mask: u8): bool {
  const offset = at - begin;
  if (draft.vectors == 0 || offset >= vectorAt + VECTOR) {
    if (draft.vectors == <u8>MAX_VECTORS) return false;
    // Do not read past the end of the message.
    vectorAt = min<usize>(offset, size - VECTOR);
    store<u16>(draft.offset(draft.vectors), <u16>vectorAt);
    draft.vectors++;
  }
  const slot = draft.vector(draft.vectors - 1) + (offset - vectorAt);
  store<u8>(slot, mask);
  store<u8>(slot, load<u8>(at) & mask, VECTOR);
  return true;
}

function fixAll(from: usize, to: usize): bool {
  for (; from < to; from++) if (!fix(from, 0xff)) return false;
  return true;
}

/** Fixes the length of a varint and leaves its value free. The tenth byte has only one bit. */
function fixLength(from: usize, to: usize): bool {
  for (let at = from; at < to; at++) if (!fix(at, at - from == 9 ? 0xff : 0x80)) return false;
  return true;
}

function check(kind: u32, at: usize, length: usize): bool {
  if (draft.checks == <u8>MAX_CHECKS) return false;
  const offset = <u16>(at - begin);
  store<u64>(draft.check(draft.checks), (<u64>kind) | ((<u64>offset) << 16) | ((<u64>length) << 32));
  draft.checks++;
  if (isTaggedInPlace(kind)) {
    store<u16>(draft.tagged(draft.tags), offset);
    draft.tags++;
  }
  return true;
}

function learn(message: u32, p: usize, end: usize, depth: i32): bool {
  const self = recordOf(message);
  const flags = flagsOf(self);
  if (flags & ~LEARNABLE || depth >= MAX_NESTING) return false;
  let seen: u64 = 0;
  let listed: u32 = 0;
  while (p < end) {
    const at = p;
    const tag = <u32>readVarint(p, end);
    p = varint.readEnd;
    const field = tag >> 3;
    const entry = entryOf(self, field);
    if (field < 64) seen |= (<u64>1) << field;
    // Several keys must be compared with each other, which walking does.
    if (flags & Flag.TXN_START && field == endFieldOf(self) && ++listed > 1) return false;
    draft.fields++;
    let value = p;
    switch (tag & 7) {
      case 0:
        readVarint(p, end);
        p = varint.readEnd;
        if (!fixAll(at, value) || !number(entry, value, p)) return false;
        break;
      case 1:
        p += 8;
        if (!fixAll(at, value) || roleIn(entry) != Role.ROLE_UNSPECIFIED) return false;
        break;
      case 2: {
        const length = <usize>readVarint(p, end);
        value = varint.readEnd;
        p = value + length;
        if (!fixAll(at, value) || !bytes(entry, value, length, depth)) return false;
        break;
      }
      case 5:
        p += 4;
        if (!fixAll(at, value)) return false;
        break;
      default:
        return false;
    }
    // An error is counted where it is walked.
    if (kindIn(entry) == Kind.UNKNOWN || errorClassIn(entry) != ErrorClass.UNSPECIFIED) return false;
  }
  if (!(flags & (Flag.RANGE | Flag.ENCODED_RANGE))) return true;
  // An absent bound is inserted.
  const bounds = ((<u64>1) << startFieldOf(self)) | ((<u64>1) << endFieldOf(self));
  return (bounds & ~seen & ~1) == 0;
}

function number(entry: u32, from: usize, to: usize): bool {
  const request = current.direction == Direction.REQUEST;
  switch (roleIn(entry)) {
    case Role.ROLE_UNSPECIFIED:
    case Role.OPAQUE:
    case Role.NAME:
    case Role.STORE_ID:
      return fixLength(from, to);
    case Role.TIMESTAMP:
      return fixLength(from, to) && (!request || check(Check.TIMESTAMP, from, to - from));
    case Role.TXN_START:
      return fixLength(from, to) && (!request || check(Check.TXN_START, from, to - from));
    case Role.TIMESTAMP_OR_MAX:
      return fixLength(from, to) && (!request || check(Check.TIMESTAMP_OR_MAX, from, to - from));
    case Role.READ_TIMESTAMP_OR_MAX:
      return fixLength(from, to) && (!request || check(Check.READ_TIMESTAMP_OR_MAX, from, to - from));
    case Role.REVERSE:
    case Role.COP_TYPE:
    case Role.EARLY_COMMIT:
    case Role.HAS_ANSWER:
      return fixAll(from, to);
    case Role.ONE_OF:
      return request ? fixAll(from, to) : fixLength(from, to);
    case Role.AT_MOST:
    case Role.CAPPED:
      return fixLength(from, to) && (!request || limited(limitPlaceIn(entry), from, to));
    case Role.REGION_ID:
      return !request && fixLength(from, to);
    case Role.REGION_VERSION:
      return !request && current.terms.epochOffset == 0 && fixLength(from, to);
    case Role.REGION_CONF_VERSION:
      return !request && current.terms.confVerOffset == 0 && fixLength(from, to);
    case Role.NEW_TIME:
      return fixLength(from, to) && (request || check(Check.NEW_TIME, from, to - from));
    case Role.CLUSTER_ID:
      return !current.terms.isFromElsewhere && fixLength(from, to);
    default:
      return false;
  }
}

/** Checks a number against its limit, unless every number of that length is below. */
function limited(place: u32, from: usize, to: usize): bool {
  const bits = (to - from) * 7;
  if (bits < 64 && ((<u64>1) << (<u64>bits)) - 1 <= limitAt(place)) return true;
  return check(Check.AT_MOST, from, (to - from) | ((<usize>place) << 16));
}

/** Learns a field of bytes, a text or a message. */
function bytes(entry: u32, at: usize, length: usize, depth: i32): bool {
  const role = roleIn(entry);
  const request = current.direction == Direction.REQUEST;
  if (kindIn(entry) == Kind.MESSAGE) {
    if (role != Role.ROLE_UNSPECIFIED) return false;
    if (!(flagsOf(recordOf(messageIn(entry))) & Flag.CONTEXT))
      return learn(messageIn(entry), at, at + length, depth + 1);
    return (
      request &&
      contexts.isKnownContext(at, length) &&
      check(Check.CONTEXT, at, length | ((<usize>contexts.knownEdit) << 16))
    );
  }
  if (kindIn(entry) != Kind.BYTES) return false;
  switch (role) {
    case Role.OPAQUE:
    case Role.NAME:
    case Role.HOST:
    case Role.LABEL:
    case Role.REWRITE_OLD:
      return true;
    case Role.TEXT:
      return request;
    case Role.DAG:
      return request && plan(at, length);
    case Role.KEY:
    case Role.KEY_OR_NONE:
    case Role.KEY_DROP:
    case Role.REWRITE_NEW:
    case Role.RANGE_START:
    case Role.RANGE_END:
      return key(regularOf(false, request), at, length);
    case Role.ENC_KEY:
    case Role.ENC_START:
    case Role.ENC_END:
    case Role.PLACE_START:
    case Role.PLACE_END:
      return key(regularOf(true, request), at, length);
    default:
      return false;
  }
}

function key(kind: Regular, at: usize, length: usize): bool {
  if (kind == Regular.NONE || length < shortestRegular(kind)) return false;
  // A key patched in place has its final form already. It is checked when the layout is followed.
  if ((kind == Regular.PREFIXED || kind == Regular.TENANT_ZERO) && !isRegular(kind, at, length)) return false;
  return check(kind, at, length);
}

/**
 * Learns a coprocessor's plan with all its bytes: a statement sends the same plan again and again. False when the answer needs to know
 * something of the plan.
 */
function plan(at: usize, length: usize): bool {
  if (length < LEAST_SAME || length > MOST_SAME || draft.sameLength != 0) return false;
  if (mapsTableIds() && columns.columnsAt != 0) return false;
  if (namesTimestamp(at, at + length)) return false;
  draft.sameAt = <u16>(at - begin);
  draft.sameLength = <u16>length;
  memory.copy(draft.same(), at, length);
  return true;
}

/**
 * Keeps the walker's patches. Everything except the keys follows from the compared bytes. A key that gains or loses a prefix keeps its
 * other bytes. Any other change of a key cannot be kept.
 */
function keepEdits(firstPatch: u32): bool {
  const kind = regularOf(false, current.direction == Direction.REQUEST);
  for (let i = firstPatch; i < patches.patchCount; i++) {
    const patch = patchAt(i);
    const from = load<usize>(patch);
    let to = load<usize>(patch, 4);
    let length = load<usize>(patch, 12);
    const keyBytes = keyLength(to);
    if (to > from && keyBytes > 0) {
      if (kind != Regular.ANY && kind != Regular.PREFIXED) return false;
      const tail = regularTail(kind, keyBytes);
      to -= tail;
      length -= tail;
    }
    // A message dropped for its key would stay with another key.
    else if (length == 0) return false;
    if (draft.edits == <u8>MAX_EDITS || length > EDIT_BYTES) return false;
    const edit = draft.edit(draft.edits);
    draft.edits++;
    store<u16>(edit, <u16>(from - begin));
    store<u16>(edit, <u16>(to - begin), 2);
    store<u32>(edit, <u32>length, 4);
    memory.copy(edit + 8, load<usize>(patch, 8), length);
  }
  return true;
}

/** Length of the key that ends at `end`; 0 when there is none. */
function keyLength(end: usize): usize {
  for (let i: u32 = 0; i < <u32>draft.checks; i++) {
    const entry = load<u64>(draft.check(i));
    const length = <usize>(entry >> 32);
    if (
      ((<u32>entry) & 0xffff) < <u32>Check.CONTEXT &&
      begin + <usize>((entry >> 16) & 0xffff) + length == end
    )
      return length;
  }
  return 0;
}
