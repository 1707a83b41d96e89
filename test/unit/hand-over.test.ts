/** A tenant that another storage layer serves by now: what its filter of before hands over, and whom the other layer's filter believes. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, headerPairs, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const TSO = '/pdpb.PD/Tso';
const WATCH = '/etcdserverpb.Watch/Watch';
const BATCH = '/tikvpb.Tikv/BatchCommands';
const BEHALF = 'x-tidb-mesh-on-behalf';
const NOW = 1_700_000_000_000;

const caller = (name: string): Buffer => Buffer.from(`spiffe://m/ns/${name}/sa/tidb`);
const ALPHA = caller('alpha');
const BETA = caller('beta');
const PROXY = Buffer.from('spiffe://m/ns/proxies/sa/a');
const SYSTEM = Buffer.from('spiffe://m/ns/storage/sa/pd');

const TENANTS = [
  { name: 'alpha', number: 1 },
  { name: 'beta', number: 2 },
];
const config = (alpha: object = {}, mayActFor?: string[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: TENANTS.map((one, i) => (i === 0 ? { ...one, ...alpha } : one)),
      rules: [
        ...(mayActFor ? [{ principal: PROXY.toString(), mayActFor }] : []),
        { principal: 'spiffe://m/ns/storage/sa/*', system: true },
        { principal: 'spiffe://m/ns/{tenant}/sa/*' },
      ],
    }),
  );
const AWAY = { servedBy: 'b' };

function call(path: string, ...more: [string, string][]): Uint8Array {
  return headerPairs([[':method', 'POST'], [':path', path], ['content-type', 'application/grpc'], ...more]);
}
const get = (path: string): Uint8Array =>
  headerPairs([
    [':method', 'GET'],
    [':path', path],
  ]);

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = NOW;
  filter.configure(config());
});

/** Opens a stream, and says what has become of its headers; or why it was refused. */
function opened(who: Buffer, headers: Uint8Array): { path: string; behalf: string } | string {
  filter.headers.clear();
  const { goesOn } = filter.tryOpen(who, headers);
  if (!goesOn) return /[A-Z_]{5,}/.exec(filter.refusal)?.[0] ?? filter.refusal;
  return { path: filter.headers.get(':path') ?? '', behalf: filter.headers.get(BEHALF) ?? '' };
}
const STAYS = { path: '', behalf: '' };

