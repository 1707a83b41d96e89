/**
 * Handles a request to PD's HTTP API. Maps its path before it goes on. Keeps its body and its answer until they are complete. The
 * request's headers go on at once: holding them would hold the body too. PD acts on no incomplete body.
 */
import { Buffer, Grpc, HeaderMap } from '../host/abi';
import * as host from '../host/host';
import { mayQuoteKeys } from '../keys/text';
import { StreamBuffer, append, consume } from '../memory/stream-buffer';
import { pathBytes } from '../policy/classify';
import * as endpoints from '../policy/endpoints';
import { NO_OPERATION } from '../policy/names';
import * as json from '../pd-http/json';
import { WITHHELD } from '../rewrite/names';
import * as target from '../pd-http/target';
import { HttpDecision } from '../schema/http';
import { METHOD_COUNT } from '../schema/table';
import { Terms } from '../terms/terms';
import { textOf } from '../texts/text';
import { Ascii, ascii } from '../wire/bytes';
import { Status } from '../wire/status';
import { mayBegin } from './delays';
import { enter } from './enter';
import { goesOver, handOver } from './hand-over';
import * as headers from './headers';
import { permit, refusalByMove } from './permit';
import { refuse, refuseBody, refuseCall, refuseMessage } from './refuse';
import { Phase, Stream } from './stream';

const PATH: Ascii = ascii(':path');
const STATUS: Ascii = ascii(':status');
const CONTENT_LENGTH: Ascii = ascii('content-length');
/** Replaces a held body in Envoy. No JSON begins so, and PD would refuse it alone. */
const STAND_IN: Ascii = ascii('!');
/** First digit of a status of success. */
const SUCCESS: u8 = 0x32;
/** Tells access logs that the filter itself answered. */
const ANSWERED: Ascii = ascii('tidb_mesh_answered');
/** Replaces an error that may quote keys: a JSON string, as PD's own errors are. */
const WITHHELD_JSON: Ascii = ascii('"tidb-mesh: the text of this error is withheld"\n');

/** True when the request may go on. */
export function onHttpCall(stream: Stream, terms: Terms): bool {
  const plain = pathBytes(headers.pathAt, headers.pathLength);
  const found = endpoints.findEndpoint(headers.methodAt, headers.methodLength, headers.pathAt, plain);
  const decision = found ? endpoints.decisionOf(endpoints.endpoint) : HttpDecision.REFUSE;
  const isOpen = decision != HttpDecision.REFUSE;
  const operation = found ? METHOD_COUNT + endpoints.endpoint : NO_OPERATION;
  if (!permit(stream, terms, operation, isOpen, found ? endpoints.reasonOf(endpoints.endpoint) : 0, plain))
    return false;
  if (goesOver(stream, terms)) return handOver(stream, terms, plain);
  terms.account.add(stream.call, 1);
  stream.endpoint = <i32>endpoints.endpoint;
  stream.phase = isOpen ? Phase.SHORT : Phase.PASS;
  if (!isOpen || decision == HttpDecision.PASS) return mayBegin(stream, terms.account);
  if (decision == HttpDecision.ANSWER) {
    stream.phase = Phase.ENDED;
    const answer = textOf(endpoints.reasonOf(endpoints.endpoint));
    host.sendReply(
      200,
      Grpc.NONE,
      changetype<usize>(answer),
      answer.length,
      changetype<usize>(ANSWERED),
      ANSWERED.length,
    );
    return false;
  }
  stream.phase = Phase.HTTP;
  stream.failed = false;
  return onTarget(stream, terms, plain);
}

function onTarget(stream: Stream, terms: Terms, plain: usize): bool {
  enter(stream, terms);
  const status = target.mapTarget(headers.pathAt, plain, headers.pathLength);
  if (status == Status.OK) {
    host.replaceHeader(HeaderMap.REQUEST_HEADERS, PATH, target.targetAt, target.targetLength);
    return mayBegin(stream, terms.account);
  }
  if (status == Status.NOT_FOR_TENANTS)
    refuseCall(stream, status, endpoints.reasonOf(endpoints.endpoint), plain);
  else refuse(stream, status);
  return false;
}

/** Bytes that Envoy keeps of a partly held body. */
function standInBytes(held: StreamBuffer): u32 {
  return held.length > 0 ? STAND_IN.length : 0;
}

/** Keeps a piece of a body until the body is complete. In Envoy's buffer the stand-in for earlier pieces comes first. */
function keep(held: StreamBuffer, terms: Terms, buffer: Buffer, size: u32): Status {
  const before = standInBytes(held);
  if (size <= before) return Status.OK;
  const length = held.length + size - before;
  if (length > terms.maxMessageBytes) return Status.TOO_LONG;
  if (!host.readBuffer(buffer, size) || host.resultLength < size) return Status.MALFORMED;
  return append(held, host.resultAt + before, size - before, terms.maxMessageBytes, terms.budget)
    ? Status.OK
    : Status.HELD_TOO_MUCH;
}

