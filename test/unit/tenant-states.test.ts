/** `tidb-mesh tenants suspend`, `read-only` and `resume` change one word of a file, and say what they refuse. */
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { changeLimits, limitsText, type Limits } from '../../src-ts/tenants/limits.ts';
import { changeState } from '../../src-ts/tenants/states.ts';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changeFile } from '../../src-ts/cli/commands/tenants/change-file.ts';
import type { CommandError } from '../../src-ts/errors.ts';
import { limits } from '../../src-ts/tenants/doctor.ts';
import { requestUnitsOf, requestUnitsText } from '../../src-ts/tenants/request-units.ts';
import type { State } from '../../src-ts/tenants/tenant.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

const MESH = `# Who may call.
pluginConfig:
  tenants:
    - name: alpha # the first
      number: 1 # never change it
    - { number: 2, name: beta } # short
    # the third
    - name: gamma
      number: 3
      state: read-only # for the migration
      keyspace: { id: 7, mode: txn }
    - name: legacy
      number: 0
storage: { namespace: tidb, cluster: storage }
`;
const JSON_TEXT = `{
  "tenants": [
    { "name": "alpha", "number": 1 },
    {
      "name": "beta",
      "number": 2,
      "state": "suspended"
    }
  ]
}
`;

/** The lines that a change removed and added. */
function changed(text: string, name: string, state: State): string[] {
  const lines = changeState(text, 'file', name, state).text.split('\n');
  const before = text.split('\n');
  return [
    ...before.filter((line) => !lines.includes(line)).map((line) => `-${line}`),
    ...lines.filter((line) => !before.includes(line)).map((line) => `+${line}`),
  ];
}

function refusal(text: string, name: string, state: State): string {
  try {
    changeState(text, 'mesh.yaml', name, state);
    return 'changed';
  } catch (error) {
    const { code, message, hint } = error as CommandError;
    return `${code}: ${message} → ${hint}`;
  }
}

describe('a change of a state', () => {
  test.each<[string, string, string, State, string[]]>([
    ['adds a line', MESH, 'alpha', 'suspended', ['+      state: suspended']],
    [
      'adds a member to a short entry',
      MESH,
      'beta',
      'read-only',
      [
        '-    - { number: 2, name: beta } # short',
        '+    - { number: 2, state: read-only, name: beta } # short',
      ],
    ],
    [
      'replaces a word and keeps the comment',
      MESH,
      'gamma',
      'active',
      ['-      state: read-only # for the migration', '+      state: active # for the migration'],
    ],
    [
      'adds a member to JSON',
      JSON_TEXT,
      'alpha',
      'suspended',
      [
        '-    { "name": "alpha", "number": 1 },',
        '+    { "name": "alpha", "number": 1, "state": "suspended" },',
      ],
    ],
    [
      'replaces one in JSON',
      JSON_TEXT,
      'beta',
      'active',
      ['-      "state": "suspended"', '+      "state": "active"'],
    ],
    ['keeps the ends of lines', 'tenants:\r\n- name: a\r\n  number: 1\r\n', 'a', 'suspended', []],
  ])('%s', (_, text, name, state, lines) => {
    if (lines.length > 0) expect(changed(text, name, state)).toEqual(lines);
    const after = changeState(text, 'file', name, state).text;
    const root = parse(after) as { tenants?: object[]; pluginConfig?: { tenants: object[] } };
    expect(
      (root.tenants ?? root.pluginConfig!.tenants).find((one) => 'name' in one && one.name === name),
    ).toMatchObject({ state });
    expect(after.includes('\r\n') && /[^\r]\n/.test(after)).toBe(false);
    // Back again is a state that is written.
    expect(changeState(after, 'file', name, 'active').before).toBe(state);
  });

  test('that is there already changes nothing', () => {
    expect(changeState(MESH, 'file', 'gamma', 'read-only')).toEqual({ text: MESH, before: 'read-only' });
    expect(changeState(MESH, 'file', 'alpha', 'active')).toEqual({ text: MESH, before: 'active' });
  });

  test.each<[string, string, string, State, RegExp]>([
    [
      'a name that is not there',
      MESH,
      'alhpa',
      'suspended',
      /^REFUSED: there is no tenant alhpa → did you mean alpha\?/,
    ],
    [
      'a name like no other',
      MESH,
      'x',
      'suspended',
      /there is no tenant x → mesh.yaml knows: alpha, beta, gamma, legacy/,
    ],
    ['tenant 0', MESH, 'legacy', 'read-only', /^REFUSED: legacy is tenant 0, which must stay active/],
    ['no YAML', 'tenants: [', 'alpha', 'suspended', /^INVALID: mesh.yaml: /],
    ['a file without tenants', 'rules: []', 'alpha', 'suspended', /has no list of tenants/],
    [
      'a manifest',
      'kind: WasmPlugin\nspec: {}',
      'alpha',
      'suspended',
      /^INVALID: mesh.yaml: is a manifest → give the mesh file/,
    ],
    [
      'an entry that stands elsewhere',
      'a: &a { name: alpha, number: 1 }\ntenants: [*a]',
      'alpha',
      'suspended',
      /the entry of alpha is written in a way that cannot be changed here/,
    ],
  ])('is refused for %s', (_, text, name, state, said) => {
    expect(refusal(text, name, state)).toMatch(said);
  });

  test('works on the mesh file that the manifests are rendered from', () => {
    const text = readFileSync(join(ROOT, 'manifests', 'mesh.yaml'), 'utf8');
    expect(changeState(text, 'mesh.yaml', 'cluster1', 'suspended').text.length).toBeGreaterThan(text.length);
  });
});

