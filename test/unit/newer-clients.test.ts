/** What clients that are newer than TiDB 8.5 send and get: case by case, on the bytes. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, type Way } from './filter.ts';
import { Tenant } from './tenant.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, scalar } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode } from '../harness/support/messages.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  beforeAll(() => {
    tenant = new Tenant(build);
  });

  /** What becomes of the fields of a message, as hex. */
  const rewritten = (name: string, way: Way, ...fields: Uint8Array[]): string =>
    Buffer.from(tenant.passed(name, concat(...fields), way)).toString('hex');

  test('PD is not told what it would keep counts of', () => {
    const header = scalar(1, 7n);
    const [caller, component] = [bytes(3, text('tidb')), bytes(4, text('a name of its own'))];
    const region = (...fields: Uint8Array[]): string =>
      rewritten('pdpb.GetRegionByIDRequest', 'request', bytes(1, concat(...fields)), scalar(2, 4n));
    expect(region(header, caller, component)).toBe(region(header));
  });

  test('the store is not told to log at once, and keeps the id of a trace', () => {
    const [region, trace, flags] = [scalar(1, 4n), bytes(36, text('trace')), scalar(37, 15n)];
    const get = (...context: Uint8Array[]): string =>
      rewritten(
        'kvrpcpb.GetRequest',
        'request',
        bytes(1, concat(...context)),
        bytes(2, rowKey(5, 1)),
        scalar(4, 1n),
      );
    expect(get(region, trace, flags)).toBe(get(region, trace));
    expect(get(region, trace)).toContain(Buffer.from('trace').toString('hex'));
  });

  test("a resource group's keyspace is not passed on", () => {
    const name = bytes(1, text('gold'));
    const keyspace = bytes(2, scalar(1, 9n));
    const remove = (...fields: Uint8Array[]): string =>
      rewritten('resource_manager.DeleteResourceGroupRequest', 'request', ...fields);
    expect(remove(name, keyspace)).toBe(remove(name));
  });

  test('the store ends its work before it answers', () => {
    const request = [bytes(1, scalar(1, 4)), scalar(2, 5n), scalar(3, 6n), bytes(5, rowKey(5, 1))];
    const resolve = (...fields: Uint8Array[]): string =>
      rewritten('kvrpcpb.ResolveLockRequest', 'request', ...fields);
    expect(resolve(...request, scalar(6, 1n))).toBe(resolve(...request));
  });

  test('what a tenant has consumed stays countable', () => {
    const largest = 1n << 53n;
    const consumed = (...fields: Uint8Array[]): string =>
      rewritten(
        'resource_manager.TokenBucketRequest',
        'request',
        bytes(1, text('gold')),
        bytes(4, ...fields),
      );
    for (const field of [9, 10]) {
      const kept = decode('resource_manager.Consumption', scalar(field, largest));
      expect(consumed(scalar(field, largest))).toContain(Buffer.from(scalar(field, largest)).toString('hex'));
      const lowered = consumed(scalar(field, (1n << 64n) - 1n));
      const { consumptionSinceLastRequest } = decode(
        'resource_manager.TokenBucketRequest',
        Buffer.from(lowered, 'hex'),
      );
      expect(consumptionSinceLastRequest).toEqual(kept);
    }
    for (const field of [11, 12, 13]) {
      const endless = concat(
        Uint8Array.of((field << 3) | 1),
        new Uint8Array(Float64Array.of(Infinity).buffer),
      );
      const nothing = concat(Uint8Array.of((field << 3) | 1), new Uint8Array(8));
      expect(consumed(endless)).toBe(consumed(nothing));
    }
  });

  test("a commit's primary key is the tenant's own", () => {
    const committed = [bytes(1, scalar(1, 4)), scalar(2, 5n), bytes(3, rowKey(5, 1)), scalar(4, 6n)];
    const commit = (...fields: Uint8Array[]): string =>
      tenant.verdict('kvrpcpb.CommitRequest', concat(...committed, ...fields));
    expect(commit(scalar(6, 1n), bytes(7, rowKey(5, 1)), scalar(8, 1n))).toBe('OK');
    expect(commit(bytes(7, text('x')))).toBe('KEY_OUTSIDE');
  });

  test("of the locks that share a key, those of another tenant's keys are removed", () => {
    const key = (tenant: number): Uint8Array => rowKey(5, 1, tenant);
    const lock = (tenant: number): Uint8Array => concat(scalar(2, 8n), bytes(3, key(tenant)));
    const answer = (...shared: Uint8Array[]): string => {
      const locked = concat(lock(1), ...shared.map((one) => bytes(12, one)));
      return rewritten('kvrpcpb.GetResponse', 'response', bytes(2, bytes(1, locked)));
    };
    expect(answer(lock(1), lock(2))).toBe(answer(lock(1)));
    expect(answer(lock(1))).not.toBe(answer());
  });
});
