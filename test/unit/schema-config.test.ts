/** The published JSON schema and the filter's own reader: the same fields, and the same verdicts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv, type ValidateFunction } from 'ajv';
import { Judge } from '../../src-ts/config/judge.ts';
import { PLUGIN_CONFIG_SCHEMA, schemaText, type Schema } from '../../src-ts/config/schema.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';

let judge: Judge;
let validate: ValidateFunction;

beforeAll(async () => {
  judge = await Judge.load();
  // A schema for editors says `required` beside `properties` of the level above.
  validate = new Ajv({ strict: true, strictRequired: false, strictTypes: false }).compile(
    PLUGIN_CONFIG_SCHEMA,
  );
});

const TENANT = { name: 'alpha', number: 1 };
const RULE = { principal: 'spiffe://m/ns/{tenant}/sa/*' };
const GOOD = { tenants: [TENANT], rules: [RULE] };
const PD = { cluster: 'pd_http' };
const tenant = (extra: object): object => ({ ...GOOD, tenants: [{ ...TENANT, ...extra }] });
const rule = (one: unknown): object => ({ ...GOOD, rules: [one] });
const loose = (...rules: unknown[]): object => ({ ...GOOD, requirePrincipal: false, rules });
const manyRules = (count: number): object => ({
  ...GOOD,
  rules: Array.from({ length: count }, (_, i) => ({ principal: `spiffe://m/${i}`, tenant: 'alpha' })),
});
const policy = (extra: unknown): object => ({ ...GOOD, policy: extra });
const limits = (extra: unknown): object => ({ ...GOOD, limits: extra });

/** Limits by count. */
const COUNTS = ['etcdWatches', 'etcdKeys', 'etcdLeases', 'resourceGroups', 'pdRecords'];
const counts = (value: number): object => Object.fromEntries(COUNTS.map((name) => [name, value]));

