/** Calls PD at its address with a certificate: HTTP requests and gRPC calls. */
import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest, type RequestOptions } from 'node:https';
import {
  create,
  fromBinary,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { CommandError } from '../errors.ts';

const TIMEOUT_MS = 10_000;
const MAX_TRIES = 3;
const NO_ANSWER: readonly grpc.status[] = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED];

export interface EndpointOptions {
  /** `http://host:port` or `https://host:port`. */
  readonly pd: string;
  /** PEM files. cert and key only together, and only with https. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
  /** The name to check the servers' certificates against, when it is not the host's. */
  readonly serverName?: string | undefined;
}

/** A gRPC method that commands call, with its messages from proto/. */
export interface Method<Request extends DescMessage, Answer extends DescMessage> {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: Request;
  readonly answer: Answer;
  /** True when both sides stream. One question is asked. */
  readonly isStream?: boolean;
  /** How long the answer may take; 10 s without it. */
  readonly timeoutMs?: number;
}

/** How a method is called, whatever its messages are. */
type Timing = Pick<Method<never, never>, 'path' | 'isStream' | 'timeoutMs'>;

/** A call that failed or got no answer. The message names the call. */
export class CallError extends CommandError {
  constructor(
    message: string,
    /** HTTP status or gRPC code; 0 when there was no answer that can be read. */
    readonly status: number,
    hint = hintFor(status),
  ) {
    super('PD_ERROR', message, hint);
    this.name = 'CallError';
  }
}

function hintFor(status: number): string {
  return status === 401 || status === 403 || status === grpc.status.PERMISSION_DENIED
    ? 'call as a system principal: --cert and --key'
    : 'see the logs of PD and of the stores';
}

/** What to do about Node's errors of a connection, by their code. */
const CONNECTION_HINTS: readonly (readonly [code: RegExp, hint: string])[] = [
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, "give the name in the server's certificate: --server-name"],
  [/CERT|VERIFY|ISSUER/, "give the authority of the server's certificate: --ca"],
  [
    /^(ECONNRESET|EPROTO|HPE_|ERR_SSL|ERR_TLS)/,
    'check if it needs https:// with --cert and --key, or http://',
  ],
];
const ADDRESS_HINT =
  'check the address and that the server runs; outside of the cluster, forward its port first';

/** There is nobody at an address, or no answer in time. */
function unreachable(
  what: string,
  address: string,
  cause: NodeJS.ErrnoException,
  hint?: string,
): CommandError {
  const { message, code = 'failed' } = cause;
  const meant = CONNECTION_HINTS.find(([pattern]) => pattern.test(code))?.[1];
  const why = `${what}: no answer from ${address}: ${message || code}`;
  return new CommandError('UNREACHABLE', why, hint ?? meant ?? ADDRESS_HINT, { cause });
}

/** Parses JSON with PD's 64-bit numbers, of which JavaScript keeps 53 bits. Longer numbers become texts. Numbers inside texts stay. */
export function parseJson(text: string): unknown {
  const kept = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
  return JSON.parse(kept);
}

export class Endpoint {
  readonly url: URL;
  private readonly tls: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'servername'> | undefined;
  private readonly clients = new Map<string, grpc.Client>();

  /** @throws CommandError when the options do not fit together or a file cannot be read. */
  constructor(private readonly options: EndpointOptions) {
    const text = options.pd.includes('://') ? options.pd : `http://${options.pd}`;
    if (!URL.canParse(text))
      throw new CommandError('USAGE', `--pd ${options.pd}: not a URL`, 'write it like http://pd:2379');
    this.url = new URL(text);
    const secure = this.url.protocol === 'https:';
    if (!secure && this.url.protocol !== 'http:')
      throw new CommandError(
        'USAGE',
        `--pd ${options.pd}: is no address of PD`,
        'begin it with http:// or https://',
      );
    if ((options.cert === undefined) !== (options.key === undefined))
      throw new CommandError('USAGE', '--cert and --key go together', 'give both or neither');
    if (!secure && (options.cert ?? options.ca) !== undefined)
      throw new CommandError(
        'USAGE',
        `--cert, --key and --ca are of no use with --pd ${options.pd}`,
        'leave them out, or give an https:// address',
      );
    if (!secure) return;
    const read = (flag: string, file: string): Buffer => {
      try {
        return readFileSync(file);
      } catch (error) {
        const what = `--${flag} ${file}: ${(error as Error).message}`;
        throw new CommandError('FILE', what, 'give the path of a PEM file that can be read', {
          cause: error,
        });
      }
    };
    this.tls = {
      ...(options.ca === undefined ? {} : { ca: read('ca', options.ca) }),
      ...(options.cert === undefined ? {} : { cert: read('cert', options.cert) }),
      ...(options.key === undefined ? {} : { key: read('key', options.key) }),
      ...(options.serverName === undefined ? {} : { servername: options.serverName }),
    };
  }

