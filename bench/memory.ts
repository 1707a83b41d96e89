/**
 * One worker's VM over ten million messages: 10,000 tenants are configured, a hundred messages pass on each stream, and some come in
 * pieces, end in the middle or are broken. Memory must not grow once everything that is bounded has been filled.
 */
import { setImmediate as breathe } from 'node:timers/promises';
import { Random } from '../test/harness/model/random.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import { configOf, tenantName } from './growth-callers.ts';
import { mixedCalls, type MixedCall } from './mix.ts';
import { buildModule, callHeaders, HostedModule } from './module.ts';
import { rowAtMost, short, tableOf, type Row } from './rows.ts';

export const MESSAGES = 10_000_000;
const TENANTS = 10_000;
const MESSAGES_PER_STREAM = 100;
/** Streams open at once. */
const OPEN = 1_000;
/** Callers that are remembered are bounded; so many fill that. */
const CALLERS = 200_000;
/** The share of the messages after which nothing may grow any more. */
const WARM_UP = 0.1;
const MESSAGES_PER_SECOND = 50_000;
const MEBIBYTE = 1 << 20;
/** Issue 7, in MiB. */
const BUDGET = 4;
const SAMPLES = 10;
/** In percent of messages. */
const IN_PIECES = 5;
/** One message in so many has a wrong byte. */
const BROKEN = 1000;
/** In percent of the streams that end with one of those. */
const CUT_SHORT = 50;

interface Open {
  readonly call: MixedCall;
  readonly tenant: number;
  readonly context: number;
  left: number;
  /** The next message is an answer. */
  answers: boolean;
}

interface Measured {
  messages: number;
  streams: number;
  refused: number;
  /** Bytes of the VM's memory. */
  configured: number;
  start: number;
  end: number;
  /** At evenly spaced messages of the steady state. */
  samples: number[];
  /** Most bytes of unfinished messages that were held at a tick, and those when all streams were closed. */
  mostHeld: number;
  heldAtTheEnd: number;
  seconds: number;
}

function principal(tenant: number, account: number): Buffer {
  return Buffer.from(`spiffe://demo.mesh/ns/${tenantName(tenant)}/sa/account-${account}`);
}

class Traffic {
  readonly random = new Random(23);
  readonly calls = mixedCalls();
  streams = 0;
  refused = 0;

  constructor(private readonly module: HostedModule) {}

  open(): Open {
    const tenant = this.random.below(TENANTS);
    const call = this.random.pick(this.calls);
    const context = this.module.open(principal(tenant, this.random.below(4)), call.headers);
    this.module.answerHeaders(context);
    this.streams++;
    return { call, tenant, context, left: MESSAGES_PER_STREAM, answers: false };
  }

  private feed({ context, answers }: Open, piece: Uint8Array): boolean {
    return answers ? this.module.answer(context, piece) : this.module.request(context, piece);
  }

  /** One message. False when the stream is over. */
  message(stream: Open): boolean {
    // Tenants have the numbers from 1 on.
    const bytes = stream.answers ? stream.call.answer.for(stream.tenant + 1) : stream.call.request;
    if (this.random.below(BROKEN) === 0) {
      const broken = Buffer.from(bytes);
      broken[this.random.below(broken.length)] = this.random.below(256);
      if (!this.feed(stream, broken)) this.refused++;
      // If it was not refused, what the next bytes mean is anybody's guess.
      return false;
    }
    const cut = this.random.chance(IN_PIECES) ? this.random.below(bytes.length) : bytes.length;
    let good = this.feed(stream, bytes.subarray(0, cut));
    const isCutShort = stream.left === 1 && this.random.chance(CUT_SHORT);
    if (good && cut < bytes.length && !isCutShort) good = this.feed(stream, bytes.subarray(cut));
    if (!good) throw new Error(this.module.refusal);
    stream.answers = !stream.answers;
    return --stream.left > 0;
  }
}

/** Every request of the mix holds keys or names: one that goes on as it came was not rewritten. */
function check(module: HostedModule, calls: readonly MixedCall[]): void {
  for (const { headers, request } of calls) {
    const context = module.open(principal(0, 0), headers);
    if (!module.request(context, request)) throw new Error(module.refusal);
    if (Buffer.compare(module.passed(), request) === 0) throw new Error('a request was not rewritten');
    module.close(context);
  }
}

