/**
 * Takes a stream through the filter: identifies the caller, permits the operation, then rewrites the bodies. Every step denies by default.
 */
import { Buffer, HeaderMap } from '../host/abi';
import * as host from '../host/host';
import { mayQuoteKeys } from '../keys/text';
import { RequestKind, classify, pathBytes } from '../policy/classify';
import * as methods from '../policy/methods';
import { NO_OPERATION } from '../policy/names';
import * as frames from '../rewrite/frames';
import { WITHHELD } from '../rewrite/names';
import { countExchange } from '../rewrite/exchange';
import * as current from '../rewrite/current';
import { Direction } from '../rewrite/current';
import { measureBatches, useTime } from '../rewrite/latency';
import * as regions from '../rewrite/regions';
import { hasContext, mayActOnRegions } from '../schema/messages';
import { Decision, Msg } from '../schema/table';
import { Access } from '../tenant/identity';
import { Count } from '../terms/account';
import { Terms } from '../terms/terms';
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { identify } from './callers';
import * as clock from './clock';
import { beginUnder } from './configs';
import { countFrames } from './counting';
import { countsMessages, mayBegin } from './delays';
import { endDrained, isDrained } from './drain';
import { enter } from './enter';
import { endsLeftBehind, goesOver, handOver } from './hand-over';
import * as headers from './headers';
import {
  onHttpAnswer,
  onHttpAnswerBody,
  onHttpAnswerTrailers,
  onHttpBody,
  onHttpCall,
  onHttpTrailers,
  onUnwantedBody,
} from './http';
import { lookUpWanted } from './lookups';
import { countStream, countTurnedAway } from './metrics';
import { moveOverIfDone } from './move-over';
import { permit, refusalByMove } from './permit';
import { prepareBatch, spendBatch, spendMessages } from './rates';
import { refuse, refuseCall, refuseCaller, refuseMessage } from './refuse';
import { answerStatus, isStatusPath } from './status';
import { Phase, Stream } from './stream';
import { noteDryRunCommands } from './dry-run';
import { ensureRegistered } from './vm-record';
import { onActing } from './waiting';

const TENANT_HEADER: Ascii = ascii('x-tidb-mesh-tenant');
/** Envoy keeps it as the filter state `wasm.tidb_mesh_tenant`. */
const TENANT_PROPERTY: Ascii = ascii('tidb_mesh_tenant');
const GRPC_MESSAGE: Ascii = ascii('grpc-message');
const GRPC_DETAILS: Ascii = ascii('grpc-status-details-bin');
const CONTENT_TYPE: Ascii = ascii('content-type');
const GRPC_TYPE: Ascii = ascii('application/grpc');
const ADD_GROUP: Ascii = ascii('/resource_manager.ResourceManager/AddResourceGroup');
const PD_SERVICE: Ascii = ascii('/pdpb.PD/');
const PERCENT: u8 = 0x25;

/** True when the stream may go on. */
export function onRequestHeaders(stream: Stream): bool {
  countStream();
  const version = beginUnder(stream.root, clock.now);
  stream.beganAt = clock.now;
  if (version != null) ensureRegistered(clock.now);
  const good = headers.readRequestHeaders();
  const kind = good
    ? classify(
        headers.methodAt,
        headers.methodLength,
        headers.pathAt,
        headers.pathLength,
        headers.contentTypeAt,
        headers.contentTypeLength,
      )
    : RequestKind.REFUSED;
  stream.isGrpc = kind == RequestKind.GRPC;
  if (kind == RequestKind.REFUSED || headers.upgrades) {
    refuse(stream, Status.FORM);
    return false;
  }
  if (version == null) {
    refuse(stream, Status.NO_CONFIGURATION);
    return false;
  }
  const identity = identify(version.resolver);
  const isStatus =
    !stream.isGrpc && isStatusPath(headers.pathAt, pathBytes(headers.pathAt, headers.pathLength));
  if (identity.access == Access.SYSTEM) {
    if (isStatus) {
      stream.phase = Phase.ENDED;
      answerStatus();
      return false;
    }
    stream.phase = Phase.PASS;
    return true;
  }
  const tenant = identity.tenant;
  if (identity.access == Access.REFUSED || tenant == null) {
    refuseCaller(stream, identity);
    return false;
  }
  const terms = tenant.terms;
  version.openAccount(terms);
  terms.account.add(Count.STREAMS, 1);
  stream.terms = terms;
  stream.isOnBehalf = identity.isOnBehalf;
  host.addHeader(HeaderMap.REQUEST_HEADERS, TENANT_HEADER, terms.nameAt, terms.nameLength);
  host.writeProperty(TENANT_PROPERTY, terms.nameAt, terms.nameLength);
  if (isStatus) {
    refuseCall(stream, Status.NOT_FOR_TENANTS, 0, pathBytes(headers.pathAt, headers.pathLength));
    return false;
  }
  return stream.isGrpc ? onGrpcCall(stream, terms) : onHttpCall(stream, terms);
}

