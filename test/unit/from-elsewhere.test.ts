/** A tenant from another storage layer, whose TiDBs run on: what they know of PD and the stores of there must not mislead them here. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, HostedModule } from '../../bench/module.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, frame, scalar } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const SEEN = 7_012_345_678_901_234_567n;
const OWN = 7_554_321n;
const OTHER = 5n;
const NOW = 1_700_000_000_000;
const LATEST = (BigInt(NOW) << 18n) | 77n;
const PD = '/pdpb.PD/';
const BATCH = '/tikvpb.Tikv/BatchCommands';
/** Often enough for a layout to be learned and followed. */
const TIMES = 20;

const caller = (name: string): Buffer => Buffer.from(`spiffe://m/ns/${name}/sa/tidb`);
const ALPHA = caller('alpha');
const BETA = caller('beta');

const config = (alpha: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name: 'alpha', number: 1, ...alpha },
        { name: 'beta', number: 2 },
      ],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
    }),
  );
const CLUSTER = { clusterId: { seen: String(SEEN), own: String(OWN) } };
const CONTEXT = { regionId: 7n, regionEpoch: { confVer: 30n, version: 300n }, peer: { id: 5n, storeId: 1n } };

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = NOW;
  filter.configure(config());
});

type Pass = (type: string, message: Fields) => Fields;

/** A stream of PD: what becomes of its requests and answers. */
function open(path: string, who = ALPHA): { sent: Pass; got: Pass } {
  const stream = filter.open(who, callHeaders(path));
  filter.answerHeaders(stream);
  const by =
    (way: 'request' | 'answer'): Pass =>
    (type, message) => {
      expect(filter[way](stream, frame(encode(type, message)))).toBe(true);
      return decode(type, filter.passed().subarray(5));
    };
  return { sent: by('request'), got: by('answer') };
}

/** A batch with one command, as it goes on. */
function sent(stream: number, name: string, value: Fields): Fields {
  const batch = encode('tikvpb.BatchCommandsRequest', {
    requests: [{ cmd: { case: name, value } }],
    requestIds: [1n],
  });
  expect(filter.request(stream, frame(batch))).toBe(true);
  const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
  return (requests as Fields[])[0]!['cmd']['value'] as Fields;
}

const idIn = (message: Fields): unknown => (message['header'] as Fields)['clusterId'];

describe("the id of PD's cluster", () => {
  test.each([
    ['Tso', 'pdpb.TsoRequest', 'pdpb.TsoResponse'],
    ['GetRegionByID', 'pdpb.GetRegionByIDRequest', 'pdpb.GetRegionResponse'],
    ['AllocID', 'pdpb.AllocIDRequest', 'pdpb.AllocIDResponse'],
    ['GetMinTS', 'pdpb.GetMinTSRequest', 'pdpb.GetMinTSResponse'],
    ['GetMembers', 'pdpb.HeadedRequest', 'pdpb.HeadedResponse'],
    ['GetAllStores', 'pdpb.HeadedRequest', 'pdpb.HeadedResponse'],
    ['GetGCSafePoint', 'pdpb.HeadedRequest', 'pdpb.HeadedResponse'],
  ])(
    '%s: is the own one to PD, and the one that the client knows to the client',
    (name, request, response) => {
      const cross = (who: Buffer, there: bigint, back: bigint): unknown[] => {
        const { sent, got } = open(PD + name, who);
        return [
          idIn(sent(request, { header: { clusterId: there } })),
          idIn(got(response, { header: { clusterId: back } })),
        ];
      };
      expect(cross(ALPHA, SEEN, OWN)).toEqual([SEEN, OWN]);
      filter.supersede(config(CLUSTER));
      for (let i = 0; i < TIMES; i++) {
        expect(cross(ALPHA, SEEN, OWN)).toEqual([OWN, SEEN]);
        // PD refuses a wrong one, as it would without the mesh.
        expect(cross(ALPHA, OTHER, OTHER)).toEqual([OTHER, OTHER]);
        expect(cross(BETA, SEEN, OWN)).toEqual([SEEN, OWN]);
      }
    },
  );

  test('in messages that are forwarded unread, all else stays', () => {
    filter.supersede(config(CLUSTER));
    const stream = filter.open(ALPHA, callHeaders(`${PD}GetMembers`));
    filter.answerHeaders(stream);
    const members = (id: bigint): Uint8Array =>
      concat(
        bytes(1, scalar(1, id), bytes(2, scalar(1, 0)), bytes(9, Buffer.from('new'))),
        bytes(2, bytes(1, Buffer.from('pd-0')), scalar(2, 1n << 63n)),
        scalar(77, 5),
      );
    expect(filter.answer(stream, frame(members(OWN)))).toBe(true);
    expect(Buffer.from(filter.passed()).toString('hex')).toBe(
      Buffer.from(frame(members(SEEN))).toString('hex'),
    );
  });

  test('tenants from here, and services that name no cluster, are forwarded unread', () => {
    const garbage = frame(Uint8Array.of(0x13));
    expect(filter.request(filter.open(ALPHA, callHeaders(`${PD}GetMembers`)), garbage)).toBe(true);
    filter.supersede(config(CLUSTER));
    expect(filter.request(filter.open(ALPHA, callHeaders(`${PD}GetMembers`)), garbage)).toBe(false);
    expect(filter.request(filter.open(BETA, callHeaders(`${PD}GetMembers`)), garbage)).toBe(true);
    for (const path of ['/etcdserverpb.Cluster/MemberList', '/grpc.health.v1.Health/Check'])
      expect(filter.request(filter.open(ALPHA, callHeaders(path)), garbage)).toBe(true);
  });

  test('is in requests to the stores, whose contexts are known otherwise', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const id = (on: number, clusterId = SEEN): unknown => {
      const get = { context: { ...CONTEXT, clusterId }, key: rowKey(100, 1), version: 7n };
      return (sent(on, 'Get', get)['context'] as Fields)['clusterId'];
    };
    for (let i = 0; i < TIMES; i++) expect(id(stream)).toBe(SEEN);
    filter.supersede(config(CLUSTER));
    const after = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < TIMES; i++) expect(id(after)).toBe(OWN);
    expect(id(after, 0n)).toBe(0n);
  });

  test('ends streams from before, as soon as nothing is outstanding', () => {
    const stream = filter.open(ALPHA, callHeaders(`${PD}Tso`));
    const beta = filter.open(BETA, callHeaders(`${PD}Tso`));
    filter.supersede(config(CLUSTER));
    for (let i = 0; i < 40; i++) {
      filter.clock += 1000;
      filter.tick();
    }
    expect(filter.ended).toContain(stream);
    expect(filter.ended).not.toContain(beta);
  });
});

