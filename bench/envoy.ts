/** One worker of Envoy with the filter, beside plain Envoy, modules that do nothing and a pass-through in Go: requests per second and latencies. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { prepare } from '../test/harness/stack/builds.ts';
import { createCerts, principalOf, type CertFiles } from '../test/harness/stack/certs.ts';
import { envoyBootstrap } from '../test/harness/stack/envoy-config.ts';
import { freePorts } from '../test/harness/stack/ports.ts';
import { startRun, waitHealthy, type Run } from '../test/harness/stack/processes.ts';
import { silent } from '../test/harness/stack/progress.ts';
import { standardPluginConfig } from '../test/harness/stack/stack.ts';
import { encode } from '../test/harness/support/messages.ts';
import { writeBareModule } from './bare.ts';
import type { Benchmark, Result, Settings } from './benchmark.ts';
import { p99Ratio } from './latency.ts';
import {
  drive,
  frame,
  MEASURED_CORE,
  pinned,
  startAnswers,
  startPassThrough,
  threadSeconds,
  type Call,
} from './load.ts';
import { batchAnswer, batchRequest, keyedAnswer, keyedRequest } from './traffic.ts';
import { median, rowOf, short, tableOf, type Row } from './rows.ts';
import { together } from './together.ts';

/** Those that make the filter's calls and nothing else are the floor that the ABI sets for one that knows its callers. */
const SIDES = ['plain', 'reads nothing', 'copies bodies', 'same calls', 'filter', 'Go pass-through'] as const;
type Side = (typeof SIDES)[number];

const ROUNDS = 7;
/** Six sides share a core. */
const SECONDS = 6;
const START_TIMEOUT = 30_000;
/** Latencies are compared at these shares of what the filter takes at most. At the higher one they tell of queues: plain Envoy is less busy with it. */
const LATENCY_LOADS = [0.3, 0.6] as const;

const TENANTS = [{ name: 'alpha', number: 1 }];

export interface Proxy {
  readonly port: number;
  readonly pid: number;
}

interface Comparison {
  readonly name: string;
  readonly call: Call;
  readonly against: Side;
  readonly budget: number;
  /** The filter takes bodies out and puts them back. */
  readonly readsBodies: boolean;
}

/** A kilobyte each way, with keys. */
export function unaryCall(): Call {
  return {
    name: 'unary',
    path: '/tikvpb.Tikv/KvBatchGet',
    request: frame(keyedRequest()),
    answer: frame(keyedAnswer()),
    streaming: false,
  };
}

function comparisons(): Comparison[] {
  const opaque = new Uint8Array(1024 - 8);
  const unread: Call = {
    name: 'unread',
    path: '/pdpb.PD/GetAllStores',
    request: frame(encode('kvrpcpb.RawGetResponse', { value: opaque })),
    answer: frame(encode('kvrpcpb.RawGetResponse', { value: opaque })),
    streaming: false,
  };
  const batch: Call = {
    name: 'batch',
    path: '/tikvpb.Tikv/BatchCommands',
    request: frame(batchRequest()),
    answer: frame(batchAnswer()),
    streaming: true,
  };
  return [
    {
      name: 'unary, 1 KB, keys rewritten',
      call: unaryCall(),
      against: 'copies bodies',
      budget: 0.95,
      readsBodies: true,
    },
    {
      name: 'unary, 1 KB, body without keys',
      call: unread,
      against: 'reads nothing',
      budget: 0.98,
      readsBodies: false,
    },
    {
      name: "BatchCommands stream, TiDB's mix",
      call: batch,
      against: 'plain',
      budget: 0.95,
      readsBodies: true,
    },
  ];
}

let started = 0;

/** One worker of Envoy on the measured core, with a module if there is one. `side` names its files. */
export async function startProxy(
  run: Run,
  side: string,
  envoy: string,
  wasm: string | undefined,
  upstream: number,
  certs: CertFiles,
): Promise<Proxy> {
  const [pd, store, admin] = (await freePorts(3)) as [number, number, number];
  const name = `${side.replaceAll(' ', '-')}-${++started}`;
  const config = join(run.data, `${name}.json`);
  const bootstrap = envoyBootstrap({
    ports: { pd, store, admin },
    upstream: { pd: upstream, store: upstream },
    certs,
    accessLog: '/dev/null',
    ...(wasm === undefined
      ? {}
      : { filter: { wasmPath: wasm, pluginConfig: standardPluginConfig(TENANTS) } }),
  });
  await writeFile(config, JSON.stringify(bootstrap));
  const [command, args] = pinned(MEASURED_CORE, envoy, [
    '--config-path',
    config,
    '--concurrency',
    '1',
    '--disable-hot-restart',
    '--log-level',
    'warn',
  ]);
  const server = await run.spawn({ name: `envoy-${name}`, command, args });
  await waitHealthy(server, 'readiness', START_TIMEOUT, async () => {
    const response = await fetch(`http://127.0.0.1:${admin}/ready`);
    await response.arrayBuffer();
    return response.ok ? true : undefined;
  });
  // The store's listener takes every path; both go to the same upstream.
  return { port: store, pid: server.pid };
}

