/** What an ANALYZE makes TiKV take memory for, before it reads a row: sizes of sketches, times how many there are. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import { Tenant } from './tenant.ts';

/** As in TiDB: pkg/config, pkg/statistics and pkg/planner/core. */
const MOST = { columns: 4096, groups: 512, sketch: 10_000n, counters: 1_258_291 };
const TYPE_COLUMN = 1n;
const FULL_SAMPLING = 5n;
/** Two bytes each are enough to cost a sketch. */
const column = bytes(4);
const group = bytes(10);
const several = (count: number, one: Uint8Array): Uint8Array => concat(...Array<Uint8Array>(count).fill(one));

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  beforeAll(() => {
    tenant = new Tenant(build);
  });

  const analyze = (type: bigint, ...requests: Uint8Array[]): string =>
    tenant.verdict(
      'coprocessor.Request',
      concat(scalar(2, 104n), bytes(3, concat(scalar(1, type), ...requests))),
    );
  const columns = (...fields: Uint8Array[]): Uint8Array => bytes(6, concat(...fields));
  const index = (...fields: Uint8Array[]): Uint8Array => bytes(5, concat(...fields));

  test.each([
    [MOST.columns, 'OK'],
    [MOST.columns + 1, 'VALUE_OUTSIDE'],
  ])('%i columns: %s', (count, expected) => {
    expect(analyze(FULL_SAMPLING, columns(several(count, column), scalar(3, MOST.sketch)))).toBe(expected);
  });

  test.each([
    [MOST.groups, 'OK'],
    [MOST.groups + 1, 'VALUE_OUTSIDE'],
    [10_000, 'VALUE_OUTSIDE'],
  ])('%i groups of columns: %s', (count, expected) => {
    expect(analyze(FULL_SAMPLING, columns(column, several(count, group)))).toBe(expected);
  });

  test.each([
    [MOST.sketch, 'OK'],
    [MOST.sketch + 1n, 'VALUE_OUTSIDE'],
    [1n << 20n, 'VALUE_OUTSIDE'],
  ])('sketches of %s distinct values: %s', (size, expected) => {
    expect(analyze(FULL_SAMPLING, columns(column, scalar(3, size)))).toBe(expected);
    expect(analyze(0n, index(scalar(6, size)))).toBe(expected);
  });

  test.each([
    [5, 2048, 'OK'],
    [1, MOST.counters, 'OK'],
    [1, MOST.counters + 1, 'VALUE_OUTSIDE'],
    [32, 1_600_000, 'VALUE_OUTSIDE'],
  ])('%i rows of %i counters: %s', (depth, width, expected) => {
    const [d, w] = [BigInt(depth), BigInt(width)];
    expect(analyze(TYPE_COLUMN, columns(column, scalar(5, d), scalar(6, w)))).toBe(expected);
    expect(analyze(0n, index(scalar(3, d), scalar(4, w)))).toBe(expected);
  });

  test.each([
    [MOST.columns, 2048, 'OK'],
    [100, 50_000, 'OK'],
    [100, 250_000, 'VALUE_OUTSIDE'],
  ])('%i columns with 5 rows of %i counters: %s', (count, width, expected) => {
    const sizes = [scalar(5, 5n), scalar(6, BigInt(width))];
    expect(analyze(TYPE_COLUMN, columns(...sizes, several(count, column)))).toBe(expected);
  });

  test('no size and no request is there twice', () => {
    expect(analyze(TYPE_COLUMN, columns(column, scalar(5, 1n), scalar(5, 2n)))).toBe('DUPLICATE');
    expect(analyze(TYPE_COLUMN, columns(column), columns(column))).toBe('DUPLICATE');
    expect(analyze(0n, index(), index())).toBe('DUPLICATE');
  });
});
