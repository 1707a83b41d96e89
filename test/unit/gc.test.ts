/** What tenants' GC says to PD and its etcd, and what becomes of it: case by case, on the bytes. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status, type Rewritten, type Way } from './filter.ts';
import { concat } from '../harness/model/bytes.ts';
import { messageId } from '../harness/model/schema.ts';
import { bytes, scalar } from '../harness/model/wire.ts';

const OLDEST = 1_000_000n << 18n;
const HOUR = 3600;
const FOLDER = '/tidb/server/minstartts/';
const SAVED = '/tidb/store/gcworker/saved_safe_point';
const PUT = 'etcdserverpb.PutRequest';
const RANGE = 'etcdserverpb.RangeRequest';
const SERVICE = 'pdpb.UpdateServiceGCSafePointRequest';
const SERVICE_ANSWER = 'pdpb.UpdateServiceGCSafePointResponse';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const ask = (id: string, ttl: bigint, safePoint: bigint): Uint8Array =>
  concat(bytes(2, text(id)), scalar(3, BigInt.asUintN(64, ttl)), scalar(4, safePoint));
const LEASE = 5n;
const STORED_LEASE = BigInt.asUintN(64, (1n << 63n) | (1n << 48n) | LEASE);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  const use = (number: number, name: string): void => {
    filter.select(number, name);
    filter.newStream();
    filter.holdBack(OLDEST, HOUR);
  };
  const walk = (message: string, input: Uint8Array, way: Way = 'request'): Rewritten =>
    filter.message(messageId(message), input, way);
  const shown = ({ status, bytes: out }: Rewritten): unknown =>
    status === Status.OK ? Buffer.from(out).toString('latin1') : Status[status];
  const is = (...fields: Uint8Array[]): string => Buffer.from(concat(...fields)).toString('latin1');

  describe('since when a TiDB reads', () => {
    beforeAll(() => use(1, 'alpha'));

    const put = (value: string, lease = LEASE, key = `${FOLDER}uuid`): Uint8Array =>
      concat(bytes(1, text(key)), bytes(2, text(value)), scalar(3, lease));
    const stored = (value: bigint): string =>
      is(bytes(1, text(`${FOLDER}alpha:uuid`)), bytes(2, text(String(value))), scalar(3, STORED_LEASE));

    test.each([OLDEST, OLDEST + 1n, (1n << 64n) - 2n])(
      '%s is put where the GC of the store looks',
      (value) => {
        expect(shown(walk(PUT, put(String(value))))).toBe(stored(value));
      },
    );

    test.each(['0', '1', String(OLDEST - 1n), '00000000000000000001'])('%s is raised to the cap', (value) => {
      expect(shown(walk(PUT, put(value)))).toBe(stored(OLDEST));
    });

    test('whatever the order of the fields', () => {
      const input = concat(scalar(3, LEASE), bytes(2, text('7')), bytes(1, text(`${FOLDER}uuid`)));
      expect(shown(walk(PUT, input))).toBe(
        is(scalar(3, STORED_LEASE), bytes(2, text(String(OLDEST))), bytes(1, text(`${FOLDER}alpha:uuid`))),
      );
    });

    test.each([
      '',
      'x',
      '-1',
      '1e3',
      '1 ',
      '18446744073709551615',
      '18446744073709551616',
      '123456789012345678901',
    ])('%j is refused', (value) => {
      expect(shown(walk(PUT, put(value)))).toBe('READ_SINCE');
    });

    test('without a lease it is refused: it would hold GC back for ever', () => {
      expect(shown(walk(PUT, put(String(OLDEST), 0n)))).toBe('READ_SINCE');
      const none = concat(bytes(1, text(`${FOLDER}uuid`)), bytes(2, text(String(OLDEST))));
      expect(shown(walk(PUT, none))).toBe('READ_SINCE');
      // etcd's ignore_lease keeps the lease of a key that is there.
      expect(shown(walk(PUT, concat(none, scalar(6, 1))))).toBe('READ_SINCE');
    });

    test('that a restore runs is refused, since what BR does next is not for tenants', () => {
      const task = (name: string): Uint8Array =>
        concat(bytes(1, text(`/tidb/brie/import/${name}`)), bytes(2, text('')));
      expect(shown(walk(PUT, task('restore/restore-1')))).toBe('FILE_BACKUP');
      for (const name of ['import-into/1/2', 'lightning/1', 'restore', ''])
        expect(shown(walk(PUT, task(name)))).not.toBe('FILE_BACKUP');
    });

    test('inside a transaction as well', () => {
      const within = (input: Uint8Array): Uint8Array => bytes(2, bytes(2, input));
      expect(shown(walk('etcdserverpb.TxnRequest', within(put('x'))))).toBe('READ_SINCE');
      expect(shown(walk('etcdserverpb.TxnRequest', within(put('1'))))).toContain(`${FOLDER}alpha:uuid`);
    });

    test('other keys take any value, with a lease or none', () => {
      const input = concat(bytes(1, text('/tidb/server/info/a')), bytes(2, text('x')));
      expect(shown(walk(PUT, input))).toBe(
        is(bytes(1, text('/tidb-mesh/alpha:/tidb/server/info/a')), bytes(2, text('x'))),
      );
    });

    // client-go asks for everything that begins with the folder's name without its last slash.
    test.each([
      ['/tidb/server/minstartts', '/tidb/server/minstarttt', `${FOLDER}alpha:`, `${FOLDER}alpha;`],
      [FOLDER, '/tidb/server/minstartts0', `${FOLDER}alpha:`, `${FOLDER}alpha;`],
      [`${FOLDER}b`, `${FOLDER}d`, `${FOLDER}alpha:b`, `${FOLDER}alpha:d`],
      [`${FOLDER}beta:`, `${FOLDER}beta;`, `${FOLDER}alpha:beta:`, `${FOLDER}alpha:beta;`],
      [`${FOLDER}b`, '', `${FOLDER}alpha:b`, ''],
      ['/tidb/', '/tidb0', '/tidb-mesh/alpha:/tidb/', '/tidb-mesh/alpha:/tidb0'],
      [FOLDER, '\0', `/tidb-mesh/alpha:${FOLDER}`, '/tidb-mesh/alpha;'],
    ])('a range from %j to %j is that from %j to %j', (key, end, storedKey, storedEnd) => {
      const range = (from: string, to: string): Uint8Array[] =>
        to === '' ? [bytes(1, text(from))] : [bytes(1, text(from)), bytes(2, text(to))];
      for (const message of [RANGE, 'etcdserverpb.DeleteRangeRequest', 'etcdserverpb.WatchCreateRequest'])
        expect(shown(walk(message, concat(...range(key, end))))).toBe(is(...range(storedKey, storedEnd)));
    });

    test("answers show one's own only", () => {
      const pair = (key: string): Uint8Array => bytes(2, bytes(1, text(key)), bytes(5, text('9')));
      const answer = concat(
        pair(`${FOLDER}alpha:a`),
        pair(`${FOLDER}beta:b`),
        pair(`${FOLDER}alphabet:c`),
        pair(`${FOLDER}d`),
      );
      expect(shown(walk('etcdserverpb.RangeResponse', answer, 'response'))).toBe(is(pair(`${FOLDER}a`)));
    });
  });

  describe('since when a TiDB of tenant 0 reads', () => {
    beforeAll(() => use(0, 'legacy'));

    test('stays where it is, and is bounded too', () => {
      const put = (key: string): Uint8Array =>
        concat(bytes(1, text(key)), bytes(2, text('7')), scalar(3, LEASE));
      expect(shown(walk(PUT, put(`${FOLDER}uuid`)))).toBe(
        is(bytes(1, text(`${FOLDER}uuid`)), bytes(2, text(String(OLDEST))), scalar(3, LEASE)),
      );
      expect(shown(walk(PUT, put(`${FOLDER}alpha:uuid`)))).toBe('NAME_OUTSIDE');
    });

    test.each([
      ['', '\0'],
      ['/tidb/', '/tidb0'],
      ['/tidb/server/minstartts/', '/tidb/server/minstartts/b'],
      ['/tidb/server/minstartts/b:1', '\xff'],
      ['/tidb/server/minstartts/b:1', '\0'],
      ['/tidb/a', '/tidb/server/minstartts/\0'],
    ])('deletes no range with keys of others in it: %j to %j', (key, end) => {
      const range = concat(bytes(1, Buffer.from(key, 'latin1')), bytes(2, Buffer.from(end, 'latin1')));
      expect(shown(walk('etcdserverpb.DeleteRangeRequest', range))).toBe('NAME_OUTSIDE');
    });

    test.each([
      ['/tidb/a', '/tidb/server/minstartts/'],
      ['/tidb/server/minstartts0', '/tidb0'],
    ])('deletes what lies beside them: %j to %j', (key, end) => {
      const range = concat(bytes(1, text(key)), bytes(2, text(end)));
      expect(shown(walk('etcdserverpb.DeleteRangeRequest', range))).toBe(is(range));
    });

    test('reads all of the folder, since it may lead the GC of the store; may not delete it as a whole', () => {
      const range = concat(
        bytes(1, text('/tidb/server/minstartts')),
        bytes(2, text('/tidb/server/minstarttt')),
      );
      expect(shown(walk(RANGE, range))).toBe(is(range));
      expect(shown(walk('etcdserverpb.DeleteRangeRequest', range))).toBe('NAME_OUTSIDE');
      const pair = (key: string): Uint8Array => bytes(2, bytes(1, text(key)));
      const answer = concat(pair(`${FOLDER}alpha:a`), pair(`${FOLDER}d`));
      expect(shown(walk('etcdserverpb.RangeResponse', answer, 'response'))).toBe(is(answer));
    });
  });

  describe('tenant 0, which may lead the GC of the store,', () => {
    beforeAll(() => {
      use(0, 'legacy');
      filter.lookups = true;
    });

    const FOREIGN = Uint8Array.of(0x74, 0x80, 5, 0, 0, 0, 0, 0, 9, 0x5f, 0x72);
    const context = bytes(1, scalar(1, 7), bytes(2, scalar(1, 1), scalar(2, 3)));
    test.each([
      ['kvrpcpb.ScanLockRequest', concat(context, scalar(2, 9))],
      ['kvrpcpb.ResolveLockRequest', concat(context, scalar(2, 9))],
      ['kvrpcpb.CheckTxnStatusRequest', concat(context, bytes(2, FOREIGN), scalar(3, 9))],
      ['kvrpcpb.CheckSecondaryLocksRequest', concat(context, bytes(2, FOREIGN), scalar(3, 9))],
      ['pdpb.ScanRegionsRequest', bytes(2, FOREIGN)],
      ['pdpb.UpdateGCSafePointRequest', scalar(2, OLDEST)],
      [SERVICE, ask('gc_worker', (1n << 63n) - 1n, OLDEST)],
    ])('sends %s as it is', (message, input) => {
      expect(shown(walk(message, input))).toBe(is(input));
    });

    test.each([
      ['kvrpcpb.ScanLockResponse', bytes(3, bytes(1, FOREIGN), scalar(2, 7), bytes(3, FOREIGN))],
      ['pdpb.UpdateGCSafePointResponse', scalar(2, 1)],
      [SERVICE_ANSWER, concat(bytes(2, text('gc_worker')), scalar(4, 7n))],
    ])('gets %s as it is', (message, input) => {
      expect(shown(walk(message, input, 'response'))).toBe(is(input));
    });

    test.each([
      ['kvrpcpb.GetRequest', concat(context, bytes(2, FOREIGN))],
      ['kvrpcpb.CommitRequest', concat(context, bytes(3, FOREIGN))],
      ['kvrpcpb.BatchRollbackRequest', concat(context, bytes(3, FOREIGN))],
    ])('neither reads nor writes what is not its own: %s', (message, input) => {
      expect(shown(walk(message, input))).toBe('KEY_OUTSIDE');
    });
  });

  describe('the safe point that GC has reached', () => {
    beforeAll(() => use(1, 'alpha'));

    test('is read from where the storage layer writes it', () => {
      expect(shown(walk(RANGE, bytes(1, text(SAVED))))).toBe(is(bytes(1, text(SAVED))));
      const pair = bytes(2, bytes(1, text(SAVED)), bytes(5, text('9')));
      expect(shown(walk('etcdserverpb.RangeResponse', pair, 'response'))).toBe(is(pair));
    });

    test.each([PUT, 'etcdserverpb.DeleteRangeRequest'])(
      "is not written by tenants: %s goes to one's own key",
      (message) => {
        expect(shown(walk(message, bytes(1, text(SAVED))))).toBe(
          is(bytes(1, text(`/tidb-mesh/alpha:${SAVED}`))),
        );
      },
    );

    test('is not compared with in transactions, nor read as part of a range', () => {
      expect(shown(walk('etcdserverpb.Compare', bytes(3, text(SAVED))))).toBe(
        is(bytes(3, text(`/tidb-mesh/alpha:${SAVED}`))),
      );
      const range = concat(bytes(1, text(SAVED)), bytes(2, text(`${SAVED}\0`)));
      expect(shown(walk(RANGE, range))).toContain(`/tidb-mesh/alpha:${SAVED}`);
    });
  });

  describe('service safe points', () => {
    beforeAll(() => use(1, 'alpha'));

    const NOBODY = is(bytes(2, text('tidb_mesh_reader')), scalar(3, 0n), scalar(4, 0n));

    test('the own GC only asks, and is told the lower of its own and the one of the store', () => {
      const answer = (min: bigint): Uint8Array =>
        concat(bytes(2, text('tidb-mesh:beta:br')), scalar(3, 9n), scalar(4, min));
      for (const [mine, theirs, told] of [
        [OLDEST, OLDEST + 5n, OLDEST],
        [OLDEST + 9n, OLDEST, OLDEST],
        [1n, OLDEST, 1n],
      ] as const) {
        expect(shown(walk(SERVICE, ask('gc_worker', (1n << 63n) - 1n, mine)))).toBe(NOBODY);
        expect(shown(walk(SERVICE_ANSWER, answer(theirs), 'response'))).toBe(
          is(scalar(3, 9n), scalar(4, told)),
        );
      }
    });

    test('another service keeps one under the name of the tenant, for as long as the cap', () => {
      const kept = (ttl: bigint): string =>
        is(bytes(2, text('tidb-mesh:alpha:ticdc-1')), scalar(3, ttl), scalar(4, OLDEST));
      expect(shown(walk(SERVICE, ask('ticdc-1', 300n, OLDEST)))).toBe(kept(300n));
      expect(shown(walk(SERVICE, ask('ticdc-1', 3600n, OLDEST)))).toBe(kept(3600n));
      expect(shown(walk(SERVICE, ask('ticdc-1', 3601n, OLDEST)))).toBe(kept(3600n));
      expect(shown(walk(SERVICE, ask('ticdc-1', (1n << 63n) - 1n, OLDEST)))).toBe(kept(3600n));
      const answer = concat(bytes(2, text('gc_worker')), scalar(4, 7n));
      expect(shown(walk(SERVICE_ANSWER, answer, 'response'))).toBe(is(scalar(4, 7n)));
    });

    test('the order of the fields does not matter', () => {
      const input = concat(scalar(4, OLDEST), scalar(3, 9999n), bytes(2, text('ticdc-1')));
      expect(shown(walk(SERVICE, input))).toBe(
        is(scalar(4, OLDEST), scalar(3, 3600n), bytes(2, text('tidb-mesh:alpha:ticdc-1'))),
      );
    });

    test('it is taken away with a TTL of 0 or less, or none', () => {
      const id = bytes(2, text('tidb-mesh:alpha:ticdc-1'));
      expect(shown(walk(SERVICE, ask('ticdc-1', -1n, 0n)))).toBe(
        is(id, scalar(3, (1n << 64n) - 1n), scalar(4, 0n)),
      );
      expect(shown(walk(SERVICE, bytes(2, text('ticdc-1'))))).toBe(is(id));
    });

    test('one further back than the cap is refused, an absent one too', () => {
      expect(shown(walk(SERVICE, ask('ticdc-1', 60n, OLDEST - 1n)))).toBe('HELD_BACK');
      expect(shown(walk(SERVICE, concat(bytes(2, text('ticdc-1')), scalar(3, 60n))))).toBe('HELD_BACK');
    });

    test("BR's is refused, since what BR does next is not for tenants; taking one away is fine", () => {
      expect(shown(walk(SERVICE, ask('br-1', 60n, OLDEST)))).toBe('FILE_BACKUP');
      expect(shown(walk(SERVICE, ask('br-', 1n, 0n)))).toBe('FILE_BACKUP');
      expect(shown(walk(SERVICE, ask('br-1', 0n, OLDEST)))).toBe(
        is(bytes(2, text('tidb-mesh:alpha:br-1')), scalar(3, 0n), scalar(4, OLDEST)),
      );
      expect(shown(walk(SERVICE, ask('br', 60n, OLDEST)))).not.toBe('FILE_BACKUP');
    });

    test.each(['', 'a/b', '../gc_worker', 'a b', 'é', 'a\n', 'x'.repeat(129)])(
      '%j is no name for it',
      (id) => {
        expect(shown(walk(SERVICE, ask(id, 60n, OLDEST)))).toBe('SERVICE_ID');
      },
    );

    test('no name at all is refused', () => {
      expect(shown(walk(SERVICE, concat(scalar(3, 60n), scalar(4, OLDEST))))).toBe('SERVICE_ID');
    });

    test('nothing is left of one request for the next', () => {
      walk(SERVICE, ask('ticdc-1', 60n, OLDEST));
      expect(shown(walk(SERVICE, concat()))).toBe('SERVICE_ID');
    });
  });
});
