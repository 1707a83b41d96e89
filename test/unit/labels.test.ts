/** Texts that TiKV keeps as labels of its metrics: a tenant names so many, and no more. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const MOST = 512;
const BATCH = 'tikvpb.BatchCommandsRequest';
const GETS = 3;

beforeAll(buildModule);

function started(): HostedModule {
  const filter = new HostedModule();
  const config = {
    tenants: [
      { name: 'alpha', number: 1 },
      { name: 'beta', number: 2, ownDefaultGroup: true },
    ],
    rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
  };
  filter.configure(Buffer.from(JSON.stringify(config)));
  return filter;
}

const FIELDS: Record<string, [context: (text: string) => Fields, read: (context: Fields) => string]> = {
  sources: [(requestSource) => ({ requestSource }), ({ requestSource }) => requestSource as string],
  groups: [
    (resourceGroupName) => ({ resourceControlContext: { resourceGroupName } }),
    ({ resourceControlContext }) => (resourceControlContext as Fields)['resourceGroupName'] as string,
  ],
};

/** Sends gets that are alike, and name a text. True when the stream may go on. */
function name(filter: HostedModule, stream: number, kind: string, text: string): boolean {
  const [context] = FIELDS[kind]!;
  const get = { key: rowKey(100, 1), context: { regionId: 7n, ...context(text) } };
  const requests = Array.from({ length: GETS }, () => ({ cmd: { case: 'Get', value: get } }));
  return filter.request(stream, frame(encode(BATCH, { requests, requestIds: [0n, 1n, 2n] })));
}

/** What the texts become in gets that are alike. */
function named(filter: HostedModule, kind: string, text: string, tenant = 'alpha'): string {
  const [, read] = FIELDS[kind]!;
  const caller = Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);
  const stream = filter.open(caller, callHeaders('/tikvpb.Tikv/BatchCommands'));
  expect(name(filter, stream, kind, text)).toBe(true);
  const sent = decode(BATCH, filter.passed().subarray(5))['requests'] as Fields[];
  filter.close(stream);
  const found = sent.map(({ cmd }) => read(cmd.value.context as Fields));
  expect(found).toEqual(found.map(() => found[0]));
  return found[0]!;
}

describe.each([
  ['sources', '', 'other', 'other'],
  ['groups', '1:', 'default', '2:default'],
])('%s', (kind, prefix, replaced, replacedOwn) => {
  test(`beyond ${MOST} become ${replaced}; those that were named stay, and other tenants have their own`, () => {
    const filter = started();
    const texts = Array.from({ length: MOST }, (_, i) => `${'name-'.repeat(i % 4)}${i}`);
    for (const text of texts) expect(named(filter, kind, text)).toBe(prefix + text);
    for (const text of ['more', 'a', 'external_Select']) expect(named(filter, kind, text)).toBe(replaced);
    for (const text of [texts[0]!, texts.at(-1)!]) expect(named(filter, kind, text)).toBe(prefix + text);
    expect(named(filter, kind, '')).toBe('');
    for (let i = 0; i < MOST; i++) named(filter, kind, `x${i}`, 'beta');
    expect(named(filter, kind, 'more', 'beta')).toBe(replacedOwn);
  });

  test('with the same beginnings and ends are told apart', () => {
    const filter = started();
    const texts = Array.from({ length: MOST }, (_, i) => `same-one ${1000 + i} same-one`);
    for (const text of texts) expect(named(filter, kind, text)).toBe(prefix + text);
    expect(named(filter, kind, 'same-one 9999 same-one')).toBe(replaced);
    for (const text of texts) expect(named(filter, kind, text)).toBe(prefix + text);
  });

  test('cost no memory when they are repeated, or beyond the limit', () => {
    const filter = started();
    for (let i = 0; i < MOST; i++) named(filter, kind, `x${i}`);
    const before = filter.memoryBytes;
    for (let i = 0; i < 4 * MOST; i++) named(filter, kind, `y${i}`);
    expect(filter.memoryBytes).toBe(before);
  });

  test('that are too long are not kept', () => {
    const filter = started();
    for (let i = 0; i < MOST + 1; i++) {
      const caller = Buffer.from('spiffe://m/ns/alpha/sa/tidb');
      const stream = filter.open(caller, callHeaders('/tikvpb.Tikv/BatchCommands'));
      name(filter, stream, kind, `${i}-${'x'.repeat(4096)}`);
      filter.close(stream);
    }
    expect(filter.memoryBytes).toBeLessThan(3 << 20);
    expect(named(filter, kind, 'fresh')).toBe(`${prefix}fresh`);
  });
});
