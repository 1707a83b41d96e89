/** Timestamps of requests: what a tenant names far in the future would hold up the transactions of all others. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { messageId } from '../harness/model/schema.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';

const LATEST = 1_000_000n << 18n;
const NEWEST = (1n << 64n) - 1n;
const BATCH = 'tikvpb.BatchCommandsRequest';
const key = rowKey(100, 1);
const endKey = rowKey(100, 9);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeEach(() => {
    filter = new Filter(build);
    filter.selectSpace({ number: 1 });
    filter.newStream();
    filter.latestTimestamp = LATEST;
  });

  const verdict = (type: string, fields: Fields): string =>
    Status[filter.message(messageId(type), encode(type, fields), 'request').status]!;

  describe.each<[string, string, Fields]>([
    ['kvrpcpb.GetRequest', 'version', { key }],
    ['kvrpcpb.BatchGetRequest', 'version', { keys: [key] }],
    ['kvrpcpb.ScanRequest', 'version', { startKey: key, endKey }],
    ['coprocessor.Request', 'startTs', { ranges: [{ start: key, end: endKey }] }],
  ])('%s reads at %s', (type, field, fields) => {
    test.each([
      [1n, 'OK'],
      [LATEST, 'OK'],
      [LATEST + 1n, 'TIMESTAMP_AHEAD'],
      [NEWEST - 1n, 'TIMESTAMP_AHEAD'],
      [NEWEST, 'OK'],
    ])('%s: %s', (timestamp, expected) => {
      // The layout of one that passes is known by the last.
      for (const at of [timestamp, LATEST, LATEST, LATEST, timestamp])
        expect(verdict(type, { ...fields, [field]: at })).toBe(at === LATEST ? 'OK' : expected);
    });
  });

  test.each<[string, Fields]>([
    ['kvrpcpb.PrewriteRequest', { mutations: [{ key }], primaryLock: key, startVersion: LATEST + 1n }],
    ['kvrpcpb.CommitRequest', { keys: [key], startVersion: 1n, commitVersion: LATEST + 1n }],
  ])('%s does not write ahead', (type, fields) => {
    expect(verdict(type, fields)).toBe('TIMESTAMP_AHEAD');
  });

  test('in a batch, one alone is refused', () => {
    const get = (version: bigint): Fields => ({ cmd: { case: 'Get', value: { key, version } } });
    const batch = { requests: [get(LATEST + 1n), get(LATEST)], requestIds: [1n, 2n] };
    const { status, bytes } = filter.message(messageId(BATCH), encode(BATCH, batch), 'request');
    expect(Status[status]).toBe('OK');
    expect((decode(BATCH, bytes)['requests'] as Fields[]).map(({ cmd }) => cmd.case)).toEqual([
      'Empty',
      'Get',
    ]);
  });
});
