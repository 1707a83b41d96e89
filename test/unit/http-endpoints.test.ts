/** What happens to each kind of request to PD's HTTP API, by proto/pd/endpoints.ts. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ENDPOINTS } from '../../proto/pd/endpoints.ts';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';
import { HTTP_TABLE_FILE } from '../../src-ts/schema/http-table.ts';
import { endpointFor, HTTP_ROOT } from '../../src-ts/schema/http.ts';
import { judge } from '../../src-ts/schema/judgement.ts';
import { layOut } from '../../src-ts/schema/layout.ts';
import { httpText } from '../../src-ts/schema/table.ts';
import { memcomparable, rowKey, tablePrefix } from '../harness/support/keys.ts';
import { BUILD_NAMES, buildFilter, Filter, Status } from './filter.ts';

const V1 = '/pd/api/v1';
const hexOf = (key: Uint8Array): string => memcomparable(key).toString('hex');
const FROM = hexOf(tablePrefix(100));
const TO = hexOf(tablePrefix(101));
const OWN = { start_key: hexOf(tablePrefix(100, 1)), end_key: hexOf(tablePrefix(101, 1)) };
const WHOLE = { start_key: hexOf(tablePrefix(0, 1)), end_key: hexOf(tablePrefix(0, 2)) };

const rule = (more: object = {}): object => ({
  group_id: 'TiDB_DDL_100',
  id: 'table_rule_100_0',
  index: 40,
  start_key: FROM,
  end_key: TO,
  role: 'voter',
  is_witness: false,
  count: 3,
  ...more,
});
const bundle = (more: object = {}): object => ({
  group_id: 'TiDB_DDL_100',
  group_index: 40,
  group_override: true,
  rules: [rule()],
  ...more,
});
const GROUP = 'tidb-mesh:alpha:TiDB_DDL_100';
const storedRule = rule({ group_id: GROUP, ...OWN });
const storedBundle = bundle({ group_id: GROUP, rules: [storedRule] });

beforeAll(buildFilter);

test('assembly/schema/http.ts is current (npm run schema)', async () => {
  expect(readFileSync(HTTP_TABLE_FILE, 'utf8')).toBe(await httpText(layOut(judge(readDescriptors()))));
});

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
    filter.select(1, 'alpha');
  });

  test('every endpoint of the table is found as the table says', () => {
    for (const { method, path } of ENDPOINTS) {
      if (!path.startsWith(HTTP_ROOT)) continue;
      const sample = path
        .replaceAll('{key}', '%6D%00%00%00%00%00%00%00%F8')
        .replaceAll('{group}', 'g')
        .replaceAll('{label-id}', 'x')
        .replaceAll('**', 'x')
        .replaceAll('*', '7');
      const asked = method === '*' ? 'GET' : method;
      const wanted = endpointFor(asked, sample);
      const { decision, text } = filter.http(asked, sample);
      expect([asked, sample, decision]).toEqual([asked, sample, wanted?.decision]);
      if (decision === 'refuse') expect(text).toBe(wanted?.because);
    }
  });

  test.each([
    ['GET', `${V1}/nothing`],
    ['GET', '/pd/api/v3/ping'],
    ['GET', '/v3/kv/range'],
    ['GET', '/metrics'],
    ['GET', '/'],
    ['HEAD', `${V1}/stores`],
    ['get', `${V1}/stores`],
    ['POST', `${V1}/stores`],
    ['GET', `${V1}/stores/`],
    ['GET', `${V1}/store/`],
    ['GET', `${V1}/config/placement-rule/`],
    ['GET', `${V1}/config/rule/g/`],
  ])('%s %s is not found', (method, path) => {
    expect(['unknown', 'refuse']).toContain(filter.http(method, path).decision);
  });

  test.each([
    ['GET', 'config/placement-rule/TiDB_DDL_100', `config/placement-rule/${GROUP}`],
    ['GET', 'config/rule/TiDB_DDL_100/a-b', `config/rule/${GROUP}/a-b`],
    ['DELETE', 'config/rule/TiDB_DDL_100/a', `config/rule/${GROUP}/a`],
    ['GET', 'config/rules/group/tidb-mesh:beta:x', 'config/rules/group/tidb-mesh:alpha:tidb-mesh:beta:x'],
    ['DELETE', 'config/rule_group/pd', 'config/rule_group/tidb-mesh:alpha:pd'],
    ['POST', 'config/placement-rule?partial=true', 'config/placement-rule?partial=true'],
    ['GET', 'regions/store/1?x=1', 'regions/store/1?x=1'],
    ['GET', `region/key/${'%6D'}%00%00%00%00%00%00%00%F8?x=1`, undefined],
  ])('%s %s goes on', (method, path, wanted) => {
    const { status, text } = filter.http(method, `${V1}/${path}`);
    expect(Status[status]).toBe('OK');
    if (wanted !== undefined) expect(text).toBe(`${V1}/${wanted}`);
    else expect(text).not.toContain('?');
  });

  describe('keys in hex, where the query says so', () => {
    const escaped = (hex: string): string => hex.toUpperCase().replace(/../g, '%$&');
    const [from, to] = [escaped(OWN.start_key), escaped(OWN.end_key)];
    test.each([
      [`region/key/${FROM}?format=hex`, `region/key/${from}`],
      [`region/key/${FROM.toUpperCase()}?a=b&format=h%65x`, `region/key/${from}`],
      [`region/key/${escaped(FROM)}?format=raw`, `region/key/${from}`],
      [`region/key/${escaped(FROM)}?format=`, `region/key/${from}`],
      [
        `regions/key?key=${FROM}&end_key=${TO}&format=hex&limit=3`,
        `regions/key?key=${from}&end_key=${to}&limit=3`,
      ],
      [
        `regions/key?format=hex&limit=3`,
        `regions/key?key=${escaped(WHOLE.start_key)}&end_key=${escaped(WHOLE.end_key)}&limit=3`,
      ],
      // These know no format: PD reads the bytes as they are.
      [`stats/region?start_key=${escaped(FROM)}&end_key=${escaped(TO)}&format=hex`, undefined],
    ])('%s', (path, wanted) => {
      const { status, text } = filter.http('GET', `${V1}/${path}`);
      expect(Status[status]).toBe('OK');
      if (wanted === undefined) expect(text).toContain(`start_key=${from}&end_key=${to}&format=hex`);
      else expect(text).toBe(`${V1}/${wanted}`);
    });

    test.each([
      `region/key/${FROM}?format=hex&format=raw`,
      `region/key/${FROM}?f%6Frmat=hex`,
      `region/key/${FROM.slice(1)}?format=hex`,
      `region/key/${escaped(FROM)}?format=hex`,
      `regions/key?key=${FROM.slice(1)}&format=hex`,
      `regions/key?key=${FROM}&format=hex&format=hex`,
    ])('refuses %s', (path) => {
      expect(Status[filter.http('GET', `${V1}/${path}`).status]).toMatch(/^(KEY|QUERY)_UNREADABLE$/);
    });
  });

  test('a rule’s id in the path', () => {
    const decoded = (target: string): string => decodeURIComponent(target.slice(target.lastIndexOf('/') + 1));
    const { text } = filter.http('DELETE', `${V1}/config/region-label/rule/schema%2fd%2Ft%C3%BC`);
    expect(decoded(text)).toBe('tidb-mesh:alpha:schema/d/t\u00fc');
    for (const id of ['%2e%2e%2Fx', 'a%2', 'a%zz', 'tidb-mesh%2Falpha', 'a+b', '..'])
      expect(Status[filter.http('GET', `${V1}/config/region-label/rule/${id}`).status]).toBe('ID_UNREADABLE');
  });

  test.each([
    ['GET', 'config/placement-rule/tiflash', 'NAME_OUTSIDE'],
    ['GET', 'config/placement-rule/a=b', 'NAME_OUTSIDE'],
    ['DELETE', 'config/placement-rule/x?regexp', 'QUERY_REFUSED'],
    ['DELETE', 'config/placement-rule/x?', 'QUERY_REFUSED'],
    ['POST', 'config/placement-rule', 'NOT_FOR_TENANTS'],
    ['POST', 'config/placement-rule?partial=true&x', 'NOT_FOR_TENANTS'],
    ['GET', 'region/key/%6', 'KEY_UNREADABLE'],
    ['GET', 'stats/region?start_key=%7', 'QUERY_UNREADABLE'],
  ])('%s %s does not', (method, path, wanted) => {
    expect(Status[filter.http(method, `${V1}/${path}`).status]).toBe(wanted);
  });

  describe('the history of hot regions', () => {
    const send = (body: object | string): string => {
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      const got = filter.httpBody('GET', `${V1}/hotspot/regions/history`, text);
      if (got.status === Status.OK) expect(got.text).toBe(text);
      return Status[got.status]!;
    };

    test.each<[string, object | string]>([
      ['nothing', {}],
      // TiDB: pkg/executor/memtable_reader.go, HistoryHotRegionsRequest.
      [
        'all that TiDB sends',
        '{"start_time":1700000000000,"end_time":9999999999999,"region_ids":[2,9223372036854775807],"store_ids":[1],"peer_ids":[3],"is_learners":[false],"is_leaders":[true,false],"hot_region_type":["read"]}',
      ],
      ['both types', { hot_region_type: ['WRITE', 'Read'] }],
      ['a time before 1970', { start_time: -315619200000 }],
      ['as many ids as there may be', { region_ids: Array.from({ length: 10_000 }, (_, i) => i) }],
    ])('is asked for with %s', (_, body) => {
      expect(send(body)).toBe('OK');
    });

    test.each<[string, object | string, string]>([
      ['a type twice', { hot_region_type: ['read', 'READ'] }, 'NAME_OUTSIDE'],
      ['another type', { hot_region_type: ['other'] }, 'NAME_OUTSIDE'],
      ['a type with an escape', '{"hot_region_type":["\\u0072ead"]}', 'NAME_OUTSIDE'],
      ['the types twice', '{"hot_region_type":["read"],"hot_region_type":["write"]}', 'NAME_OUTSIDE'],
      ['another member', { hot_region_types: ['read'] }, 'NAME_OUTSIDE'],
      ['three types', { hot_region_type: ['read', 'write', 'read'] }, 'VALUE_OUTSIDE'],
      ['three flags', { is_leaders: [true, true, true] }, 'VALUE_OUTSIDE'],
      ['too many ids', { peer_ids: Array.from({ length: 10_001 }, () => 1) }, 'VALUE_OUTSIDE'],
      ['a longer time', { end_time: 10_000_000_000_000 }, 'MALFORMED'],
      ['an id below 0', { store_ids: [-1] }, 'MALFORMED'],
      ['an id of too many digits', '{"region_ids":[100000000000000000000]}', 'MALFORMED'],
      ['a text for an id', { region_ids: ['1'] }, 'MALFORMED'],
    ])('is refused with %s', (_, body, wanted) => {
      expect(send(body)).toBe(wanted);
    });
  });

  describe('placement rules', () => {
    const BUNDLES = [`POST`, `${V1}/config/placement-rule?partial=true`] as const;
    const send = (value: unknown, [method, path]: readonly [string, string] = BUNDLES) =>
      filter.httpBody(method, path, typeof value === 'string' ? value : JSON.stringify(value));

    test('of a table: group and range become the tenant’s', () => {
      expect(JSON.parse(send([bundle()]).text)).toEqual([storedBundle]);
      expect(JSON.parse(send(bundle(), ['POST', `${V1}/config/placement-rule/TiDB_DDL_100`]).text)).toEqual(
        storedBundle,
      );
      const gone = bundle({ group_index: 0, group_override: false, rules: null });
      expect(JSON.parse(send([gone]).text)).toEqual([{ ...gone, group_id: GROUP }]);
    });

    test('of the whole cluster become those of the whole tenant', () => {
      const { text } = send([bundle({ rules: [rule({ start_key: '', end_key: '' })] })]);
      expect(JSON.parse(text)[0].rules[0]).toMatchObject(WHOLE);
      const beyond = rule({ start_key: FROM, end_key: hexOf(tablePrefix(5, 2)) });
      expect(JSON.parse(send([bundle({ rules: [beyond] })]).text)[0].rules[0]).toMatchObject({
        start_key: OWN.start_key,
        end_key: WHOLE.end_key,
      });
    });

    test('one by one, and in a batch', () => {
      expect(JSON.parse(send(rule(), ['POST', `${V1}/config/rule`]).text)).toEqual(storedRule);
      const more = { action: 'del', delete_by_id_prefix: true };
      const batch = send([rule(more)], ['POST', `${V1}/config/rules/batch`]);
      expect(JSON.parse(batch.text)).toEqual([{ ...storedRule, ...more }]);
    });

    test('groups', () => {
      const { text } = send({ id: 'x', index: 120, override: true }, ['POST', `${V1}/config/rule_group`]);
      expect(JSON.parse(text)).toEqual({ id: 'tidb-mesh:alpha:x', index: 120, override: true });
    });

    const constraint = (key: string, op: string, values: string[]): object =>
      bundle({ rules: [rule({ label_constraints: [{ key, op, values }] })] });

    test('constraints on stores pass', () => {
      for (const one of [
        constraint('zone', 'in', ['a', '\u00fc']),
        constraint('disk', 'notIn', []),
        constraint('engine', 'notIn', ['tiflash']),
      ])
        expect(Status[send([one]).status]).toBe('OK');
    });

    test.each<[string, unknown]>([
      ['TiFlash', [constraint('engine', 'in', ['tiflash'])]],
      ['another engine than TiFlash left out', [constraint('engine', 'notIn', ['x'])]],
      ['any engine', [constraint('engine', 'exists', [])]],
      ['stores that are set apart', [constraint('$dedicated', 'in', ['beta'])]],
      ['exclusive stores', [constraint('exclusive', 'in', ['beta'])]],
      [
        'an engine in escapes',
        JSON.stringify([constraint('engine', 'in', ['tiflash'])]).replace('engine', 'e\\u006egine'),
      ],
      ['the group of TiFlash', [bundle({ group_id: 'tiflash' })]],
      ['a group with a slash', [bundle({ group_id: 'a/b' })]],
      ['an empty group', [bundle({ group_id: '' })]],
      ['a higher index than TiFlash has', [bundle({ group_index: 121 })]],
      ['a member in another case', JSON.stringify([bundle()]).replace('start_key', 'START_KEY')],
      ['a member twice', JSON.stringify([bundle()]).replace('"end_key"', '"start_key":"","end_key"')],
      ['an unknown member', [bundle({ more: 1 })]],
    ])('refused: %s', (_, value) => {
      expect(Status[send(value).status]).toBe('NAME_OUTSIDE');
    });

    describe('what PD walks whenever it checks a region', () => {
      const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `l${i}`);
      const constraints = (count: number): object[] =>
        texts(count).map((key) => ({ key, op: 'in', values: ['x'] }));
      test.each<[string, object, object]>([
        ['replicas', { count: 9 }, { count: 10 }],
        ['labels', { location_labels: texts(10) }, { location_labels: texts(11) }],
        ['constraints', { label_constraints: constraints(64) }, { label_constraints: constraints(65) }],
        [
          'values of a constraint',
          { label_constraints: [{ key: 'zone', op: 'in', values: texts(64) }] },
          { label_constraints: [{ key: 'zone', op: 'in', values: texts(65) }] },
        ],
      ])('has a maximum of %s', (_, most, more) => {
        for (const [members, status] of [
          [most, 'OK'],
          [more, 'VALUE_OUTSIDE'],
        ] as const) {
          expect(Status[send([bundle({ rules: [rule(members)] })]).status]).toBe(status);
          const one = { ...rule(members), action: 'add', delete_by_id_prefix: false };
          expect(Status[send([one], ['POST', `${V1}/config/rules/batch`]).status]).toBe(status);
        }
      });

      test('has none in an answer: an operator may have set it', () => {
        const more = rule({ group_id: GROUP, ...OWN, count: 99, location_labels: texts(50) });
        const { status, text } = filter.httpAnswer('GET', `${V1}/config/rules`, JSON.stringify([more]));
        expect(Status[status]).toBe('OK');
        expect(JSON.parse(text)).toMatchObject([{ count: 99, location_labels: texts(50) }]);
      });
    });

    test.each<[string, unknown]>([
      ['nothing', ''],
      ['something behind', `${JSON.stringify([bundle()])} 1`],
      ['no list', bundle()],
      ['a rule without a start', [bundle({ rules: [rule({ start_key: undefined })] })]],
      ['hex of an odd length', [bundle({ rules: [rule({ start_key: FROM.slice(1) })] })]],
      ['no hex', [bundle({ rules: [rule({ start_key: `x${FROM.slice(1)}` })] })]],
      ['no encoded key', [bundle({ rules: [rule({ start_key: '7480' })] })]],
      ['a number as a bound', [bundle({ rules: [rule({ start_key: 1 })] })]],
      ['null as a bound', [bundle({ rules: [rule({ start_key: null })] })]],
      ['a negative index', [bundle({ group_index: -1 })]],
      ['an index with a fraction', [bundle({ group_index: 1.5 })]],
      ['a text as a flag', [bundle({ group_override: 'true' })]],
      ['deep nesting', '['.repeat(3000)],
    ])('malformed: %s', (_, value) => {
      expect(Status[send(value).status]).toBe('MALFORMED');
    });

    test('cut short anywhere: a status, and the next one passes', () => {
      const text = JSON.stringify([bundle()]);
      for (let cut = 0; cut < text.length; cut++) expect(send(text.slice(0, cut)).status).not.toBe(Status.OK);
      expect(JSON.parse(send([bundle()]).text)).toEqual([storedBundle]);
    });

    const answered = (path: string, json: unknown): unknown => {
      const { status, text } = filter.httpAnswer('GET', `${V1}/config/${path}`, JSON.stringify(json));
      expect(Status[status]).toBe('OK');
      expect(text).not.toMatch(/alpha|beta/);
      return JSON.parse(text);
    };

    test('answers hold the tenant’s own only', () => {
      const foreign = bundle({
        group_id: 'tidb-mesh:beta:TiDB_DDL_100',
        rules: [rule({ group_id: 'tidb-mesh:beta:TiDB_DDL_100' })],
      });
      const pd = {
        group_id: 'pd',
        group_index: 0,
        group_override: false,
        rules: [rule({ group_id: 'pd', start_key: '', end_key: '' })],
      };
      const made = { version: 3, create_timestamp: 1_763_000_000_000 };
      const own = bundle({ group_id: GROUP, rules: [{ ...storedRule, ...made }] });
      expect(answered('placement-rule', [pd, foreign, own])).toEqual([
        bundle({ rules: [{ ...rule(), ...made }] }),
      ]);
      expect(answered('rules', [pd.rules[0], storedRule])).toEqual([rule()]);
      expect(answered('rules/group/x', null)).toBeNull();
      expect(
        answered('rule_groups', [{ id: GROUP, index: 40 }, { id: 'tidb-mesh:beta:x' }, { index: 3 }]),
      ).toEqual([{ id: 'TiDB_DDL_100', index: 40 }]);
      expect(answered('rule/TiDB_DDL_100/x', storedRule)).toEqual(rule());
    });
  });

  test('ranges whose regions are to be scheduled', () => {
    const range = { start_key: FROM, end_key: TO };
    const path = `${V1}/regions/accelerate-schedule`;
    expect(JSON.parse(filter.httpBody('POST', path, JSON.stringify(range)).text)).toEqual(OWN);
    const batch = filter.httpBody(
      'POST',
      `${path}/batch`,
      JSON.stringify([range, { start_key: '', end_key: '' }]),
    );
    expect(JSON.parse(batch.text)).toEqual([OWN, WHOLE]);
    const byId = filter.httpBody('POST', `${V1}/regions/scatter`, '{"regions_id":[1]}');
    expect(Status[byId.status]).toBe('NAME_OUTSIDE');
  });

  test('tenant 0 keeps its names; PD’s own group and the others’ are not its', () => {
    const adopted = new Filter(build);
    adopted.select(0, 'adopted');
    const path = `${V1}/config/placement-rule?partial=true`;
    const { text } = adopted.httpBody('POST', path, JSON.stringify([bundle()]));
    expect(JSON.parse(text)[0].group_id).toBe('TiDB_DDL_100');
    for (const group_id of ['pd', 'tidb-mesh:alpha:x'])
      expect(Status[adopted.httpBody('POST', path, JSON.stringify([bundle({ group_id })])).status]).toBe(
        'NAME_OUTSIDE',
      );
    const answer = JSON.stringify([
      storedBundle,
      bundle({ group_id: 'pd', rules: [] }),
      bundle({ rules: [] }),
    ]);
    const shown = adopted.httpAnswer('GET', `${V1}/config/placement-rule`, answer);
    expect(JSON.parse(shown.text)).toEqual([bundle({ rules: [] })]);
    const ids = JSON.stringify({ deletes: ['tidb-mesh/alpha', 'tidb-mesh:alpha:x', 'schema/d/t'] });
    const patch = adopted.labelRules(ids, true);
    expect(JSON.parse(patch.text)).toEqual({ deletes: ['', '', 'schema/d/t'] });
  });

  test('keys of rows are mapped as well', () => {
    const { text } = filter.httpBody(
      'POST',
      `${V1}/regions/accelerate-schedule`,
      JSON.stringify({ start_key: hexOf(rowKey(100, 1)).toUpperCase(), end_key: '' }),
    );
    expect(JSON.parse(text)).toEqual({
      start_key: hexOf(rowKey(100, 1, 1)).toUpperCase(),
      end_key: WHOLE.end_key,
    });
  });
});
