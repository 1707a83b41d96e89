/** Who asks PD for tokens of resource groups, and for how many groups at once. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { Tenant } from './tenant.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import { concat, EMPTY } from '../harness/model/bytes.ts';

const REQUEST = 'resource_manager.TokenBucketsRequest';
const TENANT_BITS = 11n;
const clientOf = (number: number, id: bigint): bigint => (1n << 63n) | (BigInt(number) << TENANT_BITS) | id;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  const choose = (number: number): void => {
    tenant = new Tenant(build, { number });
  };

  describe.each([0, 1, 32_767])('tenant %i', (number) => {
    beforeAll(() => choose(number));

    test.each([1n, 2n, 2047n])('keeps the id %s of a TiDB apart from others', (id) => {
      expect(tenant.sent(REQUEST, { clientUniqueId: id })).toMatchObject({
        clientUniqueId: clientOf(number, id),
      });
    });

    test('has no more ids than TiDBs have in one cluster', () => {
      const ids = [2048n, 2049n, (1n << 22n) - 1n, clientOf(1, 5n), clientOf(2, 5n), (1n << 64n) - 1n];
      expect(ids.map((id) => tenant.sent(REQUEST, { clientUniqueId: id })['clientUniqueId'])).toEqual(
        [0n, 1n, 2047n, 5n, 5n, 2047n].map((id) => clientOf(number, id)),
      );
    });

    test('has one for all that name none', () => {
      for (const body of [EMPTY, scalar(3, 0n)])
        expect(tenant.sent(REQUEST, body)).toMatchObject({ clientUniqueId: clientOf(number, 0n) });
    });
  });

  test('all else of a request stays', () => {
    choose(1);
    const request = {
      resourceGroupName: 'app',
      request: { case: 'ruItems', value: { requestRU: [{ type: 0, value: 7 }] } },
    };
    const fields = { requests: [request, request], targetRequestPeriodMs: 5000n, clientUniqueId: 9n };
    const { requests, ...rest } = tenant.sent(REQUEST, fields);
    expect(rest).toMatchObject({ targetRequestPeriodMs: 5000n, clientUniqueId: clientOf(1, 9n) });
    const item = { ...request, resourceGroupName: '1:app' };
    expect(requests).toMatchObject([item, item]);
  });

  test.each([
    [0, 'OK'],
    [1024, 'OK'],
    [1025, 'VALUE_OUTSIDE'],
  ])('%i groups at once', (count, status) => {
    choose(1);
    const one = bytes(1, bytes(1, Buffer.from('g')));
    const all = concat(...Array.from({ length: count }, () => one), scalar(3, 1n));
    expect(tenant.verdict(REQUEST, all)).toBe(status);
  });

  test.each([
    [4, 'OK'],
    [5, 'VALUE_OUTSIDE'],
  ])('%i times request units of one group', (count, status) => {
    choose(1);
    const unit = bytes(1, scalar(1, 0n));
    const units = bytes(2, concat(...Array.from({ length: count }, () => unit)));
    const one = bytes(1, concat(bytes(1, Buffer.from('g')), units));
    expect(tenant.verdict(REQUEST, one)).toBe(status);
  });
});