async function measure({ messages }: Settings, tell: (detail: string) => void): Promise<Measured> {
  tell('building');
  await buildModule();
  const module = new HostedModule();
  module.configure(configOf(TENANTS, 1));
  const configured = module.memoryBytes;
  tell(`${CALLERS} callers`);
  const headers = callHeaders('/tikvpb.Tikv/KvGet');
  for (let i = 0; i < CALLERS; i++) module.close(module.open(principal(i % TENANTS, i), headers));

  const traffic = new Traffic(module);
  check(module, traffic.calls);
  const began = Date.now();
  const open = Array.from({ length: OPEN }, () => traffic.open());
  const warm = Math.round(messages * WARM_UP);
  const every = Math.max(1, Math.floor((messages - warm) / SAMPLES));
  let start = 0;
  let mostHeld = 0;
  const samples: number[] = [];
  for (let done = 0; done < messages; done++) {
    const place = done % OPEN;
    const stream = open[place]!;
    if (!traffic.message(stream)) {
      module.close(stream.context);
      open[place] = traffic.open();
    }
    if (done % MESSAGES_PER_SECOND === 0) {
      module.clock += 1000;
      module.tick();
      mostHeld = Math.max(mostHeld, module.metric('tidbmesh_held_bytes'));
      tell(`${done} of ${messages} messages, VM ${short(module.memoryBytes / MEBIBYTE)} MiB`);
      await breathe();
    }
    if (done === warm) start = module.memoryBytes;
    if (done > warm && (done - warm) % every === 0) samples.push(module.memoryBytes);
  }
  for (const { context } of open) module.close(context);
  module.tick();
  return {
    messages,
    streams: traffic.streams,
    refused: traffic.refused,
    configured,
    start,
    end: module.memoryBytes,
    samples,
    mostHeld,
    heldAtTheEnd: module.metric('tidbmesh_held_bytes'),
    seconds: (Date.now() - began) / 1000,
  };
}

function rowOf(measured: Measured): Row {
  const { start, end, configured, mostHeld, heldAtTheEnd, streams, messages, refused } = measured;
  const figures = {
    messages,
    streams,
    'streams that were refused': refused,
    'bytes after the configuration': configured,
    'bytes at the start of the steady state': start,
    'bytes at the end': end,
    'most bytes held': mostHeld,
    'bytes held at the end': heldAtTheEnd,
  };
  // Memory of a VM never shrinks: what it is at the end is the most it was.
  return rowAtMost('memory, MiB grown in the steady state', [(end - start) / MEBIBYTE], figures, BUDGET);
}

function textOf(measured: Measured): string {
  const { configured, start, end, samples, mostHeld, heldAtTheEnd, streams, messages, refused, seconds } =
    measured;
  const mebibytes = (value: number): string => `${short(value / MEBIBYTE)} MiB`;
  return tableOf(
    ['memory of one VM', ''],
    [
      [`${TENANTS.toLocaleString('en')} tenants configured`, mebibytes(configured)],
      [`after ${CALLERS.toLocaleString('en')} callers and a tenth of the messages`, mebibytes(start)],
      ['on the way', samples.map((value) => short(value / MEBIBYTE)).join(' ')],
      [`after ${messages.toLocaleString('en')} messages`, mebibytes(end)],
      ['streams, those refused', `${streams.toLocaleString('en')}, ${refused.toLocaleString('en')}`],
      ['most held of unfinished messages', mebibytes(mostHeld)],
      ['held when all streams were closed', `${heldAtTheEnd} bytes`],
      ['a message, with the host in Node', `${short((seconds * 1e6) / messages)} µs`],
    ],
  );
}

export const memory: Benchmark = {
  name: 'memory',
  summary: "a VM's memory over ten million messages, 100,000 streams and 10,000 tenants",
  async run(settings, tell) {
    const measured = await measure(settings, tell);
    return { rows: [rowOf(measured)], details: measured, text: textOf(measured) };
  },
};
