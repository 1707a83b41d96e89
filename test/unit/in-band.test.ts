import { beforeAll, describe, expect, test } from '@jest/globals';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge } from '../../src-ts/schema/judgement.ts';
import { layOut } from '../../src-ts/schema/layout.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { rowKey } from '../harness/support/keys.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';

/* One request of a BatchCommands message is refused; the others and the stream go on. */
const { names } = layOut(judge(readDescriptors()));
const BATCH = names.indexOf('tikvpb.BatchCommandsRequest');
const ANSWERS = names.indexOf('tikvpb.BatchCommandsResponse');
const OWN = rowKey(100, 1);
const FOREIGN = rowKey(100, 1, 2);
const LATER = 1n << 62n;
/** Later than every clock would allow; set in the filter. */
const LATEST = 1n << 60n;
const MAX = (1n << 64n) - 1n;
const CONTEXT = { regionId: 7n, regionEpoch: { confVer: 1n, version: 300n } };

type Command = readonly [string, Fields];

function batch(commands: readonly Command[], ids = commands.map((_, i) => BigInt(i + 1))): Uint8Array {
  const requests = commands.map(([command, value]) => ({ cmd: { case: command, value } }));
  return encode('tikvpb.BatchCommandsRequest', { requests, requestIds: ids });
}

function answers(commands: readonly Command[], ids: readonly bigint[]): Uint8Array {
  const responses = commands.map(([command, value]) => ({ cmd: { case: command, value } }));
  return encode('tikvpb.BatchCommandsResponse', { responses, requestIds: ids });
}

/** Cases that must be refused: the command, its fields, where its response says so, a word of the reason. */
const REFUSED: [string, string, Fields, (response: Fields) => unknown, RegExp][] = [
  ['a point get', 'Get', { key: FOREIGN }, (r) => r['error'].abort, /key range/],
  ['a scan in the future', 'Scan', { version: LATER }, (r) => r['error'].abort, /maxTsDriftSeconds/],
  [
    'a prewrite',
    'Prewrite',
    { mutations: [{ key: OWN }, { key: FOREIGN }], primaryLock: OWN },
    (r) => r['errors'][0].abort,
    /key range/,
  ],
  [
    'a commit in the future',
    'Commit',
    { keys: [OWN], commitVersion: MAX },
    (r) => r['error'].abort,
    /maxTsDriftSeconds/,
  ],
  [
    'a pessimistic lock',
    'PessimisticLock',
    { mutations: [{ op: 5, key: FOREIGN }], primaryLock: OWN },
    (r) => r['errors'][0].abort,
    /key range/,
  ],
  [
    'a coprocessor request in the future',
    'Coprocessor',
    { tp: 103n, startTs: LATER },
    (r) => r['otherError'],
    /maxTsDriftSeconds/,
  ],
  ['RawKV', 'RawGet', { key: OWN }, (r) => r['error'], /mode "raw"/],
  ['a whole region without its name', 'ResolveLock', { startVersion: 5n }, (r) => r['error'].abort, /region/],
  ['what no tenant may send', 'GC', {}, (r) => r['error'].abort, /not for tenants/],
];

