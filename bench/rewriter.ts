/** The rewriter alone: ten typical messages beside Go's Unmarshal + CodecV2 + Marshal and beside copying the same bytes. */
import { isDeepStrictEqual } from 'node:util';
import { decode, encode } from '../test/harness/support/messages.ts';
import { spaceOf } from '../test/harness/model/key-spaces.ts';
import { messageId } from '../test/harness/model/schema.ts';
import type { SpaceChoice } from '../test/unit/filter.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import type { Took } from './clock.ts';
import { typicalMessages, type TypicalMessage } from './messages.ts';
import { Native } from './native.ts';
import { median, rowOf, short, tableOf, type Row } from './rows.ts';
import { BenchWasm, buildBenchWasm, type Loaded, NaiveWalk } from './wasm.ts';

/** The names in etcd of the tenant. */
const PREFIX = '/tidb-mesh/alpha:';
const KEYSPACE = 7;
/** CodecV2's own key space first: there the native peer reads and writes the same bytes. */
const SPACES: { name: string; choice: SpaceChoice }[] = [
  { name: 'keyspace', choice: { number: 1, keyspace: { id: KEYSPACE, mode: 'txn' } } },
  { name: 'table', choice: { number: 1 } },
];

const ROUNDS = 15;
const SECONDS = 0.02;
/** Times over which all sides are brought to speed: V8 compiles a function well after it has run for a while. */
const WARM_UP_SECONDS = 0.3;

const BUDGET_NATIVE = 40;
const BUDGET_COPY = 0.5;
/** From here on copying outweighs the walking, and the budget is held against it. */
const LARGE_BYTES = 256 * 1024;

/** Also walked without any care, in the table codec: what of its cost is the bytes. */
const BATCH = 'batch of 128 gets';

type Side = (times: number) => Took | Promise<Took>;

interface Case {
  readonly message: TypicalMessage;
  /** Ours in each key space, copying, and the native peer. */
  readonly sides: Map<string, Side>;
  /** How often each side runs in a round. */
  readonly times: Map<string, number>;
  /** Nanoseconds of one message, a round each. */
  readonly rounds: Map<string, number[]>;
}

/** Times that fill `seconds`, with all sides brought to speed on the way. */
async function calibrate(side: Side, seconds: number): Promise<number> {
  let times = 1;
  const end = Date.now() + WARM_UP_SECONDS * 1000;
  for (;;) {
    const { cpuNs, wallNs } = await side(times);
    const took = Math.max(cpuNs, 1) / 1e9;
    if (Date.now() > end && took > seconds / 4) return Math.max(1, Math.round((times * seconds) / took));
    if (wallNs / 1e9 < seconds) times *= 2;
  }
}

/** The message without what encoders may choose: the order of its fields. */
function normal(type: string, bytes: Uint8Array): Uint8Array {
  return encode(type, decode(type, bytes));
}

function check(message: TypicalMessage, ours: Uint8Array, native: Uint8Array): void {
  const { name, type } = message;
  if (!isDeepStrictEqual(Buffer.from(normal(type, ours)), Buffer.from(normal(type, native))))
    throw new Error(`${name}: the native peer makes something else of it`);
}

