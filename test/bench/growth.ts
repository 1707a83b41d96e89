/** How the rewriter's cost grows with a message's size and with its keys. */
import { spaceOf } from '../unit/model/key-spaces.ts';
import { messageId } from '../unit/model/schema.ts';
import type { SpaceChoice } from '../unit/filter.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import { coprocessorResponseOf, prewriteOf, type TypicalMessage } from './messages.ts';
import { median, rowOf, short, tableOf, type Row } from './rows.ts';
import { BenchWasm, buildBenchWasm, type Loaded } from './wasm.ts';

const PREFIX = '/tidb-mesh/alpha:';
const ROUNDS = 9;
const SECONDS = 0.03;
const SPACES: { name: string; choice: SpaceChoice }[] = [
  { name: 'keyspace', choice: { number: 1, keyspace: { id: 7, mode: 'txn' } } },
  { name: 'table', choice: { number: 1 } },
];
/** From 100 B to 16 MB. */
const SIZES = [100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000, 16_000_000];
const KEYS = [1, 10, 100, 1_000, 10_000, 100_000];

interface Point {
  readonly curve: 'bytes' | 'keys';
  readonly space: string;
  /** Bytes of the value, or keys. */
  readonly at: number;
  readonly length: number;
  readonly ours: number[];
  readonly copy: number[];
  readonly run: (times: number) => { cpuNs: number };
  readonly copyRun: (times: number) => { cpuNs: number };
}

function timesFor(run: (times: number) => { cpuNs: number }, seconds: number): number {
  let times = 1;
  for (;;) {
    const took = run(times).cpuNs / 1e9;
    if (took > seconds / 2) return Math.max(1, Math.round((times * seconds) / took));
    times *= 2;
  }
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Point[]> {
  await buildBenchWasm();
  const points: Point[] = [];
  for (const { name, choice } of SPACES) {
    const wasm = new BenchWasm(choice, PREFIX);
    const add = (curve: Point['curve'], at: number, message: TypicalMessage): void => {
      const loaded: Loaded = wasm.load(messageId(message.type), message.bytes, message.way);
      const run = (times: number) => wasm.run(loaded, times);
      const copyRun = (times: number) => wasm.copy(loaded, times);
      points.push({ curve, space: name, at, length: message.bytes.length, ours: [], copy: [], run, copyRun });
    };
    for (const size of SIZES) add('bytes', size, coprocessorResponseOf(size, spaceOf(choice)));
    for (const keys of KEYS) add('keys', keys, prewriteOf(keys));
  }
  const seconds = settings.seconds ?? SECONDS;
  const rounds = settings.rounds ?? ROUNDS;
  const times = new Map(
    points.map((point) => {
      tell(`warming up ${point.at} ${point.curve}`);
      return [point, { ours: timesFor(point.run, seconds), copy: timesFor(point.copyRun, seconds) }];
    }),
  );
  for (let round = 1; round <= rounds; round++) {
    tell(`round ${round} of ${rounds}`);
    for (const point of points) {
      const { ours, copy } = times.get(point)!;
      point.ours.push(point.run(ours).cpuNs / ours);
      point.copy.push(point.copyRun(copy).cpuNs / copy);
    }
  }
  return points;
}

/** The same for each byte or key as at the curve's largest point, or the message's fixed cost on top: linear or better. */
function rowsOf(points: readonly Point[]): Row[] {
  return points.map(({ curve, space, at, length, ours, copy }) =>
    rowOf(
      `growth/${at} ${curve}/${space}/copy`,
      ours.map((ns, round) => copy[round]! / ns),
      { bytes: length, nanoseconds: median(ours), copyNanoseconds: median(copy), [curve]: at },
    ),
  );
}

function textOf(points: readonly Point[]): string {
  return tableOf(
    ['curve', 'key space', 'at', 'bytes', 'ns', 'ns each', '/ memcpy'],
    points.map(({ curve, space, at, length, ours, copy }) => [
      curve,
      space,
      at.toLocaleString('en'),
      length.toLocaleString('en'),
      short(median(ours)),
      short(median(ours) / at),
      short(median(copy) / median(ours)),
    ]),
  );
}

export const growth: Benchmark = {
  name: 'growth',
  summary: 'how the cost of one message grows: 100 B to 16 MB of a value, 1 to 100,000 keys',
  async run(settings, tell) {
    const points = await measure(settings, tell);
    return { rows: rowsOf(points), text: textOf(points) };
  },
};
