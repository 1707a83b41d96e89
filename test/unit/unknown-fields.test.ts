/** Fields that proto/ does not describe, of every wire type: refused in requests, removed from answers. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter } from './filter.ts';
import { Tenant } from './tenant.ts';
import { concat, hex } from '../harness/model/bytes.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { encode, type Fields } from '../harness/support/messages.ts';

const OWN = rowKey(5, 1);
const CONTEXT = bytes(1, scalar(1, 4));
/** Numbers that no message of the storage layer has: with a tag of one byte where possible, of two, and of five. */
const NUMBERS = [15, 77, (1 << 29) - 1];
/** Any number fits into the tag, unlike those of the harness. */
const field = (number: number, wire: number, ...value: Uint8Array[]): Uint8Array =>
  concat(varint((BigInt(number) << 3n) | BigInt(wire)), ...value);
const ones = (length: number): Uint8Array => new Uint8Array(length).fill(1);

const FORMS: readonly [string, (number: number) => Uint8Array][] = [
  ['a number', (number) => field(number, 0, varint(1))],
  ['the largest number', (number) => field(number, 0, varint((1n << 64n) - 1n))],
  ['a number of four bytes', (number) => field(number, 5, ones(4))],
  ['a number of eight bytes', (number) => field(number, 1, ones(8))],
  ['bytes', (number) => field(number, 2, varint(OWN.length), OWN)],
  ['nothing in it', (number) => field(number, 2, varint(0))],
];
const CASES = FORMS.flatMap(([name, form]) => NUMBERS.map((number) => [name, number, form(number)] as const));

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let tenant: Tenant;
  const choose = (number: number): void => {
    tenant = new Tenant(build, { number });
  };
  beforeAll(() => choose(1));

  const verdict = (name: string, ...fields: Uint8Array[]): string => tenant.verdict(name, concat(...fields));
  const answered = (name: string, ...fields: Uint8Array[]): string =>
    hex(tenant.passed(name, concat(...fields), 'response'));

  describe.each(CASES)('%s in field %i', (_, __, unknown) => {
    test('refuses the request, alone and after such a request was learned', () => {
      const get = [CONTEXT, bytes(2, OWN), scalar(3, 9)];
      for (let i = 0; i < 4; i++) expect(verdict('kvrpcpb.GetRequest', ...get)).toBe('OK');
      expect(verdict('kvrpcpb.GetRequest', ...get, unknown)).toBe('UNKNOWN_FIELD');
      expect(verdict('kvrpcpb.GetRequest', unknown, ...get)).toBe('UNKNOWN_FIELD');
      const header = bytes(1, scalar(1, 7), unknown);
      expect(verdict('pdpb.GetRegionByIDRequest', header, scalar(2, 4))).toBe('UNKNOWN_FIELD');
    });

    test('leaves the answer, and the rest stays', () => {
      const rest = [bytes(3, Buffer.from('value')), scalar(4, 1)];
      expect(answered('kvrpcpb.GetResponse', unknown, ...rest, unknown)).toBe(
        answered('kvrpcpb.GetResponse', ...rest),
      );
      const pair = (...more: Uint8Array[]): Uint8Array =>
        bytes(2, bytes(2, rowKey(5, 1, 1)), bytes(3, Buffer.from('a value of some length')), ...more);
      const pairs = [pair(), pair(), pair(), pair()];
      expect(answered('kvrpcpb.ScanResponse', ...pairs, pair(unknown), ...pairs)).toBe(
        answered('kvrpcpb.ScanResponse', ...pairs, pair(), ...pairs),
      );
    });
  });

  test('refuses a request for what is in its context, however often it comes', () => {
    const context = bytes(1, scalar(1, 4), bytes(18, Buffer.from('a tag of some length')), scalar(77, 1));
    for (let i = 0; i < 4; i++)
      expect(verdict('kvrpcpb.GetRequest', context, bytes(2, OWN))).toBe('UNKNOWN_FIELD');
  });

  test('of a batch, one request alone is refused', () => {
    const good = encode('kvrpcpb.GetRequest', { context: { regionId: 4n }, key: OWN });
    const command = (...fields: Uint8Array[]): Uint8Array => bytes(1, bytes(1, ...fields));
    const batch = concat(command(good), command(good, scalar(77, 1)), scalar(2, 1), scalar(2, 2));
    const { requests } = tenant.sent('tikvpb.BatchCommandsRequest', batch);
    expect((requests as Fields[]).map(({ cmd }) => (cmd as { case: string }).case)).toEqual(['Get', 'Empty']);
  });

  test("what coprocessor's plans hold passes: TiKV alone reads them", () => {
    const request = (plan: Uint8Array): Uint8Array[] => [
      CONTEXT,
      scalar(2, 103),
      bytes(3, plan),
      bytes(4, bytes(1, OWN), bytes(2, rowKey(5, 2))),
    ];
    for (const [, , unknown] of CASES)
      expect(verdict('coprocessor.Request', ...request(concat(scalar(3, 1), unknown)))).toBe('OK');
  });

  test.each(CASES)("%s in field %i of tenant 0's messages that pass unread", (_, __, unknown) => {
    choose(0);
    const resolve = [CONTEXT, scalar(2, 5), scalar(3, 6), bytes(5, OWN)];
    expect(verdict('kvrpcpb.ResolveLockRequest', ...resolve)).toBe('OK');
    expect(verdict('kvrpcpb.ResolveLockRequest', ...resolve, unknown)).toBe('UNKNOWN_FIELD');
    expect(answered('kvrpcpb.ScanLockResponse', unknown)).toBe(hex(unknown));
    choose(1);
  });
});