function lineOf(side: string, nanoseconds: number, bytes: number): string[] {
  return [side, short(1e9 / nanoseconds), short((bytes / nanoseconds) * 1000), short(nanoseconds)];
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Case[]> {
  await buildBenchWasm();
  const seconds = settings.seconds ?? SECONDS;
  const rounds = settings.rounds ?? ROUNDS;
  const messages = SPACES.map(({ choice }) => typicalMessages(spaceOf(choice)));
  const wasm = SPACES.map(({ choice }) => new BenchWasm(choice, PREFIX));
  tell('building the native peer');
  const native = await Native.start(messages[0]!, KEYSPACE, PREFIX);
  try {
    const cases: Case[] = [];
    for (const [i, message] of messages[0]!.entries()) {
      const sides = new Map<string, Side>();
      const loaded = SPACES.map(({ name }, s): Loaded => {
        const { type, way, bytes } = messages[s]![i]!;
        const ready = wasm[s]!.load(messageId(type), bytes, way);
        sides.set(name, (times) => wasm[s]!.run(ready, times));
        return ready;
      });
      check(message, wasm[0]!.show(loaded[0]!), await native.show(i));
      if (message.name === BATCH) {
        const naive = new NaiveWalk(messages[1]![i]!.bytes, SPACES[1]!.choice.number);
        if (!isDeepStrictEqual(naive.show(), wasm[1]!.show(loaded[1]!)))
          throw new Error(`${message.name}: the walker without care makes something else of it`);
        sides.set('naive', (times) => naive.run(times));
      }
      sides.set('copy', (times) => wasm[0]!.copy(loaded[0]!, times));
      sides.set('native', (times) => native.run(i, times));
      const times = new Map<string, number>();
      for (const [name, side] of sides) {
        tell(`${message.name}: warming up ${name}`);
        times.set(name, await calibrate(side, seconds));
      }
      cases.push({ message, sides, times, rounds: new Map([...sides.keys()].map((name) => [name, []])) });
    }
    for (let round = 1; round <= rounds; round++) {
      tell(`round ${round} of ${rounds}`);
      for (const { sides, times, rounds: all } of cases)
        for (const [name, side] of round % 2 ? sides : [...sides].reverse()) {
          const { cpuNs } = await side(times.get(name)!);
          all.get(name)!.push(cpuNs / times.get(name)!);
        }
    }
    return cases;
  } finally {
    native.stop();
  }
}

function rowsOf({ message, rounds }: Case): Row[] {
  const { length } = message.bytes;
  const native = rounds.get('native')!;
  const copy = rounds.get('copy')!;
  const naive = rounds.get('naive');
  const rows = SPACES.flatMap(({ name }) => {
    const ours = rounds.get(name)!;
    const figures = {
      bytes: length,
      nanoseconds: median(ours),
      messagesPerSecond: 1e9 / median(ours),
      megabytesPerSecond: (length / median(ours)) * 1000,
      nativeNanoseconds: median(native),
      copyNanoseconds: median(copy),
    };
    const against = (other: number[]): number[] => ours.map((ns, round) => other[round]! / ns);
    return [
      rowOf(`rewriter/${message.name}/${name}/native`, against(native), figures, BUDGET_NATIVE),
      rowOf(
        `rewriter/${message.name}/${name}/copy`,
        against(copy),
        figures,
        length >= LARGE_BYTES ? BUDGET_COPY : undefined,
      ),
    ];
  });
  if (naive === undefined) return rows;
  const figures = { nanoseconds: median(naive) };
  return [
    ...rows,
    rowOf(
      `rewriter/${message.name}/without care/native`,
      naive.map((ns, round) => native[round]! / ns),
      figures,
    ),
  ];
}

function textOf(cases: readonly Case[], rows: readonly Row[]): string {
  const ratio = (name: string): string => {
    const row = rows.find((r) => r.name === name)!;
    return `${short(row.ratio)}${row.ok === false ? ' !' : ''}`;
  };
  const lines = cases.map(({ message, rounds }) => {
    const { name, bytes } = message;
    const ns = (side: string): number => median(rounds.get(side)!);
    return [
      name,
      String(bytes.length),
      ...SPACES.flatMap((space) => [
        ...lineOf('', ns(space.name), bytes.length).slice(1),
        ratio(`rewriter/${name}/${space.name}/native`),
        ratio(`rewriter/${name}/${space.name}/copy`),
      ]),
      short(ns('native')),
      short(ns('copy')),
    ];
  });
  return tableOf(
    [
      'message',
      'bytes',
      ...SPACES.flatMap(({ name }) => [`${name}\nmessages/s`, '\nMB/s', '\nns', '\n/ Go', '\n/ memcpy']),
      'Go\nns',
      'memcpy\nns',
    ],
    lines,
  );
}

export const rewriter: Benchmark = {
  name: 'rewriter',
  summary:
    'ten typical messages: the wasm (copy in, rewrite, copy out) beside Go with CodecV2 and beside memcpy',
  async run(settings, tell) {
    const cases = await measure(settings, tell);
    const rows = cases.flatMap(rowsOf);
    const details = cases.map(({ message, rounds }) => ({
      message: message.name,
      nanoseconds: Object.fromEntries(rounds),
    }));
    return { rows, details, text: textOf(cases, rows) };
  },
};
