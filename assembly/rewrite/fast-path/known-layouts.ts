/**
 * Rewrites messages that have the layout of a message walked before. A batch of gets, the rows of a scan and the mutations of a prewrite
 * hold hundreds of messages. They differ only in keys, values and numbers. Comparing a message with a known layout, checking its keys and
 * patching them takes a fifth of the time of walking it. Measured: see docs/performance.md.
 *
 * A message is followed completely or not at all: everything is compared and checked before anything is changed. Others are walked.
 */
import { Regular, isRegular } from './regular';
import { spaceSerial } from '../../keys/space';
import { isTaggable, isTagged, tagOf } from '../../keys/table';
import { alloc } from '../../memory/arena';
import { limitAt } from '../../schema/messages';
import { isSameLong } from '../../wire/bytes';
import { readVarint, writeVarint } from '../../wire/varint';
import { countRewrites, replace, setTouched } from '../edits';
import * as contexts from './known-contexts';
import { Check, EDIT_STEP, LAYOUT_BYTES, LONGEST, Layout, SHORTEST } from './layout';
import { addPatch } from '../patches';
import { Span } from '../span';
import * as current from '../current';
import { Direction, isLater, isReadable, isTimely } from '../current';

/** How often other messages must claim the place of a layout in constant use before it is replaced. */
const MOST_TRUST: u32 = 16;
/** Messages that are followed before the limits are checked again. */
const LONGEST_RUN: u32 = 1024;

/** Bytes that are copied at once. Longer copies are left to the engine. */
const AHEAD: usize = 16;
const LONGEST_AHEAD: usize = 512;

const PLACE_BITS: u64 = 6;
const places: usize = memory.data(LAYOUT_BYTES << (<usize>PLACE_BITS), 16);

/** Number of the current rewriting; not 0 during one. */
export let rewriteSerial: u32 = 0;
/** Identifies the tenant's key range and the direction of the current rewriting. */
export let layoutSpace: u64 = 0;

/** End of the last message that `followRun` followed, and the number of fields in all of them. */
export let runEnd: usize = 0;
export let runFields: u32 = 0;

/** Begins another message: patches of the previous one are no longer valid. */
export function beginRewrite(): void {
  if (++rewriteSerial == 0) rewriteSerial = 1;
  layoutSpace = (spaceSerial() << 1) | (<u64>current.direction);
}

/** @inline */
export function layoutOf(message: u32, p: usize, length: usize): u64 {
  return ((<u64>message) << 48) | ((<u64>load<u8>(p)) << 40) | (<u64>length);
}

/** The only place for a layout with this key. @inline */
export function layoutPlace(space: u64, what: u64): Layout {
  const mixed = (what ^ (space << 17)) * 0x9e3779b97f4a7c15;
  return changetype<Layout>(places + <usize>(mixed >> (64 - PLACE_BITS)) * LAYOUT_BYTES);
}

/** The layout that the message may have, to be checked with `fits`; 0 when none is known. */
function findLayout(message: u32, p: usize, length: usize): usize {
  if (length - SHORTEST > LONGEST - SHORTEST) return 0;
  const what = layoutOf(message, p, length);
  const layout = layoutPlace(layoutSpace, what);
  return layout.what == what && layout.space == layoutSpace && !layout.isHopeless
    ? changetype<usize>(layout)
    : 0;
}

/** True when the message would be followed. */
export function isKnown(message: u32, p: usize, length: usize): bool {
  const found = findLayout(message, p, length);
  return found != 0 && fits(changetype<Layout>(found), p, length);
}

/** True when the message has this layout and all its keys are regular. */
function fits(layout: Layout, p: usize, length: usize): bool {
  for (let at = layout.vector(0), end = layout.vector(layout.vectors), i: u32 = 0; at < end; at += 32, i++) {
    const found = v128.load(p + <usize>load<u16>(layout.offset(i)));
    if (v128.any_true(v128.and(v128.xor(found, v128.load(at, 16)), v128.load(at)))) return false;
  }
  for (let at = layout.check(0), end = layout.check(layout.checks); at < end; at += 8) {
    const check = load<u64>(at);
    const where = p + <usize>((check >> 16) & 0xffff);
    switch ((<u32>check) & 0xffff) {
      case Regular.TAGGABLE:
        if (!isTaggable(where)) return false;
        break;
      case Regular.TAGGED:
        if (!isTagged(where)) return false;
        break;
      case Check.CONTEXT:
        if (!contexts.isKnownContext(where, <usize>((check >> 32) & 0xffff))) return false;
        if (contexts.knownEdit != <u32>(check >> 48)) return false;
        break;
      case Check.TIMESTAMP:
      case Check.TIMESTAMP_OR_MAX:
        if (!isTimely(readVarint(where, p + length), ((<u32>check) & 0xffff) == Check.TIMESTAMP_OR_MAX))
          return false;
        break;
      case Check.TXN_START: {
        const start = readVarint(where, p + length);
        if (start == 0 || !isTimely(start, false)) return false;
        break;
      }
      case Check.READ_TIMESTAMP_OR_MAX:
        if (!isReadable(readVarint(where, p + length))) return false;
        break;
      case Check.AT_MOST:
        if (readVarint(where, p + length) > limitAt(<u32>(check >> 48))) return false;
        break;
      case Check.NEW_TIME:
        if (!isLater(readVarint(where, p + length))) return false;
        break;
      default:
        if (!isRegular((<u32>check) & 0xffff, where, <usize>(check >> 32))) return false;
    }
  }
  const same = <usize>layout.sameLength;
  return same == 0 || isSameLong(p + <usize>layout.sameAt, layout.same(), same);
}

