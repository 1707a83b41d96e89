/**
 * Makes a request that acts on a whole region wait until PD has said whose the region is. Only a request alone on its stream waits. Envoy
 * keeps the stream. The filter holds the message like an incomplete one, within the same limits.
 *
 *   body  -> walked on a copy -> all known ----------------------------------> goes on
 *                             -> some unknown: lookups, the callback pauses -> their answers -> walked again
 *
 * The request goes on without an answer when a round of lookups told nothing new, when too many requests wait, and after WAIT_MS. It then
 * has a form that the store or PD turns away.
 */
import { Buffer } from '../host/abi';
import * as host from '../host/host';
import { append } from '../memory/stream-buffer';
import * as frames from '../rewrite/frames';
import * as regions from '../rewrite/regions';
import { Direction } from '../rewrite/current';
import { Terms } from '../terms/terms';
import { Status } from '../wire/status';
import * as clock from './clock';
import { enter } from './enter';
import { lookUpWanted, takeAnswer, takeForgotten } from './lookups';
import { countFrames } from './counting';
import { countTurnedAway } from './metrics';
import { refusalByMove } from './permit';
import { refuseMessage } from './refuse';
import { Phase, Stream, findStream } from './stream';
import { mayAct } from './turns';

/** The longest time that a request waits, whatever its lookups do. */
const WAIT_MS: u64 = 5000;

/** Which stream waits for which lookup: token:u32 | context:u32, packed from the front. A stream may be gone when its answer comes. */
const MAX_WAITS: u32 = 4096;
const waits: usize = memory.data(32768, 8);
/** In place of the token of a lookup that has ended: its stream goes on in another callback. */
const ENDED: u32 = 0;
let waitCount: u32 = 0;

/** Notes that the stream waits for a lookup. False when too many wait. */
function wait(stream: Stream, token: u32): bool {
  if (waitCount == MAX_WAITS) return false;
  const at = waits + ((<usize>waitCount) << 3);
  store<u32>(at, token);
  store<u32>(at, stream.context, 4);
  waitCount++;
  stream.lookups++;
  return true;
}

/** Handles a piece of the body of a request that may act on regions. True when the stream may go on. */
export function onActing(stream: Stream, terms: Terms, size: u32, last: bool): bool {
  const held = stream.request;
  const moved = size + held.length > 0 ? refusalByMove(stream, terms) : Status.OK;
  if (moved != Status.OK) return refuse(stream, moved);
  stream.isWhole = stream.isWhole || last;
  if (size > 0 && !host.readBuffer(Buffer.REQUEST_BODY, size)) return refuse(stream, Status.MALFORMED);
  const length = size > 0 ? host.resultLength : 0;
  if (stream.lookups > 0) {
    if (held.length + length > terms.maxMessageBytes) return refuse(stream, Status.TOO_LONG);
    if (!append(held, host.resultAt, length, terms.maxMessageBytes, terms.budget))
      return refuse(stream, Status.HELD_TOO_MUCH);
    if (size > 0) host.replaceBuffer(Buffer.REQUEST_BODY, size, 0, 0);
    return false;
  }
  enter(stream, terms);
  const message = stream.requestMessage;
  let status = frames.feed(held, message, Direction.REQUEST, host.resultAt, length, true);
  if (status == Status.OK && frames.frameWaits) {
    if (size > 0) host.replaceBuffer(Buffer.REQUEST_BODY, size, 0, 0);
    size = 0;
    if (mayWait(stream, terms)) return false;
    status = frames.feed(held, message, Direction.REQUEST, 0, 0);
  }
  if (status != Status.OK) return refuse(stream, status);
  if (frames.outputChanged) {
    if (size > 0) host.replaceBuffer(Buffer.REQUEST_BODY, size, frames.outputAt, frames.outputLength);
    else host.appendToBuffer(Buffer.REQUEST_BODY, frames.outputAt, frames.outputLength);
  }
  countFrames(stream, terms, false);
  countTurnedAway(regions.turnedAwayCount);
  lookUpWanted(stream, terms, null);
  return !stream.isWhole || held.length == 0 || refuse(stream, Status.TRUNCATED);
}

function refuse(stream: Stream, status: Status): bool {
  refuseMessage(stream, status, false);
  return false;
}

/** Sends lookups for the message's unknown regions. False when the request cannot wait: the last lookups told nothing, or none was sent. */
function mayWait(stream: Stream, terms: Terms): bool {
  if (stream.unknown == u32.MAX_VALUE) stream.waitsSince = clock.now;
  if (regions.unknownCount >= stream.unknown || clock.now > stream.waitsSince + WAIT_MS) return false;
  stream.unknown = regions.unknownCount;
  lookUpWanted(stream, terms, wait);
  return stream.lookups > 0;
}

/** Handles the end of a lookup. `size` 0 means that PD did not answer in time. */
export function onLookup(root: u32, token: u32, size: u32): void {
  takeAnswer(root, token, size);
  wake(token);
}

/** Wakes streams whose lookup gets no answer. Called on the tick. */
export function wakeForgotten(): void {
  for (let token = takeForgotten(); token != 0; token = takeForgotten()) wake(token);
}

/** Continues streams that another callback has left. */
export function wakeLeft(): void {
  wake(ENDED);
}

/** Continues the streams that waited for this lookup, unless they wait for another one. */
function wake(token: u32): void {
  let i: u32 = 0;
  while (i < waitCount) {
    const at = waits + ((<usize>i) << 3);
    if (load<u32>(at) != token) {
      i++;
      continue;
    }
    const stream = findStream(load<u32>(at, 4));
    if (stream != null && stream.lookups == 1 && !mayAct()) {
      store<u32>(at, ENDED);
      i++;
      continue;
    }
    waitCount--;
    store<u64>(at, load<u64>(waits + ((<usize>waitCount) << 3)));
    if (stream != null && --stream.lookups == 0) goOn(stream);
  }
}

/**
 * Continues a stream. When the body's end is still to come, the stream goes on in the callback for it. Envoy 1.40 loses data that comes to
 * a filter which has continued a paused body outside such a callback.
 */
function goOn(stream: Stream): void {
  const terms = stream.terms;
  if (terms == null || stream.phase != Phase.MAP || !stream.isWhole) return;
  host.actAs(stream.context);
  if (onActing(stream, terms, 0, true)) host.continueRequest();
}