function microseconds(): u64 {
  return host.currentTime() / 1000;
}

/** Begins to measure a call that was found last and goes on: the requests of a batch by their ids, a unary call as a whole. */
function measure(stream: Stream): void {
  if (stream.isBatch) measureBatches(stream.exchange);
  else if (!methods.isStreamAt(methods.methodPlace)) stream.measuredFrom = microseconds();
}

/** True for a call that adds a resource group. */
function isNewGroup(): bool {
  return equals(headers.pathAt, headers.pathLength, ADD_GROUP);
}

/** True for a call of PD's own service: all of its messages begin with a header that names the cluster. */
function isOfPd(): bool {
  return startsWith(headers.pathAt, headers.pathLength, PD_SERVICE);
}

function onGrpcCall(stream: Stream, terms: Terms): bool {
  const known = methods.findMethod(headers.pathAt, headers.pathLength);
  const isOpen = known && (methods.decision == Decision.PASS || methods.decision == Decision.MAP);
  const why = known ? methods.because : 0;
  if (!permit(stream, terms, known ? methods.methodPlace : NO_OPERATION, isOpen, why, headers.pathLength))
    return false;
  if (goesOver(stream, terms)) return handOver(stream, terms, headers.pathLength);
  if (terms.account.holdings.isOn && isNewGroup() && !terms.account.holdings.groups.add()) {
    refuseCall(stream, Status.TOO_MANY_GROUPS, 0, headers.pathLength);
    return false;
  }
  const isHeaded = isOpen && methods.decision == Decision.PASS && terms.isFromElsewhere && isOfPd();
  if (!isOpen || (methods.decision == Decision.PASS && !isHeaded)) {
    stream.phase = isOpen ? Phase.SHORT : Phase.PASS;
    terms.account.add(stream.call, 1);
    if (known && terms.isMeasured) measure(stream);
    return mayBegin(stream, terms.account);
  }
  stream.phase = Phase.MAP;
  stream.requestMessage = isHeaded ? Msg.HEADED_REQUEST : methods.requestMessage;
  stream.isBatch = stream.requestMessage == Msg.BATCH_COMMANDS_REQUEST;
  stream.isOfStore = stream.isBatch || hasContext(stream.requestMessage);
  stream.isRated = methods.isStreamAt(methods.methodPlace) && countsMessages(stream);
  stream.acts = mayActOnRegions(stream.requestMessage);
  stream.responseMessage = isHeaded ? Msg.HEADED_RESPONSE : methods.responseMessage;
  if (terms.isMeasured) measure(stream);
  return mayBegin(stream, terms.account);
}

/** Handles a piece of a gRPC body that passes unread. True when the stream may go on. */
function onShortFrames(stream: Stream, size: u32): bool {
  if (size == 0) return true;
  const isRead = host.readBuffer(Buffer.REQUEST_BODY, size) && host.resultLength == size;
  const status = isRead ? stream.shortFrames.feed(host.resultAt, size) : Status.MALFORMED;
  if (status == Status.OK) return true;
  refuseMessage(stream, status, false);
  return false;
}

/** Handles a piece of a gRPC body. True when the stream may go on. */
function onFrames(stream: Stream, terms: Terms, answer: bool, size: u32, last: bool): bool {
  const held = answer ? stream.response : stream.request;
  const buffer = answer ? Buffer.RESPONSE_BODY : Buffer.REQUEST_BODY;
  if (size > 0) {
    const moved = answer ? Status.OK : refusalByMove(stream, terms);
    if (moved != Status.OK) {
      refuseMessage(stream, moved, false);
      return false;
    }
    const isRated = !answer && stream.isBatch && terms.account.rates.isOn;
    if (isRated) prepareBatch(stream, terms.account, size);
    if (!host.readBuffer(buffer, size)) {
      refuseMessage(stream, Status.MALFORMED, answer);
      return false;
    }
    enter(stream, terms);
    if (current.isMeasured) useTime(microseconds());
    const before = stream.exchange.outstanding;
    const message = answer ? stream.responseMessage : stream.requestMessage;
    const way = answer ? Direction.RESPONSE : Direction.REQUEST;
    const status = frames.feed(held, message, way, host.resultAt, host.resultLength);
    const counted = countExchange(stream.exchange, terms.budget);
    if (status != Status.OK || !counted) {
      refuseMessage(stream, status != Status.OK ? status : Status.HELD_TOO_MUCH, answer);
      return false;
    }
    const isOver =
      !answer &&
      stream.isRated &&
      terms.account.rates.isOn &&
      !spendMessages(stream, terms.account, frames.frameCount);
    if (isOver) {
      refuseMessage(stream, Status.OVER_RATE, false);
      return false;
    }
    if (frames.outputChanged) host.replaceBuffer(buffer, size, frames.outputAt, frames.outputLength);
    countFrames(stream, terms, answer);
    if (isRated) spendBatch(terms.account, stream.exchange.outstanding - before);
    if (!answer) {
      noteDryRunCommands(terms);
      countTurnedAway(regions.turnedAwayCount);
      lookUpWanted(stream, terms, null);
    }
  }
  if (last && held.length > 0) {
    refuseMessage(stream, Status.TRUNCATED, answer);
    return false;
  }
  return true;
}

