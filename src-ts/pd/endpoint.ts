/** Calls PD at its address with a certificate: HTTP requests and gRPC calls. */
import { setMaxListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { createSecureContext, type SecureContext } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
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
/** For one of several members of PD, so that another one can still answer. */
const MEMBER_TIMEOUT_MS = 3000;
/** Between two rounds over all members, while none of them knows a leader. */
const ROUND_MS = 300;
const MAX_TRIES = 3;
/** What a member of PD answers that has no leader to forward to, or forwards to one that has gone (redirector.ServeHTTP). */
const NO_LEADER: readonly number[] = [500, 502, 503, 504];
/** How PD refuses what its leader alone serves, such as timestamps: UNKNOWN (server/grpc_service.go, pkg/tso). */
const NOT_LEADER = /not leader/;
const NO_ANSWER: readonly grpc.status[] = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED];

export interface EndpointOptions {
  /** `http://host:port` or `https://host:port`; several members of PD with commas between them. */
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
  /** True when it changes nothing, so that another member can be asked when one does not answer. */
  readonly isRead?: boolean;
  /** True when it is not sent again where nobody was reached. */
  readonly isOnce?: boolean;
  /** How long the answer may take; 10 s without it. */
  readonly timeoutMs?: number;
}

/** How one call is made. */
export interface CallOptions {
  /** Ends the call where it is, with its own reason. */
  readonly signal?: AbortSignal | undefined;
}

/** How a method is called, whatever its messages are. */
type Manner = Omit<Method<never, never>, 'request' | 'answer'>;

/** One of the addresses of a name. */
export interface At {
  /** Of IP. */
  readonly address: string;
  /** Over a connection of its own. */
  readonly isFresh?: boolean;
}

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
  'check the address, that the server runs, and that this machine can reach it: with Istio, run this in a pod with a sidecar (docs/install.md)';

/** What gRPC says of a connection that it could not open, without what stands around the cause. */
function causeIn(details: string): string {
  return /Last error: (?:Error: )?(.+?)\.? Resolution note:/s.exec(details)?.[1] ?? details;
}

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

/** As many calls as there are may end with one signal. Node takes more than ten for a leak, and warns. */
function endsAll(signal: AbortSignal): AbortSignal {
  setMaxListeners(0, signal);
  return signal;
}

/** Parses JSON with PD's 64-bit numbers, of which JavaScript keeps 53 bits. Longer numbers become texts. Numbers inside texts stay. */
export function parseJson(text: string): unknown {
  const kept = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
  return JSON.parse(kept);
}

function urlOf(pd: string): URL {
  const text = pd.includes('://') ? pd : `http://${pd}`;
  if (!URL.canParse(text))
    throw new CommandError('USAGE', `--pd ${pd}: not a URL`, 'write it like http://pd:2379');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new CommandError('USAGE', `--pd ${pd}: is no address of PD`, 'begin it with http:// or https://');
  return url;
}

export class Endpoint {
  private readonly urls: readonly [URL, ...URL[]];
  /** The member that is asked; the next one when it does not answer. */
  private current: URL;
  private readonly tls: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'servername'> | undefined;
  /** Of all connections: to read keys and certificates takes longer than a handshake. */
  private secure: SecureContext | undefined;
  private readonly clients = new Map<string, grpc.Client>();
  /** Ends all calls: see `until`. */
  private readonly signal: AbortSignal | undefined;

