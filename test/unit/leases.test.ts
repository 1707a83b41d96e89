/** For how long a tenant may take a lease in PD's etcd: case by case, on the bytes. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';
import { concat } from '../harness/model/bytes.ts';
import { messageId } from '../harness/model/schema.ts';
import { scalar } from '../harness/model/wire.ts';

const LONGEST = 86400n;
const ID = 5n;
const STORED_ID = BigInt.asUintN(64, (1n << 63n) | (1n << 48n) | ID);

const ttl = (seconds: bigint): Uint8Array => scalar(1, BigInt.asUintN(64, seconds));

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
    filter.select(1, 'alpha');
    filter.newStream();
    filter.longestLease(LONGEST);
  });

  const granted = (...fields: Uint8Array[]): string => {
    const request = messageId('etcdserverpb.LeaseGrantRequest');
    const { status, bytes } = filter.message(request, concat(...fields), 'request');
    expect(Status[status]).toBe('OK');
    return Buffer.from(bytes).toString('hex');
  };
  const is = (...fields: Uint8Array[]): string => Buffer.from(concat(...fields)).toString('hex');

  test.each([LONGEST + 1n, 315_360_000n, 9_000_000_000n, 9_000_000_001n, (1n << 63n) - 1n])(
    'a lease of %s seconds is taken for a day',
    (seconds) => {
      expect(granted(ttl(seconds), scalar(2, ID))).toBe(is(ttl(LONGEST), scalar(2, STORED_ID)));
    },
  );

  // etcd takes what is less than its least for its least.
  test.each([1n, 60n, LONGEST - 1n, LONGEST, 0n, -1n, -(1n << 63n)])(
    'a lease of %s seconds is asked for as it is',
    (seconds) => {
      expect(granted(ttl(seconds), scalar(2, ID))).toBe(is(ttl(seconds), scalar(2, STORED_ID)));
    },
  );

  test('whatever the order of the fields', () => {
    expect(granted(scalar(2, ID), ttl(1n << 40n))).toBe(is(scalar(2, STORED_ID), ttl(LONGEST)));
  });

  test('one that is asked for twice is refused', () => {
    const request = messageId('etcdserverpb.LeaseGrantRequest');
    const { status } = filter.message(request, concat(ttl(60n), scalar(2, ID), ttl(60n)), 'request');
    expect(Status[status]).toBe('DUPLICATE');
  });

  test('answers say what etcd says', () => {
    const answer = messageId('etcdserverpb.LeaseGrantResponse');
    const body = concat(scalar(2, STORED_ID), scalar(3, LONGEST * 365n));
    const { status, bytes } = filter.message(answer, body, 'response');
    expect(Status[status]).toBe('OK');
    expect(Buffer.from(bytes).toString('hex')).toBe(is(scalar(2, ID), scalar(3, LONGEST * 365n)));
  });
});