describe('a tenant with servedBy', () => {
  test.each([
    [TSO, call(TSO)],
    [WATCH, call(WATCH)],
    ['/pdpb.PD/GetMembers', call('/pdpb.PD/GetMembers')],
    ['/pd/api/v1/stores', get('/pd/api/v1/stores')],
    ['/pd/api/v1/regions/key?limit=1', get('/pd/api/v1/regions/key?limit=1')],
  ])('has %s handed over, under its name', (path, headers) => {
    const [before, others] = [ALPHA, BETA].map((who) => opened(who, headers));
    expect(before).toMatchObject({ behalf: '' });
    filter.supersede(config(AWAY));
    expect(opened(ALPHA, headers)).toEqual({ path: `/.tidb-mesh/b${path}`, behalf: 'alpha' });
    expect(opened(BETA, headers)).toEqual(others);
  });

  test('is refused here what it is refused anyway', () => {
    filter.supersede(config(AWAY));
    expect(opened(ALPHA, call('/pdpb.PD/Bootstrap'))).toBe('NOT_FOR_TENANTS');
    expect(opened(ALPHA, call('/.tidb-mesh/b/pdpb.PD/Tso'))).toBe('UNKNOWN_METHOD');
    expect(opened(BETA, call('/.tidb-mesh/b/pdpb.PD/Tso'))).toBe('UNKNOWN_METHOD');
    expect(opened(BETA, get('/.tidb-mesh/b/pd/api/v1/stores'))).not.toEqual(STAYS);
  });

  test('has nothing handed over while everything is held', () => {
    filter.supersede(config({ ...AWAY, move: { serial: 1, phase: 'final' } }));
    expect(opened(ALPHA, call(TSO))).toBe('SERVED_ELSEWHERE');
  });

  test('gets nothing more of PD and etcd on streams from before', () => {
    for (const [path, message] of [
      [TSO, encode('pdpb.TsoResponse', { timestamp: { physical: BigInt(NOW), logical: 9n } })],
      [WATCH, encode('etcdserverpb.WatchResponse', {})],
    ] as const) {
      filter.configure(config());
      const [alpha, beta] = [ALPHA, BETA].map((who) => filter.open(who, call(path)));
      for (const one of [alpha!, beta!]) {
        filter.answerHeaders(one);
        expect(filter.answer(one, frame(message))).toBe(true);
      }
      const former = filter.supersede(config(AWAY));
      expect(filter.answer(beta!, frame(message))).toBe(true);
      expect(filter.answer(alpha!, frame(message))).toBe(false);
      expect(filter.ended).toContain(alpha);
      expect(filter.ended).not.toContain(beta);
      for (const one of [alpha!, beta!]) filter.close(one);
      filter.close(former);
    }
  });

  test('sends nothing more on streams from before, and silent ones end', () => {
    const [tso, watch] = [TSO, WATCH].map((path) => filter.open(ALPHA, call(path)));
    filter.supersede(config(AWAY));
    expect(filter.request(tso!, frame(encode('pdpb.TsoRequest', { count: 1 })))).toBe(false);
    expect(filter.ended).toContain(tso);
    for (let i = 0; i < 40 && !filter.ended.includes(watch!); i++) {
      filter.clock += 1000;
      filter.tick();
    }
    expect(filter.ended).toContain(watch);
  });

  const batch = encode('tikvpb.BatchCommandsRequest', {
    requests: [{ cmd: { case: 'Get', value: { key: rowKey(100, 1), version: 7n } } }],
    requestIds: [5n],
  });
  /** What a get of a batch is told. */
  function told(stream: number): Fields {
    expect(filter.request(stream, frame(batch))).toBe(true);
    const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
    expect((requests as Fields[])[0]!['cmd']['case']).toBe('Empty');
    const empty = encode('tikvpb.BatchCommandsResponse', {
      responses: [{ cmd: { case: 'Empty', value: {} } }],
      requestIds: [5n],
    });
    filter.answerHeaders(stream);
    expect(filter.answer(stream, frame(empty))).toBe(true);
    const { responses } = decode('tikvpb.BatchCommandsResponse', filter.passed().subarray(5));
    return ((responses as Fields[])[0]!['cmd']['value'] as Fields)['regionError'] as Fields;
  }

  test.each(['before', 'after'])(
    'is told by the store that it is another one, on a stream from %s',
    (when) => {
      const early = filter.open(ALPHA, call(BATCH));
      filter.supersede(config(AWAY));
      expect(told(when === 'before' ? early : filter.open(ALPHA, call(BATCH)))).toMatchObject({
        storeNotMatch: {},
      });
    },
  );

  test('names no store in a request that is alone on its stream', () => {
    filter.supersede(config(AWAY));
    const stream = filter.open(ALPHA, call('/tikvpb.Tikv/KvGet'));
    const context = {
      regionId: 7n,
      regionEpoch: { confVer: 3n, version: 9n },
      peer: { id: 5n, storeId: 1n },
    };
    const request = encode('kvrpcpb.GetRequest', { context, key: rowKey(100, 1), version: 7n });
    expect(filter.request(stream, frame(request))).toBe(true);
    const sent = decode('kvrpcpb.GetRequest', filter.passed().subarray(5));
    expect(sent['context']).toMatchObject({ peer: { id: 5n, storeId: 0n }, regionEpoch: { version: 0n } });
  });

  test.each([
    [
      'UnsafeDestroyRange',
      'kvrpcpb.UnsafeDestroyRangeRequest',
      { startKey: rowKey(100, 1), endKey: rowKey(100, 9) },
    ],
    ['GetLockWaitInfo', 'kvrpcpb.GetLockWaitInfoRequest', {}],
    ['GetStoreSafeTS', 'kvrpcpb.StoreSafeTSRequest', {}],
  ])('is refused what no store looks at the region of: %s', (method, type, fields) => {
    const path = `/tikvpb.Tikv/${method}`;
    const message = frame(encode(type, fields));
    const early = filter.open(ALPHA, call(path));
    filter.supersede(config(AWAY));
    expect(filter.request(early, message)).toBe(false);
    expect(filter.request(filter.open(ALPHA, call(path)), message)).toBe(false);
    expect(filter.refusal).toContain('SERVED_ELSEWHERE');
    expect(filter.request(filter.open(BETA, call(path)), message)).toBe(true);
  });

  test('is served here again when the configuration says so', () => {
    filter.supersede(config(AWAY));
    const stream = filter.open(ALPHA, call(BATCH));
    filter.supersede(config());
    expect(opened(ALPHA, call(TSO))).toEqual(STAYS);
    expect(filter.request(stream, frame(batch))).toBe(true);
    const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
    expect((requests as Fields[])[0]!['cmd']['case']).toBe('Get');
  });

  test('a configuration from before it was handed over holds the tenant', () => {
    filter.supersede(config({ ...AWAY, move: { serial: 3, phase: 'final' } }));
    filter.supersede(config());
    const stream = filter.open(ALPHA, call(BATCH));
    expect(told(stream)).toBeDefined();
  });
});