/**
 * Replaces what is held by a stand-in in Envoy's buffer. A body may end with trailers, and Envoy replaces a body then only if it still has
 * some bytes of it. True when nothing is held, and the stream may go on.
 */
function leaveStandIn(held: StreamBuffer, buffer: Buffer, size: u32): bool {
  if (held.length == 0) return true;
  host.replaceBuffer(buffer, size, changetype<usize>(STAND_IN), STAND_IN.length);
  return false;
}

/** Refuses a body where PD needs none: it would read all of it into memory (pkg/utils/requestutil/request_info.go). */
export function onUnwantedBody(stream: Stream, size: u32): bool {
  if (size == 0) return true;
  refuseBody(stream, Status.BODY_REFUSED);
  return false;
}

/** Handles a piece of a request's body. True when the stream may go on. */
export function onHttpBody(stream: Stream, terms: Terms, size: u32, last: bool): bool {
  if (endpoints.bodyOf(<u32>stream.endpoint) == 0) return onUnwantedBody(stream, size);
  const held = stream.request;
  const status = keep(held, terms, Buffer.REQUEST_BODY, size);
  if (status == Status.OK && !last) return leaveStandIn(held, Buffer.REQUEST_BODY, size);
  if (status == Status.OK) return onWholeBody(stream, terms, size);
  refuseBody(stream, status);
  return false;
}

/** Handles a request's trailers, which complete the body. True when the stream may go on. */
export function onHttpTrailers(stream: Stream, terms: Terms): bool {
  if (endpoints.bodyOf(<u32>stream.endpoint) == 0) return true;
  return onWholeBody(stream, terms, standInBytes(stream.request));
}

/** Handles a complete body. `size` bytes in Envoy stand for it. */
function onWholeBody(stream: Stream, terms: Terms, size: u32): bool {
  const held = stream.request;
  let status = refusalByMove(stream, terms);
  if (status != Status.OK) {
    refuseBody(stream, status);
    return false;
  }
  enter(stream, terms);
  status = json.rewriteBody(endpoints.bodyOf(<u32>stream.endpoint) - 1, held.at, held.length);
  if (status == Status.OK && !terms.account.holdings.records.addMany(json.records))
    status = Status.TOO_MANY_RECORDS;
  if (status != Status.OK) {
    refuseBody(stream, status);
    return false;
  }
  host.replaceBuffer(Buffer.REQUEST_BODY, size, json.jsonAt, json.jsonLength);
  consume(held, held.length, terms.budget);
  return true;
}

export function onHttpAnswer(stream: Stream): void {
  stream.failed = true;
  if (!headers.openHeaders(HeaderMap.RESPONSE_HEADERS)) return;
  while (headers.nextHeader()) {
    if (headers.isNamed(STATUS))
      stream.failed = headers.valueLength == 0 || load<u8>(headers.valueAt) != SUCCESS;
    else if (headers.isNamed(CONTENT_LENGTH))
      host.removeHeader(HeaderMap.RESPONSE_HEADERS, headers.nameAt, headers.nameLength);
  }
}

/** Handles a piece of an answer's body. True when the stream may go on. */
export function onHttpAnswerBody(stream: Stream, terms: Terms, size: u32, last: bool): bool {
  const held = stream.response;
  const status = keep(held, terms, Buffer.RESPONSE_BODY, size);
  if (status == Status.OK && !last) return leaveStandIn(held, Buffer.RESPONSE_BODY, size);
  if (status == Status.OK) return onWholeAnswer(stream, terms, size);
  refuseMessage(stream, status, true);
  return false;
}

/** Handles an answer's trailers, which complete its body. True when the stream may go on. */
export function onHttpAnswerTrailers(stream: Stream, terms: Terms): bool {
  const held = stream.response;
  return held.length == 0 || onWholeAnswer(stream, terms, standInBytes(held));
}

/** Handles a complete answer. `size` bytes in Envoy stand for it. */
function onWholeAnswer(stream: Stream, terms: Terms, size: u32): bool {
  const held = stream.response;
  enter(stream, terms);
  const status = answer(stream, held, size);
  if (status != Status.OK) {
    refuseMessage(stream, status, true);
    return false;
  }
  consume(held, held.length, terms.budget);
  return true;
}

function answer(stream: Stream, held: StreamBuffer, size: u32): Status {
  const shape = stream.failed ? 0 : endpoints.answerOf(<u32>stream.endpoint);
  if (shape == 0) {
    if (!mayQuoteKeys(held.at, held.length))
      host.replaceBuffer(Buffer.RESPONSE_BODY, size, held.at, held.length);
    else
      host.replaceBuffer(Buffer.RESPONSE_BODY, size, changetype<usize>(WITHHELD_JSON), WITHHELD_JSON.length);
    return Status.OK;
  }
  const status = json.rewriteAnswer(shape - 1, held.at, held.length);
  if (status == Status.OK) host.replaceBuffer(Buffer.RESPONSE_BODY, size, json.jsonAt, json.jsonLength);
  return status;
}
