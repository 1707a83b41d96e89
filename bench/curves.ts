/** How a cost grows with what it depends on. */
import { median, rowAtMost, type Row } from './rows.ts';

export interface Point {
  readonly at: number;
  /** One of each round, in the curve's unit. */
  readonly rounds: readonly number[];
}

export interface Curve {
  readonly name: string;
  /** What grows. */
  readonly along: string;
  readonly unit: string;
  readonly points: readonly Point[];
  /** To compare with, not ours: no budget. */
  readonly isReference?: true;
}

/** Linear, and a little for what is measured with a stopwatch. */
const MOST = 1.1;
export const LAST_STEP = 'exponent of the last step';

/** The slope of the line through the points in logarithms that has the least squares: 1 for a cost that grows as what it depends on. */
export function exponentOf(points: readonly (readonly [at: number, value: number])[]): number {
  const logs = points.map(([at, value]) => [Math.log(at), Math.log(value)] as const);
  const meanX = logs.reduce((sum, [x]) => sum + x, 0) / logs.length;
  const meanY = logs.reduce((sum, [, y]) => sum + y, 0) / logs.length;
  const [above, below] = logs.reduce(
    ([a, b], [x, y]) => [a + (x - meanX) * (y - meanY), b + (x - meanX) ** 2],
    [0, 0],
  );
  return above / below;
}

function inRound({ points }: Curve, round: number): [number, number][] {
  return points.map(({ at, rounds }) => [at, rounds[round]!]);
}

/** The exponent of each round against what linear growth allows. The fixed cost of small sizes flattens it, so the last step is told as well. */
export function rowOfCurve(curve: Curve): Row {
  const { name, along, unit, points } = curve;
  const medians = points.map(({ at, rounds }): [number, number] => [at, median(rounds)]);
  const figures = Object.fromEntries(medians.map(([at, value]) => [`${unit} at ${at} ${along}`, value]));
  return rowAtMost(
    `${name}: exponent of growth`,
    points[0]!.rounds.map((_, round) => exponentOf(inRound(curve, round))),
    { ...figures, [LAST_STEP]: exponentOf(medians.slice(-2)) },
    MOST,
  );
}
