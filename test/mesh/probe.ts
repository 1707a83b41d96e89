/** Connections made by hand, as somebody would who wants to get round the filter. */
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { CertFiles } from '../harness/stack/certs.ts';

export interface Target {
  host: string;
  port: number;
  /** Undefined: no TLS. */
  certs?: CertFiles;
  /** Protocols to offer in the TLS handshake; none by default. */
  alpn?: string[];
}

/** How long a probe waits for the other side to say something more. */
const PATIENCE = 3_000;

/** Sends bytes and gives all that comes back until the other side closes or falls silent; why it failed, where it did. */
export async function sendRaw(target: Target, bytes: Uint8Array): Promise<{ answer: Buffer; error: string }> {
  let socket: Socket;
  try {
    socket = await open(target);
  } catch (error) {
    return { answer: Buffer.alloc(0), error: String(error) };
  }
  const parts: Buffer[] = [];
  return new Promise((resolve) => {
    let error = '';
    const done = (): void => {
      socket.destroy();
      resolve({ answer: Buffer.concat(parts), error });
    };
    socket.setTimeout(PATIENCE, done);
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', (problem) => (error = String(problem)));
    socket.on('close', done);
    socket.write(bytes);
  });
}

/** A GET over HTTP/1.1, written by hand. */
export async function getHttp1(
  target: Target,
  path: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const lines = Object.entries({ host: 'pd', connection: 'close', ...headers });
  const text = `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return (await sendRaw(target, Buffer.from(text))).answer.toString('latin1');
}

export interface GrpcOutcome {
  /** gRPC's status code; -1 where there was no answer to the call. */
  status: number;
  message: string;
  body: Buffer;
}

/** One unary call over HTTP/2, whatever protocol the handshake has agreed on. */
export async function callUnary(
  target: Target,
  path: string,
  message: Uint8Array = Buffer.alloc(0),
  headers: Record<string, string> = {},
): Promise<GrpcOutcome> {
  const none: GrpcOutcome = { status: -1, message: '', body: Buffer.alloc(0) };
  let socket: Socket;
  try {
    socket = await open(target);
  } catch (error) {
    return { ...none, message: String(error) };
  }
  const session = connectHttp2('http://mesh', { createConnection: () => socket });
  try {
    return await new Promise<GrpcOutcome>((resolve) => {
      const fail = (problem: unknown): void => resolve({ ...none, message: String(problem) });
      session.on('error', fail);
      session.on('close', () => fail('the connection was closed'));
      session.setTimeout(PATIENCE, () => fail('no answer'));
      const stream = session.request({
        [constants.HTTP2_HEADER_METHOD]: 'POST',
        [constants.HTTP2_HEADER_PATH]: path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      });
      const parts: Buffer[] = [];
      let found: GrpcOutcome = none;
      const read = (fields: Record<string, unknown>): void => {
        if (fields['grpc-status'] === undefined) return;
        found = {
          ...found,
          status: Number(fields['grpc-status']),
          message: decodeURIComponent(String((fields['grpc-message'] as string | undefined) ?? '')),
        };
      };
      stream.on('response', read);
      stream.on('trailers', read);
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('error', fail);
      stream.on('end', () => resolve({ ...found, body: Buffer.concat(parts) }));
      const frame = Buffer.alloc(5 + message.length);
      frame.writeUInt32BE(message.length, 1);
      frame.set(message, 5);
      stream.end(frame);
    });
  } finally {
    session.destroy();
  }
}

function open(target: Target): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { host, port, certs } = target;
    if (!certs) {
      const socket = connectTcp({ host, port }, () => resolve(socket));
      socket.once('error', reject);
      return;
    }
    const socket = connectTls(
      {
        host,
        port,
        ca: readFileSync(certs.ca),
        cert: readFileSync(certs.cert),
        key: readFileSync(certs.key),
        // A workload's certificate names a SPIFFE identity and no host.
        checkServerIdentity: () => undefined,
        ...(target.alpn ? { ALPNProtocols: target.alpn } : {}),
      },
      () => resolve(socket),
    );
    socket.once('error', reject);
  });
}
