/** Names of resource groups at their limits: what a tenant may make, and what it is told. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';
import { messageId } from '../harness/model/schema.ts';

const PUT = 'resource_manager.PutResourceGroupRequest';
const LIST = 'resource_manager.ListResourceGroupsResponse';
const GET = 'kvrpcpb.GetRequest';
const SETTINGS = { mode: 1, rUSettings: { rU: { settings: {} } } };

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(async () => {
    await buildFilter();
    filter = new Filter(build);
  });

  function put(group: Fields | undefined): { status: Status; name: string | undefined } {
    const sent = encode(PUT, group ? { group } : {});
    const { status, bytes } = filter.message(messageId(PUT), sent, 'request');
    return { status, name: status === Status.OK ? (decode(PUT, bytes)['group'].name as string) : undefined };
  }

  test.each([
    [1, 30],
    [99, 29],
    [32766, 26],
  ])('tenant %i may use %i bytes for a name', (number, longest) => {
    filter.select(number, 'alpha');
    const name = 'n'.repeat(longest);
    expect(put({ name, ...SETTINGS })).toEqual({ status: Status.OK, name: `${number}:${name}` });
    expect(put({ name: `${name}n`, ...SETTINGS }).status).toBe(Status.GROUP_NAME);
    expect(put({ name: `${'ä'.repeat(longest / 2)}ä`, ...SETTINGS }).status).toBe(Status.GROUP_NAME);
  });

  test.each([
    ['default', Status.GROUP_DEFAULT],
    ['', Status.GROUP_SETTINGS],
    ['.', Status.GROUP_NAME],
    ['..', Status.GROUP_NAME],
    ['../settings/2:app', Status.GROUP_NAME],
  ])('no tenant makes %j', (name, status) => {
    filter.select(1, 'alpha');
    expect(put({ name, ...SETTINGS }).status).toBe(status);
  });

  test('a group that PD would stop on is refused', () => {
    filter.select(1, 'alpha');
    const bad = [undefined, {}, { mode: 0 }, { mode: 2 }, { rUSettings: undefined }, { rUSettings: {} }];
    for (const change of bad)
      expect(put(change && { name: 'a', ...SETTINGS, ...change }).status).toBe(
        change && Object.keys(change).length === 0 ? Status.OK : Status.GROUP_SETTINGS,
      );
    expect(put({ name: 'a', mode: 1, rUSettings: { rU: {} } }).status).toBe(Status.GROUP_SETTINGS);
  });

  test('a list shows the own groups by their own names, and the shared one', () => {
    const groups = ['1:app', '11:app', '2:app', 'default', 'app', '1:', '1:default', '1:2:app'].map(
      (name) => ({
        name,
        ...SETTINGS,
      }),
    );
    const shown = (number: number): string[] => {
      filter.select(number, 'alpha');
      const { bytes } = filter.message(messageId(LIST), encode(LIST, { groups }), 'response');
      return (decode(LIST, bytes)['groups'] as Fields[]).map((group) => group['name'] as string);
    };
    expect(shown(1)).toEqual(['app', 'default', '2:app']);
    expect(shown(11)).toEqual(['app', 'default']);
    expect(shown(3)).toEqual(['default']);
    expect(shown(0)).toEqual(['default', 'app']);
  });

  describe('a tenant whose `default` is its own', () => {
    beforeAll(() => filter.selectSpace({ number: 12, ownDefaultGroup: true }, 'alpha'));

    test("requests name the tenant's in PD's messages, at the store and in the meta storage", () => {
      const named = (type: string, fields: Fields): Fields => {
        const { status, bytes } = filter.message(messageId(type), encode(type, fields), 'request');
        expect(status).toBe(Status.OK);
        return decode(type, bytes);
      };
      expect(
        named('resource_manager.GetResourceGroupRequest', { resourceGroupName: 'default' }),
      ).toMatchObject({ resourceGroupName: '12:default' });
      const buckets = named('resource_manager.TokenBucketsRequest', {
        requests: [{ resourceGroupName: 'default' }, { resourceGroupName: 'app' }],
      });
      expect((buckets['requests'] as Fields[]).map((request) => request['resourceGroupName'])).toEqual([
        '12:default',
        '12:app',
      ]);
      const path = named('meta_storagepb.GetRequest', {
        key: Buffer.from('resource_group/settings/default'),
      });
      expect(Buffer.from(path['key'] as Uint8Array).toString()).toBe('resource_group/settings/12:default');
      const under = (name: string): unknown =>
        named(GET, {
          context: { regionId: 1n, resourceControlContext: { resourceGroupName: name } },
          key: Buffer.from('m'),
        })['context'].resourceControlContext.resourceGroupName;
      // Twice, because a context that needs no change is remembered.
      expect([under('default'), under('default')]).toEqual(['12:default', '12:default']);
      expect(under('')).toBe('');
    });

    test("answers show the tenant's by its own name, and neither PD's nor another's", () => {
      const groups = ['12:default', 'default', '1:default', '12:app'].map((name) => ({ name, ...SETTINGS }));
      const { bytes } = filter.message(messageId(LIST), encode(LIST, { groups }), 'response');
      expect((decode(LIST, bytes)['groups'] as Fields[]).map((group) => group['name'])).toEqual([
        'default',
        'app',
      ]);
      const WATCH = 'meta_storagepb.WatchResponse';
      const events = ['12:default', 'default', '1:default'].map((name) => ({
        kv: {
          key: Buffer.from(`resource_group/settings/${name}`),
          value: Buffer.from(encode('resource_manager.ResourceGroup', { name, ...SETTINGS })),
        },
      }));
      const told = filter.message(messageId(WATCH), encode(WATCH, { events }), 'response');
      const keys = (decode(WATCH, told.bytes)['events'] as Fields[]).map(({ kv }) => [
        Buffer.from(kv.key as Uint8Array).toString(),
        decode('resource_manager.ResourceGroup', kv.value as Uint8Array)['name'],
      ]);
      expect(keys).toEqual([['resource_group/settings/default', 'default']]);
    });

    test("a group that leads to PD's `default` stays in a list", () => {
      const groups = [{ name: '12:app', ...SETTINGS, runawaySettings: { switchGroupName: 'default' } }];
      const { bytes } = filter.message(messageId(LIST), encode(LIST, { groups }), 'response');
      expect(decode(LIST, bytes)['groups']).toHaveLength(1);
    });

    test('the tenant cannot change or delete it', () => {
      expect(put({ name: 'default', ...SETTINGS }).status).toBe(Status.GROUP_DEFAULT);
      const DELETE = 'resource_manager.DeleteResourceGroupRequest';
      const deleted = encode(DELETE, { resourceGroupName: 'default' });
      expect(filter.message(messageId(DELETE), deleted, 'request').status).toBe(Status.GROUP_DEFAULT);
    });
  });

  test('tenant 0 keeps its names, changes the shared group, and reaches no other', () => {
    filter.select(0, 'alpha');
    expect(put({ name: 'app', ...SETTINGS })).toEqual({ status: Status.OK, name: 'app' });
    expect(put({ name: 'default', ...SETTINGS })).toEqual({ status: Status.OK, name: 'default' });
    expect(put({ name: '1:app', ...SETTINGS }).status).toBe(Status.NAME_OUTSIDE);
    expect(put({ name: 'x/../1:app', ...SETTINGS }).status).toBe(Status.GROUP_NAME);
  });

  test('requests to the store run under the own group; the shared one costs no change', () => {
    const under = (name: string): { length: number; name: string } => {
      const sent = encode(GET, {
        context: { resourceControlContext: { resourceGroupName: name } },
        key: Buffer.from('m'),
      });
      const { status, bytes } = filter.message(messageId(GET), sent, 'request');
      expect(status).toBe(Status.OK);
      const { context } = decode(GET, bytes);
      return {
        length: bytes.length - sent.length,
        name: context.resourceControlContext.resourceGroupName as string,
      };
    };
    filter.select(12, 'alpha');
    const { length } = under('');
    expect(under('default')).toEqual({ length, name: 'default' });
    expect(under('app')).toEqual({ length: length + 3, name: '12:app' });
    expect(under('13:app').name).toBe('12:13:app');
    expect(under('x'.repeat(29)).name).toBe(`12:${'x'.repeat(29)}`);
    const long = { context: { resourceControlContext: { resourceGroupName: 'x'.repeat(30) } } };
    const sent = encode(GET, { ...long, key: Buffer.from('m') });
    expect(filter.message(messageId(GET), sent, 'request').status).toBe(Status.TEXT_TOO_LONG);
  });

  describe.each([0, 1, 12])("what tenant %i reads of PD's meta storage", (number) => {
    const read = (key: string, rangeEnd: string, more: Fields = {}): string => {
      filter.select(number, 'alpha');
      return ['meta_storagepb.GetRequest', 'meta_storagepb.WatchRequest']
        .map((type) => {
          const fields = type.endsWith('GetRequest') ? more : {};
          const sent = encode(type, { key: Buffer.from(key), rangeEnd: Buffer.from(rangeEnd), ...fields });
          return Status[filter.message(messageId(type), sent, 'request').status]!;
        })
        .join();
    };
    const BOTH = 'OK,OK';
    const NEITHER = 'NAME_OUTSIDE,NAME_OUTSIDE';

    test('is what its TiDB asks for: all groups, the controller, or one of its own', () => {
      expect(read('resource_group/settings', 'resource_group/settingt')).toBe(BOTH);
      expect(read('resource_group/controller', 'resource_group/controlles')).toBe(BOTH);
      expect(read('resource_group/controller', '')).toBe(BOTH);
      expect(read('resource_group/settings/app', '')).toBe(BOTH);
    });

    test.each([
      ['resource_group/settings/', 'resource_group/settings0'],
      ['resource_group/settings/2:', 'resource_group/settings/2;'],
      ['resource_group/settings', 'resource_group/settings/5'],
      ['resource_group/settings/2:a', 'resource_group/settingt'],
      ['resource_group/settings', 'resource_group/settingu'],
      ['resource_group/controller', 'resource_group/settingt'],
      ['resource_group/settings', 'resource_group/controlles'],
      ['resource_group/', 'resource_group0'],
      ['resource_group/settings', '\0'],
      ['resource_group/settings', ''],
    ])('is never a part of the groups: %j to %j', (key, end) => {
      expect(read(key, end)).toBe(NEITHER);
    });

    test('has no limit, which would count the groups of all tenants', () => {
      const all = ['resource_group/settings', 'resource_group/settingt'] as const;
      expect(read(...all, { limit: 0n })).toBe(BOTH);
      for (const limit of [1n, 5n, -1n, (1n << 63n) - 1n])
        expect(read(...all, { limit })).toBe('VALUE_OUTSIDE,OK');
    });

    test('does not say whether there is more, and how much', () => {
      const ANSWER = 'meta_storagepb.GetResponse';
      filter.select(number, 'alpha');
      const { bytes } = filter.message(
        messageId(ANSWER),
        encode(ANSWER, { more: true, count: 9n }),
        'response',
      );
      expect(bytes).toHaveLength(0);
    });
  });
});
