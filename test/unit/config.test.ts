/** The pluginConfig: what is refused and with which words, patterns, and who is who. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter } from './filter.ts';

const TENANTS = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
const RULES = [
  { principal: 'spiffe://demo.mesh/ns/storage/sa/*', system: true },
  { principal: 'spiffe://demo.mesh/ns/{tenant}/sa/*' },
];
const GOOD = { tenants: TENANTS, rules: RULES };
const RANGE = 'must be a whole number from 0 to 32766';
const LIMIT = 'must be a whole number of bytes from 1024 to 1073741824';
const SECONDS = 'must be a whole number of seconds from 1 to 31536000';
const ONE_OF = 'must say exactly one of: {tenant} in the principal, "tenant": "<name>", "system": true';

const tenant = (extra: object): object => ({ ...GOOD, tenants: [{ name: 'alpha', number: 1, ...extra }] });
const rule = (one: object): object => ({ ...GOOD, rules: [one] });
const limits = (extra: unknown): object => ({ ...GOOD, limits: extra });

const BAD: [string, object, string][] = [
  [
    'an unknown field',
    { ...GOOD, rulez: [] },
    'rulez: unknown field; known here: tenants, rules, requirePrincipal, limits, pd, policy, dryRun, observability, $schema',
  ],
  [
    'an unknown field of a tenant',
    tenant({ id: 3 }),
    'tenants[0].id: unknown field; known here: name, number, state, keyspace, prefix, ownDefaultGroup, limits, keyNumber, epochOffset, confVerOffset, clusterId, latestSeen, servedBy, readableSince, move',
  ],
  [
    'series for nobody',
    { ...GOOD, observability: { maxTenants: 0 } },
    'observability.maxTenants: must be a whole number of tenants from 1 to 32767',
  ],
  [
    'a latency that is no flag',
    { ...GOOD, observability: { latency: 1 } },
    'observability.latency: must be true or false',
  ],
  [
    'an unknown field of observability',
    { ...GOOD, observability: { series: 1 } },
    'observability.series: unknown field; known here: maxTenants, latency',
  ],
  [
    'no stream',
    limits({ maxStreamsPerTenant: 0 }),
    'limits.maxStreamsPerTenant: must be a whole number of streams from 1 to 1000000',
  ],
  [
    'no stream of a tenant',
    tenant({ limits: { maxStreams: 0 } }),
    'tenants[0].limits.maxStreams: must be a whole number of streams from 1 to 1000000',
  ],
  ...[0, 32767, 1.5, '5'].map((keyNumber): [string, object, string] => [
    `the key number ${JSON.stringify(keyNumber)}`,
    tenant({ keyNumber }),
    'tenants[0].keyNumber: must be a whole number from 1 to 32766',
  ]),
  ...[-1, 2 ** 31 + 1, 0.5, '5'].map((epochOffset): [string, object, string] => [
    `the epoch offset ${JSON.stringify(epochOffset)}`,
    tenant({ epochOffset }),
    'tenants[0].epochOffset: must be a whole number from 0 to 2147483648',
  ]),
  ...[-1, 2 ** 31 + 1, 0.5, '5'].map((confVerOffset): [string, object, string] => [
    `the offset of configuration versions ${JSON.stringify(confVerOffset)}`,
    tenant({ confVerOffset }),
    'tenants[0].confVerOffset: must be a whole number from 0 to 2147483648',
  ]),
  ...['0', 7, null].map((latestSeen): [string, object, string] => [
    `the latest timestamp ${JSON.stringify(latestSeen)}`,
    tenant({ latestSeen }),
    'tenants[0].latestSeen: must be a timestamp of PD as a text of digits',
  ]),
  ...[{ seen: '7' }, { own: '7' }].map((clusterId): [string, object, string] => [
    `the cluster ${JSON.stringify(clusterId)}`,
    tenant({ clusterId }),
    `tenants[0].clusterId.${'seen' in clusterId ? 'own' : 'seen'}: must be the id of a PD's cluster as a text of digits`,
  ]),
  [
    'the id of a cluster as a number',
    tenant({ clusterId: { seen: 7, own: '8' } }),
    "tenants[0].clusterId.seen: must be the id of a PD's cluster as a text of digits",
  ],
  ['a cluster that is a text', tenant({ clusterId: '7' }), 'tenants[0].clusterId: must be an object'],
  [
    'an id of a cluster that nobody knows',
    tenant({ clusterId: { seen: '7', own: '8', old: '9' } }),
    'tenants[0].clusterId.old: unknown field; known here: seen, own',
  ],
  [
    'the same id of a cluster twice',
    tenant({ clusterId: { seen: '7', own: '07' } }),
    'tenants[0].clusterId: has the same id twice: leave it out where clients know the right one',
  ],
  ...[{ confVerOffset: 0 }, { clusterId: { seen: '7', own: '8' } }, { latestSeen: '7' }].map(
    (more): [string, object, string] => [
      `tenant 0 with ${JSON.stringify(more)}`,
      { ...GOOD, tenants: [{ name: 'old', number: 0, ...more }] },
      `tenants[0].${Object.keys(more)[0]!}: is for a tenant from another storage layer; number 0 stands for what was here first`,
    ],
  ),
  ...['0', '-1', '1e9', '12345678901234567890', 7, null].map((readableSince): [string, object, string] => [
    `the timestamp ${JSON.stringify(readableSince)}`,
    tenant({ readableSince }),
    'tenants[0].readableSince: must be a timestamp of PD as a text of digits',
  ]),
  ...[0, 2 ** 32, '7', undefined].map((serial): [string, object, string] => [
    `the move ${JSON.stringify(serial)}`,
    tenant({ move: { serial, phase: 'prepare' } }),
    'tenants[0].move.serial: must be a whole number from 1 to 4294967295',
  ]),
  ...['', 1, undefined].map((phase): [string, object, string] => [
    `the phase ${JSON.stringify(phase)}`,
    tenant({ move: { serial: 7, phase } }),
    'tenants[0].move.phase: must be "prepare", "calm", "drain", "fence", "final" or "over"',
  ]),
  ...['calm', 'drain', 'fence'].map((phase): [string, object, string] => [
    `${phase} for ever`,
    tenant({ move: { serial: 7, phase } }),
    'tenants[0].move.until: must say when the phase ends, in ms since 1970',
  ]),
  ...['prepare', 'final', 'over'].map((phase): [string, object, string] => [
    `${phase} for a time`,
    tenant({ move: { serial: 7, phase, until: 1 } }),
    'tenants[0].move.until: this phase does not end by itself; leave it out',
  ]),
  ...[0, 1.5, 2 ** 53, '1'].map((until): [string, object, string] => [
    `the end ${JSON.stringify(until)}`,
    tenant({ move: { serial: 7, phase: 'fence', until } }),
    'tenants[0].move.until: must be a time in ms since 1970',
  ]),
  [
    'an unknown field of a move',
    tenant({ move: { serial: 7, phase: 'prepare', to: 5 } }),
    'tenants[0].move.to: unknown field; known here: serial, phase, until',
  ],
  ...[0, -1, 1_000_001, 1.5, '5', 2 ** 40].map((rate): [string, object, string] => [
    `${JSON.stringify(rate)} requests per second`,
    tenant({ limits: { requestsPerSecond: rate } }),
    'tenants[0].limits.requestsPerSecond: must be a whole number of requests per second from 1 to 1000000',
  ]),
  ...[0, -1, 1023, 4_000_000_001, 2 ** 64].map((rate): [string, object, string] => [
    `${rate} bytes per second`,
    limits({ bytesPerSecondPerTenant: rate }),
    'limits.bytesPerSecondPerTenant: must be a whole number of bytes per second from 1024 to 4000000000',
  ]),
  [
    'no request to PD per second',
    tenant({ limits: { pdRequestsPerSecond: 0 } }),
    'tenants[0].limits.pdRequestsPerSecond: must be a whole number of requests per second from 1 to 1000000',
  ],
  ...(
    [
      ['etcdWatches', 'watches'],
      ['etcdKeys', 'keys'],
      ['etcdLeases', 'leases'],
      ['resourceGroups', 'resource groups'],
      ['pdRecords', 'records'],
    ] as const
  ).map(([name, unit]): [string, object, string] => [
    `no ${name}`,
    tenant({ limits: { [name]: 0 } }),
    `tenants[0].limits.${name}: must be a whole number of ${unit} from 1 to 1000000`,
  ]),
  [
    'counts without pd',
    limits({ etcdLeasesPerTenant: 5 }),
    'pd: is missing: PD has the counts for limits of etcdKeys, etcdLeases, resourceGroups and pdRecords',
  ],
  [
    'counts of tenant 0',
    tenant({ number: 0, limits: { etcdKeys: 5 } }),
    'tenants[0].limits: must not have etcdKeys, etcdLeases, resourceGroups or pdRecords: what PD keeps of tenant 0 has no prefix to count by',
  ],
  [
    'an unknown state',
    tenant({ state: 'paused' }),
    'tenants[0].state: must be "active", "read-only" or "suspended"',
  ],
  ...['read-only', 'suspended'].map((state): [string, object, string] => [
    `tenant 0 ${state}`,
    tenant({ number: 0, state }),
    'tenants[0].state: tenant 0 must stay "active": its TiDBs may lead the garbage collection of the whole store',
  ]),
  [
    'an unknown field of a rule',
    rule({ principal: 'x', tenant: 'alpha', sytem: true }),
    'rules[0].sytem: unknown field; known here: principal, peer, node, tenant, system, mayActFor',
  ],
  [
    'an unknown limit',
    limits({ maxMessageByte: 5000 }),
    'limits.maxMessageByte: unknown field; known here: maxMessageBytes, heldBytesPerVM, heldBytesPerTenant, maxTsDriftSeconds, drainTimeoutSeconds, maxHoldBackSeconds, maxEtcdLeaseSeconds, maxStreamsPerTenant, requestsPerSecondPerTenant, bytesPerSecondPerTenant, pdRequestsPerSecondPerTenant, etcdWatchesPerTenant, etcdKeysPerTenant, etcdLeasesPerTenant, resourceGroupsPerTenant, pdRecordsPerTenant',
  ],
  ['a list instead of an object', [], 'pluginConfig: must be an object'],
  [
    'no tenants',
    { rules: RULES },
    'tenants: must list at least one tenant, for example {"name": "alpha", "number": 1}',
  ],
  [
    'an empty list of tenants',
    { ...GOOD, tenants: [] },
    'tenants: must list at least one tenant, for example {"name": "alpha", "number": 1}',
  ],
  [
    'an empty list of rules',
    { ...GOOD, rules: [] },
    'rules: must list at least one rule, for example {"principal": "spiffe://cluster.local/ns/{tenant}/sa/*"}',
  ],
  [
    'two tenants of one number',
    { ...GOOD, tenants: [...TENANTS, { name: 'gamma', number: 2 }] },
    'tenants[2].number: 2 is the number of tenants[1] already: two tenants would share one key space',
  ],
  [
    'two tenants of one name',
    { ...GOOD, tenants: [...TENANTS, { name: 'alpha', number: 3 }] },
    'tenants[2].name: "alpha" is the name of tenants[0] already',
  ],
  ['a number below 0', tenant({ number: -1 }), `tenants[0].number: ${RANGE}`],
  ['the number 32767', tenant({ number: 32767 }), `tenants[0].number: ${RANGE}`],
  ['a number beyond 32 bits', tenant({ number: 4294967297 }), `tenants[0].number: ${RANGE}`],
  ['the number 1.5', tenant({ number: 1.5 }), `tenants[0].number: ${RANGE}`],
  ['a number as a text', tenant({ number: '1' }), `tenants[0].number: ${RANGE}`],
  ['no number', { ...GOOD, tenants: [{ name: 'alpha' }] }, `tenants[0].number: ${RANGE}`],
  ['a name with a colon', tenant({ name: 'al:pha' }), 'tenants[0].name: must be 1 to 63 of a-z, 0-9 and -'],
  ['a name in capitals', tenant({ name: 'Alpha' }), 'tenants[0].name: must be 1 to 63 of a-z, 0-9 and -'],
  ['a name of 64', tenant({ name: 'a'.repeat(64) }), 'tenants[0].name: must be 1 to 63 of a-z, 0-9 and -'],
  ['an empty name', tenant({ name: '' }), 'tenants[0].name: must be a text that is not empty'],
  [
    'a rule without a principal',
    rule({ tenant: 'alpha' }),
    "rules[0].principal: is missing: a pattern over the caller's SPIFFE principal",
  ],
  ['a rule that says nothing', rule({ principal: 'spiffe://a' }), `rules[0]: ${ONE_OF}`],
  [
    'a rule that says two things',
    rule({ principal: 'spiffe://{tenant}', system: true }),
    `rules[0]: ${ONE_OF}`,
  ],
  [
    'a rule for an unknown tenant',
    rule({ principal: 'spiffe://a', tenant: 'gamma' }),
    'rules[0].tenant: "gamma" is not in tenants',
  ],
  [
    'a rule with two captures',
    rule({ principal: '{tenant}/{tenant}' }),
    'rules[0].principal: captures {tenant} twice',
  ],
  [
    'another capture',
    rule({ principal: '{name}', tenant: 'alpha' }),
    'rules[0].principal: has a brace that does not belong to {tenant}',
  ],
  [
    'a brace left open',
    rule({ principal: '{tenant', tenant: 'alpha' }),
    'rules[0].principal: has a brace that does not belong to {tenant}',
  ],
  [
    'a brace inside of the capture',
    rule({ principal: '{ten{tenant}ant}' }),
    'rules[0].principal: has a brace that does not belong to {tenant}',
  ],
  [
    'two stars',
    rule({ principal: 'spiffe://**', tenant: 'alpha' }),
    "rules[0].principal: has '**'; one '*' stands for any run of characters without '/'",
  ],
  [
    'a star beside the capture',
    rule({ principal: 'spiffe://*{tenant}' }),
    "rules[0].principal: has '*' beside {tenant}: where the name begins or ends would be ambiguous",
  ],
  [
    'system as a text',
    rule({ principal: 'spiffe://a', system: 'yes' }),
    'rules[0].system: must be true or false',
  ],
  [
    'requirePrincipal as a number',
    { ...GOOD, requirePrincipal: 1 },
    'requirePrincipal: must be true or false',
  ],
  [
    'requirePrincipal off',
    { ...GOOD, requirePrincipal: false },
    'requirePrincipal: must not be false: every rule is decided by a principal alone',
  ],
  ['limits as a number', limits(5), 'limits: must be an object'],
  ['a limit that is too small', limits({ maxMessageBytes: 1023 }), `limits.maxMessageBytes: ${LIMIT}`],
  ['a limit that is too large', limits({ heldBytesPerVM: 1073741825 }), `limits.heldBytesPerVM: ${LIMIT}`],
  ['a limit of half a byte', limits({ heldBytesPerTenant: 5000.5 }), `limits.heldBytesPerTenant: ${LIMIT}`],
  ['a drift of nothing', limits({ maxTsDriftSeconds: 0 }), `limits.maxTsDriftSeconds: ${SECONDS}`],
  [
    'a drift of more than a year',
    limits({ maxTsDriftSeconds: 31536001 }),
    `limits.maxTsDriftSeconds: ${SECONDS}`,
  ],
  ['a drift of half a second', limits({ maxTsDriftSeconds: 0.5 }), `limits.maxTsDriftSeconds: ${SECONDS}`],
  ['leases of no time', limits({ maxEtcdLeaseSeconds: 0 }), `limits.maxEtcdLeaseSeconds: ${SECONDS}`],
  [
    'leases of more than a year',
    limits({ maxEtcdLeaseSeconds: 31536001 }),
    `limits.maxEtcdLeaseSeconds: ${SECONDS}`,
  ],
  ['leases as a text', limits({ maxEtcdLeaseSeconds: '1d' }), `limits.maxEtcdLeaseSeconds: ${SECONDS}`],
  ['pd as a text', { ...GOOD, pd: 'pd' }, 'pd: must be an object'],
  [
    'an unknown field of pd',
    { ...GOOD, pd: { url: 'x' } },
    'pd.url: unknown field; known here: cluster, authority',
  ],
  [
    'pd without a cluster',
    { ...GOOD, pd: { authority: 'pd' } },
    "pd.cluster: is missing: the name of an Envoy cluster that reaches PD's HTTP API over HTTP/1.1",
  ],
  ['an empty cluster', { ...GOOD, pd: { cluster: '' } }, 'pd.cluster: must be a text that is not empty'],
  ['a limit as a text', limits({ heldBytesPerTenant: '64MB' }), `limits.heldBytesPerTenant: ${LIMIT}`],
];

const ID_RANGE = 'must be a whole number from 0 to 16777215';
const MODE = 'must be "txn" for transactions or "raw" for RawKV';
const ALONE_WITH_0 =
  'tenant 0, which owns everything below `t` 80 01; beside it can stand table tenants and keyspaces of mode txn';
const TABLES = 'which like all table tenants lies in `t` 80 01 to `t` FF FF';

type Extra = { keyspace?: object; prefix?: object; keyNumber?: number };
const spaces = (...extras: (Extra | 0)[]): object => ({
  ...GOOD,
  rules: [{ principal: 'spiffe://demo.mesh/ns/{tenant}/sa/*' }],
  tenants: extras.map((extra, i) => ({ name: `t${i}`, number: extra === 0 ? 0 : i + 1, ...(extra || {}) })),
});
const txn = (id: number): Extra => ({ keyspace: { id, mode: 'txn' } });
const raw = (id: number): Extra => ({ keyspace: { id, mode: 'raw' } });
const txnPrefix = (hex: string): Extra => ({ prefix: { hex, mode: 'txn' } });
const rawPrefix = (hex: string): Extra => ({ prefix: { hex, mode: 'raw' } });
const TABLE: Extra = {};

const BAD_SPACES: [string, object, string][] = [
  [
    "another tenant's key number",
    spaces(TABLE, TABLE, { keyNumber: 1 }),
    'tenants[2].keyNumber: 1 is in the keys of tenants[0] already',
  ],
  [
    'the key number of a later tenant',
    spaces({ keyNumber: 2 }, TABLE),
    'tenants[0].keyNumber: 2 is in the keys of tenants[1] already',
  ],
  [
    'a key number twice',
    spaces({ keyNumber: 9 }, { keyNumber: 9 }),
    'tenants[1].keyNumber: 9 is in the keys of tenants[0] already',
  ],
  [
    'a key number beside a keyspace',
    spaces({ keyNumber: 9, ...txn(7) }),
    'tenants[0].keyNumber: is for table keys; leave it out beside a keyspace or a prefix',
  ],
  [
    'a dry run for a tenant 0 that has moved',
    { ...tenant({ number: 0, keyNumber: 9 }), dryRun: true },
    'dryRun: is for tenant 0 where its keys have always been; tenants[0] has moved',
  ],
  [
    'a `default` as a number',
    tenant({ ownDefaultGroup: 1 }),
    'tenants[0].ownDefaultGroup: must be true or false',
  ],
  [
    'tenant 0 with a `default` of its own',
    tenant({ number: 0, ownDefaultGroup: true }),
    "tenants[0].ownDefaultGroup: tenant 0 keeps PD's own `default`; leave this out",
  ],
  ['a keyspace as a number', tenant({ keyspace: 7 }), 'tenants[0].keyspace: must be an object'],
  [
    'an unknown field of a keyspace',
    tenant({ keyspace: { id: 7, mode: 'txn', name: 'x' } }),
    'tenants[0].keyspace.name: unknown field; known here: id, mode',
  ],
  ['a keyspace without id', tenant({ keyspace: { mode: 'txn' } }), `tenants[0].keyspace.id: ${ID_RANGE}`],
  ['a keyspace below 0', tenant(txn(-1)), `tenants[0].keyspace.id: ${ID_RANGE}`],
  ['a keyspace of 25 bits', tenant(txn(16777216)), `tenants[0].keyspace.id: ${ID_RANGE}`],
  ['half a keyspace', tenant(txn(0.5)), `tenants[0].keyspace.id: ${ID_RANGE}`],
  ['a keyspace without mode', tenant({ keyspace: { id: 7 } }), `tenants[0].keyspace.mode: ${MODE}`],
  ['another mode', tenant({ keyspace: { id: 7, mode: 'sql' } }), `tenants[0].keyspace.mode: ${MODE}`],
  ['a mode as a bool', tenant({ prefix: { hex: '61', mode: true } }), `tenants[0].prefix.mode: ${MODE}`],
  [
    'a time to live in transactions',
    tenant({ prefix: { hex: '61', mode: 'txn', ttl: true } }),
    'tenants[0].prefix.ttl: is for mode "raw"; leave it out',
  ],
  [
    'a keyspace and a prefix',
    tenant({ ...txn(7), ...txnPrefix('61') }),
    'tenants[0]: has a keyspace and a prefix; a tenant has one key space, so leave one out',
  ],
  [
    'number 0 with a keyspace',
    tenant({ number: 0, ...txn(7) }),
    'tenants[0].keyspace: number 0 stands for the keys that are there already; give it another number',
  ],
  [
    'number 0 with a prefix',
    tenant({ number: 0, ...txnPrefix('61') }),
    'tenants[0].prefix: number 0 stands for the keys that are there already; give it another number',
  ],
  [
    'number 0 twice',
    { ...GOOD, tenants: [0, 0].map((number, i) => ({ name: `t${i}`, number })) },
    'tenants[1].number: 0 is the number of tenants[0] already: two tenants would share one key space',
  ],
  [
    'a prefix in both writings',
    tenant({ prefix: { text: 'a', hex: '61', mode: 'txn' } }),
    'tenants[0].prefix: must have one of "text" and "hex": the bytes in front of every key',
  ],
  [
    'a prefix in no writing',
    tenant({ prefix: { mode: 'txn' } }),
    'tenants[0].prefix: must have one of "text" and "hex": the bytes in front of every key',
  ],
  [
    'an empty prefix',
    tenant({ prefix: { text: '', mode: 'txn' } }),
    'tenants[0].prefix.text: must be a text that is not empty',
  ],
  ['half a byte', tenant(txnPrefix('616')), 'tenants[0].prefix.hex: must be an even number of hex digits'],
  ['no hex', tenant(txnPrefix('6g')), 'tenants[0].prefix.hex: must be an even number of hex digits'],
  [
    'a prefix of FF',
    tenant(txnPrefix('ffff')),
    'tenants[0].prefix: must not be all FF: such a key space has no end',
  ],
  [
    'a prefix of 129 bytes',
    tenant({ prefix: { text: 'a'.repeat(129), mode: 'txn' } }),
    'tenants[0].prefix: must have at most 128 bytes: every key grows by it',
  ],
  [
    'a keyspace twice',
    spaces(txn(7), TABLE, txn(7)),
    'tenants[2].keyspace: its keys would lie among those of tenants[0], keyspace 7 of mode txn',
  ],
  [
    'a prefix twice',
    spaces(txnPrefix('6162'), txnPrefix('6162')),
    'tenants[1].prefix: its keys would lie among those of tenants[0], behind the prefix with the hex 6162',
  ],
  [
    'a prefix that begins another one',
    spaces(txnPrefix('616263'), txnPrefix('50'), txnPrefix('6162')),
    'tenants[2].prefix: its keys would lie among those of tenants[0], behind the prefix with the hex 616263',
  ],
  [
    'a raw prefix that begins another one',
    spaces(rawPrefix('fe00'), rawPrefix('fe')),
    'tenants[1].prefix: its keys would lie among those of tenants[0], behind the prefix with the hex fe00',
  ],
  [
    "a prefix among the table tenants' keys",
    spaces(txnPrefix('749000'), TABLE),
    `tenants[0].prefix: its keys would lie among those of tenants[1], ${TABLES}`,
  ],
  [
    "a prefix around the table tenants' keys",
    spaces(TABLE, txnPrefix('74')),
    `tenants[1].prefix: its keys would lie among those of tenants[0], ${TABLES}`,
  ],
  [
    "a prefix among tenant 0's keys",
    spaces(0, txnPrefix('61')),
    `tenants[1].prefix: its keys would lie among those of tenants[0], ${ALONE_WITH_0}`,
  ],
  [
    "a prefix in front of tenant 0's keys",
    spaces(txnPrefix('00'), 0),
    `tenants[0].prefix: its keys would lie among those of tenants[1], ${ALONE_WITH_0}`,
  ],
  [
    "a raw keyspace among tenant 0's keys",
    spaces(0, raw(1)),
    `tenants[1].keyspace: its keys would lie among those of tenants[0], ${ALONE_WITH_0}`,
  ],
  [
    'raw and transactions in one API V1 store: a prefix',
    spaces(txnPrefix('61'), rawPrefix('62')),
    'tenants[1].prefix.mode: "raw" beside tenants[0], which writes transactions: API V1 raw and txn data do not share a store; give it a store of its own',
  ],
  [
    'raw and transactions in one API V1 store: a table tenant',
    spaces(rawPrefix('62'), TABLE),
    'tenants[0].prefix.mode: "raw" beside tenants[1], which writes transactions: API V1 raw and txn data do not share a store; give it a store of its own',
  ],
  [
    'raw and transactions in one API V1 store: tenant 0',
    spaces(0, rawPrefix('ff00')),
    'tenants[1].prefix.mode: "raw" beside tenants[0], which writes transactions: API V1 raw and txn data do not share a store; give it a store of its own',
  ],
  [
    'a raw prefix in an API V2 store',
    spaces(raw(1), rawPrefix('62')),
    'tenants[1].prefix.mode: "raw" beside the keyspace of tenants[0]: a store with API V2 takes raw requests for keyspaces only; give it a keyspace of mode "raw"',
  ],
  [
    'a prefix in an API V2 store',
    spaces(txnPrefix('62'), TABLE, raw(1)),
    'tenants[0].prefix: beside the keyspace of tenants[2]: a store with API V2 takes other keys only when they begin with TiDB\'s own m or t; give it a keyspace of mode "txn"',
  ],
];

const GOOD_SPACES: [string, object][] = [
  ['tenant 0 and table tenants', spaces(0, TABLE, TABLE)],
  ['tenants that have changed places', spaces({ keyNumber: 2 }, { keyNumber: 1 })],
  [
    'a tenant 0 that has moved, beside a prefix',
    {
      ...GOOD,
      tenants: [
        { name: 'old', number: 0, keyNumber: 5 },
        { name: 'new', number: 1, ...txnPrefix('61') },
      ],
    },
  ],
  [
    'a tenant 0 that has moved to a keyspace',
    { ...GOOD, tenants: [{ name: 'old', number: 0, readableSince: '7', ...txn(5) }, ...TENANTS] },
  ],
  ['tenant 0, a keyspace and a table tenant', spaces(0, txn(0), TABLE)],
  ['a keyspace in both modes', spaces(txn(7), raw(7))],
  ['the keyspaces at both ends', spaces(txn(0), txn(16777215), raw(0), raw(16777215))],
  ['table tenants and keyspaces', spaces(TABLE, raw(1), txn(1), TABLE)],
  ["a prefix with TiDB's first byte and a keyspace", spaces(txnPrefix('6d31'), txn(1), txnPrefix('747f'))],
  ['a prefix behind the table tenants and tenant 0', spaces(0, TABLE, txnPrefix('74ffff'), txnPrefix('75'))],
  ['prefixes side by side', spaces(txnPrefix('61'), txnPrefix('62'), txnPrefix('60ff'), txnPrefix('ff00'))],
  ['raw prefixes side by side', spaces(rawPrefix('6161'), rawPrefix('6162'), rawPrefix('FFfe'))],
  ['a prefix of 128 bytes', tenant({ prefix: { text: 'é'.repeat(64), mode: 'raw' } })],
];

const at = (line: number, column: number, what: string): string =>
  `not valid JSON at line ${line}, column ${column}: ${what}`;

const SYNTAX: [string, string, string][] = [
  ['nothing', '', at(1, 1, 'the text ends too early')],
  ['a word', 'tenants', at(1, 2, 'a value was expected')],
  ['a comma too many', '{"a": 1,}', at(1, 9, 'a name in quotes was expected')],
  ['a comma too few', '{"a": 1\n "b": 2}', at(2, 2, "',' or '}' was expected")],
  ['a list left open', '[1, 2', at(1, 6, "',' or ']' was expected")],
  ['an object left open', '{"a": {', at(1, 8, 'a name in quotes was expected')],
  ['no colon', '{\n\n  "a" 1}', at(3, 7, "':' was expected")],
  ['a text left open', '{"a": "b', at(1, 9, 'a string is not closed')],
  ['a new line in a text', '{"a": "\n"}', at(1, 8, 'a control character in a string')],
  ['an unknown escape', '{"a": "\\x"}', at(1, 10, 'an unknown escape')],
  ['a short escape', '{"a": "\\u12"}', at(1, 12, 'an escape needs four hex digits')],
  ['a name twice', '{"rules": [],\n "rules": []}', at(2, 9, 'the name "rules" is there twice')],
  ['a name twice, once with an escape', '{"a": 1, "\\u0061": 2}', at(1, 18, 'the name "a" is there twice')],
  [
    'a name twice among many',
    `{${Array.from({ length: 100 }, (_, i) => `"${i}": ${i}`).join()},\n "7": 7}`,
    at(2, 5, 'the name "7" is there twice'),
  ],
  ['two values', '{} {}', at(1, 4, 'nothing may follow the value')],
  ['a number with a leading zero', '{"a": 01}', at(1, 9, 'this is not a number')],
  ['a number that ends in a point', '{"a": 1.}', at(1, 9, 'this is not a number')],
  ['a comment', '// tenants\n{}', at(1, 1, 'a value was expected')],
  ['too much nesting', '['.repeat(100), at(1, 34, 'nested too deep')],
];

const POLICIES = Object.fromEntries(
  Array.from({ length: 10_000 }, (_, i) => [
    `tenant-${i}`,
    { refuse: ['tikvpb.Tikv/KvScan', 'GET /pd/api/v1/regions'] },
  ]),
);

/** A worker's memory for a configuration of ten thousand tenants, its former one included: measured, doubled. */
const LOAD_BYTES = 96 * 1024 * 1024;

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  test('refuses a number that would be rounded to tenant 0', () => {
    const tenants = '[{"name":"a","number":7e-400}]';
    expect(filter.config(`{"tenants":${tenants},"rules":[{"principal":"*","tenant":"a"}]}`)).toMatch(
      /must be a whole number from 0 to 32766/,
    );
  });

  test.each([
    ['the least', GOOD],
    [
      'all fields',
      {
        ...GOOD,
        requirePrincipal: true,
        limits: { maxMessageBytes: 1024, heldBytesPerVM: 1073741824, heldBytesPerTenant: 4096 },
      },
    ],
    [
      'the numbers at both ends',
      {
        ...GOOD,
        tenants: [
          { name: 'a', number: 1 },
          { name: 'b-0'.repeat(21), number: 32766 },
        ],
      },
    ],
    ['a number in another form', { ...GOOD, tenants: [{ name: 'alpha', number: 1e2 }] }],
  ])('takes %s', (_name, config) => {
    expect(filter.config(JSON.stringify(config))).toBe('');
    expect(filter.config(JSON.stringify(config, undefined, 2))).toBe('');
  });

  test.each(BAD)('refuses %s', (_name, config, error) => {
    expect(filter.config(JSON.stringify(config))).toBe(error);
    expect(filter.config(JSON.stringify(GOOD))).toBe('');
  });

  test.each(['7', '7.0', '0.7e1', '70e-1', '7000E-3', '0.0007E+4', '7e0'])('reads %s as 7', (number) => {
    const text = `{"tenants":[{"name":"alpha","number":${number}}],"rules":[{"principal":"spiffe://a/ns/{tenant}/sa/*"}]}`;
    expect(filter.config(text)).toBe('');
    filter.selectConfigured(7);
  });

  test.each(['-7', '7.5', '75e-1', '7e400', '7e-400', '1e999999999999', '32767.0', '-0.1'])(
    'does not take %s',
    (number) => {
      const text = `{"tenants":[{"name":"alpha","number":${number}}],"rules":[{"principal":"spiffe://a/ns/{tenant}/sa/*"}]}`;
      expect(filter.config(text)).toBe(`tenants[0].number: ${RANGE}`);
    },
  );

  test.each(BAD_SPACES)('refuses %s', (_name, config, error) => {
    expect(filter.config(JSON.stringify(config))).toBe(error);
    expect(filter.config(JSON.stringify(GOOD))).toBe('');
  });

  test.each(GOOD_SPACES)('takes %s', (_name, config) => {
    expect(filter.config(JSON.stringify(config))).toBe('');
  });

  test('gives each tenant the key space that it asks for', () => {
    const tenants = [
      { name: 'legacy', number: 0 },
      { name: 'alpha', number: 1 },
      { name: 'gamma', number: 3, keyspace: { id: 7, mode: 'txn' } },
      { name: 'delta', number: 4, prefix: { text: 'zoo:', mode: 'txn' } },
    ];
    const key = Uint8Array.from([0x6d, 0x31]);
    const images = (config: object, numbers: number[]): string[] => {
      expect(filter.config(JSON.stringify(config))).toBe('');
      return numbers.map((number) => {
        filter.selectConfigured(number);
        return Buffer.from(filter.map('encodeKey', key).bytes).toString('hex');
      });
    };
    const pair = [0, 1, 3].map((number) => tenants.find((one) => one.number === number));
    expect(images({ ...GOOD, tenants: pair }, [0, 1, 3])).toEqual([
      '6d31',
      '7480010000000000006d31',
      '780000076d31',
    ]);
    expect(images({ ...GOOD, tenants: [tenants[1], tenants[3]] }, [1, 4])).toEqual([
      '7480010000000000006d31',
      '7a6f6f3a6d31',
    ]);
    const moved = [
      { name: 'legacy', number: 0, keyNumber: 7 },
      { name: 'alpha', number: 1, keyNumber: 5 },
      { name: 'beta', number: 5, keyNumber: 1 },
    ];
    expect(images({ ...GOOD, tenants: moved }, [0, 1, 5])).toEqual([
      '7480070000000000006d31',
      '7480050000000000006d31',
      '7480010000000000006d31',
    ]);
    const mixed = [
      { name: 'alpha', number: 1, prefix: { hex: 'Ff00', mode: 'raw' } },
      { name: 'beta', number: 2, prefix: { hex: 'ff01', mode: 'raw' } },
    ];
    expect(images({ ...GOOD, tenants: mixed }, [1, 2])).toEqual(['ff006d31', 'ff016d31']);
  });

  test.each<[string, (i: number) => object, object?]>([
    ['table tenants', () => ({})],
    ['tenants with a policy each', () => ({}), { policy: { tenants: POLICIES } }],
    ['keyspaces', (i) => ({ keyspace: { id: i * 7, mode: i % 2 ? 'txn' : 'raw' } })],
    ['prefixes', (i) => ({ prefix: { text: `application-${i}:`, mode: 'raw' } })],
  ])(
    'loads ten thousand %s and a thousand rules, again and again, in bounded memory',
    (_name, of, policy = {}) => {
      const fresh = new Filter(build);
      const tenants = Array.from({ length: 10_000 }, (_, i) => ({
        name: `tenant-${i}`,
        number: ((i * 7919) % 32766) + 1,
        ...of(i),
      }));
      const rules = Array.from({ length: 1000 }, (_, i) => ({
        principal: `spiffe://demo.mesh/ns/n${i}/sa/*`,
        tenant: `tenant-${i * 10}`,
      }));
      const text = JSON.stringify({ tenants, rules, ...policy });
      for (let i = 0; i < 4; i++) expect(fresh.config(text)).toBe('');
      expect(fresh.memoryBytes).toBeLessThan(LOAD_BYTES);
      expect(fresh.identity('spiffe://demo.mesh/ns/n999/sa/x').text).toBe('tenant-9990');

      const twice = JSON.stringify({ tenants: [...tenants, { ...tenants[5000], name: 'x' }], rules });
      expect(fresh.config(twice)).toBe(
        `tenants[10000].number: ${tenants[5000]?.number} is the number of tenants[5000] already: two tenants would share one key space`,
      );
    },
  );

  test('reads how far timestamps may lie ahead, and where PD is', () => {
    expect(filter.config(JSON.stringify(GOOD))).toBe('');
    expect(filter.settings).toEqual({ maxTsDriftSeconds: 30, pd: ' ' });
    for (const maxTsDriftSeconds of [1, 31536000]) {
      const config = { ...GOOD, limits: { maxTsDriftSeconds }, pd: { cluster: 'pd-http' } };
      expect(filter.config(JSON.stringify(config))).toBe('');
      expect(filter.settings).toEqual({ maxTsDriftSeconds, pd: 'pd-http pd' });
    }
    const config = { ...GOOD, pd: { cluster: 'x', authority: 'pd.example:2379' } };
    expect(filter.config(JSON.stringify(config))).toBe('');
    expect(filter.settings.pd).toBe('x pd.example:2379');
  });

  test.each(SYNTAX)('refuses JSON: %s', (_name, text, error) => {
    expect(filter.config(text)).toBe(error);
  });

  test('takes a text cut short at every character', () => {
    const text = JSON.stringify(GOOD);
    for (let cut = 0; cut < text.length; cut++)
      expect(filter.config(text.slice(0, cut))).toMatch(/^not valid JSON/);
  });

  describe('identities', () => {
    const identify = (rules: object[], principal: string): string => {
      expect(filter.config(JSON.stringify({ tenants: TENANTS, rules }))).toBe('');
      const { access, text } = filter.identity(principal);
      return access === 'tenant' ? text : access === 'system' ? 'SYSTEM' : `REFUSED ${text}`;
    };
    const P = 'spiffe://demo.mesh/ns';

    test.each([
      [[{ principal: `${P}/{tenant}/sa/*` }], `${P}/alpha/sa/tidb`, 'alpha'],
      [[{ principal: `${P}/{tenant}/sa/*` }], `${P}/beta/sa/`, 'beta'],
      [[{ principal: `${P}/{tenant}-tidb/sa/x` }], `${P}/alpha-tidb/sa/x`, 'alpha'],
      [[{ principal: `${P}/*/sa/x`, tenant: 'beta' }], `${P}/anything/sa/x`, 'beta'],
      [[{ principal: 'spiffe://a', tenant: 'beta' }], 'spiffe://a', 'beta'],
      [
        [{ principal: `${P}/alpha/sa/*`, system: true }, { principal: `${P}/{tenant}/sa/*` }],
        `${P}/alpha/sa/x`,
        'SYSTEM',
      ],
      [
        [{ principal: `${P}/{tenant}/sa/*` }, { principal: `${P}/*/sa/*`, system: true }],
        `${P}/alpha/sa/x`,
        'alpha',
      ],
    ])('%j: %s is %s', (rules, principal, who) => {
      expect(identify(rules, principal)).toBe(who);
    });

    test.each([
      [[{ principal: `${P}/{tenant}/sa/*` }], `${P}/alpha/sa/a/b`],
      [[{ principal: `${P}/{tenant}/sa/*` }], `${P}/alpha/x/sa/a`],
      [[{ principal: `${P}/{tenant}/sa/*` }], `${P}//sa/a`],
      [[{ principal: `${P}/{tenant}/sa/*` }], `x${P}/alpha/sa/a`],
      [[{ principal: `${P}/*/sa/x`, tenant: 'beta' }], `${P}/a/b/sa/x`],
      [[{ principal: 'spiffe://a', tenant: 'beta' }], 'spiffe://ab'],
      [[{ principal: 'spiffe://a', tenant: 'beta' }], 'SPIFFE://a'],
    ])('%j does not match %s', (rules, principal) => {
      expect(identify(rules, principal)).toBe(
        `REFUSED tidb-mesh[NO_RULE]: no rule matches principal ${principal}; add one to pluginConfig.rules, for example {"principal": "${principal}", "tenant": "<name>"}`,
      );
    });

    test('a captured tenant that is not listed is refused, even when a later rule would match', () => {
      const rules = [{ principal: `${P}/{tenant}/sa/*` }, { principal: `${P}/*/sa/*`, system: true }];
      expect(identify(rules, `${P}/gamma/sa/x`)).toBe(
        `REFUSED tidb-mesh[UNKNOWN_TENANT]: rules[0] makes principal ${P}/gamma/sa/x the tenant "gamma", which pluginConfig.tenants does not list; add {"name": "gamma", "number": <a free number>} there`,
      );
    });

    test('nobody', () => {
      expect(identify(RULES, '')).toMatch(
        /^REFUSED tidb-mesh\[NO_PRINCIPAL\]: the caller has no principal .*mutual TLS$/,
      );
    });

    test('a refusal can be put into a header, whatever the principal holds', () => {
      expect(identify(RULES, 'spiffe://é\n\0')).toMatch(/^REFUSED [\x20-\x7e]*$/);
      expect(identify(RULES, 'x'.repeat(2049))).toBe(
        'REFUSED tidb-mesh[PRINCIPAL_TOO_LONG]: the principal is longer than 2048 bytes; take a certificate with a shorter one',
      );
    });

    test('ten thousand principals, each resolved to itself', () => {
      filter.config(JSON.stringify({ tenants: TENANTS, rules: RULES }));
      for (let i = 0; i < 10_000; i++) {
        const name = i % 2 ? 'alpha' : 'beta';
        expect(filter.identity(`${P}/${name}/sa/${i}`).text).toBe(name);
      }
    });
  });
});