const TAKEN: [string, object][] = [
  ['the least', GOOD],
  ['with its schema', { $schema: './plugin-config.schema.json', ...GOOD }],
  ['no rules', { tenants: [TENANT] }],
  ['requirePrincipal', { ...GOOD, requirePrincipal: true }],
  ['no principal, by the node', loose({ node: { workload: '{tenant}-tidb' } })],
  ['no principal, by a label', loose({ peer: { labels: { 'tidb-mesh.io/tenant': '{tenant}' } } })],
  ['no principal, by name', loose({ node: { namespace: 'a' }, tenant: 'alpha' })],
  ['a principal beside one without', loose(RULE, { node: { app: '{tenant}' } })],
  ['a peer', rule({ ...RULE, peer: { workload: '{tenant}-tidb', cluster: 'c' } })],
  [
    'a peer that must agree with a name',
    rule({ principal: 'spiffe://m/x', peer: { app: '{tenant}' }, tenant: 'alpha' }),
  ],
  ['a system rule with a peer', rule({ principal: 'spiffe://m/x', peer: { app: 'pd' }, system: true })],
  ['tenant 0', tenant({ number: 0 })],
  ['a key number', tenant({ keyNumber: 32766 })],
  ['tenant 0 with a key number', tenant({ number: 0, keyNumber: 1 })],
  [
    'tenant 0 in a keyspace',
    tenant({ number: 0, keyspace: { id: 1, mode: 'txn' }, readableSince: '449999999999999999' }),
  ],
  ['no epoch offset', tenant({ epochOffset: 0 })],
  ['the largest epoch offset', tenant({ epochOffset: 2 ** 31 })],
  ['the largest offset of configuration versions', tenant({ confVerOffset: 2 ** 31 })],
  ['the ids of a cluster', tenant({ clusterId: { seen: '9999999999999999999', own: '1' } })],
  ['the latest timestamp', tenant({ latestSeen: '0449999999999999999' })],
  ['the longest timestamp', tenant({ readableSince: '9999999999999999999' })],
  ...['prepare', 'final', 'over'].map((phase): [string, object] => [
    `the phase ${phase}`,
    tenant({ move: { serial: 4294967295, phase } }),
  ]),
  ...['calm', 'drain', 'fence'].map((phase): [string, object] => [
    `the phase ${phase}`,
    tenant({ move: { serial: 1, phase, until: Number.MAX_SAFE_INTEGER } }),
  ]),
  ['the last tenant', tenant({ number: 32766 })],
  ['a name of 63', tenant({ name: 'a'.repeat(63) })],
  ['a state', tenant({ state: 'suspended' })],
  ['another state', tenant({ state: 'read-only' })],
  ['tenant 0 active', tenant({ number: 0, state: 'active' })],
  ['a `default` of its own', tenant({ ownDefaultGroup: true })],
  ['tenant 0 without one', tenant({ number: 0, ownDefaultGroup: false })],
  ['a keyspace', tenant({ keyspace: { id: 0xffffff, mode: 'txn' } })],
  ['a raw keyspace', tenant({ keyspace: { id: 0, mode: 'raw' } })],
  ['a prefix as a text', tenant({ prefix: { text: 'app1:', mode: 'raw' } })],
  ['a prefix in hex', tenant({ prefix: { hex: 'ff00', mode: 'txn' } })],
  ['a rule with a tenant', rule({ principal: 'spiffe://m/*', tenant: 'alpha' })],
  ['a system rule', rule({ principal: 'spiffe://m/pd', system: true })],
  ['system false', rule({ principal: 'spiffe://m/{tenant}', system: false })],
  ['as many rules as there may be', manyRules(1000)],
  ['no limits', limits({})],
  ['the least limits', limits({ maxMessageBytes: 1024, maxTsDriftSeconds: 1, drainTimeoutSeconds: 0 })],
  [
    'the largest limits',
    limits({ heldBytesPerVM: 2 ** 30, maxHoldBackSeconds: 31536000, drainTimeoutSeconds: 86400 }),
  ],
  ['the shortest leases', limits({ maxEtcdLeaseSeconds: 1 })],
  ['the longest leases', limits({ maxEtcdLeaseSeconds: 31536000 })],
  ['pd', { ...GOOD, pd: PD }],
  ['an empty policy', { ...GOOD, policy: {} }],
  [
    'a policy for all and for one',
    policy({ refuse: ['pdpb.PD/*'], tenants: { alpha: { refuse: ['GET /pd/api/v1/regions'] } } }),
  ],
  ['lists of nothing', policy({ refuse: [], tenants: { alpha: {} } })],
  ['a dry run', { ...tenant({ number: 0 }), dryRun: true }],
  ['a dry run that is off', { ...GOOD, dryRun: false }],
  ['series for one tenant', { ...GOOD, observability: { maxTenants: 1 } }],
  ['latencies', { ...GOOD, observability: { latency: true } }],
  ['series for all tenants', { ...GOOD, observability: { maxTenants: 32767 } }],
  ['nothing about series', { ...GOOD, observability: {} }],
  ['one stream', limits({ maxStreamsPerTenant: 1 })],
  ['a million streams', limits({ maxStreamsPerTenant: 1_000_000 })],
  ['a limit of a tenant', tenant({ limits: { maxStreams: 1_000_000 } })],
  [
    'the lowest rates',
    tenant({ limits: { requestsPerSecond: 1, bytesPerSecond: 1024, pdRequestsPerSecond: 1 } }),
  ],
  [
    'the highest rates',
    limits({
      requestsPerSecondPerTenant: 1_000_000,
      bytesPerSecondPerTenant: 4_000_000_000,
      pdRequestsPerSecondPerTenant: 1_000_000,
    }),
  ],
  ['no limit of a tenant', tenant({ limits: {} })],
  ['watches without pd', limits({ etcdWatchesPerTenant: 1 })],
  ['the lowest counts', { ...tenant({ limits: counts(1) }), pd: PD }],
  [
    'the highest counts',
    {
      ...GOOD,
      pd: PD,
      limits: Object.fromEntries(COUNTS.map((name) => [`${name}PerTenant`, 1_000_000])),
    },
  ],
  ['watches of tenant 0', tenant({ number: 0, limits: { etcdWatches: 5 } })],
  ['pd with an authority', { ...GOOD, pd: { ...PD, authority: 'pd:2379' } }],
];

