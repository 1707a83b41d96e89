/** Ends a stream with a reason: a gRPC status, or 403 with a JSON text as PD's own errors are. */
import { Grpc, LogLevel } from '../host/abi';
import { increment, sendReply } from '../host/host';
import { alloc } from '../memory/arena';
import * as current from '../rewrite/current';
import { forgetFailure } from '../rewrite/current';
import { grpcStatusOf, httpStatusOf } from '../schema/statuses';
import { fillPlace, fillStatus, writeDetails, writeStatus } from '../texts/statuses';
import { Text } from '../texts/table';
import * as writer from '../texts/writer';
import { Identity } from '../tenant/identity';
import { writeRefusal } from '../tenant/refusal';
import { Status } from '../wire/status';
import * as headers from './headers';
import { answerLater, isTooMany } from './late';
import * as metrics from './metrics';
import { countConflict } from './metrics';
import { reportRefusal, reportRefusedCaller } from './refusal-log';
import { Phase, Stream } from './stream';

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const NEW_LINE: u8 = 0x0a;

/** Maximum of a path's bytes that a text shows. */
const MOST_PATH: usize = 256;
const BAD_GATEWAY: u32 = 502;

/** The reply that is sent. */
let replyAt: usize = 0;
let replyLength: usize = 0;

/** Makes the text a JSON string, as PD's own errors are. */
function quote(): void {
  replyAt = alloc(writer.textLength * 2 + 3);
  let to = replyAt;
  store<u8>(to++, QUOTE);
  for (let i: usize = 0; i < writer.textLength; i++) {
    const c = load<u8>(writer.textAt + i);
    if (c == QUOTE || c == BACKSLASH) store<u8>(to++, BACKSLASH);
    store<u8>(to++, c);
  }
  store<u8>(to++, QUOTE);
  store<u8>(to++, NEW_LINE);
  replyLength = to - replyAt;
}

/** Ends the stream with the written text and a status. `answer`: an answer is refused, not a request. */
function end(stream: Stream, status: Status, answer: bool): void {
  finish(stream);
  writeDetails(status);
  const code = answer ? BAD_GATEWAY : httpStatusOf(status);
  const grpc = answer ? Grpc.INTERNAL : grpcStatusOf(status);
  sendReply(code, grpc, replyAt, replyLength, writer.textAt, writer.textLength);
}

function finish(stream: Stream): void {
  stream.phase = Phase.ENDED;
  increment(metrics.refusedTotal);
  replyAt = writer.textAt;
  replyLength = writer.textLength;
  if (!stream.isGrpc) quote();
}

/** Refuses a caller that the caller rules refuse. */
export function refuseCaller(stream: Stream, identity: Identity): void {
  const status = identity.reason;
  const isConflict = status == Status.IDENTITY_CONFLICT || status == Status.PEER_UNREADABLE;
  if (isConflict) countConflict();
  writeRefusal(identity);
  reportRefusedCaller(status, isConflict ? LogLevel.WARN : LogLevel.INFO);
  end(stream, status, false);
}

/** Refuses an operation and names it. `because`: the reason, a text; 0 for the status's own sentence. */
export function refuseCall(stream: Stream, status: Status, because: u32, plain: usize): void {
  reportRefusal(stream, status, false);
  fillStatus(status);
  if (because != 0) writer.fillText(1, because);
  writer.fill(2, headers.pathAt, min<usize>(plain, MOST_PATH));
  writer.writeTemplate(Text.REFUSED_CALL);
  if (!isTooMany(stream.terms)) {
    end(stream, status, false);
    return;
  }
  finish(stream);
  answerLater(stream, status, replyAt, replyLength);
}

/** Refuses a request for what it is. */
export function refuse(stream: Stream, status: Status): void {
  reportRefusal(stream, status, false);
  writeStatus(status);
  end(stream, status, false);
}

/** Refuses the JSON of an HTTP request. */
export function refuseBody(stream: Stream, status: Status): void {
  const isNames = status == Status.NAME_OUTSIDE;
  refuse(stream, status == Status.MALFORMED ? Status.BODY_UNREADABLE : isNames ? Status.BODY_NAMES : status);
}

/** Ends a stream whose bytes cannot be rewritten. */
export function refuseMessage(stream: Stream, status: Status, answer: bool): void {
  reportRefusal(stream, status, answer);
  fillStatus(status);
  if (current.failedField != 0) {
    fillPlace(2, current.failedMessage, current.failedField);
    writer.writeTemplate(answer ? Text.ANSWER_REFUSED_AT : Text.REFUSED_AT);
  } else writer.writeTemplate(answer ? Text.ANSWER_REFUSED : Text.REFUSED);
  forgetFailure();
  end(stream, status, answer);
}
