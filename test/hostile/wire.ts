/** One call over HTTP/2 with all that comes back: every header, every trailer, every byte. */
import { readFileSync } from 'node:fs';
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { CertFiles } from '../harness/stack/certs.ts';

export interface Exchange {
  /** Header and trailer names with their values. */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** False: it was still open when its time was up. */
  readonly ended: boolean;
}

export interface CallOptions {
  readonly headers?: OutgoingHttpHeaders;
  /** Milliseconds until a call without an end is cancelled. */
  readonly limit?: number;
  /** It is cancelled, too, when nothing has come for that many milliseconds: at first, and after an answer. */
  readonly quiet?: { readonly first: number; readonly next: number };
  /** The request's stream stays open. */
  readonly open?: boolean;
  /** Called with all that has come; true ends the call. */
  readonly isDone?: (body: Buffer) => boolean;
}

const LIMIT = 10_000;
/**
 * Calls on one connection that this client may cancel. Envoy ends a connection with all its streams after too many, by two limits.
 * nghttp2 takes 1000 resets and 33 more each second (NGHTTP2_DEFAULT_STREAM_RESET_BURST and _RATE), then sends a GOAWAY with
 * INTERNAL_ERROR. Envoy takes 250 of streams that had no answer yet and were younger than 2 s (`overload.premature_reset_*`).
 */
const CANCELLED = 200;

/** One client: a connection that is opened anew where it was closed, or has had its share of cancelled calls. */
export class Wire {
  private current: ClientHttp2Session | undefined;
  /** Calls of the current connection that may be cancelled. */
  private cancellable = 0;
  private readonly goaways: number[] = [];
  private readonly files: { ca: Buffer; cert: Buffer; key: Buffer } | undefined;

  /** Without `certs` it speaks plaintext. */
  constructor(
    readonly address: string,
    certs?: CertFiles,
  ) {
    if (certs)
      this.files = {
        ca: readFileSync(certs.ca),
        cert: readFileSync(certs.cert),
        key: readFileSync(certs.key),
      };
  }

  /** The errors with which the server has ended connections since it was asked before, such as 2 for INTERNAL_ERROR. */
  takeGoaways(): number[] {
    return this.goaways.splice(0);
  }

  private session(mayCancel: boolean): ClientHttp2Session {
    if (mayCancel && ++this.cancellable > CANCELLED) {
      // The streams that are open go on.
      this.current?.close();
      this.current = undefined;
      this.cancellable = 1;
    }
    if (this.current && !this.current.closed && !this.current.destroyed) return this.current;
    const session = this.files
      ? connect(`https://${this.address}`, { ...this.files, servername: 'localhost' })
      : connect(`http://${this.address}`);
    session.setMaxListeners(0);
    session.on('error', () => {});
    session.on('goaway', (code) => {
      if (code !== constants.NGHTTP2_NO_ERROR) this.goaways.push(code);
    });
    this.current = session;
    return session;
  }

  /** A call of gRPC, or of HTTP where the headers say so. */
  call(path: string, request: Uint8Array, options: CallOptions = {}): Promise<Exchange> {
    const { quiet } = options;
    return new Promise((resolve) => {
      let stream: ClientHttp2Stream;
      try {
        stream = this.session(quiet !== undefined || options.open === true).request(
          {
            ':method': 'POST',
            ':path': path,
            'content-type': 'application/grpc',
            te: 'trailers',
            ...options.headers,
          },
          { endStream: false },
        );
      } catch (error) {
        // Node itself turns some headers away.
        resolve({ headers: { ':client': String(error) }, body: Buffer.alloc(0), ended: true });
        return;
      }
      const parts: Buffer[] = [];
      let headers: IncomingHttpHeaders = {};
      let ended = true;
      const take = (more: IncomingHttpHeaders): void => {
        headers = { ...headers, ...more };
      };
      const cancel = (): void => {
        ended = false;
        stream.close(constants.NGHTTP2_CANCEL);
      };
      const timer = setTimeout(cancel, options.limit ?? LIMIT);
      let silence = quiet && setTimeout(cancel, quiet.first);
      stream.on('response', take);
      stream.on('trailers', take);
      stream.on('error', () => {});
      stream.on('data', (part: Buffer) => {
        parts.push(part);
        if (silence && quiet) {
          clearTimeout(silence);
          silence = setTimeout(cancel, quiet.next);
        }
        if (options.isDone?.(Buffer.concat(parts)) === true) cancel();
      });
      stream.on('close', () => {
        clearTimeout(timer);
        clearTimeout(silence);
        resolve({ headers, body: Buffer.concat(parts), ended });
      });
      if (request.length > 0) stream.write(request);
      if (options.open !== true) stream.end();
    });
  }

  close(): void {
    this.current?.destroy();
  }
}