  /**
   * Sends one HTTP request; `body` is sent as JSON.
   * @returns the answer's JSON, with numbers of 16 digits and more as texts. PD may answer a change with plain text. undefined for 404 with
   * `missing`
   * @throws CallError
   */
  async http(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    { body, missing = false }: { body?: unknown; missing?: boolean } = {},
  ): Promise<unknown> {
    const { status, text } = await this.send(method, path, body);
    if (status === 404 && missing) return undefined;
    if (status >= 300)
      throw new CallError(`${method} ${path}: PD answers ${status}: ${text.trim().slice(0, 300)}`, status);
    try {
      return parseJson(text);
    } catch {
      if (method !== 'GET') return text;
      throw new CallError(`${method} ${path}: PD's answer is not JSON: ${text.slice(0, 100)}`, status);
    }
  }

  /**
   * Calls a gRPC method once.
   * @param address `host:port`; PD's own by default
   * @throws CallError
   */
  async grpc<Request extends DescMessage, Answer extends DescMessage>(
    method: Method<Request, Answer>,
    fields: MessageInitShape<Request>,
    address = this.url.host,
  ): Promise<MessageShape<Answer>> {
    const { path, request, answer } = method;
    const bytes = await this.retry(method, toBinary(request, create(request, fields)), address);
    try {
      return fromBinary(answer, bytes);
    } catch (error) {
      const why = (error as Error).message;
      throw new CallError(`${path} at ${address}: the answer is not a ${answer.typeName}: ${why}`, 0);
    }
  }

  private async retry(method: Timing, message: Uint8Array, to: string): Promise<Buffer> {
    const { path } = method;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.ask(to, method, message);
      } catch (error) {
        const { code, details } = error as grpc.ServiceError;
        if (code === grpc.status.UNAVAILABLE && attempt < MAX_TRIES) continue;
        if (NO_ANSWER.includes(code)) {
          const hint =
            to === this.url.host
              ? undefined
              : `run this where the store at ${to} can be reached, such as in a pod`;
          throw unreachable(path, to, new Error(details, { cause: error }), hint);
        }
        throw new CallError(`${path} at ${to}: ${grpc.status[code] ?? 'failed'}: ${details}`, code);
      }
    }
  }

  /** Closes all connections. */
  close(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  private send(method: string, path: string, body: unknown): Promise<{ status: number; text: string }> {
    const request = this.tls ? tlsRequest : plainRequest;
    return new Promise((resolve, reject) => {
      const call = request(
        { ...this.tls, hostname: this.url.hostname, port: this.url.port, path, method, timeout: TIMEOUT_MS },
        (response) => {
          const parts: Buffer[] = [];
          response.on('data', (part: Buffer) => parts.push(part));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
          );
          response.on('error', reject);
        },
      );
      call.on('timeout', () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
      call.on('error', (error) => reject(unreachable(`${method} ${path}`, this.url.host, error)));
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** The connection to a server, for calls that stream. Each `pool` has its own, so that its slow readers hold nobody else up. */
  client(address: string, pool = ''): grpc.Client {
    const name = `${pool} ${address}`;
    const known = this.clients.get(name);
    if (known) return known;
    const pem = (value: unknown): Buffer | null => (value instanceof Buffer ? value : null);
    const credentials = this.tls
      ? grpc.credentials.createSsl(pem(this.tls.ca), pem(this.tls.key), pem(this.tls.cert))
      : grpc.credentials.createInsecure();
    const client = new grpc.Client(address, credentials, {
      'grpc.max_receive_message_length': -1,
      ...(pool === '' ? {} : { 'grpc.use_local_subchannel_pool': 1 }),
      ...(this.options.serverName === undefined
        ? {}
        : { 'grpc.ssl_target_name_override': this.options.serverName }),
    });
    this.clients.set(name, client);
    return client;
  }

  private ask(address: string, method: Timing, message: Uint8Array): Promise<Buffer> {
    const { path, isStream = false, timeoutMs = TIMEOUT_MS } = method;
    const client = this.client(address);
    const asIs = (data: Buffer): Buffer => data;
    const deadline = Date.now() + timeoutMs;
    const data = Buffer.from(message);
    if (!isStream)
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, asIs, asIs, data, new grpc.Metadata(), { deadline }, (error, answer) =>
          error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
        );
      });
    return new Promise((resolve, reject) => {
      const call = client.makeBidiStreamRequest(path, asIs, asIs, new grpc.Metadata(), { deadline });
      call.on('error', reject);
      call.on('data', (answer: Buffer) => {
        resolve(answer);
        call.cancel();
      });
      call.write(data);
    });
  }
}