test('no answer of the coprocessor is taken for one that the client has from elsewhere', () => {
  const flag = (on: number): unknown =>
    sent(on, 'Coprocessor', {
      context: CONTEXT,
      tp: 103n,
      startTs: 7n,
      isCacheEnabled: true,
      cacheIfMatchVersion: 9n,
      ranges: [{ start: rowKey(100, 1), end: rowKey(100, 9) }],
    })['isCacheEnabled'];
  const stream = filter.open(ALPHA, callHeaders(BATCH));
  for (let i = 0; i < TIMES; i++) expect(flag(stream)).toBe(true);
  filter.supersede(config(CLUSTER));
  const after = filter.open(ALPHA, callHeaders(BATCH));
  for (let i = 0; i < TIMES; i++) expect(flag(after)).toBe(false);
});

describe('the configuration versions of regions', () => {
  const OFFSET = { confVerOffset: 1000, epochOffset: 5000 };
  const shown = (): Fields => {
    const { got } = open(`${PD}GetRegionByID`);
    const region = { id: 7n, regionEpoch: { confVer: 30n, version: 300n }, peers: [{ id: 5n, storeId: 1n }] };
    return (got('pdpb.GetRegionResponse', { region })['region'] as Fields)['regionEpoch'] as Fields;
  };
  const asked = (stream: number, confVer: bigint, version: bigint): Fields => {
    const context = { ...CONTEXT, regionEpoch: { confVer, version } };
    const get = sent(stream, 'Get', { context, key: rowKey(100, 1), version: 7n });
    return (get['context'] as Fields)['regionEpoch'] as Fields;
  };

  test('are above those that clients know from elsewhere, and the store gets its own', () => {
    for (let i = 0; i < TIMES; i++) expect(shown()).toMatchObject({ confVer: 30n, version: 300n });
    const before = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < TIMES; i++)
      expect(asked(before, 30n, 300n)).toMatchObject({ confVer: 30n, version: 300n });
    filter.supersede(config(OFFSET));
    for (let i = 0; i < TIMES; i++) expect(shown()).toMatchObject({ confVer: 1030n, version: 5300n });
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < TIMES; i++)
      expect(asked(stream, 1030n, 5300n)).toMatchObject({ confVer: 30n, version: 300n });
  });

  test('that are from elsewhere are none that any region has', () => {
    filter.supersede(config(OFFSET));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    expect(asked(stream, 30n, 300n)).toMatchObject({ confVer: 0n, version: 0n });
  });
});

describe('a timestamp', () => {
  const FLOOR = { latestSeen: String(LATEST) };
  const given = (ms: number): Uint8Array =>
    frame(
      encode('pdpb.TsoResponse', {
        header: { clusterId: OWN },
        count: 1,
        timestamp: { physical: BigInt(ms), logical: 9n },
      }),
    );

  test.each([
    [NOW - 1, false],
    [NOW, false],
    [NOW + 1, true],
    [-1, false],
  ])('of %s, when the latest seen was of 1700000000000, reaches the client: %s', (ms, reaches) => {
    filter.supersede(config(FLOOR));
    for (let i = 0; i < TIMES; i++) {
      const stream = filter.open(ALPHA, callHeaders(`${PD}Tso`));
      filter.answerHeaders(stream);
      filter.refusal = '';
      expect(filter.answer(stream, given(ms))).toBe(reaches);
      expect(filter.refusal.includes('TIME_GOES_BACK')).toBe(!reaches);
    }
  });

  test('is judged on a stream from before as well, and of this tenant only', () => {
    const [stream, beta] = [ALPHA, BETA].map((who) => filter.open(who, callHeaders(`${PD}Tso`)));
    for (const one of [stream!, beta!]) filter.answerHeaders(one);
    for (let i = 0; i < TIMES; i++) expect(filter.answer(stream!, given(NOW - 1))).toBe(true);
    filter.supersede(config(FLOOR));
    expect(filter.answer(beta!, given(NOW - 1))).toBe(true);
    expect(filter.answer(stream!, given(NOW + 1))).toBe(true);
    expect(filter.answer(stream!, given(NOW - 1))).toBe(false);
    expect(filter.refusal).toContain('TIME_GOES_BACK');
  });

  test('is judged in GetMinTS, too', () => {
    filter.supersede(config(FLOOR));
    const stream = filter.open(ALPHA, callHeaders(`${PD}GetMinTS`));
    filter.answerHeaders(stream);
    const answer = encode('pdpb.GetMinTSResponse', { timestamp: { physical: BigInt(NOW), logical: 9n } });
    expect(filter.answer(stream, frame(answer))).toBe(false);
    expect(filter.refusal).toContain('TIME_GOES_BACK');
  });
});
