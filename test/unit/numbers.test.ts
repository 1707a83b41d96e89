/** Numbers on which TiKV or PD would stop: case by case, on the bytes, walked and after such a message was learned. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { Tenant } from './tenant.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode, type Fields } from '../harness/support/messages.ts';

const BATCH = 'tikvpb.BatchCommandsRequest';
const MAX = (1n << 64n) - 1n;
const ROW = rowKey(112, 1);
const DAY_MS = 86_400_000n;

const double = (number: number, value: number): Uint8Array => {
  const field = new DataView(new ArrayBuffer(9));
  field.setUint8(0, (number << 3) | 1);
  field.setFloat64(1, value, true);
  return new Uint8Array(field.buffer);
};

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  const choose = (number: number): void => {
    tenant = new Tenant(build, { number });
  };
  beforeAll(() => choose(1));

  const verdict = (type: string, body: Uint8Array): string => tenant.verdict(type, body);
  const sent = (type: string, body: Uint8Array): Fields => tenant.sent(type, body);

  describe('what a mutation does', () => {
    const VALUE = Buffer.alloc(40, 9);
    const mutation = (op: Uint8Array, i: number): Uint8Array =>
      concat(op, bytes(2, rowKey(112, i)), bytes(3, VALUE));
    const KINDS = [
      { type: 'kvrpcpb.PrewriteRequest', primary: 3, passes: [0n, 1n, 2n, 4n, 6n] },
      { type: 'kvrpcpb.FlushRequest', primary: 3, passes: [0n, 1n, 2n, 4n, 6n] },
      { type: 'kvrpcpb.PessimisticLockRequest', primary: 3, passes: [5n] },
    ];
    const OPS = [0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n, 14n, 15n, 32n, (1n << 32n) | 5n, 1n << 63n, MAX];

    describe.each(KINDS)('of $type', ({ type, primary, passes }) => {
      const request = (...ops: Uint8Array[]): Uint8Array =>
        concat(...ops.map((op, i) => bytes(2, mutation(op, i))), bytes(primary, ROW), scalar(4, 5n));
      const good = scalar(1, passes.at(-1)!);

      test.each(OPS)('%s', (op) => {
        const expected = passes.includes(op) ? 'OK' : 'VALUE_OUTSIDE';
        choose(1);
        expect(verdict(type, request(scalar(1, op)))).toBe(expected);
        // The layout of one that passes is known by now.
        for (let i = 0; i < 4; i++) expect(verdict(type, request(good, good))).toBe('OK');
        expect(verdict(type, request(scalar(1, op)))).toBe(expected);
        expect(verdict(type, request(good, scalar(1, op)))).toBe(expected);
        // A tag that is followed by its number in more bytes than it needs.
        if (op < 128n)
          expect(verdict(type, request(Uint8Array.of(0x08, Number(op) | 0x80, 0)))).toBe(expected);
      });

      test('absent', () => {
        const expected = passes.includes(0n) ? 'OK' : 'VALUE_OUTSIDE';
        expect(verdict(type, request(new Uint8Array()))).toBe(expected);
      });
    });

    test('in a batch, one alone is refused', () => {
      const locks = encode('kvrpcpb.PessimisticLockRequest', {
        mutations: [{ op: 0, key: ROW }],
        primaryLock: ROW,
        startVersion: 5n,
      });
      const get = encode('kvrpcpb.GetRequest', { key: ROW });
      const { requests } = sent(
        BATCH,
        concat(bytes(1, bytes(23, locks)), bytes(1, bytes(1, get)), bytes(2, Uint8Array.of(1, 2))),
      );
      expect(requests.map((one: Fields) => one.cmd.case)).toEqual(['Empty', 'Get']);
    });
  });

  describe('what a context says', () => {
    const context = (fields: Fields): Uint8Array =>
      encode('kvrpcpb.GetRequest', {
        key: ROW,
        context: { regionId: 1042n, requestSource: 'external_Select', ...fields },
      });
    const priority = (overridePriority: bigint): Uint8Array =>
      context({ resourceControlContext: { resourceGroupName: 'default', overridePriority } });

    test.each([0n, 1n, 16n, 17n, 127n, 1n << 32n, (1n << 32n) | 1n, MAX])('a priority of %s', (value) => {
      const passes = value <= 16n;
      for (const before of [[], [16n, 16n, 16n]]) {
        choose(1);
        for (const one of before) expect(verdict('kvrpcpb.GetRequest', priority(one))).toBe('OK');
        expect(verdict('kvrpcpb.GetRequest', priority(value))).toBe(passes ? 'OK' : 'VALUE_OUTSIDE');
        const batch = concat(bytes(1, bytes(1, priority(value))), bytes(2, Uint8Array.of(1)));
        expect(sent(BATCH, batch).requests[0].cmd.case).toBe(passes ? 'Get' : 'Empty');
      }
    });

    test.each([0n, 1n, 20_000n, DAY_MS, DAY_MS + 1n, 1n << 63n, MAX])('a time of %s ms', (value) => {
      for (let i = 0; i < 3; i++) {
        const body = context({ maxExecutionDurationMs: value });
        const { context: out } = sent('kvrpcpb.GetRequest', body);
        expect(out.maxExecutionDurationMs).toBe(value < DAY_MS ? value : DAY_MS);
        expect(out.requestSource).toBe('external_Select');
      }
    });
  });

  describe.each([0, 1])('a resolution of locks by keys, of tenant %s', (number) => {
    const RESOLVE = 'kvrpcpb.ResolveLockRequest';
    beforeAll(() => choose(number));

    test.each([
      { how: 'without a start', body: bytes(5, ROW), status: 'VALUE_OUTSIDE' },
      { how: 'with the start 0', body: concat(scalar(2, 0n), bytes(5, ROW)), status: 'VALUE_OUTSIDE' },
      { how: 'behind the keys', body: concat(bytes(5, ROW), scalar(2, 0n)), status: 'VALUE_OUTSIDE' },
      {
        how: 'with other transactions',
        body: concat(bytes(4, scalar(1, 7n)), bytes(5, ROW)),
        status: 'VALUE_OUTSIDE',
      },
      { how: 'with a start', body: concat(scalar(2, 7n), bytes(5, ROW)), status: 'OK' },
      { how: 'with a commit', body: concat(scalar(2, 7n), scalar(3, 8n), bytes(5, ROW)), status: 'OK' },
      {
        how: 'with a commit at the start',
        body: concat(scalar(2, 7n), scalar(3, 7n), bytes(5, ROW)),
        status: 'VALUE_OUTSIDE',
      },
      {
        how: 'with a commit before it',
        body: concat(scalar(3, 6n), scalar(2, 7n), bytes(5, ROW)),
        status: 'VALUE_OUTSIDE',
      },
      {
        how: 'with another commit before its start',
        body: concat(bytes(4, concat(scalar(1, 7n), scalar(2, 6n))), scalar(2, 7n), bytes(5, ROW)),
        status: 'VALUE_OUTSIDE',
      },
    ])('$how', ({ body, status }) => {
      expect(verdict(RESOLVE, body)).toBe(status);
      const batch = concat(bytes(1, bytes(10, body)), bytes(2, Uint8Array.of(1)));
      expect(sent(BATCH, batch).requests[0].cmd.case).toBe(status === 'OK' ? 'ResolveLock' : 'Empty');
    });
  });

  describe('what was consumed', () => {
    const TYPE = 'resource_manager.TokenBucketsRequest';
    const consumed = (...fields: Uint8Array[]): Fields => {
      const bucket = concat(bytes(1, Buffer.from('app')), bytes(4, concat(...fields)));
      return sent(TYPE, bytes(1, bucket)).requests[0].consumptionSinceLastRequest;
    };

    test.each([
      { all: 5, sql: 4, becomes: 4 },
      { all: 5, sql: 5, becomes: 5 },
      { all: 5, sql: 6, becomes: 5 },
      { all: 1e-9, sql: 1e300, becomes: 0 },
      { all: 0, sql: 1, becomes: 0 },
      { all: -3, sql: 1, becomes: -3 },
      { all: -3, sql: 0, becomes: 0 },
      { all: NaN, sql: 1, becomes: 0 },
      { all: 5, sql: NaN, becomes: 0 },
      { all: Infinity, sql: Infinity, becomes: 0 },
      { all: 5, sql: -Infinity, becomes: 0 },
    ])('CPU times of $all and $sql', ({ all, sql, becomes }) => {
      for (const fields of [
        [double(5, all), double(6, sql)],
        [double(6, sql), double(5, all)],
      ]) {
        const { totalCpuTimeMs, sqlLayerCpuTimeMs } = consumed(...fields);
        expect(totalCpuTimeMs).toBe(Number.isFinite(all) ? all : 0);
        expect(sqlLayerCpuTimeMs).toBe(becomes);
      }
    });

    test('the time of SQL alone', () => {
      expect(consumed(double(6, 3)).sqlLayerCpuTimeMs).toBe(0);
    });

    test.each([
      [1, 'rRU'],
      [2, 'wRU'],
      [3, 'readBytes'],
      [4, 'writeBytes'],
      [7, 'kvReadRpcCount'],
      [8, 'kvWriteRpcCount'],
    ])('field %s is an amount', (number, name) => {
      const of = (value: number): unknown => consumed(double(number, value))[name];
      for (const value of [1.5, 2 ** 53, -1, -(2 ** 53)]) expect(of(value)).toBe(value);
      for (const value of [NaN, Infinity, -Infinity, 1e300, -1e300]) expect(of(value)).toBe(0);
    });
  });

  describe('how etcd sorts', () => {
    const RANGE = 'etcdserverpb.RangeRequest';
    const range = (...fields: Uint8Array[]): Uint8Array => concat(bytes(1, Buffer.from('a')), ...fields);

    test.each([0n, 1n, 4n, 5n, 14n, 15n, 1n << 32n, MAX])('by %s', (target) => {
      const status = target <= 4n ? 'OK' : 'VALUE_OUTSIDE';
      expect(verdict(RANGE, range(scalar(5, 1n), scalar(6, target)))).toBe(status);
      const op = bytes(1, range(scalar(5, 1n), scalar(6, target)));
      expect(verdict('etcdserverpb.TxnRequest', bytes(2, op))).toBe(status);
    });

    test.each([0n, 1n, (1n << 63n) - 1n, 1n << 63n, MAX])('from the revision %s', (revision) => {
      const status = revision < 1n << 63n ? 'OK' : 'VALUE_OUTSIDE';
      expect(verdict(RANGE, range(scalar(4, revision)))).toBe(status);
      const watch = bytes(1, range(scalar(3, revision)));
      expect(verdict('etcdserverpb.WatchRequest', watch)).toBe(status);
    });
  });

  test.each([0n, 1n, 1n << 20n, (1n << 20n) + 1n, (1n << 32n) - 1n])('a scan of %s rows', (limit) => {
    for (const [type, number] of [
      ['kvrpcpb.ScanRequest', 3],
      ['kvrpcpb.ScanLockRequest', 4],
    ] as const)
      for (const before of [0n, limit]) {
        verdict(type, concat(bytes(number === 3 ? 2 : 3, ROW), scalar(number, before)));
        const body = concat(bytes(number === 3 ? 2 : 3, ROW), scalar(number, limit));
        expect(verdict(type, body)).toBe(limit <= 1n << 20n ? 'OK' : 'VALUE_OUTSIDE');
      }
  });

  describe('how long a lock lives', () => {
    const MOST = 1n << 32n;
    const VALUE = Buffer.alloc(40, 9);
    const lock = (op: bigint): Uint8Array => bytes(2, concat(scalar(1, op), bytes(2, ROW), bytes(3, VALUE)));
    const MESSAGES: [string, number, string, Uint8Array[]][] = [
      ['kvrpcpb.PrewriteRequest', 5, 'lockTtl', [lock(0n), bytes(3, ROW), scalar(4, 5n)]],
      ['kvrpcpb.PessimisticLockRequest', 5, 'lockTtl', [lock(5n), bytes(3, ROW), scalar(4, 5n)]],
      ['kvrpcpb.TxnHeartBeatRequest', 4, 'adviseLockTtl', [bytes(2, ROW), scalar(3, 5n)]],
      ['kvrpcpb.FlushRequest', 7, 'lockTtl', [lock(0n), bytes(3, ROW), scalar(4, 5n), scalar(6, 1n)]],
    ];

    test.each(MESSAGES)('%s', (type, number, name, rest) => {
      for (const ttl of [0n, 3000n, MOST - 1n, MOST, MOST + 1n, 1n << 34n, 1n << 46n, MAX]) {
        const body = concat(...rest, scalar(number, ttl));
        // Three times: the layout of one that passes is known by then.
        for (let i = 0; i < 3; i++) expect(sent(type, body)[name]).toBe(ttl > MOST ? MOST : ttl);
      }
    });
  });

  describe('what is analyzed', () => {
    const cop = (...fields: Uint8Array[]): string =>
      verdict('coprocessor.Request', concat(scalar(2, 104n), bytes(3, concat(...fields))));

    test.each([0n, 1n, 2n, 3n, 4n, 5n, 6n, MAX])('as the type %s', (type) => {
      expect(cop(scalar(1, type))).toBe([0n, 1n, 2n, 4n, 5n].includes(type) ? 'OK' : 'VALUE_OUTSIDE');
    });

    test.each([0n, 1n, 2n, 3n, MAX])('by the version %s', (version) => {
      const status = version === 1n || version === 2n ? 'OK' : 'VALUE_OUTSIDE';
      expect(cop(bytes(5, scalar(8, version)))).toBe(status);
      expect(cop(bytes(5, scalar(6, 10_000n)))).toBe('OK');
    });

    test.each([1n << 31n, 1n << 60n, MAX])('with sketches of %s', (size) => {
      for (const number of [1, 3, 4, 5, 6, 7])
        expect(cop(bytes(5, scalar(number, size)))).toBe('VALUE_OUTSIDE');
      for (const number of [1, 2, 3, 5, 6]) expect(cop(bytes(6, scalar(number, size)))).toBe('VALUE_OUTSIDE');
    });
  });

  test.each([0n, 1n, 1024n, 1025n, (1n << 32n) - 1n, 1n << 32n])('%s ids', (count) => {
    const status = count <= 1024n ? 'OK' : 'VALUE_OUTSIDE';
    expect(verdict('pdpb.AllocIDRequest', scalar(2, count))).toBe(status);
  });
});
