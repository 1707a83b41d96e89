/** The checker of the faults' ledger, held against histories whose faults are known. */
import { describe, expect, test } from '@jest/globals';
import { judgeHistory, longForks, type Op, type Txn } from '../faults/list-append.ts';

const a = (append: number, value: string): Op => ({ append, value });
const r = (read: number, list: string): Op => ({ read, list: list === '' ? [] : list.split(' ') });
const ok = (...ops: Op[]): Txn => ({ ops, outcome: 'committed' });
const failed = (...ops: Op[]): Txn => ({ ops, outcome: 'aborted' });
const unknown = (...ops: Op[]): Txn => ({ ops, outcome: 'unknown' });

const kinds = (history: Txn[], final: Record<number, string> = {}): string[] => [
  ...new Set(
    judgeHistory(
      history,
      new Map(Object.entries(final).map(([key, list]) => [Number(key), list === '' ? [] : list.split(' ')])),
    ).map(({ kind }) => kind),
  ),
];

describe('a good history', () => {
  test.each<[string, Txn[], Record<number, string>]>([
    ['nothing', [], {}],
    ['appends one after the other', [ok(a(1, 'x')), ok(r(1, 'x'), a(1, 'y')), ok(r(1, 'x y'))], { 1: 'x y' }],
    ['its own appends', [ok(a(1, 'x'), r(1, 'x'), a(1, 'y'), r(1, 'x y'))], { 1: 'x y' }],
    ['an append that may have failed, seen', [unknown(a(1, 'x')), ok(r(1, 'x'))], { 1: 'x' }],
    ['an append that may have failed, unseen', [unknown(a(1, 'x')), ok(r(1, ''))], { 1: '' }],
    ['an aborted append, unseen', [failed(a(1, 'x')), ok(r(1, ''))], { 1: '' }],
    // Snapshot isolation allows it: G2.
    ['write skew', [ok(r(1, ''), a(2, 'x')), ok(r(2, ''), a(1, 'y')), ok(r(1, 'y'), r(2, 'x'))], {}],
    ['an old snapshot', [ok(a(1, 'x'), a(2, 'x')), ok(r(1, ''), r(2, '')), ok(r(1, 'x'), r(2, 'x'))], {}],
  ])('%s', (_name, history, final) => {
    expect(kinds(history, final)).toEqual([]);
  });
});

describe('a bad history', () => {
  test.each<[string, Txn[], Record<number, string>, string[]]>([
    ['a value twice', [ok(a(1, 'x')), ok(r(1, 'x x'))], {}, ['duplicate']],
    [
      'two orders',
      [ok(a(1, 'x')), ok(a(1, 'y')), ok(r(1, 'x y')), ok(r(1, 'y'))],
      {},
      ['incompatible order', 'G-single'],
    ],
    ["another tenant's value", [ok(a(1, 'x')), ok(r(1, 'z'))], {}, ['unwritten']],
    ['an aborted append, seen', [failed(a(1, 'x')), ok(r(1, 'x'))], {}, ['G1a']],
    [
      'half a transaction',
      [ok(a(1, 'x'), a(1, 'y')), ok(r(1, 'x')), ok(r(1, 'x y'))],
      {},
      ['G1b', 'G-single'],
    ],
    ['own append unseen', [ok(a(1, 'x'), r(1, ''))], {}, ['internal']],
    ['two reads that differ', [ok(a(1, 'x')), ok(r(1, ''), r(1, 'x'))], {}, ['internal', 'G-single']],
    ['a lost append', [ok(a(1, 'x')), ok(a(1, 'y'))], { 1: 'y' }, ['lost append']],
    [
      'writes in two orders: G0',
      [ok(a(1, 'x'), a(2, 'x')), ok(a(1, 'y'), a(2, 'y')), ok(r(1, 'x y'), r(2, 'y x'))],
      {},
      ['G0'],
    ],
    ['a circle of what was seen: G1c', [ok(a(1, 'x'), r(2, 'y')), ok(a(2, 'y'), r(1, 'x'))], {}, ['G1c']],
    [
      'a lost update: G-single',
      [ok(r(1, ''), a(1, 'x')), ok(r(1, ''), a(1, 'y')), ok(r(1, 'x y'))],
      {},
      ['G-single'],
    ],
    [
      'a snapshot that is torn: G-single',
      [ok(a(1, 'x'), a(2, 'x')), ok(r(1, 'x'), r(2, '')), ok(r(2, 'x'))],
      {},
      ['G-single'],
    ],
  ])('%s', (_name, history, final, expected) => {
    expect(kinds(history, final)).toEqual(expected);
  });

  test('a long fork: two readers who have each seen what the other has not', () => {
    expect(longForks([new Set([1]), new Set([1, 2]), new Set([1, 2, 3])])).toEqual([]);
    expect(longForks([new Set([1]), new Set([2])])).toEqual(['1 beside 2']);
    expect(longForks([new Set([1, 2]), new Set(), new Set([1, 3, 2]), new Set([1, 4])])).toHaveLength(2);
  });
});