export function onRequestBody(stream: Stream, size: u32, last: bool): bool {
  stream.bodies++;
  if (isDrained(stream)) {
    // Nothing is in transit, and this request is not sent yet: the best moment to end the stream.
    endDrained(stream);
    return false;
  }
  moveOverIfDone(stream);
  const terms = stream.terms;
  if (stream.phase == Phase.ENDED) return false;
  if (terms == null) return true;
  if (endsLeftBehind(stream, terms)) return false;
  terms.account.add(Count.REQUEST_BYTES, size);
  if (terms.account.rates.isOn) terms.account.rates.bytes.spend(size);
  if (stream.phase == Phase.HTTP) return onHttpBody(stream, terms, size, last);
  if (stream.phase == Phase.SHORT)
    return stream.isGrpc ? onShortFrames(stream, size) : onUnwantedBody(stream, size);
  if (stream.phase != Phase.MAP) return true;
  return stream.acts ? onActing(stream, terms, size, last) : onFrames(stream, terms, false, size, last);
}

export function onRequestTrailers(stream: Stream): bool {
  if (stream.phase == Phase.ENDED) return false;
  const terms = stream.terms;
  if (terms != null && stream.phase == Phase.HTTP) return onHttpTrailers(stream, terms);
  if (stream.request.length == 0) return true;
  // All complete frames have gone on, so what is held is part of one frame.
  if (terms != null && stream.acts) return onActing(stream, terms, 0, true);
  refuseMessage(stream, Status.TRUNCATED, false);
  return false;
}

/** Withholds texts in headers that may quote keys: errors travel in headers too. */
function withhold(map: HeaderMap): void {
  let plain = !mayQuoteKeys(headers.valueAt, headers.valueLength);
  for (let i: usize = 0; plain && i < headers.valueLength; i++)
    plain = load<u8>(headers.valueAt + i) != PERCENT;
  if (plain) return;
  host.removeHeader(map, headers.nameAt, headers.nameLength);
  host.addHeader(map, GRPC_MESSAGE, changetype<usize>(WITHHELD), WITHHELD.length);
}

/** Removes from a gRPC answer's headers or trailers what may hold keys. True when they say that the body is gRPC. */
function scrubAnswer(map: HeaderMap): bool {
  let isGrpc = false;
  if (!headers.openHeaders(map)) {
    host.removeHeader(map, changetype<usize>(GRPC_MESSAGE), GRPC_MESSAGE.length);
    host.removeHeader(map, changetype<usize>(GRPC_DETAILS), GRPC_DETAILS.length);
    return false;
  }
  while (headers.nextHeader()) {
    if (headers.isNamed(CONTENT_TYPE)) isGrpc = startsWith(headers.valueAt, headers.valueLength, GRPC_TYPE);
    else if (headers.isNamed(GRPC_MESSAGE)) withhold(map);
    else if (headers.isNamed(GRPC_DETAILS)) host.removeHeader(map, headers.nameAt, headers.nameLength);
  }
  return isGrpc;
}

export function onResponseHeaders(stream: Stream): bool {
  if (stream.phase == Phase.ENDED || stream.terms == null) return true;
  if (stream.phase == Phase.HTTP) onHttpAnswer(stream);
  const isReadable = !stream.isGrpc || scrubAnswer(HeaderMap.RESPONSE_HEADERS) || stream.phase != Phase.MAP;
  if (!isReadable) refuseMessage(stream, Status.MALFORMED, true);
  stream.answered = isReadable;
  return isReadable;
}

export function onResponseBody(stream: Stream, size: u32, last: bool): bool {
  stream.bodies++;
  const terms = stream.terms;
  if (terms == null || stream.phase == Phase.ENDED) return true;
  if (endsLeftBehind(stream, terms)) return false;
  terms.account.add(Count.RESPONSE_BYTES, size);
  if (terms.account.rates.isOn) terms.account.rates.bytes.spend(size);
  if (stream.phase == Phase.MAP) {
    const isGood = onFrames(stream, terms, true, size, last);
    if (isGood && stream.response.length == 0) moveOverIfDone(stream);
    return isGood;
  }
  return stream.phase != Phase.HTTP || onHttpAnswerBody(stream, terms, size, last);
}

export function onResponseTrailers(stream: Stream): bool {
  const terms = stream.terms;
  if (stream.phase == Phase.ENDED || terms == null) return true;
  if (stream.measuredFrom != 0) {
    const now = microseconds();
    terms.account.addLatency(now - min(now, stream.measuredFrom));
  }
  if (stream.isGrpc) scrubAnswer(HeaderMap.RESPONSE_TRAILERS);
  if (stream.phase == Phase.HTTP) return onHttpAnswerTrailers(stream, terms);
  if (stream.response.length == 0) return true;
  refuseMessage(stream, Status.TRUNCATED, true);
  return false;
}
