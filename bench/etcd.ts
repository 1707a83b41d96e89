/**
 * A tenant's etcd through Envoy with the filter, beside plain Envoy and beside etcd's own proxy with a namespace, all in front of one PD; and
 * PD's answers about regions beside plain Envoy, from a server with canned bytes. Each proxy has one core, and clients another.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { buildEtcd, buildTool, prepare } from '../test/harness/stack/builds.ts';
import { callGrpc } from '../test/harness/stack/caller.ts';
import { principalOf, type CertFiles } from '../test/harness/stack/certs.ts';
import { freePorts } from '../test/harness/stack/ports.ts';
import { waitHealthy, type Run } from '../test/harness/stack/processes.ts';
import { silent } from '../test/harness/stack/progress.ts';
import { startStack, type Stack } from '../test/harness/stack/stack.ts';
import type { Benchmark, Result, Settings } from './benchmark.ts';
import { startProxy, type Proxy } from './envoy.ts';
import { drive, MEASURED_CORE, otherCores, pinned, processorSeconds, startAnswers } from './load.ts';
import { regionCalls, regionsIn } from './region-calls.ts';
import { median, rowOf, short, tableOf, type Row } from './rows.ts';

const run = promisify(execFile);

const SIDES = ['grpc-proxy', 'plain Envoy', 'filter'] as const;
type Side = (typeof SIDES)[number];
const ENVOYS = ['plain Envoy', 'filter'] as const;
const KINDS = ['put', 'get', 'txn', 'watch'] as const;
type Kind = (typeof KINDS)[number];

const ROUNDS = 5;
const SECONDS = 2;
const START_TIMEOUT = 30_000;
const WORKERS = 32;
/** Issue 7: of etcd's own proxy, for all but watches. */
const BUDGET = 2;

interface Report {
  perSecond: number;
  /** Microseconds. */
  p50: number;
  p99: number;
}

interface Measured extends Report {
  /** Share of one core that the proxy used. */
  busy: number;
}

/** etcd's own proxy, with TLS towards clients as Envoy has it. */
async function startGrpcProxy(owner: Run, certs: CertFiles, pd: string): Promise<Proxy> {
  const [port] = (await freePorts(1)) as [number];
  const [command, args] = pinned(MEASURED_CORE, await buildEtcd(), [
    'grpc-proxy',
    'start',
    `--endpoints=${pd}`,
    `--listen-addr=127.0.0.1:${port}`,
    '--namespace=/grpc-proxy:',
    `--cert-file=${certs.cert}`,
    `--key-file=${certs.key}`,
    `--trusted-ca-file=${certs.ca}`,
    `--data-dir=${owner.data}/grpc-proxy`,
  ]);
  const server = await owner.spawn({ name: 'grpc-proxy', command, args, env: { GOMAXPROCS: '1' } });
  await waitHealthy(server, 'an answer', START_TIMEOUT, async () => {
    await run(await buildTool('etcdclient'), ['do', ...flags(port, certs), 'get', 'none'], { timeout: 5000 });
    return true;
  });
  return { port, pid: server.pid };
}

function flags(port: number, certs: CertFiles): string[] {
  return [
    `--endpoint=127.0.0.1:${port}`,
    `--cert=${certs.cert}`,
    `--key-file=${certs.key}`,
    `--ca=${certs.ca}`,
  ];
}

async function load(kind: Kind, port: number, certs: CertFiles, seconds: number): Promise<Report> {
  const [command, args] = pinned(otherCores(), await buildTool('etcdclient'), [
    'load',
    ...flags(port, certs),
    `--kind=${kind}`,
    `--workers=${WORKERS}`,
    `--seconds=${seconds}`,
  ]);
  const { stdout } = await run(command, args, { timeout: (seconds + 30) * 1000 });
  return JSON.parse(stdout) as Report;
}

/** Runs all sides in each round, in another order each time, after one round that does not count. */
async function interleave<S extends string>(
  sides: readonly S[],
  rounds: number,
  proxies: Record<S, Proxy>,
  seconds: number,
  load: (proxy: Proxy, side: S, round: number) => Promise<Report>,
): Promise<Record<S, Measured[]>> {
  const once = async (side: S, round: number): Promise<Measured> => {
    const before = processorSeconds(proxies[side].pid);
    const report = await load(proxies[side], side, round);
    return { ...report, busy: (processorSeconds(proxies[side].pid) - before) / seconds };
  };
  const reports = {} as Record<S, Measured[]>;
  for (const side of sides) {
    reports[side] = [];
    await once(side, 0);
  }
  for (let round = 1; round <= rounds; round++)
    for (const side of round % 2 ? sides : [...sides].reverse()) reports[side].push(await once(side, round));
  return reports;
}

const perSecond = (reports: readonly Measured[]): number[] => reports.map((report) => report.perSecond);

