/** Timestamps of requests: what a tenant names far in the future would hold up the transactions of all others. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { rowKey } from '../harness/support/keys.ts';
import { scalar } from '../harness/model/wire.ts';
import { type Fields } from '../harness/support/messages.ts';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { Tenant } from './tenant.ts';

const LATEST = 1_000_000n << 18n;
const NEWEST = (1n << 64n) - 1n;
const BATCH = 'tikvpb.BatchCommandsRequest';
const SPACES = [{ number: 0 }, { number: 7 }, { number: 7, keyspace: { id: 7, mode: 'txn' } }] as const;
const key = rowKey(100, 1);
const endKey = rowKey(100, 9);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  beforeEach(() => {
    tenant = new Tenant(build);
    tenant.filter.latestTimestamp = LATEST;
  });

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
        expect(tenant.verdict(type, { ...fields, [field]: at })).toBe(at === LATEST ? 'OK' : expected);
    });
  });

  // TiKV reads at it where the request has no start_ts. Each type of plan: its number, and the number of the field in it.
  describe.each<[string, bigint, number]>([
    ['executors', 103n, 1],
    ['ANALYZE', 104n, 2],
    ['checksum', 105n, 1],
  ])("a plan's own timestamp: %s", (_, tp, field) => {
    test.each([
      [LATEST, 'OK'],
      [LATEST + 1n, 'TIMESTAMP_AHEAD'],
      [NEWEST - 1n, 'TIMESTAMP_AHEAD'],
      [NEWEST, 'OK'],
    ])('%s: %s', (timestamp, expected) => {
      for (const space of SPACES) {
        tenant.filter.selectSpace(space);
        tenant.filter.newStream();
        const ask = { tp, data: scalar(field, timestamp), ranges: [{ start: key, end: endKey }] };
        for (let times = 0; times < 3; times++)
          expect(tenant.verdict('coprocessor.Request', ask)).toBe(expected);
      }
    });
  });

  test.each<[string, Fields]>([
    ['kvrpcpb.PrewriteRequest', { mutations: [{ key }], primaryLock: key, startVersion: LATEST + 1n }],
    ['kvrpcpb.CommitRequest', { keys: [key], startVersion: 1n, commitVersion: LATEST + 1n }],
  ])('%s does not write ahead', (type, fields) => {
    expect(tenant.verdict(type, fields)).toBe('TIMESTAMP_AHEAD');
  });

  test('in a batch, one alone is refused', () => {
    const get = (version: bigint): Fields => ({ cmd: { case: 'Get', value: { key, version } } });
    const batch = { requests: [get(LATEST + 1n), get(LATEST)], requestIds: [1n, 2n] };
    const requests = tenant.sent(BATCH, batch)['requests'] as Fields[];
    expect(requests.map(({ cmd }) => cmd.case)).toEqual(['Empty', 'Get']);
  });
});