describe('a proxy of another storage layer', () => {
  beforeEach(() => filter.configure(config({}, ['alpha'])));
  const behalf = (...names: string[]): Uint8Array =>
    call(TSO, ...names.map((name): [string, string] => [BEHALF, name]));

  test('acts for the tenants that its rule lists, and for no other', () => {
    for (let i = 0; i < 3; i++) {
      expect(opened(PROXY, behalf('alpha'))).toEqual(STAYS);
      expect(filter.headers.get('x-tidb-mesh-tenant')).toBe('alpha');
      expect(opened(PROXY, behalf('beta'))).toBe('BEHALF_REFUSED');
      expect(opened(PROXY, behalf())).toBe('BEHALF_UNSAID');
      expect(opened(PROXY, behalf(''))).toBe('BEHALF_UNSAID');
    }
  });

  test.each([
    'nobody',
    'Alpha',
    'alpha ',
    ' alpha',
    'alpha,beta',
    'alph',
    'alphaa',
    'al\u0000pha',
    '*',
    '{tenant}',
  ])('is refused for %j', (name) => {
    expect(opened(PROXY, behalf(name))).toBe('BEHALF_REFUSED');
  });

  test.each([
    ['alpha', 'alpha'],
    ['alpha', 'beta'],
    ['beta', 'alpha'],
    ['', 'alpha'],
    ['alpha', ''],
  ])('is refused when it names %j and %j', (one, other) => {
    expect(opened(PROXY, behalf(one, other))).toBe('BEHALF_UNSAID');
  });

  test('is the tenant for as long as its stream lives, and its rule does', () => {
    const stream = filter.open(PROXY, behalf('alpha'));
    const timestamp = frame(encode('pdpb.TsoResponse', { timestamp: { physical: 7n, logical: 9n } }));
    filter.answerHeaders(stream);
    const late = (): void => {
      for (let i = 0; i < 40; i++) {
        filter.clock += 1000;
        filter.tick();
      }
    };
    filter.supersede(config({ state: 'active' }, ['alpha', 'beta']));
    late();
    expect(filter.ended).toEqual([]);
    expect(filter.answer(stream, timestamp)).toBe(true);
    filter.supersede(config({}, ['beta']));
    late();
    expect(filter.ended).toEqual([stream]);
  });

  test('cannot send a call on to a third layer', () => {
    filter.supersede(config(AWAY, ['alpha']));
    expect(opened(PROXY, behalf('alpha'))).toBe('SERVED_ELSEWHERE');
    expect(opened(ALPHA, call(TSO))).toMatchObject({ behalf: 'alpha' });
  });

  test('is refused as a system principal: what it hands over must not pass unread', () => {
    for (let i = 0; i < 3; i++) {
      expect(opened(SYSTEM, call(TSO))).toEqual(STAYS);
      expect(opened(SYSTEM, behalf('alpha'))).toBe('BEHALF_REFUSED');
      expect(opened(SYSTEM, behalf('alpha', 'alpha'))).toBe('BEHALF_REFUSED');
    }
  });

  test.each([
    ['a tenant', BETA],
    ['a tenant that it names itself', ALPHA],
  ])('is the only one that the header is read of: %s has it removed', (_, who) => {
    filter.removed.length = 0;
    expect(opened(who, behalf('alpha'))).toEqual(STAYS);
    expect(filter.removed).toContain(BEHALF);
    expect(filter.headers.get('x-tidb-mesh-tenant')).toBe(who === ALPHA ? 'alpha' : 'beta');
  });

  test('is nobody without the rule', () => {
    filter.configure(config());
    expect(opened(PROXY, behalf('alpha'))).toBe('UNKNOWN_TENANT');
  });

  test('has its header removed as well', () => {
    opened(PROXY, behalf('alpha'));
    expect(filter.removed).toContain(BEHALF);
  });

  test.each([
    [{ mayActFor: [] }, 'rules[0].mayActFor: must list the names of tenants, for example ["alpha"]'],
    [{ mayActFor: 'alpha' }, 'rules[0].mayActFor: must list the names of tenants, for example ["alpha"]'],
    [{ mayActFor: ['gamma'] }, 'rules[0].mayActFor: "gamma" is not in tenants'],
    [{ mayActFor: ['alpha', 'alpha'] }, 'rules[0].mayActFor: "alpha" is there twice'],
    [{ mayActFor: ['alpha'], system: true }, 'rules[0].mayActFor: must stand alone'],
    [{ mayActFor: ['alpha'], tenant: 'alpha' }, 'rules[0].mayActFor: must stand alone'],
  ])('%j is refused', (more, why) => {
    const rules = [{ principal: PROXY.toString(), ...more }];
    expect(() => filter.configure(Buffer.from(JSON.stringify({ tenants: TENANTS, rules })))).toThrow(why);
  });

  test.each(['', 'B', 'b/c', 'b'.repeat(64), '..'])('servedBy %j is refused', (servedBy) => {
    expect(() => filter.configure(config({ servedBy }))).toThrow('tenants[0].servedBy');
  });
});
