/** What `tidb-mesh tenants` and `doctor` know without servers: where key spaces lie, who is who in PD's rules, files, numbers. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { DescMessage } from '@bufbuild/protobuf';
import { Endpoint, parseJson } from '../../src-ts/pd/endpoint.ts';
import * as RPC from '../../src-ts/pd/generated/etcd/rpc_pb.ts';
import * as PD from '../../src-ts/pd/generated/pd/pdpb_pb.ts';
import * as KV from '../../src-ts/pd/generated/tikv/kvrpcpb_pb.ts';
import { isTenantsOwn } from '../../src-ts/tenants/belongings.ts';
import { readTenants } from '../../src-ts/cli/files.ts';
import { table } from '../../src-ts/cli/output.ts';
import { beforeFirstRound, CODES } from '../../src-ts/tenants/doctor.ts';
import { ageText } from '../../src-ts/tenants/holders.ts';
import { conflict, registeredIn, ruleOf } from '../../src-ts/tenants/registry.ts';
import {
  fromMemcomparable,
  memcomparable,
  pdKey,
  readTenant,
  spaceOf,
  type Tenant,
} from '../../src-ts/tenants/tenant.ts';
import { ROOT } from '../../src-ts/wasm/builds.ts';
import { createCerts, type Certs } from '../harness/stack/certs.ts';
import { message } from '../harness/support/messages.ts';
import { buildFilter, Filter, type SpaceChoice } from './filter.ts';

const TENANTS: Tenant[] = [
  { name: 'legacy', number: 0 },
  { name: 'alpha', number: 1 },
  { name: 'last', number: 32766 },
  { name: 'first-keyspace', number: 3, keyspace: { id: 0, mode: 'txn' } },
  { name: 'some-keyspace', number: 4, keyspace: { id: 0xff, mode: 'txn' } },
  { name: 'last-keyspace', number: 5, keyspace: { id: 0xffffff, mode: 'txn' } },
  { name: 'raw-keyspace', number: 6, keyspace: { id: 7, mode: 'raw' } },
  { name: 'last-raw-keyspace', number: 7, keyspace: { id: 0xffffff, mode: 'raw' } },
  { name: 'text', number: 8, prefix: { text: 'app1:', mode: 'txn' } },
  { name: 'eight-bytes', number: 9, prefix: { text: 'app1:abc', mode: 'txn' } },
  { name: 'raw-prefix', number: 10, prefix: { hex: 'a0ff', mode: 'raw' } },
];

function choiceOf({ number, keyspace, prefix }: Tenant): SpaceChoice {
  if (keyspace) return { number, keyspace };
  if (!prefix) return { number };
  const bytes = 'text' in prefix ? Buffer.from(prefix.text) : Buffer.from(prefix.hex, 'hex');
  return { number, prefix: { bytes, mode: prefix.mode } };
}

/** The byte string right before another of the same length. */
function before(key: Buffer): Buffer {
  const copy = Buffer.from(key);
  let i = copy.length - 1;
  while (copy[i] === 0) copy[i--] = 0xff;
  copy[i] = copy[i]! - 1;
  return copy;
}

describe('the boundaries that PD is told are those that the filter goes by', () => {
  let filter: Filter;
  beforeAll(async () => {
    await buildFilter();
    filter = new Filter('release');
  });

  test.each(TENANTS.map((tenant) => [tenant.name, tenant] as const))('%s', (_, tenant) => {
    const space = spaceOf(tenant);
    const [start, end] = [pdKey(space, space.start), pdKey(space, space.end)];
    filter.selectSpace(choiceOf(tenant));
    expect(filter.owns(start, end)).toBe(true);
    // A region that is a bit longer at either side is not the tenant's any more.
    const longer = space.memcomparable
      ? memcomparable(Buffer.concat([space.end, Buffer.of(0)]))
      : Buffer.concat([end, Buffer.of(0)]);
    expect(filter.owns(start, longer)).toBe(false);
    if (start.length > 0) expect(filter.owns(pdKey(space, before(space.start)), end)).toBe(false);
  });
});