const REFUSED: [string, unknown][] = [
  ['a list', []],
  ['nothing', {}],
  ['no tenants', { rules: [RULE] }],
  ['an empty list of tenants', { ...GOOD, tenants: [] }],
  ['an empty list of rules', { ...GOOD, rules: [] }],
  ['an unknown field', { ...GOOD, rulez: [] }],
  ['failOpen', { ...GOOD, failOpen: true }],
  ['$schema as a number', { ...GOOD, $schema: 1 }],
  ['an empty $schema', { ...GOOD, $schema: '' }],
  ['requirePrincipal off for nothing', { ...GOOD, requirePrincipal: false }],
  ['requirePrincipal off without rules', { tenants: [TENANT], requirePrincipal: false }],
  ['a peer alone', rule({ peer: { workload: '{tenant}-tidb' } })],
  ['a node alone', rule({ node: { workload: '{tenant}-tidb' } })],
  ['a peer that chooses', rule({ principal: 'spiffe://m/x', peer: { app: '{tenant}' } })],
  ['a label that chooses', rule({ principal: 'spiffe://m/x', peer: { labels: { a: 'x', b: '{tenant}' } } })],
  ['a system peer', loose({ peer: { app: 'pd' }, system: true })],
  [
    'a system rule that captures',
    rule({ principal: 'spiffe://m/x', node: { app: '{tenant}' }, system: true }),
  ],
  ['a tenant from nowhere', loose({ tenant: 'alpha' }, { node: { app: '{tenant}' } })],
  ['an empty peer', rule({ ...RULE, peer: {} })],
  ['no labels', rule({ ...RULE, peer: { labels: {} } })],
  ['a peer as a text', rule({ ...RULE, peer: 'x' })],
  ['labels as a text', rule({ ...RULE, node: { labels: 'x' } })],
  ['a number as a pattern', rule({ ...RULE, node: { app: 5 } })],
  ['a number as the pattern of a label', rule({ ...RULE, node: { labels: { a: 5 } } })],
  ['latencies by a number', { ...GOOD, observability: { latency: 1 } }],
  ['series for nobody', { ...GOOD, observability: { maxTenants: 0 } }],
  ['series for less than nobody', { ...GOOD, observability: { maxTenants: -1 } }],
  ['series for too many', { ...GOOD, observability: { maxTenants: 32768 } }],
  ['an unknown field of observability', { ...GOOD, observability: { series: 5 } }],
  ['observability as a number', { ...GOOD, observability: 5 }],
  ['no stream', limits({ maxStreamsPerTenant: 0 })],
  ['less than no stream', limits({ maxStreamsPerTenant: -1 })],
  ['too many streams', limits({ maxStreamsPerTenant: 1_000_001 })],
  ['no stream of a tenant', tenant({ limits: { maxStreams: 0 } })],
  ['too many streams of a tenant', tenant({ limits: { maxStreams: 2 ** 32 } })],
  ...['requestsPerSecond', 'bytesPerSecond', 'pdRequestsPerSecond'].flatMap((name): [string, unknown][] =>
    [0, -1, 1.5, 2 ** 32, '5'].map((rate) => [
      `${name} of ${JSON.stringify(rate)}`,
      tenant({ limits: { [name]: rate } }),
    ]),
  ),
  ...COUNTS.flatMap((name): [string, unknown][] =>
    [0, -1, 1.5, 1_000_001, 2 ** 32, '5'].flatMap((value): [string, unknown][] => [
      [`${name} of ${JSON.stringify(value)}`, { ...tenant({ limits: { [name]: value } }), pd: PD }],
      [`${name} of all of ${JSON.stringify(value)}`, { ...limits({ [`${name}PerTenant`]: value }), pd: PD }],
    ]),
  ),
  ...COUNTS.slice(1).map((name): [string, unknown] => [
    `${name} of tenant 0`,
    { ...tenant({ number: 0, limits: { [name]: 5 } }), pd: PD },
  ]),
  ['a rate beyond a million', limits({ requestsPerSecondPerTenant: 1_000_001 })],
  ['no byte per second', limits({ bytesPerSecondPerTenant: 1023 })],
  ['no request to PD', limits({ pdRequestsPerSecondPerTenant: 0 })],
  ['an unknown limit of a tenant', tenant({ limits: { streams: 5 } })],
  ['limits of a tenant as a number', tenant({ limits: 5 })],
  ['requirePrincipal as a text', { ...GOOD, requirePrincipal: 'yes' }],
  ['an unknown field of a tenant', tenant({ id: 7 })],
  ['a tenant without a number', { ...GOOD, tenants: [{ name: 'alpha' }] }],
  ['a tenant without a name', { ...GOOD, tenants: [{ number: 1 }] }],
  ['a tenant below 0', tenant({ number: -1 })],
  ['tenant 32767', tenant({ number: 32767 })],
  ['tenant 1.5', tenant({ number: 1.5 })],
  ['an unknown state', tenant({ state: 'paused' })],
  ['an empty state', tenant({ state: '' })],
  ['a state as a number', tenant({ state: 1 })],
  ['tenant 0 read-only', tenant({ number: 0, state: 'read-only' })],
  ['tenant 0 suspended', tenant({ number: 0, state: 'suspended' })],
  ['a number as a text', tenant({ number: '1' })],
  ['the key number 0', tenant({ keyNumber: 0 })],
  ['a key number beyond the last', tenant({ keyNumber: 32767 })],
  ['a key number beside a keyspace', tenant({ keyNumber: 5, keyspace: { id: 7, mode: 'txn' } })],
  ['a key number beside a prefix', tenant({ keyNumber: 5, prefix: { hex: '61', mode: 'txn' } })],
  ['an epoch offset below 0', tenant({ epochOffset: -1 })],
  ['an epoch offset beyond the largest', tenant({ epochOffset: 2 ** 31 + 1 })],
  ['an offset of configuration versions beyond the largest', tenant({ confVerOffset: 2 ** 31 + 1 })],
  ['a cluster with one id', tenant({ clusterId: { seen: '7' } })],
  ['a cluster with the id 0', tenant({ clusterId: { seen: '7', own: '0' } })],
  ['a cluster with a number', tenant({ clusterId: { seen: 7, own: '8' } })],
  ['a cluster with an unknown field', tenant({ clusterId: { seen: '7', own: '8', old: '9' } })],
  ['a cluster as a text', tenant({ clusterId: '7' })],
  ['the latest timestamp as a number', tenant({ latestSeen: 7 })],
  ['tenant 0 from elsewhere', tenant({ number: 0, latestSeen: '7' })],
  ['tenant 0 in another cluster', tenant({ number: 0, clusterId: { seen: '7', own: '8' } })],
  ['tenant 0 with configuration versions', tenant({ number: 0, confVerOffset: 0 })],
  ['a timestamp as a number', tenant({ readableSince: 7 })],
  ['the timestamp 0', tenant({ readableSince: '0' })],
  ['a timestamp of twenty digits', tenant({ readableSince: '10000000000000000000' })],
  ['a move as a text', tenant({ move: 'fence' })],
  ['a move without a serial', tenant({ move: { phase: 'prepare' } })],
  ['a move without a phase', tenant({ move: { serial: 7 } })],
  ['the move 0', tenant({ move: { serial: 0, phase: 'prepare' } })],
  ['an empty phase', tenant({ move: { serial: 7, phase: '' } })],
  ['a fence for ever', tenant({ move: { serial: 7, phase: 'fence' } })],
  ['a final phase for a time', tenant({ move: { serial: 7, phase: 'final', until: 5 } })],
  ['a preparation for a time', tenant({ move: { serial: 7, phase: 'prepare', until: 5 } })],
  ['a fence until 0', tenant({ move: { serial: 7, phase: 'fence', until: 0 } })],
  ['a name in capitals', tenant({ name: 'Alpha' })],
  ['an empty name', tenant({ name: '' })],
  ['a name of 64', tenant({ name: 'a'.repeat(64) })],
  ['a `default` as a text', tenant({ ownDefaultGroup: 'own' })],
  ['tenant 0 with a `default` of its own', tenant({ number: 0, ownDefaultGroup: true })],
  ['a keyspace as a number', tenant({ keyspace: 7 })],
  ['a keyspace without id', tenant({ keyspace: { mode: 'txn' } })],
  ['a keyspace of 25 bits', tenant({ keyspace: { id: 2 ** 24, mode: 'txn' } })],
  ['a keyspace without mode', tenant({ keyspace: { id: 7 } })],
  ['a mode that is none', tenant({ keyspace: { id: 7, mode: 'sql' } })],
  ['a prefix without bytes', tenant({ prefix: { mode: 'txn' } })],
  ['a prefix in both writings', tenant({ prefix: { text: 'a', hex: '61', mode: 'txn' } })],
  ['odd hex', tenant({ prefix: { hex: 'abc', mode: 'txn' } })],
  ['no hex', tenant({ prefix: { hex: 'xy', mode: 'txn' } })],
  [
    'a keyspace and a prefix',
    tenant({ keyspace: { id: 7, mode: 'txn' }, prefix: { hex: '61', mode: 'txn' } }),
  ],
  ['tenant 0 with a keyspace', tenant({ number: 0, keyspace: { id: 7, mode: 'txn' } })],
  ['tenant 0 with a prefix', tenant({ number: 0, prefix: { hex: '61', mode: 'txn' } })],
  ['one rule too many', manyRules(1001)],
  ['a rule as a text', rule('spiffe://m/{tenant}')],
  ['a rule without a principal', rule({ tenant: 'alpha' })],
  ['a rule that says nothing', rule({ principal: 'spiffe://m/x' })],
  ['a rule that says only system false', rule({ principal: 'spiffe://m/x', system: false })],
  ['a rule that says two things', rule({ principal: 'spiffe://m/{tenant}', system: true })],
  ['a rule that says two other things', rule({ principal: 'spiffe://m/x', tenant: 'alpha', system: true })],
  ['system as a text', rule({ principal: 'spiffe://m/x', system: 'yes' })],
  ['limits as a number', limits(5)],
  ['an unknown limit', limits({ maxMessageByte: 5000 })],
  ['a limit below the least', limits({ maxMessageBytes: 1023 })],
  ['a limit above the largest', limits({ heldBytesPerVM: 2 ** 30 + 1 })],
  ['a limit as a text', limits({ heldBytesPerTenant: '64MB' })],
  ['half a second', limits({ maxTsDriftSeconds: 0.5 })],
  ['no time at all', limits({ maxHoldBackSeconds: 0 })],
  ['leases of no time', limits({ maxEtcdLeaseSeconds: 0 })],
  ['leases of more than a year', limits({ maxEtcdLeaseSeconds: 31536001 })],
  ['a drain of more than a day', limits({ drainTimeoutSeconds: 86401 })],
  ['a policy as a list', policy(['tikvpb.Tikv/KvScan'])],
  ['a policy that allows', policy({ allow: ['tikvpb.Tikv/KvScan'] })],
  ['a text for a list', policy({ refuse: 'tikvpb.Tikv/KvScan' })],
  ['a number in the list', policy({ refuse: [7] })],
  ['an empty name in the list', policy({ refuse: [''] })],
  ['a method twice', policy({ refuse: ['tikvpb.Tikv/KvScan', 'tikvpb.Tikv/KvScan'] })],
  ['tenants of a policy as a list', policy({ tenants: ['alpha'] })],
  ['a tenant of a policy as a list', policy({ tenants: { alpha: ['tikvpb.Tikv/KvScan'] } })],
  ['an unknown field of a tenant of a policy', policy({ tenants: { alpha: { allow: [] } } })],
  ['a dry run as a text', { ...tenant({ number: 0 }), dryRun: 'yes' }],
  ['a dry run without tenant 0', { ...GOOD, dryRun: true }],
  ['pd as a text', { ...GOOD, pd: 'pd' }],
  ['pd without a cluster', { ...GOOD, pd: {} }],
  ['pd with an empty authority', { ...GOOD, pd: { ...PD, authority: '' } }],
];

