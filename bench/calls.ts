/** What each call across the ABI costs, in processor time: modules that make one of them many times, beside one that makes none. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { prepare } from '../test/harness/stack/builds.ts';
import { createCerts, principalOf } from '../test/harness/stack/certs.ts';
import { startRun } from '../test/harness/stack/processes.ts';
import { silent } from '../test/harness/stack/progress.ts';
import { HOST_CALLS, writeBareModule, type HostCall } from './bare.ts';
import type { Benchmark, Result, Settings } from './benchmark.ts';
import { startProxy, unaryCall, type Proxy } from './envoy.ts';
import { drive, startAnswers, threadSeconds } from './load.ts';
import { median, rowOf, short, tableOf } from './rows.ts';
import { together } from './together.ts';

const ROUNDS = 7;
/** A dozen sides share a core. */
const SECONDS = 8;
const IN_FLIGHT = 64;
/** Enough for the calls to outweigh the differences between rounds. */
const TIMES = 20;

/** How often the filter makes each in a unary call whose keys it maps, see docs/performance.md. */
const IN_A_UNARY_CALL: Record<HostCall, number> = {
  'all headers': 3,
  'a property': 1,
  'publish a property': 1,
  'set a header': 1,
  'take bytes of a body': 2,
  'put bytes of a body': 2,
};
/** Context created, headers, body and trailers of both ways as far as there are some, context deleted. */
const CALLBACKS = 7;

const NAMES = Object.keys(HOST_CALLS) as HostCall[];

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Result> {
  const rounds = settings.rounds ?? ROUNDS;
  const seconds = settings.seconds ?? SECONDS;
  const { envoy, wasm } = await prepare(silent, { filter: true });
  const run = await startRun();
  try {
    const folder = join(run.data, 'calls');
    await mkdir(folder, { recursive: true });
    const certs = await createCerts(join(run.data, 'certs'));
    const client = await certs.client(principalOf('alpha'));
    const call = unaryCall();
    const upstream = await startAnswers(run, [call]);
    const modules = new Map<string, string | undefined>([
      ['plain', undefined],
      ['nothing', join(folder, 'nothing.wasm')],
      ['filter', wasm],
      // What it differs by from itself is what the figures may be wrong by.
      ['filter again', wasm],
    ]);
    await writeBareModule(modules.get('nothing')!);
    const like = join(folder, 'like-filter.wasm');
    await writeBareModule(like, { copies: true, likeFilter: true });
    modules.set('like filter', like);
    for (const name of NAMES) {
      const file = join(folder, `${name.replaceAll(' ', '-')}.wasm`);
      await writeBareModule(file, { call: { name, times: TIMES } });
      modules.set(name, file);
    }
    const proxies = new Map<string, Proxy>();
    for (const [side, file] of modules)
      proxies.set(side, await startProxy(run, side, envoy, file, upstream, certs.server));

    /** Microseconds of processor time for one request. */
    const once = async (side: string): Promise<number> => {
      const { port, pid } = proxies.get(side)!;
      const before = threadSeconds(pid);
      const { requests } = await drive(run, call, { port, certs: client, seconds, inFlight: IN_FLIGHT });
      return ((threadSeconds(pid) - before) / requests) * 1e6;
    };
    const costs = await together([...proxies.keys()], rounds, once, tell);

    const over = (side: string, base: string, times: number): number[] =>
      costs[side]!.map((cost, i) => (cost - costs[base]![i]!) / times);
    const lines: string[][] = [];
    let sum = 0;
    const line = (name: string, each: number[], times: number): void => {
      sum += median(each) * times;
      lines.push([
        name,
        short(median(each)),
        `${short(Math.min(...each))} to ${short(Math.max(...each))}`,
        String(times),
        short(median(each) * times),
      ]);
    };
    line('a callback with nothing in it', over('nothing', 'plain', CALLBACKS), CALLBACKS);
    for (const name of NAMES) line(name, over(name, 'nothing', TIMES), IN_A_UNARY_CALL[name]);
    const whole = median(over('filter', 'plain', 1));
    const calling = over('like filter', 'plain', 1);
    lines.push(
      ['all of these', '', '', '', short(sum)],
      ['a module that makes these calls and nothing else', '', '', '', short(median(calling))],
      ['the filter', '', '', '', short(whole)],
      ['the same filter again', '', '', '', short(median(over('filter again', 'plain', 1)))],
    );
    const plain = median(costs['plain']!);
    const figures = Object.fromEntries(
      Object.entries(costs).map(([side, cost]) => [`${side}: microseconds of processor each`, median(cost)]),
    );
    return {
      rows: [
        rowOf(
          'calls across the ABI, of what the filter adds to plain Envoy',
          calling.map((cost, i) => cost / over('filter', 'plain', 1)[i]!),
          figures,
        ),
      ],
      text: [
        `Processor time of a unary call in microseconds; plain Envoy takes ${short(plain)}. Each call was made ${TIMES} times more in every stream. All ran at the same time.`,
        tableOf(['', 'each', 'rounds', 'in a unary call', 'together'], lines),
      ].join('\n'),
    };
  } finally {
    await run.end();
  }
}

export const calls: Benchmark = {
  name: 'calls',
  summary: 'what each call between Envoy and a module costs, and how much of the filter that is',
  run: measure,
};