describe("PD's rules", () => {
  test.each(TENANTS.map((tenant) => [tenant.name, tenant] as const))(
    '%s is read as it was written',
    (_, tenant) => {
      const space = spaceOf(tenant);
      expect(registeredIn(ruleOf(tenant))).toEqual({
        name: tenant.name,
        number: tenant.number,
        keySpace: space.text,
        start: pdKey(space, space.start),
        end: pdKey(space, space.end),
      });
    },
  );

  test('a rule without a number tells it by its boundary', () => {
    const rule = ruleOf({ name: 'beta', number: 513 });
    expect(registeredIn({ ...rule, labels: rule.labels.slice(0, 1) })?.number).toBe(513);
  });

  test("rules of others are not a tenant's", () => {
    expect(registeredIn({ ...ruleOf({ name: 'a', number: 1 }), id: 'schema/test/t' })).toBeUndefined();
    expect(registeredIn({ ...ruleOf({ name: 'a', number: 1 }), data: null })).toBeUndefined();
  });

  const known = TENANTS.filter(({ prefix }) => !prefix).map((tenant) => registeredIn(ruleOf(tenant))!);
  test.each<[string, Tenant, RegExp | undefined]>([
    ['the same again', { name: 'alpha', number: 1 }, undefined],
    ['a free name and number', { name: 'beta', number: 2 }, undefined],
    ['the same name with another number', { name: 'alpha', number: 2 }, /alpha has number 1 .* already/],
    ['the same number with another name', { name: 'beta', number: 1 }, /number 1 is tenant alpha's/],
    [
      'a keyspace of somebody',
      { name: 'beta', number: 2, keyspace: { id: 255, mode: 'txn' } },
      /among the keys of tenant some-keyspace/,
    ],
    [
      'a raw keyspace among the keys that are there already',
      { name: 'beta', number: 2, keyspace: { id: 255, mode: 'raw' } },
      /among the keys of tenant legacy/,
    ],
    [
      'a prefix among the keys that are there already',
      { name: 'beta', number: 2, prefix: { text: 'app', mode: 'txn' } },
      /among the keys of tenant legacy/,
    ],
    [
      'the same name and number in another key space',
      { name: 'alpha', number: 1, keyspace: { id: 9, mode: 'txn' } },
      /which a tenant keeps/,
    ],
  ])('%s', (_, tenant, wanted) => {
    const found = conflict(tenant, known);
    if (wanted) expect(`${found?.what}; ${found?.hint}`).toMatch(wanted);
    else expect(found).toBeUndefined();
  });
});

describe('doctor', () => {
  test('docs/doctor.md explains every code, and no other', () => {
    const page = readFileSync(join(ROOT, 'docs/doctor.md'), 'utf8');
    expect([...page.matchAll(/^## (\S+)$/gm)].map(([, code]) => code)).toEqual(Object.keys(CODES));
  });

  const MINUTE = 60_000;
  const NOW = 1_700_000_000_000;
  test.each<[string, number, number | undefined, string, string]>([
    ['a new storage layer without a TiDB', 2, undefined, 'warning', 'GC_NO_COLLECTOR'],
    ['an old one without a TiDB', 60, undefined, 'wrong', 'GC_NO_COLLECTOR'],
    ['a new one', 12, 11, 'ok', 'GC_FIRST_ROUND'],
    ['one whose TiDB has just been started', 600, 1, 'ok', 'GC_FIRST_ROUND'],
    ['one whose TiDB does not collect', 60, 59, 'wrong', 'GC_FIRST_ROUND'],
  ])('a safe point that never moved: %s', (_, age, running, level, code) => {
    const collecting = running === undefined ? undefined : NOW - running * MINUTE;
    const found = beforeFirstRound({ bootstrapped: NOW - age * MINUTE, collecting }, NOW);
    expect(found).toMatchObject({ level, code, link: `docs/doctor.md#${code.toLowerCase()}` });
    expect(found.remedy === '').toBe(level === 'ok');
  });
});

describe('configuration files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-tenants-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = (value: unknown): string => {
    const path = join(folder, 'config.json');
    writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
    return path;
  };
  const two = [
    { name: 'alpha', number: 1 },
    { name: 'beta', number: 2, keyspace: { id: 1, mode: 'raw' } },
  ];

  test.each([
    ['a pluginConfig', { tenants: two, rules: [] }],
    ['a WasmPlugin', { kind: 'WasmPlugin', spec: { pluginConfig: { tenants: two } } }],
    ['a mesh file', { storage: { namespace: 's', cluster: 'c' }, pluginConfig: { tenants: two } }],
  ])('%s', (_, value) => {
    expect(readTenants(file(value))).toEqual(two);
  });

  test.each<[string, unknown, RegExp]>([
    ['no JSON', '{', /config\.json: .*JSON/],
    ['a broken mesh file', { pluginConfig: { tenants: two } }, /storage: must be a mapping/],
    ['no pluginConfig', { kind: 'Service' }, /holds no pluginConfig/],
    ['no tenants', { rules: [] }, /holds no "tenants"/],
    ['a tenant that is a text', { tenants: ['alpha'] }, /tenants\[0\]: must be an object/],
    ['a bad name', { tenants: [{ name: 'Alpha', number: 1 }] }, /tenants\[0\]: "Alpha" is no tenant's name/],
    [
      'a name that YAML reads as a number',
      { tenants: [{ name: 123, number: 1 }] },
      /tenants\[0\]: .* quotes/,
    ],
    [
      'a number too large',
      { tenants: [{ name: 'a', number: 32767 }] },
      /tenants\[0\]: 32767 is no tenant's number/,
    ],
    [
      'the same number twice',
      { tenants: [two[0], { name: 'c', number: 1 }] },
      /tenants\[1\] has the name or the number of tenants\[0\]/,
    ],
  ])('%s is refused', (_, value, wanted) => {
    expect(() => readTenants(file(value))).toThrow(wanted);
  });

  test.each<[string, object, RegExp]>([
    [
      'a keyspace and a prefix',
      { keyspace: { id: 1, mode: 'txn' }, prefix: { text: 'a', mode: 'txn' } },
      /a keyspace and a prefix/,
    ],
    ['a keyspace too large', { keyspace: { id: 2 ** 24, mode: 'txn' } }, /0 to 16777215/],
    ['a mode that there is not', { keyspace: { id: 1, mode: 'tnx' } }, /"txn" or "raw"/],
    ['a prefix of FF', { prefix: { hex: 'ffff', mode: 'raw' } }, /not all FF/],
    ['a prefix without bytes', { prefix: { mode: 'raw' } }, /one of "text" and "hex"/],
    ['an offset below zero', { epochOffset: -1 }, /epochOffset: must be a whole number from 0/],
    ['a time that is a number', { readableSince: 450_000 }, /readableSince: must be a timestamp/],
    ['another such offset below zero', { confVerOffset: -1 }, /confVerOffset: must be a whole number from 0/],
    ['a latest time that is a number', { latestSeen: 450_000 }, /latestSeen: must be a timestamp/],
    [
      'an id of a cluster without its own',
      { clusterId: { seen: '7' } },
      /clusterId: must have "seen" and "own"/,
    ],
    ['hex cut short', { prefix: { hex: 'abc', mode: 'raw' } }, /even number of hex digits/],
  ])('%s is refused', (_, settings, wanted) => {
    expect(() => readTenant({ name: 'a', number: 1, ...settings }, 'tenants[0]')).toThrow(wanted);
  });

  test('what a move has left is a part of the tenant', () => {
    const moved = { name: 'a', number: 1, keyNumber: 5, epochOffset: 70_000, readableSince: '450000' };
    expect(readTenant(moved, 'tenants[0]')).toEqual(moved);
    const fromElsewhere = {
      ...moved,
      confVerOffset: 300,
      clusterId: { seen: '7012', own: '7013' },
      latestSeen: '450001',
      servedBy: 'c',
    };
    expect(readTenant(fromElsewhere, 'tenants[0]')).toEqual(fromElsewhere);
  });
});

describe('a PD that does not answer', () => {
  let folder: string;
  let certs: Certs;
  const servers: Server[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tidb-mesh-pd-'));
    certs = await createCerts(folder);
  });
  afterAll(() => {
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true });
  });

  async function listening(server: Server): Promise<string> {
    servers.push(server);
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const secure = (): Server =>
    createTlsServer({ key: readFileSync(certs.server.key), cert: readFileSync(certs.server.cert) });
  const cutShort = (): Server =>
    createServer((socket) =>
      socket.once('data', () =>
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{', () => socket.destroy()),
      ),
    );
  const resetting = (): Server => createServer((socket) => socket.destroy());

  test.each<[string, () => Server, string, () => object, RegExp]>([
    ['with an unknown authority', secure, 'https', () => ({}), /--ca$/],
    [
      'with another name in its certificate',
      secure,
      'https',
      () => ({ ca: certs.server.ca, serverName: 'pd.storage' }),
      /--server-name$/,
    ],
    ['that resets the connection in an answer', cutShort, 'http', () => ({}), /--cert and --key/],
    ['that resets the connection', resetting, 'http', () => ({}), /--cert and --key/],
  ])('%s', async (_, server, scheme, options, hint) => {
    const pd = new Endpoint({ pd: `${scheme}://${await listening(server())}`, ...options() });
    await expect(pd.http('GET', '/')).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringMatching(/^GET \/: no answer from 127\.0\.0\.1:\d+: ./),
      hint: expect.stringMatching(hint),
    });
    pd.close();
  });
});