/** What BEYOND_THE_SCHEMA lists: the filter refuses it, the schema cannot. */
const BEYOND: [string, string][] = [
  ['a name twice', JSON.stringify({ ...GOOD, tenants: [TENANT, { name: 'alpha', number: 2 }] })],
  [
    'a key number twice',
    JSON.stringify({ ...GOOD, tenants: [TENANT, { name: 'b', number: 2, keyNumber: 1 }] }),
  ],
  ['a number twice', JSON.stringify({ ...GOOD, tenants: [TENANT, { name: 'beta', number: 1 }] })],
  [
    'key spaces that overlap',
    JSON.stringify({
      ...GOOD,
      tenants: ['a', 'ab'].map((text, i) => ({ name: text, number: i + 1, prefix: { text, mode: 'txn' } })),
    }),
  ],
  ['a long prefix', JSON.stringify(tenant({ prefix: { text: 'é'.repeat(65), mode: 'txn' } }))],
  ['a prefix of FF', JSON.stringify(tenant({ prefix: { hex: 'ffFF', mode: 'txn' } }))],
  ['a tenant that is none', JSON.stringify(rule({ principal: 'spiffe://m/x', tenant: 'beta' }))],
  ['a brace', JSON.stringify(rule({ principal: 'spiffe://m/{x}', tenant: 'alpha' }))],
  ['two stars', JSON.stringify(rule({ principal: 'spiffe://m/**', tenant: 'alpha' }))],
  ['an odd label', JSON.stringify(rule({ ...RULE, peer: { labels: { 'a\nb': 'x' } } }))],
  [
    'seventeen facts',
    JSON.stringify(
      rule({
        ...RULE,
        peer: { labels: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, 'x'])) },
      }),
    ),
  ],
  [
    'a rule behind a wider one',
    JSON.stringify({ ...GOOD, rules: [RULE, { principal: 'spiffe://m/ns/a/sa/b', tenant: 'alpha' }] }),
  ],
  ['a policy for no method', JSON.stringify(policy({ refuse: ['tikvpb.Tikv/Scan'] }))],
  ['a policy for what is refused', JSON.stringify(policy({ refuse: ['tikvpb.Tikv/KvGC'] }))],
  ['a policy for no tenant', JSON.stringify(policy({ tenants: { beta: {} } }))],
  ['counts without pd', JSON.stringify(tenant({ limits: { etcdKeys: 5 } }))],
  [
    'a name that is twice in an object',
    '{"pd":{"cluster":"a","cluster":"b"},' + JSON.stringify(GOOD).slice(1),
  ],
];