/** Rows of the filter over each other side, and a line of the table. */
function judge<S extends string>(
  name: string,
  reports: Record<S | 'filter', Measured[]>,
  budgets: Partial<Record<S | 'filter', number>> = {},
): [Row[], string[]] {
  const sides = Object.keys(reports) as (S | 'filter')[];
  const figures = Object.fromEntries(
    sides.flatMap((side) => [
      [`${side}: per second`, median(perSecond(reports[side]))],
      [`${side}: share of its core`, median(reports[side].map(({ busy }) => busy))],
      [
        `${side}: µs of its core for one`,
        1e6 * median(reports[side].map((report) => report.busy / report.perSecond)),
      ],
      [`${side}: p50, µs`, median(reports[side].map(({ p50 }) => p50))],
      [`${side}: p99, µs`, median(reports[side].map(({ p99 }) => p99))],
    ]),
  );
  const rows = sides
    .filter((side) => side !== 'filter')
    .map((side) =>
      rowOf(
        `${name}, of ${side}`,
        reports.filter.map((report, i) => report.perSecond / reports[side][i]!.perSecond),
        figures,
        budgets[side],
      ),
    );
  const cells = SIDES.map((side) => {
    const own = (reports as Partial<Record<string, Measured[]>>)[side];
    if (!own) return '';
    const rates = perSecond(own);
    const busy = Math.round(100 * median(own.map((report) => report.busy)));
    const each = Math.round(1e6 * median(own.map((report) => report.busy / report.perSecond)));
    return `${Math.round(median(rates))} at ${busy} %, ${each} µs (${rates.map(Math.round).join(' ')})`;
  });
  const ratio = (side: Side): string => {
    const row = rows.find((each) => each.name.endsWith(`of ${side}`));
    return row ? short(row.ratio) : '';
  };
  return [rows, [name, ...cells, ratio('grpc-proxy'), ratio('plain Envoy')]];
}

async function measureAll(
  stack: Stack,
  wasm: string,
  settings: Settings,
  tell: (detail: string) => void,
): Promise<Result> {
  const rounds = settings.rounds ?? ROUNDS;
  const seconds = settings.seconds ?? SECONDS;
  const { binaries, certs, run: owner } = stack;
  const client = await certs.client(principalOf('alpha'));
  const pd = new URL(stack.pd.directUrl);
  const envoys = async (upstream: number) => ({
    'plain Envoy': await startProxy(owner, 'plain', binaries.envoy, undefined, upstream, certs.server),
    filter: await startProxy(owner, 'filter', binaries.envoy, wasm, upstream, certs.server),
  });
  const proxies = {
    'grpc-proxy': await startGrpcProxy(owner, certs.server, pd.host),
    ...(await envoys(Number(pd.port))),
  };
  const rows: Row[] = [];
  const lines: string[][] = [];
  const add = ([more, line]: [Row[], string[]]): void => {
    rows.push(...more);
    lines.push(line);
  };
  for (const kind of KINDS) {
    const reports = await interleave(SIDES, rounds, proxies, seconds, (proxy, side, round) => {
      tell(`etcd ${kind}: ${side}, round ${round} of ${rounds}`);
      return load(kind, proxy.port, client, seconds);
    });
    add(judge(`etcd ${kind}`, reports, kind === 'watch' ? {} : { 'grpc-proxy': BUDGET }));
  }
  const calls = regionCalls();
  const canned = await envoys(await startAnswers(owner, calls));
  for (const call of calls) {
    // What is refused or left out would be fast.
    for (const { port } of Object.values(canned)) {
      const { status, body } = await callGrpc(
        `127.0.0.1:${port}`,
        client,
        call.path,
        call.request.subarray(5),
      );
      const wanted = call.path.endsWith('/GetRegion') ? 1 : 1024;
      if (status !== 'OK' || regionsIn(call, body!) !== wanted)
        throw new Error(`${call.name} is answered with ${status}, not with ${wanted} regions`);
    }
    const reports = await interleave(ENVOYS, rounds, canned, seconds, (proxy, side, round) => {
      tell(`${call.name}: ${side}, round ${round} of ${rounds}`);
      return drive(owner, call, { port: proxy.port, certs: client, seconds, inFlight: WORKERS });
    });
    add(judge(call.name, reports));
  }
  const text = [
    `Per second, medians and all ${rounds} rounds; of watch, events that 20 watches were told of. Behind them the share of its core`,
    "that the proxy used, well below 100 % where it was not the proxy that was waited for, and that share for one: puts wait for PD's disk.",
    tableOf(['', ...SIDES, 'filter / grpc-proxy', 'filter / plain'], lines),
  ].join('\n');
  return { rows, text };
}

export const etcd: Benchmark = {
  name: 'etcd',
  summary: "a tenant's etcd beside etcd's own proxy and plain Envoy, and PD's regions beside plain Envoy",
  async run(settings, tell) {
    const { wasm } = await prepare(silent, { filter: true });
    const stack = await startStack({ mesh: false, startTidbs: false });
    try {
      return await measureAll(stack, wasm, settings, tell);
    } finally {
      await stack.stop();
    }
  },
};
