/** Lists of numbers, packed or not, in pieces, anywhere in the message: all forms are read as the same list, and stay readable. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fromBinary, toJsonString } from '@bufbuild/protobuf';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { judge, Kind, type JudgedField } from '../../src-ts/schema/judgement.ts';
import { BUILD_NAMES, buildFilter, Filter, Status, type SpaceChoice, type Way } from './filter.ts';
import { concat, EMPTY } from '../harness/model/bytes.ts';
import { isNumberList, mixed, PACKED, SINGLE, writePiece, type Piece } from '../harness/model/forms.ts';
import { Random } from '../harness/model/random.ts';
import { messageId } from '../harness/model/schema.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const registry = readDescriptors();
const { messages } = judge(registry);
const LISTS = messages.flatMap((message) =>
  message.fields
    .filter(isNumberList)
    .map((field) => [`${message.name}.${field.name}`, message.name, field] as const),
);

/** A key space whose tenants may send such a message. */
function servedBy(name: string): SpaceChoice {
  const { needs = [] } = messages.find((message) => message.name === name) ?? {};
  return needs.includes('RAW') ? { number: 1, keyspace: { id: 7, mode: 'raw' } } : { number: 1 };
}

/** The key, the mutation and the start without which the message would be refused. */
function neededFields(name: string): Uint8Array {
  const fields = messages.find((message) => message.name === name)?.fields ?? [];
  const key = fields.find(({ role, repeated }) => role === 'KEY' && !repeated);
  const mutations = fields.find(({ requires }) => requires);
  const start = fields.find(({ role }) => role === 'TXN_START');
  return concat(
    mutations ? bytes(mutations.number, encode('kvrpcpb.Mutation', { key: OWN })) : EMPTY,
    key ? bytes(key.number, OWN) : EMPTY,
    start ? scalar(start.number, 5n) : EMPTY,
  );
}

const random = new Random(41);
const FORMS: [string, (numbers: readonly Uint8Array[]) => Piece[]][] = [
  ['packed', PACKED],
  ['one by one', SINGLE],
  ['in pieces', mixed(random)],
  ['packed in halves', (numbers) => [...PACKED(numbers.slice(0, 3)), ...PACKED(numbers.slice(3))]],
  ['an empty field before', (numbers) => [{ packed: true, bytes: EMPTY }, ...SINGLE(numbers)]],
];

/** Seven numbers; bools and enums hold small ones. */
function numbers({ kind, type }: JudgedField): Uint8Array[] {
  if (kind === Kind.FIXED64) return Array.from({ length: 7 }, () => random.bytes(8));
  if (kind === Kind.FIXED32) return Array.from({ length: 7 }, () => random.bytes(4));
  const one = (i: number): bigint =>
    type === 'bool' || type === 'enum' ? BigInt(i % 2) : [0n, 1n, 127n, 128n, 1n << 31n, 300n, 5n][i]!;
  return Array.from({ length: 7 }, (_, i) => varint(one(i)));
}

const BATCH = messageId('tikvpb.BatchCommandsRequest');
const ANSWERS = messageId('tikvpb.BatchCommandsResponse');
const OWN = rowKey(100, 1);
const FOREIGN = rowKey(100, 1, 2);
const IDS = { number: 2, kind: Kind.VARINT } as const;

/** Where a batch's ids lie. */
type Place = 'behind' | 'before' | 'between' | 'all around';
const PLACES: Place[] = ['behind', 'before', 'between', 'all around'];

function place(messagesOf: Uint8Array[], ids: Uint8Array[], where: Place): Uint8Array {
  if (where === 'behind') return concat(...messagesOf, ...ids);
  if (where === 'before') return concat(...ids, ...messagesOf);
  const out = where === 'between' ? [] : ids.slice(0, 1);
  const rest = where === 'between' ? [...ids] : ids.slice(1);
  for (const message of messagesOf) out.push(message, ...rest.splice(0, 1));
  return concat(...out, ...rest);
}