test('schema/plugin-config.schema.json is what `tidb-mesh schema` prints', () => {
  expect(readFileSync(join(ROOT, 'schema', 'plugin-config.schema.json'), 'utf8')).toBe(schemaText());
});

test.each(TAKEN)('both take %s', (_, config) => {
  expect(judge.configure(JSON.stringify(config))).toBe('');
  expect([validate(config), validate.errors]).toEqual([true, null]);
});

test.each(REFUSED)('both refuse %s', (_, config) => {
  expect(judge.configure(JSON.stringify(config))).not.toBe('');
  expect(validate(config)).toBe(false);
});

test.each(BEYOND)('only the filter refuses %s', (_, text) => {
  expect(judge.configure(text)).not.toBe('');
  expect(validate(JSON.parse(text))).toBe(true);
});

test('only the schema refuses an unknown phase: a filter that is older than it serves the other tenants', () => {
  const config = tenant({ move: { serial: 7, phase: 'flipped', until: 5 } });
  expect(judge.configure(JSON.stringify(config))).toBe('');
  expect(validate(config)).toBe(false);
});

describe('the fields are the same', () => {
  const properties = (schema: Schema, ...path: string[]): Schema =>
    path.reduce((at, name) => {
      const next = (at['properties'] as Record<string, Schema>)[name] as Schema;
      const named = next['additionalProperties'];
      return (next['items'] as Schema | undefined) ?? (named instanceof Object ? (named as Schema) : next);
    }, schema)['properties'] as Schema;
  const odd = { thisIsUnknown: 1 };
  const places: [string, string[], object][] = [
    ['the root', [], { ...GOOD, ...odd }],
    ['a tenant', ['tenants'], tenant(odd)],
    ['a move', ['tenants', 'move'], tenant({ move: odd })],
    ['a keyspace', ['tenants', 'keyspace'], tenant({ keyspace: odd })],
    ['a prefix', ['tenants', 'prefix'], tenant({ prefix: odd })],
    ['a rule', ['rules'], rule({ ...RULE, ...odd })],
    ['a peer', ['rules', 'peer'], rule({ ...RULE, peer: odd })],
    ['a node', ['rules', 'node'], rule({ ...RULE, node: odd })],
    ['limits', ['limits'], limits(odd)],
    ['a policy', ['policy'], policy(odd)],
    ['a tenant of a policy', ['policy', 'tenants'], policy({ tenants: { alpha: odd } })],
    ['pd', ['pd'], { ...GOOD, pd: { ...PD, ...odd } }],
  ];
  test.each(places)('of %s', (_, path, config) => {
    const line = judge.configure(JSON.stringify(config));
    const known = /thisIsUnknown: unknown field; known here: (.+)$/.exec(line)?.[1];
    expect(known?.split(', ').sort()).toEqual(Object.keys(properties(PLUGIN_CONFIG_SCHEMA, ...path)).sort());
  });

  test('each is described', () => {
    const undescribed: string[] = [];
    const visit = (schema: Schema, path: string): void => {
      if (path !== '' && typeof schema['description'] !== 'string') undescribed.push(path);
      for (const [name, one] of Object.entries((schema['properties'] ?? {}) as Record<string, Schema>))
        visit((one['items'] as Schema | undefined) ?? one, `${path}.${name}`);
    };
    visit(PLUGIN_CONFIG_SCHEMA, '');
    expect(undescribed).toEqual([]);
  });
});
