/**
 * Splits a body into gRPC's length-prefixed messages: flag:u8 length:u32 (big endian) message. The body comes in pieces. A frame is
 * rewritten and sent on once it is complete; the rest is kept.
 *
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { alloc, beginWork, isOverspent } from '../memory/arena';
import { StreamBuffer, append, consume } from '../memory/stream-buffer';
import { Msg } from '../schema/table';
import { Status } from '../wire/status';
import * as patches from './patches';
import { applyPatches, trimPatches } from './patches';
import * as edits from './edits';
import * as regions from './regions';
import { beginActs } from './regions';
import { beginDryRun } from './batch';
import * as current from './current';
import { Direction } from './current';
import { MAX_UNREAD_BYTES } from './short-frames';
import * as walker from './walker';

const FRAME_HEADER: usize = 5;

/** The bytes that replace those that were fed. */
export let outputAt: usize = 0;
export let outputLength: usize = 0;
/** False when the fed bytes go on unchanged. */
export let outputChanged: bool = false;
/** True when the first message is held, because it acts on regions that are not known yet. */
export let frameWaits: bool = false;
/** Number of messages that go on. */
export let frameCount: u32 = 0;

let outputCapacity: usize = 0;

/** Reserves `size` more bytes of output, in the arena. */
function reserve(size: usize): usize {
  const need = outputLength + size;
  if (need > outputCapacity) {
    outputCapacity = need + need / 2 + 1024;
    const bigger = alloc(outputCapacity);
    memory.copy(bigger, outputAt, outputLength);
    outputAt = bigger;
  }
  return outputAt + outputLength;
}

function copyOf(from: usize, length: usize): usize {
  const to = alloc(length);
  memory.copy(to, from, length);
  return to;
}

function copyOut(from: usize, length: usize): void {
  memory.copy(reserve(length), from, length);
  outputLength += length;
}

/**
 * Takes the next `length` bytes of a body. On OK, the output variables say what to forward. On any other status, forward nothing.
 * With `mayWait`, the first message is held unchanged while the owner of its regions is unknown.
 */
export function feed(
  held: StreamBuffer,
  message: u32,
  way: Direction,
  p: usize,
  length: usize,
  mayWait: bool = false,
): Status {
  const budget = current.terms.budget;
  const limit = current.terms.maxMessageBytes;
  frameWaits = false;
  frameCount = 0;
  beginActs();
  beginDryRun();
  outputAt = 0;
  outputLength = 0;
  outputCapacity = 0;
  outputChanged = false;
  const resumed = held.length > 0;
  let source = p;
  if (resumed) {
    if (!append(held, p, length, frameBytes(held.at, held.length), budget)) return Status.HELD_TOO_MUCH;
    source = held.at;
    length = held.length;
  }
  const end = source + length;
  beginWork(length);
  let at = source;
  let spliced = false;
  let patched = false;
  while (end - at >= FRAME_HEADER) {
    const flag = load<u8>(at);
    if (flag != 0) return flag == 1 ? Status.COMPRESSED : Status.MALFORMED;
    const size = bswap<u32>(load<u32>(at, 1));
    if (size > limit) return Status.TOO_LONG;
    if (message == Msg.HEADED_REQUEST && size > MAX_UNREAD_BYTES) return Status.TOO_LONG_UNREAD;
    if (<usize>size > end - at - FRAME_HEADER) break;
    const next = at + FRAME_HEADER + size;
    // A held message is walked again, so its bytes must not change.
    const body = mayWait ? copyOf(at + FRAME_HEADER, size) : at + FRAME_HEADER;
    const status = walker.rewrite(message, body, size, way);
    if (status != Status.OK) return status;
    if (mayWait && regions.unknownCount != 0 && at == source) {
      frameWaits = true;
      break;
    }
    if (walker.newLength > <usize>limit) return Status.TOO_LONG;
    if (isOverspent()) return Status.TOO_MANY_CHANGES;
    if (patches.patchCount > 0 || mayWait) {
      if (!spliced) {
        spliced = true;
        copyOut(source, at - source);
      }
      const to = reserve(FRAME_HEADER + walker.newLength);
      store<u8>(to, 0);
      store<u32>(to, bswap<u32>(<u32>walker.newLength), 1);
      applyPatches(body, size, to + FRAME_HEADER);
      outputLength += FRAME_HEADER + walker.newLength;
      trimPatches();
    } else {
      if (spliced) copyOut(at, FRAME_HEADER + size);
      patched = patched || edits.touched;
    }
    at = next;
    frameCount++;
  }
  const rest = end - at;
  outputChanged = spliced || patched || resumed || rest > 0;
  if (resumed) {
    // The held bytes are about to be moved or freed.
    if (!spliced && at > source) copyOut(source, at - source);
    consume(held, at - source, budget);
    return Status.OK;
  }
  if (!spliced) {
    outputAt = source;
    outputLength = at - source;
  }
  return rest == 0 || append(held, at, rest, frameBytes(at, rest), budget) ? Status.OK : Status.HELD_TOO_MUCH;
}

/** Length of the frame that begins at `p`, as far as its header has arrived. */
function frameBytes(p: usize, length: usize): usize {
  return length < FRAME_HEADER ? FRAME_HEADER : FRAME_HEADER + bswap<u32>(load<u32>(p, 1));
}
