/** The whole of an attack by one hostile tenant on one stack. */
import { messageOf, type Schema } from '../../fuzz/schema.ts';
import { judge as judgeProto, type JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { fieldsOf } from '../../fuzz/tree.ts';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { unframe } from '../envoy/upstream.ts';
import { decode, type Fields } from '../harness/support/messages.ts';
import { concat } from '../harness/model/bytes.ts';
import { frame } from '../harness/model/wire.ts';
import {
  BATCH_METHOD,
  batchVerdict,
  commands,
  httpVerdict,
  Judge,
  send,
  sendBatch,
  sendHttp,
  sideBySide,
  type Command,
} from './attack.ts';
import { EVERY, Forger, type Forgery } from './forge.ts';
import { httpForgeries } from './forge-http.ts';
import { Tally } from './tally.ts';
import type { Hostile, World } from './world.ts';
import type { Wire } from './wire.ts';

/** Refusals wait for the filter's tick, up to a second: many calls at a time cost nothing more. */
const AT_A_TIME = 400;
const BATCH_SIZE = 25;
/** How long a batch may say nothing, in milliseconds: one that waits for a region, and any other. */
const BLOCKED = 1500;
const PATIENCE = 30_000;
/** What splits regions or blocks them. */
const LAST = /Split|Flashback/;
const GET = '/tikvpb.Tikv/KvGet';
const PD_SERVICES =
  /^\/(pdpb|tsopb|etcdserverpb|v3\w+pb|resource_manager|meta_storagepb|keyspacepb|schedulingpb|gcpb|configpb|grpc)\./;

export const METHODS: readonly JudgedMethod[] = judgeProto(readDescriptors()).methods;

export interface Outcome {
  readonly unary: Tally;
  readonly batches: Tally;
  readonly http: Tally;
  readonly headers: Tally;
  /** Whatever must not be: a secret that was shown, a good call that was not answered. */
  readonly problems: string[];
}

/** Which values of a field are tried: all, or some that change with `turn`. */
export type Choose = <T>(values: readonly T[], turn: number, field: string) => readonly T[];
export const everything: Choose = (values) => values;
/** The context is the same in a hundred requests: each of them tries a part of its fields. */
const PARTS = 8;
export const some: Choose = (values, turn, field) => {
  if (field.startsWith('context.') && turn % PARTS !== 0) return [];
  if (field === EVERY) return values;
  // Of the forms of a whole message, the good one too: what follows it must be able to work.
  const good = field === '' ? values.slice(0, 1) : [];
  return [...new Set([...good, ...values.slice(turn % values.length).slice(0, 1)])];
};

function grouped<T>(items: readonly T[], nameOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(nameOf(item), [...(groups.get(nameOf(item)) ?? []), item]);
  return [...groups.values()];
}

/** Groups by field, and thins out the values of each. */
function chosen<T extends { readonly field: string }>(
  forgeries: readonly T[],
  choose: Choose,
  turn: number,
): T[] {
  return grouped(forgeries, ({ field }) => field).flatMap((list, i) =>
    choose(list, turn + i, list[0]!.field),
  );
}

const FORGED_HEADERS = (victim: string, address: string): Record<string, string> => ({
  'x-tidb-mesh-tenant': victim,
  'pd-forwarded-host': address,
  'pd-allow-follower-handle': 'true',
  'x-forwarded-client-cert': `URI=spiffe://demo.mesh/ns/${victim}/sa/tidb`,
  'x-envoy-peer-metadata': 'CgA=',
  'x-envoy-peer-metadata-id': victim,
  'x-envoy-original-path': '/tikvpb.Debug/Get',
  'x-envoy-upstream-rq-timeout-ms': '1',
  'x-forwarded-for': '127.0.0.1',
  'pd-redirector': 'x',
  'component-signature': 'x',
  authorization: 'Basic cm9vdDo=',
});

export class Attack {
  readonly outcome: Outcome = {
    unary: new Tally(),
    batches: new Tally(),
    http: new Tally(),
    headers: new Tally(),
    problems: [],
  };
  private readonly judge: Judge;
  private readonly forger: Forger;

  constructor(
    private readonly schema: Schema,
    private readonly world: World,
    readonly hostile: Hostile,
    private readonly choose: Choose,
  ) {
    this.judge = new Judge(schema, {
      secrets: world.secrets,
      regions: world.foreignRegions,
      keysCount: hostile.attacker.space.name.startsWith('table'),
    });
    this.forger = new Forger(schema, hostile.attacker);
  }

  private problem(what: string): void {
    this.outcome.problems.push(`${this.hostile.tenant}: ${what}`);
  }

  private wireOf({ path }: JudgedMethod): Wire {
    return PD_SERVICES.test(path) ? this.hostile.pd : this.hostile.store;
  }

  /** A call of its own goes on as ever. */
  async goesOn(after: string): Promise<void> {
    for (const wire of [this.hostile.pd, this.hostile.store])
      for (const code of wire.takeGoaways())
        this.problem(`in ${after} Envoy ends a connection with all its streams, by a GOAWAY with ${code}`);
    await this.hostile.refresh();
    const { headers, body } = await this.hostile.store.call(GET, frame(this.hostile.read()));
    const [message] = unframe(body);
    if (headers['grpc-status'] !== '0' || !message || !this.isGood(message))
      this.problem(`after ${after} its own row is ${String(headers['grpc-status'])} ${body.toString('hex')}`);
  }

  /** An answer to a good request: its own row, unless it has deleted it. */
  private isGood(message: Uint8Array): boolean {
    const { value, regionError, error } = decode('kvrpcpb.GetResponse', message);
    // Its own regions it may have put into flashback, or split.
    const { flashbackInProgress, epochNotMatch } = (regionError ?? {}) as Fields;
    if (flashbackInProgress !== undefined || epochNotMatch !== undefined) return true;
    if (regionError !== undefined || error !== undefined) return false;
    return (value as Uint8Array).length === 0 || this.hostile.value.equals(value as Uint8Array);
  }

  /** Every method, one forged request a stream. */
  async unary(): Promise<void> {
    await this.unaryOf(false);
    await this.goesOn('all methods');
  }

  /** What its own regions do not survive: the rest of its requests would be answered by errors of the region only. */
  async breaking(): Promise<void> {
    await this.batchesOf(true);
    await this.unaryOf(true);
    await this.goesOn('all that breaks regions');
  }

  private async unaryOf(areLast: boolean): Promise<void> {
    const methods = METHODS.filter(({ path }) => path !== BATCH_METHOD && LAST.test(path) === areLast);
    const calls = methods.flatMap((method, turn) => {
      const forged = this.forger.requests(method);
      return chosen(forged, this.choose, turn).map((forgery) => ({ method, forgery }));
    });
    await sideBySide(calls, AT_A_TIME, ({ method, forgery }) => this.one(method, forgery));
  }

  private async one(method: JudgedMethod, { field, role, value, isFatal, bytes }: Forgery): Promise<void> {
    const exchange = await send(this.wireOf(method), method, bytes);
    const response = messageOf(method, 'response');
    const shown = this.judge.leak(exchange, response === '' ? 'mesh.Unread' : response, bytes);
    const what = `${method.path} ${field} ${value}`;
    if (shown !== undefined) this.problem(`${what} shows ${shown}`);
    const verdict = this.judge.verdict(exchange, response);
    // A server that does not know a method says so at once, before it could have its body.
    if (isFatal && verdict.verdict === 'ok') this.problem(`${what} reaches the server`);
    this.outcome.unary.add(
      method.decision === 'MAP' ? role || 'the whole' : method.decision,
      method.path,
      verdict,
    );
  }

  /** Every command of BatchCommands, many forged ones in a message. */
  async batches(): Promise<void> {
    await this.batchesOf(false);
    await this.goesOn('all batches');
  }

  private async batchesOf(areLast: boolean): Promise<void> {
    const calls = commands(this.schema)
      .filter(({ name }) => LAST.test(name) === areLast)
      .flatMap((command, turn) =>
        chosen(this.forger.command(command.request), this.choose, turn).map((forgery) => ({
          command,
          forgery,
        })),
      );
    const groups = Array.from({ length: Math.ceil(calls.length / BATCH_SIZE) }, (_, i) =>
      calls.slice(i * BATCH_SIZE, (i + 1) * BATCH_SIZE),
    );
    const alone: typeof calls = [];
    await sideBySide(groups, 16, async (group) => {
      // One that ends the whole stream would hide how the others are answered.
      if (!(await this.group(group, false))) alone.push(...group);
    });
    await sideBySide(alone, 64, async (call) => {
      await this.group([call], true);
    });
  }

  /** False: the stream ended before the good request was answered, and nothing was counted. */
  private async group(
    calls: readonly { command: Command; forgery: Forgery }[],
    isLast: boolean,
  ): Promise<boolean> {
    // A flashback blocks its region for a while, for the good request as well.
    const mayBlock = calls.some(({ command }) => LAST.test(command.name));
    const get = commands(this.schema).find(({ name }) => name === 'Get')!;
    const { exchange, answers, next } = await sendBatch(
      this.hostile.store,
      calls.map(({ command, forgery }) => [command, forgery.bytes]),
      () => [get.number, this.hostile.read()],
      mayBlock ? BLOCKED : PATIENCE,
    );
    const shown = this.judge.leak(
      exchange,
      'tikvpb.BatchCommandsResponse',
      concat(...calls.map(({ forgery }) => forgery.bytes)),
    );
    const what = (): string =>
      calls.map(({ command, forgery }) => `${command.name} ${forgery.field} ${forgery.value}`).join(', ');
    if (shown !== undefined) this.problem(`a batch of ${what()} shows ${shown}`);
    const whole = this.judge.verdict(exchange, 'tikvpb.BatchCommandsResponse');
    if (next === undefined) {
      if (!isLast) return false;
      if (whole.verdict !== 'refused' && !(mayBlock && whole.verdict === 'open'))
        this.problem(`${what()} ends a stream: ${whole.verdict} ${whole.code}`);
    } else if (!this.isGood(fieldsOf(next)[0]!.bytes))
      this.problem(`the good request behind ${what()} is answered ${Buffer.from(next).toString('hex')}`);
    calls.forEach(({ command, forgery }, i) => {
      const verdict = next === undefined ? whole : batchVerdict(this.judge, command, answers[i]);
      if (forgery.isFatal && (verdict.verdict === 'ok' || verdict.verdict === 'failed'))
        this.problem(
          `${command.name} ${forgery.field} ${forgery.value} reaches the store: ${verdict.verdict} ${verdict.code}`,
        );
      this.outcome.batches.add(forgery.role || 'the whole', command.name, verdict);
    });
    return true;
  }

  /** Every endpoint of PD's HTTP API. */
  async http(): Promise<void> {
    const byEndpoint = grouped(
      httpForgeries(this.hostile.attacker),
      ({ endpoint, method }) => `${method} ${endpoint.path}`,
    );
    const calls = byEndpoint.flatMap((list, turn) => chosen(list, this.choose, turn));
    await sideBySide(calls, AT_A_TIME, async (call) => {
      const exchange = await sendHttp(this.hostile.pd, call);
      const shown = this.judge.leak(exchange, '', Buffer.from(`${call.path} ${call.body}`));
      if (shown !== undefined)
        this.problem(`${call.method} ${call.path} ${call.field} ${call.value} shows ${shown}`);
      this.outcome.http.add(
        call.endpoint.decision === 'refuse' ? 'refuse' : call.field || 'the whole',
        `${call.method} ${call.endpoint.path}`,
        httpVerdict(exchange),
      );
    });
    await this.goesOn('all endpoints');
  }

  /** Every method and endpoint with headers that name somebody else. */
  async headers(): Promise<void> {
    const { victims } = this.hostile.attacker;
    const { headers: tally } = this.outcome;
    const address = new URL(this.world.stack.pd.directUrl).host;
    const calls = METHODS.filter(({ path }) => path !== BATCH_METHOD).flatMap((method, turn) =>
      this.choose(victims, turn, '').map((victim) => ({ method, victim })),
    );
    await sideBySide(calls, AT_A_TIME, async ({ method, victim }) => {
      const good = this.forger.goodRequest(method);
      const exchange = await send(this.wireOf(method), method, good, FORGED_HEADERS(victim.name, address));
      const response = messageOf(method, 'response');
      const shown = this.judge.leak(exchange, response === '' ? 'mesh.Unread' : response, good);
      if (shown !== undefined) this.problem(`${method.path} with headers of ${victim.name} shows ${shown}`);
      tally.add(method.decision, method.path, this.judge.verdict(exchange, response));
    });
    await this.goesOn('all headers');
  }
}
