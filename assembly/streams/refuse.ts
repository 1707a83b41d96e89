/** Ends a stream with a reason: a gRPC status, or 403 with a JSON text as PD's own errors are. */
import { Grpc, LogLevel } from '../host/abi';
import { increment, logBytes, sendReply } from '../host/host';
import { alloc } from '../memory/arena';
import { grpcStatus, httpStatus } from '../policy/refusals';
import { failedField, failedMessage } from '../rewrite/current';
import { nameOf } from '../schema/messages';
import { Text } from '../texts/table';
import { addBytes, addNumber, addText, beginText, textAt, textLength } from '../texts/writer';
import { Identity, Reason } from '../tenant/identity';
import { writeRefusal } from '../tenant/refusal';
import { explain } from '../wire/explain';
import { Status } from '../wire/status';
import { now } from './clock';
import { answerLater, isTooMany } from './late';
import { countConflict, refusedTotal } from './metrics';
import { Phase, Stream } from './stream';

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const NEW_LINE: u8 = 0x0a;

/** Callers whose sources disagree come again and again: at most one of them is logged in so many ms. */
const LOG_PAUSE_MS: u64 = 5000;
let loggedAt: u64 = 0;

function isTimeToLog(): bool {
  if (loggedAt != 0 && now < loggedAt + LOG_PAUSE_MS) return false;
  loggedAt = now;
  return true;
}

/** What is sent. */
let replyAt: usize = 0;
let replyLength: usize = 0;

/** Makes the text a JSON string, as PD's own errors are. */
function quote(): void {
  replyAt = alloc(textLength * 2 + 3);
  let to = replyAt;
  store<u8>(to++, QUOTE);
  for (let i: usize = 0; i < textLength; i++) {
    const c = load<u8>(textAt + i);
    if (c == QUOTE || c == BACKSLASH) store<u8>(to++, BACKSLASH);
    store<u8>(to++, c);
  }
  store<u8>(to++, QUOTE);
  store<u8>(to++, NEW_LINE);
  replyLength = to - replyAt;
}

function end(stream: Stream, code: u32, grpc: i32): void {
  finish(stream);
  sendReply(code, grpc, replyAt, replyLength);
}

function finish(stream: Stream): void {
  stream.phase = Phase.ENDED;
  increment(refusedTotal);
  replyAt = textAt;
  replyLength = textLength;
  if (!stream.isGrpc) quote();
}

/** Refuses a caller that the rules refuse. */
export function refuseCaller(stream: Stream, identity: Identity): void {
  writeRefusal(identity);
  if (identity.reason == Reason.DISAGREE || identity.reason == Reason.UNREADABLE) {
    countConflict();
    if (isTimeToLog()) logBytes(LogLevel.WARN, textAt, textLength);
  }
  end(stream, 403, Grpc.PERMISSION_DENIED);
}

/** Refuses a method or an endpoint and says which. */
export function refuseCall(stream: Stream, at: usize, length: usize, because: u32): void {
  beginText();
  addText(Text.NAME);
  addBytes(at, min<usize>(length, 256));
  addText(Text.COLON);
  addText(because == 0 ? Text.NOT_FOR_TENANTS_AT_ALL : because);
  if (!isTooMany(stream.budget)) return end(stream, 403, Grpc.PERMISSION_DENIED);
  finish(stream);
  answerLater(stream, 403, Grpc.PERMISSION_DENIED, replyAt, replyLength);
}

/** A request that could be read in two ways. */
export function refuseForm(stream: Stream, text: u32): void {
  beginText();
  addText(Text.NAME);
  addText(text);
  end(stream, 400, Grpc.INVALID_ARGUMENT);
}

/** Refuses the JSON of an HTTP request. */
export function refuseBody(stream: Stream, status: Status): void {
  beginText();
  addText(Text.NAME);
  if (status == Status.MALFORMED) addText(Text.BODY_UNREADABLE);
  else addText(status == Status.NAME_OUTSIDE ? Text.BODY_NAMES : explain(status));
  end(stream, httpStatus(status), Grpc.NONE);
}

/** Ends a stream whose bytes cannot be rewritten. */
export function refuseMessage(stream: Stream, status: Status, answer: bool): void {
  beginText();
  addText(answer ? Text.ANSWER : Text.NAME);
  addText(explain(status));
  if (status == Status.UNKNOWN_FIELD || status == Status.DUPLICATE || status == Status.GROUP) {
    addText(Text.PLACE);
    addText(nameOf(failedMessage));
    addText(Text.FIELD);
    addNumber(failedField);
    addText(Text.PLACE_END);
  }
  end(stream, answer ? 502 : httpStatus(status), answer ? Grpc.INTERNAL : grpcStatus(status));
}