test('an address of IPv6 is no name to look up', async () => {
  const pd = new Endpoint({ pd: 'http://[::1]:1' });
  const message: unknown = expect.not.stringMatching(/ENOTFOUND|getaddrinfo/);
  await expect(pd.http('GET', '/')).rejects.toMatchObject({ code: 'UNREACHABLE', message });
});

describe('small things', () => {
  test('numbers of 64 bits keep all digits', () => {
    expect(
      parseJson(
        '{"a": 18446744073709551615, "b": 12, "c": "9223372036854775807 \\" 9223372036854775807", "d": 1.5, "e": 0.30000000000000004}',
      ),
    ).toEqual({
      a: '18446744073709551615',
      b: 12,
      c: '9223372036854775807 " 9223372036854775807',
      d: 1.5,
      e: 0.30000000000000004,
    });
  });

  test.each(Object.values({ ...PD, ...RPC, ...KV }).filter((one) => 'typeName' in one && 'fields' in one))(
    'the generated %s is that of proto/',
    (generated) => {
      const { fields, typeName } = generated as DescMessage;
      const facts = (some: DescMessage['fields']): unknown[] =>
        some.map(({ name, number, fieldKind, scalar, message }) => [
          [name, number, fieldKind],
          [scalar, message?.typeName],
        ]);
      expect(facts(fields)).toEqual(facts(message(typeName).fields));
    },
  );

  test('memcomparable keys come back, other bytes do not', () => {
    for (const text of ['', 'a', 'eight by', 'nine byte']) {
      const key = Buffer.from(text);
      expect(fromMemcomparable(memcomparable(key))).toEqual(key);
    }
    expect(fromMemcomparable(Buffer.from('tooshort'))).toBeUndefined();
    expect(fromMemcomparable(Buffer.concat([Buffer.from('a1234567'), Buffer.of(0xf8)]))).toBeUndefined();
  });

  test.each([
    ['tidb-mesh:alpha:br-1', true],
    ['tidb-mesh:alpha:TiDB_DDL_70/1', true],
    ['alpha:rg', false],
    ['tidb-mesh:alphabet:br', false],
    ['tidb-mesh:beta:tidb-mesh:alpha:x', false],
    ['alpha', false],
  ])('%s: of alpha %s', (id, own) => {
    expect(isTenantsOwn(id, 'alpha')).toBe(own);
  });

  test.each([
    [5_000, '5 s'],
    [600_000, '10 min'],
    [7_200_000, '2 h'],
    [3 * 86_400_000, '3 days'],
    [-5_000, '0 s'],
  ])('%d ms are %s', (age, text) => {
    expect(ageText(1e12 - age, 1e12)).toBe(text);
  });

  test('columns are as wide as their widest cell', () => {
    const rows = [
      ['alphabet', '12'],
      ['b', ''],
    ];
    expect(table(['NAME', 'N'], rows)).toBe('NAME      N\nalphabet  12\nb');
  });
});
