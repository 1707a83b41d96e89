/** What passes unread has a length that upstream can bear: messages of such methods, and bodies of PD's HTTP API. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';

const MOST = 4096;
const UNREAD = [
  '/tikvpb.Tikv/IsAlive',
  '/grpc.health.v1.Health/Check',
  '/import_sstpb.ImportSST/GetMode',
  '/pdpb.PD/GetMembers',
  '/etcdserverpb.Cluster/MemberList',
];
const V1 = '/pd/api/v1';
const CALLER = Buffer.from('spiffe://m/ns/alpha/sa/tidb');
const SYSTEM = Buffer.from('spiffe://m/ns/tikv/sa/tikv');

const config = (more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [{ name: 'alpha', number: 1 }],
      rules: [
        { principal: 'spiffe://m/ns/tikv/sa/*', system: true },
        { principal: 'spiffe://m/ns/{tenant}/sa/*' },
      ],
      ...more,
    }),
  );

beforeAll(buildModule);

function started(more?: object): HostedModule {
  const filter = new HostedModule();
  filter.configure(config(more));
  return filter;
}

const http = (method: string, path: string, more: [string, string][] = []): Uint8Array =>
  headerPairs([
    [':method', method],
    [':scheme', 'https'],
    [':path', path],
    [':authority', 'pd:2379'],
    ...more,
  ]);

describe.each(UNREAD)('a message of %s', (path) => {
  const sent = (filter: HostedModule, pieces: Uint8Array[], caller = CALLER): boolean => {
    const stream = filter.open(caller, callHeaders(path));
    const passes = pieces.every((piece) => filter.request(stream, piece));
    filter.close(stream);
    return passes;
  };
  const whole = frame(new Uint8Array(MOST));
  const longer = frame(new Uint8Array(MOST + 1));

  test('passes as long as it may be, one after the other, wherever it is cut', () => {
    const filter = started();
    expect(sent(filter, [Buffer.concat([whole, frame(new Uint8Array()), whole])])).toBe(true);
    for (const cut of [1, 3, 4, 5, 6, MOST])
      expect(sent(filter, [whole.subarray(0, cut), whole.subarray(cut), whole])).toBe(true);
    expect(
      sent(
        filter,
        [...whole].map((byte) => Uint8Array.of(byte)),
      ),
    ).toBe(true);
  });

  test.each([
    ['whole', [longer]],
    ['by its header alone', [longer.subarray(0, 5)]],
    ['by a header in pieces', [longer.subarray(0, 2), longer.subarray(2, 4), longer.subarray(4, 5)]],
    ['behind another', [Buffer.concat([whole, longer.subarray(0, 5)])]],
    ['of four gigabytes', [Uint8Array.of(0, 255, 255, 255, 255)]],
  ])('is refused when it is longer: %s', (_, pieces) => {
    const filter = started();
    expect(sent(filter, pieces)).toBe(false);
    expect(filter.refusal).toMatch(/^tidb-mesh\[TOO_LONG_UNREAD\]: /);
    expect(sent(filter, [whole])).toBe(true);
  });

  test('is refused when it is compressed', () => {
    const filter = started();
    expect(sent(filter, [Uint8Array.of(1, 0, 0, 0, 0)])).toBe(false);
    expect(filter.refusal).toMatch(/^tidb-mesh\[COMPRESSED\]: /);
  });

  test('may have any length from the storage layer itself', () => {
    expect(sent(started(), [longer], SYSTEM)).toBe(true);
  });
});

describe('a body', () => {
  const NONE: [string, string][] = [
    ['GET', `${V1}/stores`],
    ['GET', `${V1}/regions/key`],
    ['GET', `${V1}/config/rules`],
    ['GET', `${V1}/region/id/2`],
    ['DELETE', `${V1}/config/placement-rule/g`],
  ];
  const BODY = Buffer.from('x');

  test.each(NONE)('of %s %s is refused at its first byte', (method, path) => {
    const filter = started();
    const stream = filter.open(CALLER, http(method, path));
    expect(filter.request(stream, new Uint8Array())).toBe(true);
    expect(filter.request(stream, BODY)).toBe(false);
    expect(filter.refusal).toMatch(/^"tidb-mesh\[BODY_REFUSED\]: /);
    expect(filter.replyCode).toBe(400);
  });

  test('of what PD reads goes on', () => {
    const filter = started();
    const stream = filter.open(CALLER, http('GET', `${V1}/hotspot/regions/history`));
    filter.request(stream, Buffer.from('{}'));
    expect(filter.replyCode).toBe(0);
  });

  test('goes on from the storage layer itself, and where a dry run lets a refused endpoint go on', () => {
    const own = started();
    expect(own.request(own.open(SYSTEM, http('GET', `${V1}/stores`)), BODY)).toBe(true);
    const tried = started({ tenants: [{ name: 'alpha', number: 0 }], dryRun: true });
    expect(tried.request(tried.open(CALLER, http('POST', `${V1}/config`)), BODY)).toBe(true);
    expect(tried.request(tried.open(CALLER, http('GET', `${V1}/stores`)), BODY)).toBe(false);
  });
});

describe('headers that PD makes metrics of', () => {
  const AUDITED = [
    'x-caller-id',
    'component',
    'x-forwarded-for',
    'x-forwarded-port',
    'x-real-ip',
    'client-api-version',
  ];
  const headers = http('GET', `${V1}/stores`, [
    ['pd-allow-follower-handle', 'true'],
    ...AUDITED.map((name): [string, string] => [name, 'v']),
  ]);

  test('are removed', () => {
    const filter = started();
    filter.open(CALLER, headers);
    expect(filter.removed).toEqual(AUDITED);
    // A request without them costs nothing.
    filter.open(CALLER, http('GET', `${V1}/stores`));
    expect(filter.removed).toEqual(AUDITED);
  });
});
