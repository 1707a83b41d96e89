/** What a request is, and the parts of PD's HTTP API that hold keys. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';
import { concat, EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import * as table from '../harness/model/table-codec.ts';
import { mayQuoteKeys } from '../harness/model/walker.ts';

const ROW = unhex('74 8000000000000007 5f72 8000000000000001');
const stored = (tenant: number, key: Uint8Array): Uint8Array => table.encodeKey(tenant, key) as Uint8Array;
const upperHex = (key: Uint8Array): string => hex(table.memcomparable(key)).toUpperCase();
const escaped = (key: Uint8Array): string =>
  [...table.memcomparable(key)].map((b) => `%${b.toString(16).padStart(2, '0').toUpperCase()}`).join('');
const P = table.first(1);
const E = table.behind(1);
/** Where tenant 1 is shown a key that it cannot have. */
const far = (key: Uint8Array): Uint8Array => concat(P.subarray(0, 3), new Uint8Array(61).fill(0xff), key);

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  describe('classify', () => {
    const GRPC = 'application/grpc';
    test.each([
      ['POST', '/tikvpb.Tikv/KvGet', GRPC, 'grpc'],
      ['POST', '/tikvpb.Tikv/KvGet', 'application/grpc+proto', 'grpc'],
      ['POST', '/tikvpb.Tikv/KvGet', 'application/grpc-web', 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet', 'application/grpc-web+proto', 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet', 'application/grpc+json', 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet', 'application/grpc;charset=utf-8', 'refused'],
      ['GET', '/tikvpb.Tikv/KvGet', GRPC, 'refused'],
      ['post', '/tikvpb.Tikv/KvGet', GRPC, 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet?', GRPC, 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet?a=b', GRPC, 'refused'],
      ['POST', '/tikvpb.Tikv/KvGet', 'Application/gRPC', 'http'],
      ['POST', '/tikvpb.Tikv/KvGet', '', 'http'],
      ['GET', '/pd/api/v1/stores', '', 'http'],
      ['GET', '/pd/api/v1/stores?x=%2e%2e', 'application/json', 'http'],
      ['GET', '/', '', 'http'],
      ['GET', '/pd/', '', 'http'],
      ['CONNECT', '/pd', '', 'refused'],
      ['GET', '', '', 'refused'],
      ['GET', 'pd', '', 'refused'],
      ['GET', '*', '', 'refused'],
      ['GET', 'http://pd/pd/api/v1/stores', '', 'refused'],
      ['GET', '//pd/api/v1/stores', '', 'refused'],
      ['GET', '/pd//api', '', 'refused'],
      ['GET', '/pd/./api', '', 'refused'],
      ['GET', '/pd/../api', '', 'refused'],
      ['GET', '/pd/..', '', 'refused'],
      ['GET', '/..', '', 'refused'],
      ['GET', '/.', '', 'refused'],
      ['GET', '/...', '', 'http'],
      ['GET', '/a..b/.c', '', 'http'],
      ['GET', '/pd/%2e%2e/api', '', 'refused'],
      ['GET', '/pd%2Fapi', '', 'refused'],
      ['GET', '/pd;a/api', '', 'refused'],
      ['GET', '/pd\\api', '', 'refused'],
      ['GET', '/pd/api#x', '', 'refused'],
      ['GET', '/pd/a pi', '', 'refused'],
      ['GET', '/pd/\x01', '', 'refused'],
      ['GET', '/pd/é', '', 'refused'],
    ])('%s %s with "%s" is %s', (method, path, type, kind) => {
      expect(filter.requestKind(method, path, type)).toBe(kind);
    });
  });

  describe('methods', () => {
    test('are found by their whole path', () => {
      expect(filter.method('/tikvpb.Tikv/KvGet')?.decision).toBe(1);
      expect(filter.method('/pdpb.PD/GetMembers')?.decision).toBe(2);
      expect(filter.method('/tikvpb.Tikv/KvGC')).toMatchObject({
        decision: 3,
        because: expect.stringMatching(/whole region/),
      });
      for (const path of [
        '/tikvpb.Tikv/kvget',
        '/tikvpb.Tikv/KvGe',
        '/tikvpb.Tikv/KvGet/',
        'tikvpb.Tikv/KvGet',
        '',
        '/',
      ])
        expect(filter.method(path)).toBeUndefined();
    });
  });

  describe('ranges in a query', () => {
    const own = `key=${escaped(P)}&end_key=${escaped(E)}`;
    test.each([
      ['', own],
      ['limit=16', `${own}&limit=16`],
      ['key=&end_key=', own],
      ['&&limit=16&', `${own}&limit=16`],
      [`key=${escaped(ROW)}`, `key=${escaped(stored(1, ROW))}&end_key=${escaped(E)}`],
      [
        `end_key=${escaped(ROW)}&a&key=${escaped(unhex('6d'))}`,
        `key=${escaped(stored(1, unhex('6d')))}&end_key=${escaped(stored(1, ROW))}&a`,
      ],
      // Keys that the tenant cannot have lie in its last region, in their order.
      [`key=${escaped(stored(2, ROW))}`, `key=${escaped(far(stored(2, ROW)))}&end_key=${escaped(E)}`],
      [`end_key=${escaped(stored(2, ROW))}`, `key=${escaped(P)}&end_key=${escaped(far(stored(2, ROW)))}`],
      // `abc` is no encoded key: it lies right before the encoded form of `abc`.
      ['key=abc', `key=${escaped(stored(1, Buffer.from('abc'))).replace(/FB$/, 'FA')}&end_key=${escaped(E)}`],
      ['keys=1', `${own}&keys=1`],
    ])('%s', (query, wanted) => {
      expect(filter.query(query)).toEqual({ status: Status.OK, text: wanted });
    });

    test('in hex', () => {
      expect(filter.query(`key=${upperHex(ROW).toLowerCase()}`, true)).toEqual({
        status: Status.OK,
        text: `key=${upperHex(stored(1, ROW))}&end_key=${upperHex(E)}`,
      });
    });

    test.each([
      ['a bound twice', 'key=&key=', false],
      ['a name with an escape', 'k%65y=x', false],
      ['a name with a plus', 'k+ey=x', false],
      ['a name with a semicolon', 'a;key=x', false],
      ['an escape cut short', 'key=%7', false],
      ['an escape without digits', 'key=%', false],
      ['an escape that is not hex', 'key=%zz', false],
      ['an odd number of digits', 'key=748', true],
      ['digits that are not hex', 'key=7g', true],
    ])('refuses %s', (_name, query, isHex) => {
      expect(Status[filter.query(query, isHex).status]).toBe('MALFORMED');
    });
  });

  describe('regions in an answer', () => {
    const region = (id: number, from: Uint8Array, to: Uint8Array): object => ({
      id,
      start_key: from.length === 0 ? '' : upperHex(from),
      end_key: to.length === 0 ? '' : upperHex(to),
      epoch: { version: 3 },
    });
    const next = concatRow(9);
    function concatRow(id: number): Uint8Array {
      const key = Uint8Array.from(ROW);
      key[8] = id;
      return key;
    }
    const answer = (regions: object[]): string => JSON.stringify({ count: regions.length, regions });
    const rewritten = (json: string): unknown => {
      const got = filter.regions(json);
      expect(Status[got.status]).toBe('OK');
      return JSON.parse(got.text);
    };

    test('are mapped, clamped and left out', () => {
      const all = [
        region(1, EMPTY, P),
        region(2, unhex('6d'), stored(1, ROW)),
        region(3, stored(1, ROW), stored(1, next)),
        region(4, stored(1, next), stored(2, ROW)),
        region(5, stored(2, ROW), EMPTY),
      ];
      expect(rewritten(answer(all))).toEqual({
        count: 3,
        regions: [region(2, EMPTY, ROW), region(3, ROW, next), region(4, next, EMPTY)],
      });
    });

    test.each([[[]], [[region(1, EMPTY, P)]], [[region(1, EMPTY, P), region(5, stored(2, ROW), EMPTY)]]])(
      'lists in which none is left stay lists: %j',
      (list) => {
        expect(rewritten(answer(list))).toMatchObject({ regions: [] });
      },
    );

    test('the count is that of those that are left, whatever stands around it', () => {
      const lists = JSON.stringify({
        regions: [region(2, unhex('6d'), stored(1, ROW)), region(5, stored(2, ROW), EMPTY)],
        count: 12,
      });
      expect(rewritten(lists)).toMatchObject({ count: 1 });
      expect(rewritten('{"count":12,"regions":null}')).toEqual({ count: 12, regions: null });
      expect(rewritten('{"count":12}')).toEqual({ count: 12 });
      expect(rewritten('{"a":[1,2],"count":12,"regions":[]}')).toEqual({ a: [1, 2], count: 0, regions: [] });
    });

    test('the history of hot regions, a list of its own form', () => {
      // PD: pkg/storage/hot_region_storage.go, HistoryHotRegion.
      const entry = (from: Uint8Array, to: Uint8Array): object => ({
        update_time: 1_700_000_000_000,
        region_id: 2,
        hot_region_type: 'read',
        flow_bytes: 10.5,
        start_key: upperHex(from),
        end_key: upperHex(to),
      });
      const history = [entry(stored(1, ROW), stored(1, next)), entry(stored(2, ROW), stored(2, next))];
      const list = JSON.stringify({ history_hot_region: history });
      expect(rewritten(list)).toEqual({ history_hot_region: [entry(ROW, next)] });
    });

    test('one alone becomes null', () => {
      expect(rewritten(JSON.stringify(region(1, EMPTY, P)))).toBeNull();
      expect(rewritten(JSON.stringify({ region: region(1, EMPTY, P), x: 1 }))).toEqual({
        region: null,
        x: 1,
      });
    });

    test('texts that may quote keys are withheld', () => {
      expect(rewritten('{"error": "key 7480000000000000FF5F is gone", "x": "a\\u0041"}')).toEqual({
        error: '',
        x: '',
      });
      expect(rewritten('{"error": "region 5 not found"}')).toEqual({ error: 'region 5 not found' });
    });

    test('whatever else is there stays', () => {
      const text = '{"a": [1, -2.5e3, true, false, null, {}, [], ""], "b" : {"c": "d"} }\n';
      expect(rewritten(text)).toEqual(JSON.parse(text));
    });

    test.each([
      ['nothing', ''],
      ['hex of an odd length', '{"start_key": "748"}'],
      ['letters that are not hex', '{"start_key": "zz"}'],
      ['a number as a key', '{"start_key": 5}'],
      [
        'an encoded key with the own tag cut short',
        `{"start_key": "${upperHex(stored(1, ROW)).slice(0, 16)}"}`,
      ],
      ['an object left open', '{"a": 1'],
      ['a list left open', '[1, 2'],
      ['a text left open', '{"a": "b'],
      ['a text that ends in a backslash', '{"a": "b\\'],
      ['two values', '{} {}'],
      ['a comma too many', '[1,]'],
      ['no colon', '{"a" 1}'],
      ['too much nesting', '['.repeat(40) + ']'.repeat(40)],
    ])('refuses %s', (_name, json) => {
      expect(Status[filter.regions(json).status]).toBe('MALFORMED');
    });

    test('takes an answer cut short at every byte', () => {
      const text = answer([region(2, EMPTY, stored(1, ROW)), region(3, stored(1, ROW), EMPTY)]);
      for (let cut = 0; cut < text.length; cut++)
        expect(Status[filter.regions(text.slice(0, cut)).status]).toBe('MALFORMED');
      expect(Status[filter.regions(text).status]).toBe('OK');
    });
  });

  test.each([
    'region 5 is missing',
    'txn 453128812934103041',
    '18446744073709551615',
    '123456789012345678901',
    'deadbeefdeadb',
    'deadbeefdeadbe',
    '12345678901234',
    '7480000000000000ff',
    // A table's key in hex may show decimal digits only.
    'no region has 748000000000000070',
    '7480000100000',
    '61707031313131',
    '51707031313131',
    'a\\b',
    // Bytes as Rust's `{:?}` and Go's `%v` print them.
    'InvalidReqRange { start: None, lower_bound: Some([120, 0, 0, 9, 116, 128]), upper_bound: None }',
    'range [120 0 0 9] [120 0 0 10]',
    '[116,128',
    '[ 1, 2',
    '[1, 255]',
    '[1, 256]',
    '[300, 1]',
    '[7]',
    '[[1, 2]]',
    '[1, 2x]',
    '[1, 2.5]',
    '[1][2]',
    '[1], 2]',
    '1, 2, 3',
    '[1234, 5]',
    '[0001, 2]',
    '[5, 1000]',
    '[, ,3,,4',
    '[]',
    '[\n\t120,\n\t0',
    'tab\tline\n',
    'bell\x07',
    'é',
    '\x7f',
    '',
  ])('plain text: %j', (text) => {
    expect(filter.plainText(text)).toBe(!mayQuoteKeys(text));
  });

  test('a key as a list of bytes is no plain text', () => {
    expect(
      filter.plainText('Error(Txn(InvalidReqRange { start: Some([1]), lower_bound: Some([120, 0, 0, 9]) }))'),
    ).toBe(false);
    expect(filter.plainText('TxnLockNotFound { start_ts: TimeStamp(7), key: [109, 68, 66] }')).toBe(false);
    expect(filter.plainText('store [1] is busy, wait 100, 200 ms')).toBe(true);
  });

  test('a short key in hex is no plain text, and a timestamp is', () => {
    expect(filter.plainText('no region has 748000000000000070')).toBe(false);
    expect(filter.plainText('txn 453128812934103041 took 18446744073709551615')).toBe(true);
  });
});
