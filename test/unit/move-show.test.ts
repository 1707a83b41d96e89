/** What `move show` says of a record, and of the filters. Names of tables are in test/move/. */
import { describe, expect, test } from '@jest/globals';
import { summaryOf } from '../../src-ts/move/diagnosis/show.ts';
import { acknowledged } from '../../src-ts/move/filters/acknowledged.ts';
import type { Vm } from '../../src-ts/move/filters/mesh.ts';
import type { MoveRecord } from '../../src-ts/move/record.ts';
import { Rate } from '../../src-ts/move/steps/rate.ts';
import type { Acknowledgement } from '../../src-ts/tenants/mesh-status.ts';
import { moveRecord } from '../harness/support/move-record.ts';

const MIB = 2 ** 20;

const record = (fields: Partial<MoveRecord>): MoveRecord => moveRecord({ serial: 7, ...fields });

describe('the progress of a move', () => {
  const copied = { bytes: 30 * MIB, keys: 900, ofBytes: 90 * MIB, bytesPerSecond: 2 * MIB };

  test.each<[Partial<MoveRecord>, string, number | undefined]>([
    [{ state: 'copying', progress: { copied } }, '30.0 MiB, 900 keys (33 %), 2.0 MiB/s, about 30 s left', 30],
    // PD has estimated too little.
    [
      { state: 'copying', progress: { copied: { ...copied, bytes: 91 * MIB } } },
      '91.0 MiB, 900 keys (100 %), 2.0 MiB/s, about 0 s left',
      0,
    ],
    [
      { state: 'copying', progress: { copied: { bytes: 1, keys: 1, ofBytes: 0 } } },
      '0.0 MiB, 1 keys (100 %)',
      undefined,
    ],
    [{ state: 'copying', progress: { copied }, isPaused: true }, 'paused', undefined],
    [{ progress: { lagMs: 1234 } }, '1.2 s behind', undefined],
    [{ progress: { lagMs: null } }, 'not followed everywhere yet', undefined],
    [
      { progress: { lagMs: 40 }, copied: { bytes: 30 * MIB, keys: 900 } },
      '0.0 s behind; 30.0 MiB, 900 keys copied',
      undefined,
    ],
    [{}, '-', undefined],
  ])('%j', (fields, progress, etaSeconds) => {
    expect(summaryOf(record(fields))).toMatchObject({ progress, etaSeconds });
  });

  test('an alarm says where, in which tables and since when', () => {
    const commit = {
      key: '74',
      op: 'put',
      startTs: '1',
      commitTs: String(1_700_000_000_000n << 18n),
    } as const;
    const alarm = {
      at: 1,
      place: { keyNumber: 5 },
      commits: [{ ...commit, tableId: '104' }, commit],
      count: 3,
      isStopped: true,
    };
    expect(summaryOf(record({ alarm }))).toMatchObject({
      state: 'following, ALARM',
      alarm:
        '3 commits at number 5, where it is not served, in tables 104, schema, the first at 2023-11-14T22:13:20.000Z; its requests are held',
    });
  });

  test('the rate is that of the last half minute', () => {
    let now = 0;
    const rate = new Rate(() => now);
    expect(rate.add(1000)).toBeUndefined();
    for (let second = 1; second <= 60; second++) {
      now = second * 1000;
      rate.add(1000 + second * 10);
    }
    now = 90_000;
    expect(rate.add(1600 + 30 * 100)).toBeCloseTo(100, 0);
  });
});

describe('who obeys', () => {
  const said = (fields: Partial<Acknowledgement>): Acknowledgement => ({
    tenant: 'alpha',
    serial: 7,
    phase: 'drain',
    lifted: false,
    writesOutstanding: 0,
    finishesOutstanding: 0,
    bulkOutstanding: 0,
    outstanding: 0,
    held: 0,
    ...fields,
  });
  const vm = (name: string, moves: Acknowledgement[], stale = false): Vm => ({ name, stale, moves });

  test('each VM that does not is named with the reason', () => {
    const vms = [
      vm('a', [said({})]),
      vm('b', [said({ phase: 'calm' })]),
      vm('c', [said({ serial: 6, phase: 'final' })]),
      vm('d', [said({ tenant: 'beta' })]),
      vm('e', [said({})], true),
      vm('f', [said({ lifted: true })]),
      vm('g', [said({}), said({ serial: 5 })]),
    ];
    expect(acknowledged(record({}), vms)).toEqual({
      serial: 7,
      phase: 'drain',
      vms: 7,
      missing: [
        { vm: 'b', why: 'is at serial 7, phase calm' },
        { vm: 'c', why: 'is at serial 6, phase final' },
        { vm: 'd', why: 'knows nothing of the move' },
        { vm: 'e', why: 'has told nothing for ten seconds' },
        { vm: 'f', why: 'has let requests go on, since they were held for too long' },
        { vm: 'g', why: 'is at serial 5, phase drain' },
      ],
    });
  });

  test('a calm that has ended by itself is nothing to name', () => {
    const calm = [vm('a', [said({ phase: 'calm', lifted: true })])];
    expect(acknowledged(record({}), calm).missing).toEqual([]);
  });
});