describe('limits', () => {
  const group = (fill: number, burst: number, priority: number) =>
    requestUnitsOf({
      name: '1:default',
      mode: 1,
      r_u_settings: { r_u: { settings: { fill_rate: fill, burst_limit: burst } } },
      priority,
    });
  const NONE = group(2 ** 31 - 1, -1, 8);

  test.each([
    [NONE, '-'],
    [group(2000, 2000, 8), '2000 RU/s'],
    [group(2000, -1, 1), '2000 RU/s and more, priority low'],
    [group(2 ** 31 - 1, -1, 16), 'priority high'],
    [group(5, 5, 3), '5 RU/s, priority 3'],
  ])('%j reads %s', (units, text) => {
    expect(requestUnitsText(units)).toBe(text);
  });

  test('doctor compares them with the configuration', () => {
    const judged = (ownDefaultGroup: boolean, ...groups: [number, typeof NONE][]) =>
      limits([{ name: 'alpha', number: 1, ownDefaultGroup }], new Map(groups)).map(
        ({ level, code }) => `${level} ${code}`,
      );
    expect(judged(true)).toEqual(['wrong DEFAULT_GROUP_MISSING']);
    expect(judged(true, [1, NONE])).toEqual([]);
    expect(judged(true, [2, NONE])).toEqual(['wrong DEFAULT_GROUP_MISSING']);
    expect(judged(false, [1, group(5, 5, 8)])).toEqual(['warning LIMIT_NOT_IN_USE']);
    expect(judged(false, [1, NONE])).toEqual([]);
    expect(judged(false)).toEqual([]);
  });
});

describe('a change of rates', () => {
  const lines = (text: string, name: string, rates: Limits): string[] => {
    const before = text.split('\n');
    const after = changeLimits(text, 'file', name, rates).split('\n');
    return [
      ...before.filter((line) => !after.includes(line)).map((line) => `-${line}`),
      ...after.filter((line) => !before.includes(line)).map((line) => `+${line}`),
    ];
  };

  test('adds what is missing, in the form of its surroundings', () => {
    expect(lines(MESH, 'alpha', { requestsPerSecond: 500, bytesPerSecond: 4096 })).toEqual([
      '+      limits: { requestsPerSecond: 500, bytesPerSecond: 4096 }',
    ]);
    expect(lines(MESH, 'beta', { pdRequestsPerSecond: 7 })).toEqual([
      '-    - { number: 2, name: beta } # short',
      '+    - { number: 2, limits: { pdRequestsPerSecond: 7 }, name: beta } # short',
    ]);
    expect(lines(JSON_TEXT, 'alpha', { requestsPerSecond: 5 })).toEqual([
      '-    { "name": "alpha", "number": 1 },',
      '+    { "name": "alpha", "number": 1, "limits": { "requestsPerSecond": 5 } },',
    ]);
  });

  test('changes what is there, and keeps comments and other limits', () => {
    const text = MESH.replace(
      'state: read-only # for the migration',
      'limits:\n        maxStreams: 9 # few\n        requestsPerSecond: 5 # slow',
    );
    expect(lines(text, 'gamma', { requestsPerSecond: 50, bytesPerSecond: 2000 })).toEqual([
      '-        requestsPerSecond: 5 # slow',
      '+        bytesPerSecond: 2000',
      '+        requestsPerSecond: 50 # slow',
    ]);
    expect(lines(text, 'gamma', { requestsPerSecond: 5 })).toEqual([]);
  });

  test('of a tenant that is not there, or written in another way, is refused', () => {
    expect(() => changeLimits(MESH, 'file', 'delta', { requestsPerSecond: 5 })).toThrow(/delta/);
    const odd = MESH.replace('number: 3', 'number: 3\n      limits: &a { maxStreams: 2 }');
    expect(() =>
      changeLimits(odd.replace('&a { maxStreams: 2 }', '[]'), 'file', 'gamma', { requestsPerSecond: 5 }),
    ).toThrow(/cannot be changed here/);
  });
});

test('limits of the filter in words', () => {
  expect(limitsText()).toBe('');
  expect(limitsText({ maxStreams: 9, pdRequestsPerSecond: 3, requestsPerSecond: 500 })).toBe(
    '500 requests/s, 3 PD requests/s, 9 streams',
  );
});

test('a file that a worker changes meanwhile keeps what the worker wrote', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-states-'));
  const file = join(folder, 'config.json');
  const moved = JSON_TEXT.replace('"number": 1', '"number": 1, "keyNumber": 5');
  const suspend = (text: string): string => changeState(text, file, 'alpha', 'suspended').text;
  writeFileSync(file, JSON_TEXT);
  const overtaken = changeFile(
    file,
    () => undefined,
    (text) => {
      writeFileSync(file, moved);
      return suspend(text);
    },
  );
  await expect(overtaken).rejects.toMatchObject({ code: 'REFUSED', hint: 'run this again' });
  expect(readFileSync(file, 'utf8')).toBe(moved);
  await changeFile(file, () => undefined, suspend);
  expect(readFileSync(file, 'utf8')).toBe(suspend(moved));
  expect(readdirSync(folder)).toEqual(['config.json']);
  rmSync(folder, { recursive: true });
});
