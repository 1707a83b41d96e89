/** Sends forged requests and judges what comes back. */
import type { Schema } from '../../fuzz/schema.ts';
import { fieldsOf, read, type Node } from '../../fuzz/tree.ts';
import type { JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { unframe } from '../envoy/upstream.ts';
import { bytes, frame, scalar } from '../harness/model/wire.ts';
import { concat } from '../harness/model/bytes.ts';
import { decode } from '../harness/support/messages.ts';
import type { HttpForgery } from './forge-http.ts';
import type { Secrets } from './secrets.ts';
import type { Judged } from './tally.ts';
import type { Exchange, Wire } from './wire.ts';

/** What no answer may hold. */
export interface Forbidden {
  readonly secrets: Secrets;
  readonly regions: ReadonlySet<bigint>;
  /** False where any bytes are a key of the attacker's own: then only what nobody knows counts. */
  readonly keysCount: boolean;
}

/** Runs them side by side, that many at a time. */
export async function sideBySide<T>(
  items: readonly T[],
  atATime: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
}

const OURS = /tidb-mesh\[([A-Z_]+)\]/;
const REGION = 'metapb.Region';

function* all(nodes: readonly Node[], message: string): Generator<{ n: Node; message: string }> {
  for (const n of nodes) {
    yield { n, message };
    if (n.children !== undefined) yield* all(n.children, n.message);
  }
}

export class Judge {
  constructor(
    private readonly schema: Schema,
    private readonly forbidden: Forbidden,
  ) {}

  /**
   * Whose things an answer shows; undefined where it shows none. `response` is empty where nobody knows the message.
   * @param sent the request, whose keys may come back
   */
  leak({ headers, body }: Exchange, response: string, sent: Uint8Array): string | undefined {
    for (const [name, value] of Object.entries(headers)) {
      const shown = this.secretIn(Buffer.from(decoded(String(value)), 'utf8'), sent);
      if (shown !== undefined) return `${shown} in ${name}`;
    }
    const shown = this.secretIn(body, sent);
    if (shown !== undefined) return shown;
    return response === '' ? this.jsonRegion(body) : this.region(body, response);
  }

  private secretIn(bytes_: Buffer, sent: Uint8Array): string | undefined {
    const { secrets, keysCount } = this.forbidden;
    return keysCount ? secrets.shownIn(bytes_, Buffer.from(sent)) : secrets.unknownIn(bytes_);
  }

  private region(body: Buffer, response: string): string | undefined {
    for (const { n, message } of this.nodes(body, response))
      if (message === REGION && n.field === 1 && this.forbidden.regions.has(n.value))
        return `the region ${n.value}`;
    return undefined;
  }

  private jsonRegion(body: Buffer): string | undefined {
    for (const [, id] of body.toString().matchAll(/"id":\s*(\d+),\s*"start_key"/g))
      if (this.forbidden.regions.has(BigInt(id!))) return `the region ${id}`;
    return undefined;
  }

  private nodes(body: Buffer, response: string): { n: Node; message: string }[] {
    const described = this.schema.messages.get(response);
    return unframe(body).flatMap((one) => [...all(read(one, described, this.schema), response)]);
  }

  /** How a gRPC call was answered. */
  verdict({ headers, body, ended }: Exchange, response: string): Judged {
    const text = decoded(String(headers['grpc-message'] ?? ''));
    const ours = OURS.exec(text) ?? OURS.exec(body.toString('latin1'));
    if (ours) return { verdict: 'refused', code: ours[1]! };
    const status = headers['grpc-status'];
    if (status !== undefined && status !== '0') return { verdict: 'failed', code: `grpc-status ${status}` };
    const wrong = this.nodes(body, response).find(({ n, message }) => this.isError(n, message));
    if (wrong) return { verdict: 'failed', code: wrong.message };
    if (!ended && body.length === 0) return { verdict: 'open', code: '' };
    if (status === undefined && ended && body.length === 0) return { verdict: 'failed', code: 'a reset' };
    return { verdict: 'ok', code: '' };
  }

  private isError({ field, bytes: content, children }: Node, message: string): boolean {
    const described = this.schema.messages.get(message)?.byNumber.get(field);
    return (
      described !== undefined &&
      described.error !== 'ERROR_UNSPECIFIED' &&
      (content.length > 0 || children !== undefined)
    );
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** How long a stream may say nothing: before its first answer, and after one. */
const QUIET = { first: 1500, next: 250 };
/** The rest of a batch's answers, on a busy machine: after less, answers that were on their way counted as missing. */
const QUIET_IN_BATCH = 2000;
/** How long a call may take on a busy machine: 400 go at a time. With 5 s, one pause of a server left 300 of them open. */
const LIMIT = 20_000;

/** Sends a forged request of a method, alone on a stream. */
export async function send(
  wire: Wire,
  { path, decision, clientStreaming, serverStreaming }: JudgedMethod,
  forged: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Exchange> {
  const streams = decision === 'MAP' && serverStreaming;
  return wire.call(path, frame(forged), {
    limit: LIMIT,
    headers,
    // A stream may stay open for ever: what comes within a while is its answer.
    ...(streams ? { quiet: QUIET, open: clientStreaming } : {}),
  });
}

/** The field of BatchCommands for a unary method of the store. */
export interface Command {
  readonly name: string;
  /** Of the field in the request and in the answer. */
  readonly number: number;
  readonly request: string;
  readonly response: string;
}

export const BATCH_METHOD = '/tikvpb.Tikv/BatchCommands';

/** All commands of a batch. */
export function commands(schema: Schema): Command[] {
  const answers = schema.message('tikvpb.BatchCommandsResponse.Response').byNumber;
  return [...schema.message('tikvpb.BatchCommandsRequest.Request').byNumber].map(
    ([number, { name, message }]) => ({
      name,
      number,
      request: message ?? '',
      response: answers.get(number)?.message ?? '',
    }),
  );
}

function batch(
  requests: readonly (readonly [number: number, request: Uint8Array])[],
  firstId: number,
): Buffer {
  return Buffer.from(
    frame(
      concat(
        ...requests.map(([number, request]) => bytes(1, bytes(number, request))),
        ...requests.map((_, i) => scalar(2, firstId + i)),
      ),
    ),
  );
}

export interface BatchOutcome {
  readonly exchange: Exchange;
  /** The answer to each request, as its bytes; undefined where none came. */
  readonly answers: (Uint8Array | undefined)[];
  /** The answer to the good request that followed on the same stream. */
  readonly next: Uint8Array | undefined;
}

/** Sends forged commands in one message, and then a good one on the same stream. */
export async function sendBatch(
  wire: Wire,
  forged: readonly (readonly [command: Command, request: Uint8Array])[],
  good: () => readonly [number: number, request: Uint8Array],
  limit: number,
): Promise<BatchOutcome> {
  const goodId = forged.length + 1;
  const found = new Map<number, Uint8Array>();
  const requests = [
    batch(
      forged.map(([{ number }, request]) => [number, request]),
      1,
    ),
    batch([good()], goodId),
  ];
  let known = 0;
  const exchange = await wire.call(BATCH_METHOD, Buffer.concat(requests), {
    limit,
    quiet: { first: limit, next: QUIET_IN_BATCH },
    open: true,
    isDone(body) {
      const messages = unframe(body);
      for (const message of messages.slice(known)) {
        const { requestIds } = decode('tikvpb.BatchCommandsResponse', message) as { requestIds: bigint[] };
        responsesOf(message).forEach((response, i) => found.set(Number(requestIds[i]), response));
      }
      known = messages.length;
      // Some wait for locks, for longer than anybody here waits for them.
      return found.size > forged.length;
    },
  });
  return { exchange, answers: forged.map((_, i) => found.get(i + 1)), next: found.get(goodId) };
}

/** The answers in a batch, as their bytes. */
function responsesOf(message: Buffer): Uint8Array[] {
  return fieldsOf(message)
    .filter(({ field }) => field === 1)
    .map(({ bytes: content }) => content);
}

export function sendHttp(
  wire: Wire,
  { method, path, body }: HttpForgery,
  headers: Record<string, string> = {},
): Promise<Exchange> {
  const content = Buffer.from(body ?? '');
  return wire.call(path, content, {
    limit: LIMIT,
    headers: {
      ':method': method,
      'content-type': 'application/json',
      ...(body === undefined ? {} : { 'content-length': String(content.length) }),
      ...headers,
    },
  });
}

/** How an HTTP request was answered. */
export function httpVerdict({ headers, body, ended }: Exchange): Judged {
  const ours = OURS.exec(body.toString('latin1'));
  if (ours) return { verdict: 'refused', code: ours[1]! };
  const status = Number(headers[':status'] ?? 0);
  if (status >= 200 && status < 300) return { verdict: 'ok', code: '' };
  if (!ended) return { verdict: 'open', code: '' };
  return { verdict: 'failed', code: status === 0 ? 'a reset' : `HTTP ${status}` };
}

/** Whether a batch's answer was an error, and whose. */
export function batchVerdict(judge: Judge, { response }: Command, answer: Uint8Array | undefined): Judged {
  if (answer === undefined) return { verdict: 'open', code: '' };
  const [inner] = fieldsOf(answer);
  const body = Buffer.from(frame(inner?.bytes ?? new Uint8Array(0)));
  return judge.verdict({ headers: { 'grpc-status': '0' }, body, ended: true }, response);
}