describe.each(BUILD_NAMES)('the %s build', (name) => {
  let filter: Filter;
  beforeAll(async () => {
    await buildFilter();
    filter = new Filter(name);
    filter.latestTimestamp = LATEST;
    filter.lookups = true;
  });

  test.each(REFUSED)(
    '%s: refused in its own response, its neighbours go on',
    (_, command, fields, reason, why) => {
      filter.newStream();
      const fine: Command = ['Get', { context: CONTEXT, key: OWN, version: MAX }];
      const sent = filter.message(BATCH, batch([fine, [command, fields], fine]), 'request');
      expect(Status[sent.status]).toBe('OK');
      const { requests, requestIds } = decode('tikvpb.BatchCommandsRequest', sent.bytes);
      expect(requestIds).toEqual([1n, 2n, 3n]);
      expect((requests as Fields[]).map((r) => r['cmd'].case)).toEqual(['Get', 'Empty', 'Get']);
      for (const i of [0, 2])
        expect(Buffer.from(requests[i].cmd.value.key as Uint8Array)).toEqual(rowKey(100, 1, 1));

      expect(filter.pending).toBe(1);
      const value = { value: Buffer.from('v') };
      const got = filter.message(
        ANSWERS,
        answers(
          [
            ['Empty', {}],
            ['Get', value],
            ['Get', value],
          ],
          [2n, 3n, 1n],
        ),
        'response',
      );
      expect(Status[got.status]).toBe('OK');
      const { responses } = decode('tikvpb.BatchCommandsResponse', got.bytes);
      expect(responses[0].cmd.case).toBe(command);
      expect(reason(responses[0].cmd.value as Fields)).toMatch(why);
      expect(reason(responses[0].cmd.value as Fields)).toMatch(/^tidb-mesh\[[A-Z_]+\]: /);
      for (const i of [1, 2]) expect(responses[i].cmd).toMatchObject({ case: 'Get', value });
      expect(filter.pending).toBe(0);
    },
  );

  test('many in one batch, in any order of answers', () => {
    filter.newStream();
    const ids = Array.from({ length: 40 }, (_, i) => BigInt(i * 3 + 1000));
    const refused = (i: number): boolean => i % 3 === 1;
    const commands = ids.map((_, i): Command => ['Get', { key: refused(i) ? FOREIGN : OWN }]);
    const sent = filter.message(BATCH, batch(commands, ids), 'request');
    expect(Status[sent.status]).toBe('OK');
    expect(filter.pending).toBe(13);
    const order = ids.map((_, i) => (i * 7) % ids.length);
    const given = order.map((i): Command => (refused(i) ? ['Empty', {}] : ['Get', { notFound: true }]));
    const got = filter.message(
      ANSWERS,
      answers(
        given,
        order.map((i) => ids[i]!),
      ),
      'response',
    );
    expect(Status[got.status]).toBe('OK');
    const { responses } = decode('tikvpb.BatchCommandsResponse', got.bytes);
    for (const [at, i] of order.entries()) {
      const { value } = responses[at].cmd as { value: Fields };
      expect([i, value['error'] !== undefined, value['notFound']]).toEqual([i, refused(i), !refused(i)]);
    }
    expect(filter.pending).toBe(0);
  });

  test('what breaks the framing still ends the stream', () => {
    filter.newStream();
    const broken = Buffer.from('0a040a02ff01', 'hex');
    expect(Status[filter.message(BATCH, broken, 'request').status]).toBe('MALFORMED');
  });

  test('a command that the schema does not know ends the stream: nobody could answer it', () => {
    filter.newStream();
    const unknown = Buffer.from('0a04a21f0008120101', 'hex').subarray(0, 6);
    expect(
      Status[filter.message(BATCH, Buffer.concat([unknown, Buffer.from('120101', 'hex')]), 'request').status],
    ).toBe('UNKNOWN_FIELD');
  });

  describe('requests that act on a whole region', () => {
    const keyless: Command = ['ResolveLock', { context: CONTEXT, startVersion: 5n }];
    const versionOf = (bytes: Uint8Array): bigint =>
      decode('tikvpb.BatchCommandsRequest', bytes)['requests'][0].cmd.value.context.regionEpoch
        .version as bigint;
    const send = (command: Command): Uint8Array => {
      filter.newStream();
      const sent = filter.message(BATCH, batch([command]), 'request');
      expect(Status[sent.status]).toBe('OK');
      return sent.bytes;
    };

    test('unknown: the version becomes 0 and the region is wanted; known as inside: untouched', () => {
      filter.forgetWanted();
      expect(versionOf(send(keyless))).toBe(0n);
      expect(filter.wanted).toEqual([7n]);
      filter.learn(7n, 300n, false);
      expect(versionOf(send(keyless))).toBe(0n);
      filter.learn(7n, 300n, true);
      const bytes = send(keyless);
      expect(versionOf(bytes)).toBe(300n);
      expect(Buffer.from(bytes)).toEqual(Buffer.from(batch([keyless])));
    });

    test('another version of a known region is not known', () => {
      filter.learn(7n, 300n, true);
      const other = { ...CONTEXT, regionEpoch: { confVer: 1n, version: 301n } };
      expect(versionOf(send(['ResolveLock', { context: other, startVersion: 5n }]))).toBe(0n);
    });

    test("another tenant's knowledge is not this one's", () => {
      filter.learn(7n, 300n, true);
      filter.select(2, 'beta');
      expect(versionOf(send(keyless))).toBe(0n);
      filter.select(1, 'alpha');
    });

    test('with keys it acts on those only', () => {
      filter.forgetWanted();
      const context = { ...CONTEXT, regionId: 99n };
      expect(versionOf(send(['ResolveLock', { context, startVersion: 5n, keys: [OWN] }]))).toBe(300n);
      expect(filter.wanted).toEqual([]);
    });

    test('nobody to ask: refused', () => {
      filter.lookups = false;
      filter.newStream();
      filter.message(BATCH, batch([keyless]), 'request');
      const got = filter.message(ANSWERS, answers([['Empty', {}]], [1n]), 'response');
      const { error } = decode('tikvpb.BatchCommandsResponse', got.bytes)['responses'][0].cmd.value;
      expect(error.abort).toMatch(/pd\.cluster/);
      filter.lookups = true;
    });

    test('regions that PD is to scatter: those not known to be inside leave the list', () => {
      const request = names.indexOf('pdpb.ScatterRegionRequest');
      filter.learn(11n, 4n, true);
      filter.learn(12n, 4n, false);
      filter.forgetWanted();
      const sent = filter.message(
        request,
        encode('pdpb.ScatterRegionRequest', { regionId: 12n, regionsId: [11n, 12n, 13n] }),
        'request',
      );
      const { regionId, regionsId } = decode('pdpb.ScatterRegionRequest', sent.bytes);
      expect([regionId, regionsId]).toEqual([0n, [11n]]);
      expect(filter.wanted).toEqual([13n]);
    });
  });
});
