/** Ends a stream with a reason: a gRPC status, or 403 with a JSON text as PD's own errors are. */
import { Grpc } from '../host/abi';
import { increment, sendReply } from '../host/host';
import { alloc } from '../memory/arena';
import { grpcStatus, httpStatus } from '../policy/refusals';
import { failedField, failedMessage } from '../rewrite/walker';
import { nameOf } from '../schema/messages';
import { Text } from '../texts/table';
import { expand, expandedAt, expandedLength } from '../texts/text';
import { explain } from '../wire/explain';
import { Status } from '../wire/status';
import { refusedTotal } from './metrics';
import { Phase, Stream } from './stream';

/** Builds a text of ASCII parts in the arena. */
let textAt: usize = 0;
let textLength: usize = 0;

const MAX_TEXT: usize = 1024;
const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const NEW_LINE: u8 = 0x0a;

function begin(): void {
  textAt = alloc(MAX_TEXT);
  textLength = 0;
}

function add(text: u32): void {
  expand(text);
  addBytes(expandedAt, expandedLength);
}

function addByte(byte: u8): void {
  if (textLength < MAX_TEXT) store<u8>(textAt + textLength++, byte);
}

function addBytes(p: usize, length: usize): void {
  const size = min<usize>(length, MAX_TEXT - textLength);
  memory.copy(textAt + textLength, p, size);
  textLength += size;
}

function addNumber(value: u32): void {
  if (value >= 10) addNumber(value / 10);
  addByte(<u8>(0x30 + (value % 10)));
}

/** Makes the text a JSON string, as PD's own errors are. */
function quote(): void {
  const plain = textAt;
  const length = textLength;
  textAt = alloc(length * 2 + 3);
  let to = textAt;
  store<u8>(to++, QUOTE);
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(plain + i);
    if (c == QUOTE || c == BACKSLASH) store<u8>(to++, BACKSLASH);
    store<u8>(to++, c);
  }
  store<u8>(to++, QUOTE);
  store<u8>(to++, NEW_LINE);
  textLength = to - textAt;
}

function end(stream: Stream, code: u32, grpc: i32): void {
  stream.phase = Phase.ENDED;
  increment(refusedTotal);
  if (!stream.isGrpc) quote();
  sendReply(code, grpc, textAt, textLength);
}

/** Refuses with a text that is there already, ASCII. */
export function refuse(stream: Stream, at: usize, length: usize): void {
  begin();
  addBytes(at, length);
  end(stream, 403, Grpc.PERMISSION_DENIED);
}

/** Refuses a method or an endpoint and says which. */
export function refuseCall(stream: Stream, at: usize, length: usize, because: u32): void {
  begin();
  add(Text.NAME);
  addBytes(at, min<usize>(length, 256));
  add(Text.COLON);
  add(because == 0 ? Text.NOT_FOR_TENANTS_AT_ALL : because);
  end(stream, 403, Grpc.PERMISSION_DENIED);
}

/** A request that could be read in two ways. */
export function refuseForm(stream: Stream, text: u32): void {
  begin();
  add(Text.NAME);
  add(text);
  end(stream, 400, Grpc.INVALID_ARGUMENT);
}

/** Refuses the JSON of an HTTP request. */
export function refuseBody(stream: Stream, status: Status): void {
  begin();
  add(Text.NAME);
  if (status == Status.MALFORMED) add(Text.BODY_UNREADABLE);
  else add(status == Status.NAME_OUTSIDE ? Text.BODY_NAMES : explain(status));
  end(stream, httpStatus(status), Grpc.NONE);
}

/** Ends a stream whose bytes cannot be rewritten. */
export function refuseMessage(stream: Stream, status: Status, answer: bool): void {
  begin();
  add(answer ? Text.ANSWER : Text.NAME);
  add(explain(status));
  if (status == Status.UNKNOWN_FIELD || status == Status.DUPLICATE || status == Status.GROUP) {
    add(Text.PLACE);
    add(nameOf(failedMessage));
    add(Text.FIELD);
    addNumber(failedField);
    add(Text.PLACE_END);
  }
  end(stream, answer ? 502 : httpStatus(status), answer ? Grpc.INTERNAL : grpcStatus(status));
}