interface Measured {
  perSecond: number;
  /** Share of one core that Envoy used. */
  busy: number;
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Result> {
  const rounds = settings.rounds ?? ROUNDS;
  const seconds = settings.seconds ?? SECONDS;
  const { envoy, wasm } = await prepare(silent, { filter: true });
  const run = await startRun();
  try {
    const folder = join(run.data, 'bare');
    await mkdir(folder, { recursive: true });
    const bare = { reads: join(folder, 'reads-nothing.wasm'), copies: join(folder, 'copies.wasm') };
    await writeBareModule(bare.reads);
    await writeBareModule(bare.copies, { copies: true });
    const calling = { bodies: join(folder, 'calls.wasm'), none: join(folder, 'calls-for-headers.wasm') };
    await writeBareModule(calling.bodies, { copies: true, likeFilter: true });
    await writeBareModule(calling.none, { likeFilter: true });
    const certs = await createCerts(join(run.data, 'certs'));
    const client = await certs.client(principalOf('alpha'));
    const all = comparisons();
    const upstream = await startAnswers(
      run,
      all.map(({ call }) => call),
    );
    const modules = {
      plain: undefined,
      'reads nothing': bare.reads,
      'copies bodies': bare.copies,
      filter: wasm,
    };
    const proxies = {} as Record<Side, Proxy>;
    for (const side of Object.keys(modules) as (keyof typeof modules)[])
      proxies[side] = await startProxy(run, side, envoy, modules[side], upstream, certs.server);
    proxies['Go pass-through'] = await startPassThrough(run, upstream, certs.server);
    const same = {
      bodies: await startProxy(run, 'calls', envoy, calling.bodies, upstream, certs.server),
      none: await startProxy(run, 'calls for headers', envoy, calling.none, upstream, certs.server),
    };

    const rows: Row[] = [];
    const lines: string[][] = [];
    for (const { name, call, against, budget, readsBodies } of all) {
      proxies['same calls'] = readsBodies ? same.bodies : same.none;
      const inFlight = call.streaming ? 16 : 64;
      const once = async (side: Side, duration: number, rate = 0) => {
        const { port, pid } = proxies[side];
        const before = threadSeconds(pid);
        const report = await drive(run, call, { port, certs: client, seconds: duration, inFlight, rate });
        return { report, busy: (threadSeconds(pid) - before) / duration };
      };
      const measured = await together(
        SIDES,
        rounds,
        async (side): Promise<Measured> => {
          const { report, busy } = await once(side, seconds);
          return { perSecond: report.perSecond, busy };
        },
        (detail) => tell(`${name}: ${detail}`),
      );
      // By itself the filter would have the whole core.
      const most = median(measured.filter.map(({ perSecond, busy }) => perSecond / busy));
      const p99 = LATENCY_LOADS.map((): number[] => []);
      for (let round = 0; round < rounds; round++) {
        tell(`${name}: latencies, round ${round + 1} of ${rounds}`);
        for (const [i, load] of LATENCY_LOADS.entries()) {
          const atLoad = (side: Side) => async (duration: number) =>
            (await once(side, duration, most * load)).report;
          p99[i]!.push(await p99Ratio(atLoad('plain'), atLoad('filter')));
        }
      }
      const ratios = (side: Side): number[] =>
        measured.filter.map(({ perSecond }, i) => perSecond / measured[side][i]!.perSecond);
      const cost = (side: Side): number[] =>
        measured[side].map(({ busy, perSecond }) => (busy / perSecond) * 1e6);
      const figures = Object.fromEntries(
        SIDES.flatMap((side) => [
          [`${side}: microseconds of processor each`, median(cost(side))],
          [`${side}: per second`, median(measured[side].map(({ perSecond }) => perSecond))],
          [`${side}: share of its core`, median(measured[side].map(({ busy }) => busy))],
        ]),
      );
      rows.push(rowOf(`${name}, of ${against}`, ratios(against), figures, budget));
      if (against !== 'plain') rows.push(rowOf(`${name}, of plain`, ratios('plain'), figures));
      rows.push(rowOf(`${name}, of a module that makes the same calls`, ratios('same calls'), {}));
      rows.push(rowOf(`${name}, of a Go pass-through`, ratios('Go pass-through'), {}));
      const costs = (side: Side): number[] => cost('filter').map((filter, i) => cost(side)[i]! / filter);
      rows.push(rowOf(`${name}, processor time of ${against} over the filter's`, costs(against), {}, budget));
      for (const [i, load] of LATENCY_LOADS.entries())
        rows.push(rowOf(`${name}, p99 of plain over the filter's at ${load} of its most`, p99[i]!, {}));
      lines.push([
        name,
        ...SIDES.map((side) => {
          const { perSecond, busy } = {
            perSecond: median(measured[side].map((m) => m.perSecond)),
            busy: median(measured[side].map((m) => m.busy)),
          };
          return `${Math.round(perSecond)} (${Math.round(busy * 100)} %, ${short(median(cost(side)))} µs)`;
        }),
        short(median(ratios(against))),
        short(median(ratios('same calls'))),
        short(median(ratios('plain'))),
        short(median(costs(against))),
        ...p99.map((rounds) => short(1 / median(rounds))),
      ]);
    }
    const text = [
      'Requests per second of one worker, all at the same time on one core, and the share of it that each used: together well below 100 % the load is not enough.',
      tableOf(
        [
          '',
          ...SIDES,
          'filter / floor',
          'filter / same calls',
          'filter / plain',
          'time, floor / filter',
          ...LATENCY_LOADS.map((load) => `p99 at ${load}, filter / plain`),
        ],
        lines,
      ),
    ].join('\n');
    return { rows, text };
  } finally {
    await run.end();
  }
}

export const envoy: Benchmark = {
  name: 'envoy',
  summary:
    'one worker of Envoy with the filter, beside plain Envoy, modules that do nothing and a pass-through in Go',
  run: measure,
};
