/** Region label rules as a tenant may set them; everything else is refused or mapped into its own part. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { memcomparable, rowKey, tablePrefix } from '../harness/support/keys.ts';
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
const ID = 'tidb-mesh:alpha:a7b3-11';
const mapped = {
  ...rule({ id: ID }),
  data: [
    {
      start_key: hexOf(rowKey(100, 1, 1)),
      end_key: hexOf(rowKey(100, 9, 1)),
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
    const boundary = (tag: number): string => hexOf(tablePrefix(0, tag));
    expect(JSON.parse(text).data).toEqual([{ start_key: boundary(1), end_key: boundary(2) }]);
  });

  test.each([
    [8193, 'OK'],
    [8194, 'VALUE_OUTSIDE'],
  ])('%i ranges: %s', (count, expected) => {
    const data = Array(count).fill({ start_key: '', end_key: '' });
    expect(Status[send(rule({ data })).status]).toBe(expected);
  });

  test('a patch sets and deletes under the tenant’s ids', () => {
    const { text } = send({ sets: [rule()], deletes: ['a7b3-11', 'schema/d/t'] }, true);
    expect(JSON.parse(text)).toEqual({ sets: [mapped], deletes: [ID, 'tidb-mesh:alpha:schema/d/t'] });
    expect(send('{"sets":null,"deletes":null}', true).text).toBe('{"sets":null,"deletes":null}');
    expect(send('{}', true).text).toBe('{}');
  });

  test('ids to delete that nobody can have set stand for nobody’s', () => {
    const ids = ['../x', 'a//b', 'a/..', 'tidb-mesh/beta', 'x'.repeat(1025), ''];
    const { status, text } = send({ deletes: ids }, true);
    expect(Status[status]).toBe('OK');
    expect(JSON.parse(text)).toEqual({ deletes: Array(ids.length).fill('tidb-mesh:alpha:') });
  });

  test.each<[string, unknown]>([
    ['the label of the boundaries', rule({ labels: [{ key: 'tidb-mesh-tenant', value: 'beta' }] })],
    [
      'the label of the boundaries with an escape',
      JSON.stringify(rule()).replace('"schedule"', '"tidb\\u002dmesh-tenant"'),
    ],
    ['the id of a boundary', rule({ id: 'tidb-mesh/alpha' })],
    ['an id that is a dot segment', rule({ id: 'schema/../t' })],
    ['an id with an escaped slash', JSON.stringify(rule()).replace('a7b3', '..\\/')],
    ['an id that is too long', rule({ id: 'x'.repeat(1025) })],
    ['an id with an escape cut short', JSON.stringify(rule()).replace('a7b3', '\\u00')],
    ['another type', rule({ rule_type: 'other' })],
    ['an id that leaves its folder', rule({ id: 'x/../../y' })],
    ['an id that begins with a slash', rule({ id: '/x' })],
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

  test('attributes of a table, as TiDB writes them', () => {
    const attributes = rule({
      id: 'schema/d b/t\u00fc"\\<x>',
      index: 2,
      labels: [
        { key: 'merge_option', value: 'deny' },
        { key: 'db', value: 'd b' },
        { key: 'table', value: 't\u00fc"\\<x>' },
      ],
    });
    // Go writes these three as escapes.
    const asGo = JSON.stringify(attributes).replace(/[<>&]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`);
    const { status, text } = send(asGo);
    expect(Status[status]).toBe('OK');
    expect(JSON.parse(text)).toEqual({
      ...attributes,
      id: 'tidb-mesh:alpha:schema/d b/t\u00fc"\\<x>',
      data: mapped.data,
    });
  });

  test('many ranges', () => {
    const data = Array.from({ length: 700 }, () => ({ start_key: FROM, end_key: TO }));
    expect(JSON.parse(send(rule({ data })).text).data).toHaveLength(700);
  });

  describe('in an answer', () => {
    const answered = (json: unknown, path = 'rules') =>
      filter.httpAnswer('GET', `/pd/api/v1/config/region-label/${path}`, JSON.stringify(json));
    const foreign = { ...mapped, id: 'tidb-mesh:beta:a7b3-11' };
    const boundary = {
      ...mapped,
      id: 'tidb-mesh/alpha',
      labels: [{ key: 'tidb-mesh-tenant', value: 'alpha' }],
    };

    test('are the tenant’s own only, as it wrote them', () => {
      const { status, text } = answered([boundary, mapped, foreign, { ...mapped, id: 'keyspaces/7' }]);
      expect(Status[status]).toBe('OK');
      expect(JSON.parse(text)).toEqual([rule()]);
      expect(text).not.toMatch(/beta|tidb-mesh/);
    });

    test('one alone that is another’s is none', () => {
      expect(answered(foreign, 'rule/x').text).toBe('null');
      expect(JSON.parse(answered(mapped, 'rule/x').text)).toEqual(rule());
      expect(answered(null, 'rule/x').text).toBe('null');
    });

    test('open bounds are open again', () => {
      const { text } = send(rule({ data: [{ start_key: '', end_key: '' }] }));
      expect(JSON.parse(answered([JSON.parse(text)]).text)[0].data).toEqual([{ start_key: '', end_key: '' }]);
    });

    test('members that a newer PD adds stay, without keys', () => {
      const { text } = answered([{ ...mapped, more: { x: 1, y: 'key 7480000000000000FF5F' } }]);
      expect(JSON.parse(text)).toEqual([rule({ more: { x: 1, y: '' } })]);
    });
  });
});
