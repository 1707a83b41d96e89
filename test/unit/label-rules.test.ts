/** Region label rules as a tenant may set them; everything else is refused or mapped into its own part. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { memcomparable, rowKey, tablePrefix } from '../support/keys.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';

const hexOf = (key: Uint8Array): string => memcomparable(key).toString('hex');
const FROM = hexOf(rowKey(100, 1));
const TO = hexOf(rowKey(100, 9));
const LABEL = { key: 'schedule', value: 'deny', ttl: '5m0s' };
const rule = (more: object = {}): object => ({
  id: 'a7b3-11',
  index: 0,
  labels: [LABEL],
  rule_type: 'key-range',
  data: [{ start_key: FROM, end_key: TO }],
  ...more,
});
const ID = '/tidb-mesh/alpha:a7b3-11';
const mapped = {
  ...rule({ id: ID }),
  data: [
    {
      start_key: hexOf(rowKey(100, 1, 1)).toUpperCase(),
      end_key: hexOf(rowKey(100, 9, 1)).toUpperCase(),
    },
  ],
};

describe.each(BUILD_NAMES)('the %s build', (name) => {
  let filter: Filter;
  beforeAll(async () => {
    await buildFilter();
    filter = new Filter(name);
  });

  const send = (value: unknown, patch = false) =>
    filter.labelRules(typeof value === 'string' ? value : JSON.stringify(value), patch);

  test('a pause of the schedulers: id and range become the tenant’s', () => {
    const { status, text } = send(rule());
    expect(Status[status]).toBe('OK');
    expect(JSON.parse(text)).toEqual(mapped);
  });

  test('spaces, and members in any order', () => {
    const { id, ...rest } = rule() as { id: string };
    expect(JSON.parse(send(JSON.stringify({ ...rest, id }, undefined, 2)).text)).toEqual(mapped);
  });

  test('open bounds are those of the tenant', () => {
    const { text } = send(rule({ data: [{ start_key: '', end_key: '' }] }));
    const border = (tag: number): string => hexOf(tablePrefix(0, tag)).toUpperCase();
    expect(JSON.parse(text).data).toEqual([{ start_key: border(1), end_key: border(2) }]);
  });

  test('a patch sets and deletes under the tenant’s ids', () => {
    const { text } = send({ sets: [rule()], deletes: ['a7b3-11', 'schema/d/t'] }, true);
    expect(JSON.parse(text)).toEqual({ sets: [mapped], deletes: [ID, '/tidb-mesh/alpha:schema/d/t'] });
    expect(send('{"sets":null,"deletes":null}', true).text).toBe('{"sets":null,"deletes":null}');
    expect(send('{}', true).text).toBe('{}');
  });

  test('ids to delete that nobody can have set stand for nobody’s', () => {
    const { status, text } = send({ deletes: ['schema/ü/t', '../x', 'a"b', ''] }, true);
    expect(Status[status]).toBe('OK');
    expect(JSON.parse(text)).toEqual({ deletes: Array(4).fill('/tidb-mesh/alpha:') });
  });

  test.each<[string, unknown]>([
    ['another label', rule({ labels: [{ key: 'merge_option', value: 'allow' }] })],
    ['another value', rule({ labels: [{ key: 'schedule', value: 'allow' }] })],
    ['another type', rule({ rule_type: 'other' })],
    ['an id that leaves its folder', rule({ id: 'x/../../y' })],
    ['an id that begins with a slash', rule({ id: '/tidb-mesh/beta:x' })],
    ['an id with an escape', JSON.stringify(rule()).replace('a7b3', '\\u0061')],
    ['a name in another case', JSON.stringify(rule()).replace('"id"', '"ID"')],
    ['a name twice', JSON.stringify(rule()).replace('"index":0', '"index":0,"id":"z"')],
    ['an unknown name', rule({ more: 1 })],
    ['a bound in another case', JSON.stringify(rule()).replace('start_key', 'Start_Key')],
    ['a bound twice', JSON.stringify(rule()).replace('"end_key"', '"start_key":"","end_key"')],
  ])('%s: not for tenants', (_, value) => {
    expect(Status[send(value).status]).toBe('NAME_OUTSIDE');
  });

  test.each<[string, unknown]>([
    ['nothing', ''],
    ['cut short', JSON.stringify(rule()).slice(0, -3)],
    ['something behind it', `${JSON.stringify(rule())}1`],
    ['a list', [rule()]],
    ['without an id', { ...rule(), id: undefined }],
    ['without a range', { ...rule(), data: undefined }],
    ['a range without an end', rule({ data: [{ start_key: FROM }] })],
    ['a bound that is no hex', rule({ data: [{ start_key: 'xy', end_key: TO }] })],
    ['a bound that is no encoded key', rule({ data: [{ start_key: '7480', end_key: TO }] })],
    ['a bound that is a number', rule({ data: [{ start_key: 1, end_key: TO }] })],
  ])('%s: malformed', (_, value) => {
    expect(['MALFORMED', 'NAME_OUTSIDE']).toContain(Status[send(value).status]);
  });

  test('every cut ends in a status, and a good rule passes afterwards', () => {
    const text = JSON.stringify({ sets: [rule()], deletes: ['x'] });
    for (let cut = 0; cut < text.length; cut++)
      expect(send(text.slice(0, cut), true).status).not.toBe(Status.OK);
    expect(JSON.parse(send(rule()).text)).toEqual(mapped);
  });

  test('64 KiB at most', () => {
    const data = Array.from({ length: 700 }, () => ({ start_key: FROM, end_key: TO }));
    expect(Status[send(rule({ data })).status]).toBe('TOO_LONG');
    expect(Status[send(rule({ data: data.slice(0, 400) })).status]).toBe('OK');
  });
});