/** The fields `requests` or `responses`. */
function fieldsOf(
  type: 'Request' | 'Response',
  commands: readonly (readonly [string, Fields])[],
): Uint8Array[] {
  return commands.map(([command, value]) =>
    bytes(1, encode(`tikvpb.BatchCommands${type}.${type}`, { cmd: { case: command, value } })),
  );
}

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  test('proto/ has lists of several kinds', () => {
    expect(LISTS.length).toBeGreaterThan(10);
  });

  describe.each(LISTS)('%s', (_, name, field) => {
    beforeAll(() => filter.selectSpace(servedBy(name)));
    afterAll(() => filter.selectSpace({ number: 1 }));

    test.each(['request', 'response'] as Way[])('is the same list in every form, in a %s', (way) => {
      const list = numbers(field);
      const shown = FORMS.map(([form, split]) => {
        filter.newStream();
        filter.forgetWanted();
        filter.learn(300n, 1n, true);
        const pieces = split(list).map((piece) => writePiece(field.number, field.kind, piece));
        const got = filter.message(messageId(name), concat(...pieces, neededFields(name)), way);
        const desc = registry.getMessage(name)!;
        const result =
          got.status === Status.OK ? toJsonString(desc, fromBinary(desc, got.bytes)) : Status[got.status];
        return [form, result];
      });
      for (const [form, result] of shown) expect([form, result]).toEqual([form, shown[0]![1]]);
      expect(shown[0]![1]).toMatch(/^\{/);
    });

    test('of another wire type it is refused', () => {
      const wire = field.kind === Kind.VARINT ? 5 : 0;
      const sent = concat(varint((field.number << 3) | wire), new Uint8Array(4));
      for (const way of ['request', 'response'] as const)
        expect(Status[filter.message(messageId(name), sent, way).status]).toBe('MALFORMED');
    });
  });

  test('regions to act on: in every form those that are not known to be inside leave the list', () => {
    filter.learn(11n, 4n, true);
    filter.learn(14n, 4n, true);
    filter.learn(12n, 4n, false);
    const list = [11n, 12n, 13n, 14n].map((region) => varint(region));
    for (const [form, split] of FORMS) {
      filter.newStream();
      const sent = concat(...split(list).map((piece) => writePiece(6, Kind.VARINT, piece)));
      const got = filter.message(messageId('pdpb.ScatterRegionRequest'), sent, 'request');
      expect([form, Status[got.status]]).toEqual([form, 'OK']);
      expect([form, decode('pdpb.ScatterRegionRequest', got.bytes)['regionsId']]).toEqual([form, [11n, 14n]]);
    }
  });

  describe.each(FORMS)('ids %s', (_form, split) => {
    test.each(PLACES)('%s the messages: refusals and columns are paired', (where) => {
      // The middle one of each three is refused, the last one asks for _tidb_tid.
      const count = 12;
      const ids = Array.from({ length: count }, (_, i) => BigInt(i) * 1_000_003n + 5n);
      const kind = (i: number): number => i % 3;
      const scan = bytes(2, scalar(1, 0), bytes(2, scalar(1, 77), bytes(2, scalar(1, -3), scalar(2, 8))));
      const plan = concat(scan, bytes(5, Uint8Array.of(0)));
      const requests = fieldsOf(
        'Request',
        ids.map((_, i) =>
          kind(i) === 2
            ? ['Coprocessor', { tp: 103n, data: plan }]
            : ['Get', { key: kind(i) === 1 ? FOREIGN : OWN }],
        ),
      );
      const pieces = (list: bigint[]): Uint8Array[] =>
        split(list.map((id) => varint(id))).map((piece) => writePiece(IDS.number, IDS.kind, piece));
      filter.newStream();
      const sent = filter.message(BATCH, place(requests, pieces(ids), where), 'request');
      expect(Status[sent.status]).toBe('OK');
      const asked = decode('tikvpb.BatchCommandsRequest', sent.bytes);
      expect(asked['requestIds']).toEqual(ids);
      expect((asked['requests'] as Fields[]).map((r) => r['cmd'].case)).toEqual(
        ids.map((_, i) => ['Get', 'Empty', 'Coprocessor'][kind(i)]),
      );
      expect(filter.pending).toBe(8);

      const order = ids.map((_, i) => (i * 5) % count);
      const stored = Buffer.alloc(16);
      stored.writeUInt32LE(1, 0);
      stored.writeBigUInt64LE((1n << 48n) | 9n, 8);
      const data = concat(bytes(3, bytes(3, stored)), scalar(9, 1));
      const responses = fieldsOf(
        'Response',
        order.map((i) =>
          kind(i) === 2
            ? ['Coprocessor', { data }]
            : kind(i) === 1
              ? ['Empty', {}]
              : ['Get', { value: Buffer.from('v') }],
        ),
      );
      const answered = order.map((i) => ids[i]!);
      const got = filter.message(ANSWERS, place(responses, pieces(answered), where), 'response');
      expect(Status[got.status]).toBe('OK');
      const shown = decode('tikvpb.BatchCommandsResponse', got.bytes);
      expect(shown['requestIds']).toEqual(answered);
      for (const [at, i] of order.entries()) {
        const { value } = (shown['responses'] as Fields[])[at]!['cmd'];
        if (kind(i) === 1) expect(value.error.abort).toMatch(/^tidb-mesh\[KEY_OUTSIDE\]: /);
        else if (kind(i) === 0) expect(Buffer.from(value.value as Uint8Array).toString()).toBe('v');
        else expect(Buffer.from(value.data as Uint8Array).readBigUInt64LE(12)).toBe(9n);
      }
      expect(filter.pending).toBe(0);
    });

    test('fewer than messages: a batch that is asked for one ends the stream', () => {
      const ids = [7n, 8n];
      const pieces = (list: bigint[]): Uint8Array[] =>
        split(list.map((id) => varint(id))).map((piece) => writePiece(IDS.number, IDS.kind, piece));
      const three = fieldsOf('Request', [
        ['Get', { key: OWN }],
        ['Get', { key: OWN }],
        ['Get', { key: FOREIGN }],
      ]);
      for (const where of PLACES) {
        filter.newStream();
        expect(Status[filter.message(BATCH, place(three, pieces(ids), where), 'request').status]).toBe(
          'MALFORMED',
        );
        filter.newStream();
        expect(Status[filter.message(BATCH, place(three, [], where), 'request').status]).toBe('MALFORMED');
        // With one pending, an answer that nobody can place might be its answer.
        filter.newStream();
        filter.message(BATCH, place(three.slice(2), pieces([9n]), where), 'request');
        expect(filter.pending).toBe(1);
        const empty = fieldsOf('Response', [
          ['Get', {}],
          ['Get', {}],
          ['Empty', {}],
        ]);
        for (const few of [ids, []])
          expect(Status[filter.message(ANSWERS, place(empty, pieces(few), where), 'response').status]).toBe(
            'MALFORMED',
          );
      }
    });

    test('more than messages: those without one mean nothing', () => {
      const pieces = split([7n, 8n, 9n].map((id) => varint(id))).map((piece) =>
        writePiece(IDS.number, IDS.kind, piece),
      );
      filter.newStream();
      const sent = filter.message(
        BATCH,
        place(fieldsOf('Request', [['Get', { key: FOREIGN }]]), pieces, 'behind'),
        'request',
      );
      expect(Status[sent.status]).toBe('OK');
      const got = filter.message(
        ANSWERS,
        place(fieldsOf('Response', [['Empty', {}]]), pieces, 'before'),
        'response',
      );
      expect(decode('tikvpb.BatchCommandsResponse', got.bytes)['responses'][0].cmd.case).toBe('Get');
      expect(filter.pending).toBe(0);
    });
  });

  test('nothing pending: ids of answers are not looked at', () => {
    filter.newStream();
    const sent = place(fieldsOf('Response', [['Get', {}]]), [], 'behind');
    expect(Status[filter.message(ANSWERS, sent, 'response').status]).toBe('OK');
  });

  test('an id that is cut short ends the stream', () => {
    filter.newStream();
    const request = fieldsOf('Request', [['Get', { key: FOREIGN }]]);
    expect(
      Status[filter.message(BATCH, concat(...request, bytes(2, Uint8Array.of(0x80))), 'request').status],
    ).toBe('MALFORMED');
  });
});
