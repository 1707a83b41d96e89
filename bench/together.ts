/**
 * Sides that are measured at the same time: they share the core in slices of milliseconds, and a machine that changes its speed changes it
 * for all. One after the other, seconds apart, the same module differed from itself by half.
 */

/** Measures all sides at once in each round, after one to warm up. Gives what each round found for each side. */
export async function together<Side extends string, Found>(
  sides: readonly Side[],
  rounds: number,
  once: (side: Side) => Promise<Found>,
  tell: (detail: string) => void,
): Promise<Record<Side, Found[]>> {
  const all = Object.fromEntries(sides.map((side) => [side, []])) as unknown as Record<Side, Found[]>;
  for (let round = 0; round <= rounds; round++) {
    tell(`round ${round} of ${rounds}`);
    // Who starts first has the core for itself for a while.
    const first = round % sides.length;
    const order = [...sides.slice(first), ...sides.slice(0, first)];
    const found = await Promise.all(order.map(once));
    if (round > 0) for (const [i, side] of order.entries()) all[side].push(found[i]!);
  }
  return all;
}
