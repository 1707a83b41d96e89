/** What stands behind Envoy in these tests: a gRPC server and an HTTP/1.1 server that record what reaches them. */
import { createServer as createHttp, type IncomingHttpHeaders, type Server as HttpServer } from 'node:http';
import {
  createServer as createHttp2,
  type Http2Server,
  type IncomingHttpHeaders as GrpcHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { decode } from '../harness/support/messages.ts';

/** One gRPC call as it came. */
export interface Received {
  path: string;
  headers: GrpcHeaders;
  /** Whole messages, without their frame headers. */
  messages: Buffer[];
  /** The bytes of the whole body, and its trailers. */
  body: Buffer;
  trailers: GrpcHeaders;
  /** The caller has sent all of it. */
  ended: boolean;
}

/** How a gRPC call is answered: pieces of body as they are written, then trailers. */
export interface Answer {
  pieces: Buffer[];
  trailers?: Record<string, string>;
}

export interface Upstream {
  grpcPort: number;
  httpPort: number;
  /** Newest last. */
  calls: Received[];
  requests: { method: string; url: string; headers: IncomingHttpHeaders; body: string }[];
  answer(call: Received): Answer;
  /** Answers each message of an open stream of BatchCommands by its first id; undefined: the stream is left without answers. */
  echo: ((id: bigint) => Buffer) | undefined;
  /** Writes a piece on the newest open stream. */
  send(piece: Buffer): void;
  /** The body of HTTP answers, or the pieces that it is written in; or what makes it of the request's path. */
  httpAnswer: string | string[] | ((url: string) => string);
  /** HTTP requests are answered once this has resolved. */
  httpHold: Promise<void>;
  httpStatus: number;
  stop(): Promise<void>;
}

/** A gRPC frame around a message. */
export function frame(message: Uint8Array, flag = 0, length = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

/** The whole messages of a body. */
export function unframe(body: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at + 5 <= body.length;) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (end > body.length) break;
    messages.push(body.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

function listen(server: Http2Server | HttpServer): Promise<number> {
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );
}

const BATCH = '/tikvpb.Tikv/BatchCommands';
let newest: ServerHttp2Stream | undefined;

/** Writes on a stream that may not have begun its answer yet. */
function write(stream: ServerHttp2Stream, piece: Buffer): void {
  if (stream.destroyed) return;
  if (!stream.headersSent) stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
  stream.write(piece);
}

function onStream(upstream: Upstream, stream: ServerHttp2Stream, headers: GrpcHeaders): void {
  const call: Received = {
    path: String(headers[':path']),
    headers,
    messages: [],
    body: Buffer.alloc(0),
    trailers: {},
    ended: false,
  };
  upstream.calls.push(call);
  newest = stream;
  const parts: Buffer[] = [];
  stream.on('error', () => {});
  stream.on('trailers', (trailers: GrpcHeaders) => (call.trailers = trailers));
  stream.on('data', (part: Buffer) => {
    parts.push(part);
    const known = call.messages.length;
    call.body = Buffer.concat(parts);
    call.messages = unframe(call.body);
    if (call.path !== BATCH || !upstream.echo) return;
    for (const message of call.messages.slice(known)) {
      const { requestIds } = decode('tikvpb.BatchCommandsRequest', message);
      write(stream, upstream.echo(requestIds[0] as bigint));
    }
  });
  stream.on('end', () => {
    call.ended = true;
    // Reset since, by who has also ended it.
    if (stream.destroyed) return;
    if (stream.headersSent) return void stream.end();
    const { pieces, trailers } = upstream.answer(call);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', ...trailers }));
    const writeFrom = (index: number): void => {
      const piece = pieces[index];
      if (piece === undefined) stream.end();
      // Pieces must not be joined on the way.
      else stream.write(piece, () => setTimeout(writeFrom, 5, index + 1));
    };
    writeFrom(0);
  });
}

export async function startUpstream(): Promise<Upstream> {
  const grpc = createHttp2();
  const http = createHttp((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts).toString();
      // The filter asks for PD's clock by itself, at any time.
      if (request.url === '/v3/kv/range') return void response.writeHead(404).end();
      upstream.requests.push({
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body,
      });
      response.setHeader('content-type', 'application/json');
      response.statusCode = upstream.httpStatus;
      const given = upstream.httpAnswer;
      const answer = typeof given === 'function' ? given(request.url ?? '') : given;
      if (typeof answer === 'string') return void upstream.httpHold.then(() => response.end(answer));
      const writeFrom = (index: number): void => {
        if (index === answer.length) response.end();
        // Pieces must not be joined on the way.
        else response.write(answer[index], () => setTimeout(writeFrom, 5, index + 1));
      };
      writeFrom(0);
    });
  });
  const upstream: Upstream = {
    grpcPort: await listen(grpc),
    httpPort: await listen(http),
    calls: [],
    requests: [],
    answer: () => ({ pieces: [frame(Buffer.alloc(0))] }),
    echo: undefined,
    send: (piece) => newest && write(newest, piece),
    httpAnswer: '{}',
    httpHold: Promise.resolve(),
    httpStatus: 200,
    async stop() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      grpc.close();
    },
  };
  grpc.on('stream', (stream, headers) => onStream(upstream, stream, headers));
  return upstream;
}
