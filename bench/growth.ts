/** How the filter's cost grows with what there may be more of: bytes, keys, streams, tenants, rules. */
import { buildModule } from './module.ts';
import type { Benchmark, Settings } from './benchmark.ts';
import { timesFor, type Took } from './clock.ts';
import { LAST_STEP, rowOfCurve, type Curve } from './curves.ts';
import { ruleSubjects, tenantSubjects } from './growth-callers.ts';
import { messageSubjects } from './growth-messages.ts';
import { memoryOf, streamSubjects } from './growth-streams.ts';
import { median, short, tableOf } from './rows.ts';
import { buildBenchWasm } from './wasm.ts';

const ROUNDS = 9;
const SECONDS = 0.03;

/** One point of a curve, to be measured. */
export interface Subject {
  readonly curve: string;
  readonly along: string;
  readonly at: number;
  readonly isReference?: true;
  run(times: number): Took;
}

const UNIT = 'nanoseconds';

function curvesOf(measured: ReadonlyMap<Subject, number[]>): Curve[] {
  const curves = new Map<string, Curve & { points: { at: number; rounds: number[] }[] }>();
  for (const [{ curve: name, along, at, isReference }, rounds] of measured) {
    const curve = curves.get(name) ?? {
      name,
      along,
      unit: UNIT,
      points: [],
      ...(isReference ? { isReference } : {}),
    };
    curve.points.push({ at, rounds });
    curves.set(name, curve);
  }
  return [...curves.values()];
}

async function measure(settings: Settings, tell: (detail: string) => void): Promise<Curve[]> {
  tell('building');
  await buildBenchWasm();
  await buildModule();
  const seconds = settings.seconds ?? SECONDS;
  const rounds = settings.rounds ?? ROUNDS;
  tell('preparing');
  const subjects: Subject[] = [
    ...messageSubjects(),
    ...streamSubjects(),
    ...tenantSubjects(),
    ...ruleSubjects(),
  ];
  const times = new Map<Subject, number>();
  for (const subject of subjects) {
    tell(`warming up ${subject.curve}, ${subject.at} ${subject.along}`);
    times.set(
      subject,
      timesFor((n) => subject.run(n), seconds),
    );
  }
  const measured = new Map(subjects.map((subject) => [subject, [] as number[]]));
  for (let round = 1; round <= rounds; round++) {
    tell(`round ${round} of ${rounds}`);
    for (const [subject, n] of times) measured.get(subject)!.push(subject.run(n).cpuNs / n);
  }
  return [...curvesOf(measured), memoryOf()];
}

function textOf(curves: readonly Curve[]): string {
  const lines = curves.flatMap(({ name, along, unit, points }) =>
    points.map(({ at, rounds }) => [
      name,
      `${at.toLocaleString('en')} ${along}`,
      `${short(median(rounds))} ${unit}`,
      short(median(rounds) / at),
    ]),
  );
  const exponents = curves.map((curve) => {
    const { ratio, figures } = rowOfCurve(curve);
    return [curve.name, short(ratio), short(figures[LAST_STEP]!)];
  });
  return [
    tableOf(['curve', 'at', 'cost', 'each'], lines),
    'Exponents of growth: 0 does not grow, 1 grows in proportion. The last step is where fixed costs count least.',
    tableOf(['curve', 'exponent', 'of the last step'], exponents),
  ].join('\n');
}

export const growth: Benchmark = {
  name: 'growth',
  summary: 'how costs grow: with bytes, keys, open streams, tenants and rules, with the exponents of growth',
  async run(settings, tell) {
    const curves = await measure(settings, tell);
    const rows = curves.filter(({ isReference }) => !isReference).map(rowOfCurve);
    return { rows, curves, text: textOf(curves) };
  },
};
