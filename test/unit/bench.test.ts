/** What benchmarks conclude from what they measured. */
import { describe, expect, test } from '@jest/globals';
import { budgets, comparison } from '../../bench/compare.ts';
import { exponentOf, LAST_STEP, rowOfCurve } from '../../bench/curves.ts';
import type { Machine } from '../../bench/machine.ts';
import { rowAtMost, rowOf, type Row } from '../../bench/rows.ts';

const MACHINE: Machine = {
  cpu: 'one',
  cores: 2,
  memoryBytes: 1,
  node: '20',
  v8: '11',
  go: 'go1',
  load: 0,
  measured: '2026-01-01T00:00:00.000Z',
};

const AT = [1, 10, 100, 1000];

describe('growth', () => {
  test.each([0, 0.5, 1, 2])('the exponent of n^%f is found', (exponent) => {
    expect(exponentOf(AT.map((at) => [at, 7 * at ** exponent]))).toBeCloseTo(exponent);
  });

  test('a quadratic end behind a flat beginning shows in the last step', () => {
    const points = AT.map((at) => ({ at, rounds: [10_000 + at ** 2] }));
    const { ratio, ok, figures } = rowOfCurve({ name: 'n', along: 'things', unit: 'nanoseconds', points });
    expect([ratio < 1.1, ok]).toEqual([true, true]);
    expect(figures[LAST_STEP]).toBeGreaterThan(1.5);
  });

  test('each round has its own exponent', () => {
    const points = AT.map((at) => ({ at, rounds: [at, at ** 2, at ** 2] }));
    const { ratio, ok, rounds } = rowOfCurve({ name: 'n', along: 'things', unit: 'nanoseconds', points });
    expect(rounds.map(Math.round)).toEqual([1, 2, 2]);
    expect(ratio).toBeCloseTo(2);
    expect(ok).toBe(false);
  });
});

describe('budgets', () => {
  test('hold for the median, on the side that they name', () => {
    expect(rowOf('a', [0.9, 1, 0.94], {}, 0.95).ok).toBe(false);
    expect(rowOf('a', [0.9, 1, 0.95], {}, 0.95).ok).toBe(true);
    expect(rowAtMost('a', [1, 1.2, 1.1], {}, 1.1).ok).toBe(true);
    expect(rowAtMost('a', [1, 1.2, 1.11], {}, 1.1).ok).toBe(false);
    expect(rowOf('a', [1], {}).ok).toBeUndefined();
  });
});

describe('the comparison', () => {
  const results = (machine: Machine, ...rows: Row[]) => ({ some: { machine, rows, curves: [] } });
  const now = results(MACHINE, rowOf('kept', [2], {}, 3), rowOf('new', [5], {}));

  test('sets a row beside that of the same name alone', () => {
    const text = comparison(now, results(MACHINE, rowOf('kept', [4], {}), rowOf('gone', [9], {})));
    expect(text).toMatch(/kept +│ at least 3\.00 │ MISSED │ 2\.00 │ +4\.00 │ +0\.500/);
    expect(text).toMatch(/new +│ +│ +│ 5\.00 │ +│/);
    expect(text).not.toContain('gone');
    expect(text).not.toContain('machine');
    expect(budgets(now)).toBe('0 of 1 budgets are met');
  });

  test('says that the machine was another one', () => {
    const text = comparison(now, results({ ...MACHINE, cores: 64, load: 3 }, rowOf('kept', [4], {})));
    expect(text).toContain('some: before was measured on another machine: cores 64, now 2');
  });
});
