/** Ends a stream with a reason: a gRPC status, or 403 with a JSON text as PD's own errors are. */
import { Grpc } from '../host/abi';
import { increment, sendReply } from '../host/host';
import { alloc } from '../memory/arena';
import { explain, grpcStatus } from '../policy/refusals';
import { failedField } from '../rewrite/walker';
import { Status } from '../wire/status';
import { refusedTotal } from './metrics';
import { Phase, Stream } from './stream';

/** Builds a text of ASCII parts in the arena. */
let textAt: usize = 0;
let textLength: usize = 0;

const MAX_TEXT: usize = 1024;

function begin(): void {
  textAt = alloc(MAX_TEXT);
  textLength = 0;
}

function add(text: string): void {
  for (let i = 0; i < text.length && textLength < MAX_TEXT; i++) store<u8>(textAt + textLength++, <u8>text.charCodeAt(i));
}

function addBytes(p: usize, length: usize): void {
  const size = min<usize>(length, MAX_TEXT - textLength);
  memory.copy(textAt + textLength, p, size);
  textLength += size;
}

function end(stream: Stream, code: u32, grpc: i32): void {
  stream.phase = Phase.ENDED;
  increment(refusedTotal);
  sendReply(code, stream.isGrpc ? grpc : Grpc.NONE, textAt, textLength);
}

/** Refuses with a text that is there already, ASCII. */
export function refuse(stream: Stream, at: usize, length: usize): void {
  begin();
  if (!stream.isGrpc) add('"');
  addBytes(at, length);
  if (!stream.isGrpc) add('"\n');
  end(stream, 403, Grpc.PERMISSION_DENIED);
}

/** Refuses a method or an endpoint and says which. */
export function refuseCall(stream: Stream, at: usize, length: usize, because: usize, becauseLength: usize): void {
  begin();
  if (!stream.isGrpc) add('"');
  add('tidb-mesh: ');
  addBytes(at, min<usize>(length, 256));
  add(': ');
  if (becauseLength == 0) add('not for tenants');
  else addBytes(because, becauseLength);
  if (!stream.isGrpc) add('"\n');
  end(stream, 403, Grpc.PERMISSION_DENIED);
}

/** A request that could be read in two ways. */
export function refuseForm(stream: Stream, text: string): void {
  begin();
  add('"tidb-mesh: ');
  add(text);
  add('"\n');
  end(stream, 400, Grpc.INVALID_ARGUMENT);
}

/** Ends a stream whose bytes cannot be rewritten. */
export function refuseMessage(stream: Stream, status: Status, answer: bool): void {
  begin();
  add(answer ? 'tidb-mesh: the answer of the storage: ' : 'tidb-mesh: ');
  add(explain(status));
  if (status == Status.UNKNOWN_FIELD || status == Status.DUPLICATE || status == Status.GROUP) {
    add(' (field ');
    add(failedField.toString());
    add(')');
  }
  end(stream, answer ? 502 : 400, answer ? Grpc.INTERNAL : grpcStatus(status));
}