/** Maps in place the keys of a message that fits. @inline */
function tagKeys(layout: Layout, p: usize): void {
  const tag = tagOf(current.direction == Direction.REQUEST);
  for (let at = layout.tagged(0), end = layout.tagged(layout.tags); at < end; at += 2)
    store<u16>(p + <usize>load<u16>(at), tag, 1);
}

/** Records that a layout was followed so many times. */
function trust(layout: Layout, times: u32): void {
  countRewrites(times * (<u32>layout.tags + <u32>layout.edits));
  layout.followedIn = rewriteSerial;
  if (layout.trust < MOST_TRUST) layout.trust++;
  if (layout.tags != 0) setTouched(true);
}

/** Follows a single message, with patches where it grows. False: walk it. */
export function followAlone(message: u32, p: usize, length: usize): bool {
  const layout = changetype<Layout>(findLayout(message, p, length));
  if (changetype<usize>(layout) == 0 || !fits(layout, p, length)) return false;
  trust(layout, 1);
  tagKeys(layout, p);
  for (let i: u32 = 0, n = <u32>layout.edits; i < n; i++) {
    const edit = layout.edit(i);
    addPatch(p + <usize>load<u16>(edit), p + <usize>load<u16>(edit, 2), edit + 8, <usize>load<u32>(edit, 4));
  }
  return true;
}

/**
 * Follows the messages of a list, from this field on. Stops at `end`, or where a message has another layout than the one before.
 * Returns the number of messages followed.
 */
export function followRun(message: u32, field: Span, end: usize): u32 {
  const at = field.at;
  const value = field.bytes;
  const length = field.length;
  const found = findLayout(message, value, length);
  if (found == 0) return 0;
  const layout = changetype<Layout>(found);
  const header = value - at;
  // From the second message on, tag and length are compared together.
  const mask: u32 = header >= 4 ? 0xffffffff : ((<u32>1) << ((<u32>header) << 3)) - 1;
  const headerBytes = load<u32>(at) & mask;
  let count: u32 = 0;
  let p = at;
  do {
    if (!fits(layout, p + header, length)) break;
    p += header + length;
    count++;
  } while (
    count < LONGEST_RUN &&
    header <= 4 &&
    end - p >= header + length &&
    (load<u32>(p) & mask) == headerBytes
  );
  if (count == 0) return 0;
  trust(layout, count);
  runEnd = p;
  runFields = count * layout.fields;
  if (layout.growth != 0) rebuild(layout, at, field.lengthAt, value, length, end);
  else if (layout.tags != 0) for (let body = value; body < p; body += header + length) tagKeys(layout, body);
  return count;
}

/** Rewrites the run from `at` to `runEnd`, grown as the layout says. */
function rebuild(layout: Layout, at: usize, lengthAt: usize, value: usize, length: usize, end: usize): void {
  const skip = value - at;
  const step = skip + length;
  const grown = length + layout.growth;
  const header = alloc(32);
  copyAhead(header, at, lengthAt - at);
  const headerBytes = writeVarint(header + (lengthAt - at), grown) - header;
  const total = <usize>((runEnd - at) / step) * (headerBytes + grown);
  const out = alloc(total + AHEAD);
  const edits = layout.edit(0);
  const editsEnd = layout.edit(layout.edits);
  let to = out;
  for (let p = at; p < runEnd; p += step) {
    copyAhead(to, header, headerBytes);
    to += headerBytes;
    const body = p + skip;
    if (layout.tags != 0) tagKeys(layout, body);
    const behind = body + length;
    // What is read ahead must not lie past the end of the list.
    const mayReadAhead = end - behind >= AHEAD;
    let from = body;
    for (let edit = edits; edit < editsEnd; edit += EDIT_STEP) {
      const gap = body + <usize>load<u16>(edit) - from;
      if (mayReadAhead) copyAhead(to, from, gap);
      else memory.copy(to, from, gap);
      to += gap;
      v128.store(to, v128.load(edit, 8));
      to += <usize>load<u32>(edit, 4);
      from = body + <usize>load<u16>(edit, 2);
    }
    if (mayReadAhead) copyAhead(to, from, behind - from);
    else memory.copy(to, from, behind - from);
    to += behind - from;
  }
  replace(at, runEnd, out, total);
}

/** Copies `length` bytes. Reads and writes up to AHEAD more bytes behind them. */
function copyAhead(to: usize, from: usize, length: usize): void {
  if (length > LONGEST_AHEAD) {
    memory.copy(to, from, length);
    return;
  }
  for (const end = to + length; to < end; to += AHEAD, from += AHEAD) v128.store(to, v128.load(from));
}
