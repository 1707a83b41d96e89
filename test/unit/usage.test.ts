/** What tenants use: differences, rates, and results that are compared with later ones. */
import { describe, expect, test } from '@jest/globals';
import {
  COUNTERS,
  perSecond,
  readUsage,
  usageSince,
  type Counters,
  type Usage,
} from '../../src-ts/tenants/usage.ts';

const all = (value: number): Counters =>
  Object.fromEntries(COUNTERS.map((name) => [name, value])) as unknown as Counters;
const tenant = (name: string, number: number, used: number): Usage['tenants'][number] => ({
  name,
  number,
  storedMiB: 5,
  storedKeys: 6,
  regions: 7,
  holdsBack: '',
  ...all(used),
});

const MONDAY: Usage = {
  at: '2026-11-23T00:00:00.000Z',
  tenants: [tenant('alpha', 1, 10), tenant('beta', 2, 100), tenant('old', 3, 7)],
  shared: all(1),
};
const LATER: Usage = {
  at: '2026-11-23T00:00:20.000Z',
  tenants: [tenant('alpha', 1, 50), tenant('beta', 2, 30), tenant('new', 3, 8)],
  shared: all(41),
};

describe('usage between two times', () => {
  const between = usageSince(LATER, MONDAY);
  const used = (usage: Usage): [string, number][] =>
    usage.tenants.map(({ name, readBytes }) => [name, readBytes]);

  test('is what has grown; a counter that has fallen, or of another tenant, counts whole', () => {
    expect(between.since).toBe(MONDAY.at);
    expect(used(between)).toEqual([
      ['alpha', 40],
      ['beta', 30],
      ['new', 8],
    ]);
    expect(between.shared).toEqual(all(40));
    expect(between.tenants[0]).toMatchObject({ storedMiB: 5, storedKeys: 6, regions: 7 });
  });

  test('gives rates', () => {
    const rates = perSecond(between);
    expect(used(rates)).toEqual([
      ['alpha', 2],
      ['beta', 1.5],
      ['new', 0.4],
    ]);
    expect(rates.tenants[0]!.storedMiB).toBe(5);
    // Nothing is divided by zero.
    expect(perSecond({ ...LATER, since: LATER.at }).shared.requestUnits).toBe(41_000);
  });
});

describe("the filter's counters", () => {
  const mesh = (used: number): NonNullable<Usage['tenants'][number]['mesh']> => ({
    state: 'active',
    openStreams: 3,
    heldBytes: 4,
    requests: used,
    requestBytes: used,
    responseBytes: used,
    refused: used,
  });
  const at = (usage: Usage, ...used: (number | undefined)[]): Usage => ({
    ...usage,
    tenants: usage.tenants.map((one, i) => (used[i] === undefined ? one : { ...one, mesh: mesh(used[i]) })),
  });

  test('are compared and divided, and what is so now stays', () => {
    const between = usageSince(at(LATER, 100, 5), at(MONDAY, 60, 50));
    expect(between.tenants.map((one) => one.mesh?.requests)).toEqual([40, 5, undefined]);
    expect(perSecond(between).tenants[0]!.mesh).toEqual({ ...mesh(2), openStreams: 3, heldBytes: 4 });
    expect(usageSince(at(LATER, 100), MONDAY).tenants[0]!.mesh?.refused).toBe(100);
  });
});

describe('an earlier result', () => {
  test('is read again', () => {
    expect(readUsage(JSON.stringify(MONDAY))).toEqual(MONDAY);
  });

  test.each([
    ['no JSON', '{'],
    ['null', 'null'],
    ['a list', '[]'],
    ['a difference itself', JSON.stringify({ ...MONDAY, since: MONDAY.at })],
    ['no time', JSON.stringify({ ...MONDAY, at: 'monday' })],
    ['a tenant without a counter', JSON.stringify({ ...MONDAY, tenants: [{ name: 'alpha', number: 1 }] })],
    ['nothing shared', JSON.stringify({ ...MONDAY, shared: undefined })],
  ])('is refused: %s', (_, text) => {
    expect(readUsage(text)).toBeUndefined();
  });
});