  /** @throws CommandError when the options do not fit together or a file cannot be read. */
  constructor(private readonly options: EndpointOptions) {
    this.urls = options.pd.split(',').map(urlOf) as [URL, ...URL[]];
    [this.current] = this.urls;
    const secure = this.url.protocol === 'https:';
    if (this.urls.some(({ protocol }) => protocol !== this.url.protocol))
      throw new CommandError(
        'USAGE',
        `--pd ${options.pd}: has http:// and https://`,
        'give all members with the same one',
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

  /** The same servers, over the same connections. Calls that are made by it end when the signal comes. */
  until(signal: AbortSignal): Endpoint {
    return Object.create(this, { signal: { value: endsAll(signal) } }) as Endpoint;
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
    { body, missing = false, at }: { body?: unknown; missing?: boolean; at?: At | undefined } = {},
  ): Promise<unknown> {
    const { status, text } = at
      ? await this.send(this.url, method, path, body, at)
      : await this.sendToAny(method, path, body);
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
   * Calls a gRPC method.
   * @param address `host:port`; PD's own by default
   * @throws CallError; the reason of the signal when that ends it
   */
  async grpc<Request extends DescMessage, Answer extends DescMessage>(
    method: Method<Request, Answer>,
    fields: MessageInitShape<Request>,
    address?: string,
    { signal }: CallOptions = {},
  ): Promise<MessageShape<Answer>> {
    const { path, request, answer } = method;
    const signals = [signal && endsAll(signal), this.signal].filter((one) => one !== undefined);
    const [ends] = signals.length > 1 ? [AbortSignal.any(signals)] : signals;
    const message = toBinary(request, create(request, fields));
    const [bytes, from] = await this.retry(method, message, address, ends);
    try {
      return fromBinary(answer, bytes);
    } catch (error) {
      const why = (error as Error).message;
      throw new CallError(`${path} at ${from}: the answer is not a ${answer.typeName}: ${why}`, 0);
    }
  }

  /** The member of PD that is asked at the moment. */
  get url(): URL {
    return this.current;
  }

  /** Turns to the next member, unless another call has done so. */
  private moveOn(from: URL): void {
    const next = this.urls[(this.urls.indexOf(from) + 1) % this.urls.length];
    if (this.current === from && next !== undefined) this.current = next;
  }

  /**
   * Asks one member after the other, round after round while time is left, until one answers.
   * @param mayAskAgain whether the call has certainly not been carried out, or may be repeated
   * @param tries of an address that is the only one
   */
  private async askMembers<T>(
    ask: (url: URL) => Promise<T>,
    mayAskAgain: (outcome: { value?: T; error?: unknown }) => boolean,
    { tries, isAlone }: { tries: number; isAlone: boolean },
  ): Promise<T> {
    const deadline = Date.now() + TIMEOUT_MS;
    for (let attempt = 1; ; attempt++) {
      this.signal?.throwIfAborted();
      const { url } = this;
      const isLast = isAlone ? attempt >= tries : Date.now() > deadline;
      try {
        const value = await ask(url);
        if (isLast || !mayAskAgain({ value })) return value;
      } catch (error) {
        if (isLast || !mayAskAgain({ error })) throw error;
      }
      if (isAlone) continue;
      this.moveOn(url);
      if (attempt % this.urls.length === 0) await sleep(ROUND_MS);
    }
  }

  /** A change is repeated only where PD has not begun it. */
  private sendToAny(method: string, path: string, body: unknown): Promise<{ status: number; text: string }> {
    return this.askMembers(
      (url) => this.send(url, method, path, body),
      ({ value, error }) => {
        if (value !== undefined)
          return value.status === 503 || (method === 'GET' && NO_LEADER.includes(value.status));
        const { cause } = error as { cause?: NodeJS.ErrnoException };
        return method === 'GET' || cause?.code === 'ECONNREFUSED';
      },
      { tries: 1, isAlone: this.urls.length === 1 },
    );
  }

  private async retry(
    method: Manner,
    message: Uint8Array,
    address: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<[Buffer, string]> {
    const { path, isRead = false, isOnce = false, timeoutMs } = method;
    let to = address ?? '';
    const isAlone = address !== undefined || this.urls.length === 1;
    try {
      const ask = async (url: URL): Promise<Buffer> => {
        signal?.throwIfAborted();
        to = address ?? url.host;
        const manner = { ...method, timeoutMs: timeoutMs ?? (isAlone ? TIMEOUT_MS : MEMBER_TIMEOUT_MS) };
        return this.ask(to, manner, message, signal);
      };
      const answer = await this.askMembers(
        ask,
        ({ error }) => {
          const code = (error as grpc.ServiceError | undefined)?.code;
          if (code === grpc.status.UNAVAILABLE) return !isOnce;
          return (
            isRead && !isAlone && (code === grpc.status.DEADLINE_EXCEEDED || NOT_LEADER.test(String(error)))
          );
        },
        { tries: MAX_TRIES, isAlone },
      );
      return [answer, to];
    } catch (error) {
      signal?.throwIfAborted();
      const { code, details } = error as grpc.ServiceError;
      if (NO_ANSWER.includes(code)) {
        const hint =
          address === undefined
            ? undefined
            : `run this where the store at ${to} can be reached: with Istio, in a pod with a sidecar (docs/install.md)`;
        throw unreachable(path, to, new Error(causeIn(details), { cause: error }), hint);
      }
      throw new CallError(`${path} at ${to}: ${grpc.status[code] ?? 'failed'}: ${details}`, code);
    }
  }

  /** Closes all connections. */
  close(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  private send(
    { hostname, port, host }: URL,
    method: string,
    path: string,
    body: unknown,
    at?: At,
  ): Promise<{ status: number; text: string }> {
    const request = this.tls ? tlsRequest : plainRequest;
    const timeout = this.urls.length === 1 ? TIMEOUT_MS : MEMBER_TIMEOUT_MS;
    // A URL has an address of IPv6 in brackets, and a socket has not.
    const bare = hostname.replace(/^\[|\]$/g, '');
    // One of several addresses of a name.
    const where = at && at.address !== bare ? `${host} (${at.address})` : host;
    const failed = (error: Error): CommandError => unreachable(`${method} ${path}`, where, error);
    return new Promise((resolve, reject) => {
      const there = at && {
        // The certificate is the name's.
        ...(isIP(bare) === 0 ? { servername: this.tls?.servername ?? bare } : {}),
        headers: { host },
        hostname: at.address,
        ...(at.isFresh ? { agent: false } : {}),
      };
      const { signal } = this;
      const ends = signal ? { signal } : {};
      if (this.tls) this.secure ??= createSecureContext(this.tls);
      const tls = { ...this.tls, ...(this.secure ? { secureContext: this.secure } : {}) };
      const options = { ...tls, hostname: bare, port, path, method, timeout, ...there, ...ends };
      const call = request(options, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }),
        );
        response.on('error', (error) => reject(failed(error)));
      });
      call.on('timeout', () => call.destroy(new Error(`no answer within ${timeout / 1000} s`)));
      call.on('error', (error) => reject(failed(error)));
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

  /** Resolves when there is a connection for calls to a server. @throws CommandError when there is none in time */
  async connected(address: string): Promise<void> {
    await new Promise<void>((resolve, reject) =>
      this.client(address).waitForReady(Date.now() + TIMEOUT_MS, (error) =>
        error ? reject(unreachable('a connection', address, error)) : resolve(),
      ),
    );
  }

  private ask(
    address: string,
    method: Manner,
    message: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    const { path, isStream = false, timeoutMs = TIMEOUT_MS } = method;
    const client = this.client(address);
    const asIs = (data: Buffer): Buffer => data;
    const deadline = Date.now() + timeoutMs;
    const data = Buffer.from(message);
    if (!isStream)
      return new Promise((resolve, reject) => {
        const call = client.makeUnaryRequest(
          path,
          asIs,
          asIs,
          data,
          new grpc.Metadata(),
          { deadline },
          (error, answer) => {
            signal?.removeEventListener('abort', cancel);
            if (error) reject(error);
            else resolve(answer ?? Buffer.alloc(0));
          },
        );
        const cancel = (): void => call.cancel();
        signal?.addEventListener('abort', cancel);
      });
    return new Promise((resolve, reject) => {
      const call = client.makeBidiStreamRequest(path, asIs, asIs, new grpc.Metadata(), { deadline });
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel);
      call.once('close', () => signal?.removeEventListener('abort', cancel));
      call.on('error', reject);
      call.on('data', (answer: Buffer) => {
        resolve(answer);
        call.cancel();
      });
      call.write(data);
    });
  }
}
