/** How long a text may be that PD keeps: values in etcd, and resource groups. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { encode } from '../harness/support/messages.ts';
import { Tenant } from './tenant.ts';

const PUT = 'etcdserverpb.PutRequest';
const TXN = 'etcdserverpb.TxnRequest';
const GROUP = 'resource_manager.PutResourceGroupRequest';
const MOST_OF_VALUE = 1536 * 1024;
const MOST_OF_GROUP = 64 * 1024;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  beforeAll(() => {
    tenant = new Tenant(build);
  });

  test.each([
    [0, 'OK'],
    [MOST_OF_VALUE, 'OK'],
    [MOST_OF_VALUE + 1, 'TEXT_TOO_LONG'],
  ])('a value of %i bytes in etcd: %s', (length, expected) => {
    const put = { key: Buffer.from('a'), value: Buffer.alloc(length, 1) };
    expect(tenant.verdict(PUT, put)).toBe(expected);
    // The bytes of a longer transaction are those of its values.
    const small = { key: Buffer.from('b'), value: Buffer.alloc(1) };
    const operation = (requestPut: typeof put): object => ({
      request: { case: 'requestPut', value: requestPut },
    });
    expect(tenant.verdict(TXN, { success: [small, put, small].map(operation) })).toBe(expected);
    expect(tenant.verdict(TXN, { failure: [small, put].map(operation) })).toBe(expected);
  });

  test('a resource group of 64 KiB passes, and no longer one', () => {
    const group = (length: number): Uint8Array =>
      encode(GROUP, {
        group: {
          name: 'a',
          mode: 1,
          rUSettings: { rU: { settings: {} } },
          backgroundSettings: { jobTypes: ['x'.repeat(length)] },
        },
      });
    const rest = MOST_OF_GROUP - group(MOST_OF_GROUP).length;
    expect(group(MOST_OF_GROUP + rest)).toHaveLength(MOST_OF_GROUP);
    expect(tenant.verdict(GROUP, group(MOST_OF_GROUP + rest))).toBe('OK');
    expect(tenant.verdict(GROUP, group(MOST_OF_GROUP + rest + 1))).toBe('TEXT_TOO_LONG');
  });
});
