/** PD's clock: what a timestamp of a request is held against. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, HostedModule, type SharedData } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const NOW = 1_700_000_000_000;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DRIFT = 30_000;
const CLUSTER = 7_400_000_000_000_000_001n;
const BATCH = 'tikvpb.BatchCommandsRequest';
const CALLER = Buffer.from('spiffe://m/ns/alpha/sa/tidb');

const config = (more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [{ name: 'alpha', number: 1 }],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
      pd: { cluster: 'pd' },
      ...more,
    }),
  );

beforeAll(buildModule);

function started(more: object = {}, shared?: SharedData): HostedModule {
  const filter = new HostedModule(shared);
  filter.clock = NOW;
  filter.reachesPd = true;
  filter.configure(config(more));
  return filter;
}

/** Ticks that ask PD are a second apart. */
function second(filter: HostedModule, times = 1): void {
  for (let i = 0; i < times; i++) {
    filter.clock += 1000;
    filter.tick();
  }
}

function eightBytes(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}
const held = (value: Buffer): string =>
  JSON.stringify({
    header: { cluster_id: '1', revision: '7' },
    kvs: [{ key: 'L3Bk', create_revision: '2', version: '9', value: value.toString('base64') }],
    count: '1',
  });
/** The key that was asked for last. */
const asked = (filter: HostedModule): string =>
  Buffer.from((JSON.parse(filter.timeCalls.at(-1)!.body) as { key: string }).key, 'base64').toString();
const answer = (filter: HostedModule, text?: string): void =>
  filter.answerCall(filter.timeCalls.at(-1)!.token, text);

/** Asks and answers once: PD's clock, in ms. */
function tell(filter: HostedModule, time: number): void {
  second(filter);
  if (asked(filter) === '/pd/cluster_id') answer(filter, held(eightBytes(CLUSTER)));
  answer(filter, held(eightBytes(BigInt(time) * 1_000_000n)));
}

/** What becomes of a scan at this time, in a batch or alone: it passes, is held back, or is refused. */
function read(
  filter: HostedModule,
  time: number,
  alone = false,
  root?: number,
): 'passes' | 'held' | 'refused' {
  const scan: Fields = {
    startKey: rowKey(100, 1),
    endKey: rowKey(100, 9),
    version: BigInt(time) << 18n,
    context: { regionId: 7n },
  };
  const path = `/tikvpb.Tikv/${alone ? 'KvScan' : 'BatchCommands'}`;
  const headers = callHeaders(path);
  const stream = root === undefined ? filter.open(CALLER, headers) : filter.openUnder(root, CALLER, headers);
  const message = alone
    ? encode('kvrpcpb.ScanRequest', scan)
    : encode(BATCH, { requests: [{ cmd: { case: 'Scan', value: scan } }], requestIds: [1n] });
  const goesOn = filter.request(stream, frame(message));
  if (!goesOn) {
    expect(filter.refusal).toMatch(/^tidb-mesh\[TIMESTAMP_AHEAD\]: /);
    filter.close(stream);
    return 'refused';
  }
  if (alone) {
    filter.close(stream);
    return 'passes';
  }
  const sent = decode(BATCH, filter.passed().subarray(5))['requests'][0].cmd.case as string;
  if (sent === 'Scan') {
    filter.close(stream);
    return 'passes';
  }
  filter.answerHeaders(stream);
  const empty = encode('tikvpb.BatchCommandsResponse', {
    responses: [{ cmd: { case: 'Empty', value: {} } }],
    requestIds: [1n],
  });
  expect(filter.answer(stream, frame(empty))).toBe(true);
  const { value } = decode('tikvpb.BatchCommandsResponse', filter.passed().subarray(5))['responses'][0]
    .cmd as { value: Fields };
  filter.close(stream);
  if (value['regionError'] === undefined) {
    expect(value['error'].abort).toMatch(/^tidb-mesh\[TIMESTAMP_AHEAD\]: /);
    return 'refused';
  }
  expect(value['regionError'].maxTimestampNotSynced).toBeDefined();
  return 'held';
}

describe("PD's clock", () => {
  test('is asked for: first which cluster it is, then up to when it gives timestamps', () => {
    const filter = started();
    second(filter);
    expect(asked(filter)).toBe('/pd/cluster_id');
    answer(filter, held(eightBytes(CLUSTER)));
    expect(asked(filter)).toBe(`/pd/${CLUSTER}/timestamp`);
    expect(filter.timeCalls).toHaveLength(2);
    answer(filter, held(eightBytes(BigInt(NOW) * 1_000_000n)));
    second(filter, 4);
    expect(filter.timeCalls).toHaveLength(2);
    second(filter, 2);
    expect(filter.timeCalls).toHaveLength(3);
    expect(asked(filter)).toBe(`/pd/${CLUSTER}/timestamp`);
  });

  test.each([
    ['ten minutes ahead', 10 * MINUTE],
    ['ten minutes behind', -10 * MINUTE],
    ['the same', 0],
  ])('decides where it is %s', (_, apart) => {
    const filter = started();
    const time = NOW + apart;
    tell(filter, time);
    for (const alone of [true, false]) {
      expect(read(filter, time + DRIFT, alone)).toBe('passes');
      expect(read(filter, time + DRIFT + 1, alone)).toBe('refused');
    }
  });

  test('runs on between two answers, and without any', () => {
    const filter = started();
    tell(filter, NOW);
    second(filter, 4);
    expect(read(filter, NOW + 4000 + DRIFT)).toBe('passes');
    // A later one may be good by now: PD is asked before it is refused.
    expect(read(filter, NOW + 4000 + DRIFT + 1)).toBe('held');
    second(filter, 600);
    expect(read(filter, NOW + 604_000 + DRIFT)).toBe('passes');
    expect(read(filter, NOW + 604_000 + DRIFT + 1)).toBe('held');
    expect(read(filter, NOW + 604_000 + DRIFT + 1, true)).toBe('refused');
  });

  test('may have been pushed ahead: what is later is held until PD was asked anew', () => {
    const filter = started();
    tell(filter, NOW);
    second(filter, 2);
    const before = filter.timeCalls.length;
    expect(read(filter, NOW + HOUR)).toBe('held');
    tell(filter, NOW + HOUR);
    expect(filter.timeCalls).toHaveLength(before + 1);
    expect(read(filter, NOW + HOUR)).toBe('passes');
    expect(read(filter, NOW + HOUR + DRIFT + 1)).toBe('refused');
  });

  test('is never pushed by more than a day: what is later still is refused at once', () => {
    const filter = started();
    tell(filter, NOW);
    second(filter, 2);
    expect(read(filter, NOW + 2000 + DRIFT + 24 * HOUR)).toBe('held');
    expect(read(filter, NOW + 2000 + DRIFT + 24 * HOUR + 1)).toBe('refused');
  });

  test('is asked for at once after a start; what is later than the own clock is held until then', () => {
    const filter = started();
    expect(read(filter, NOW + DRIFT)).toBe('passes');
    expect(read(filter, NOW + DRIFT + 1)).toBe('held');
    expect(read(filter, NOW + DRIFT + 1, true)).toBe('refused');
    tell(filter, NOW + HOUR);
    expect(read(filter, NOW + HOUR)).toBe('passes');
  });

  test.each([
    ['no answer', undefined],
    ['an error', '{"error":"etcdserver: no leader","code":14}'],
    ['no such key', '{"header":{"revision":"7"}}'],
    ['too few bytes', held(Buffer.from('1234567'))],
    ['what is no base64', '{"kvs":[{"value":"!!!!!!!!!!!="}]}'],
    ['an open end', '{"kvs":[{"value":"AAAA'],
  ])('is not known after %s: the own clock and ten minutes count', (_, text) => {
    const filter = started();
    second(filter);
    answer(filter, text);
    expect(filter.metric('tidbmesh_time_lookups_failed_total')).toBe(1);
    const now = filter.clock;
    expect(read(filter, now + 10 * MINUTE)).toBe('passes');
    expect(read(filter, now + 10 * MINUTE + 1)).toBe('refused');
    // PD is asked again five seconds later.
    second(filter, 4);
    tell(filter, NOW);
    expect(read(filter, NOW + DRIFT + 1)).toBe('refused');
  });

  test('stays what it was after a bad answer, and PD is asked which cluster it is', () => {
    const filter = started();
    tell(filter, NOW + HOUR);
    second(filter, 5);
    answer(filter, undefined);
    second(filter, 6);
    expect(asked(filter)).toBe('/pd/cluster_id');
    expect(read(filter, NOW + HOUR + 11_000 + DRIFT)).toBe('passes');
    expect(read(filter, NOW + HOUR + 11_000 + DRIFT + 1)).toBe('held');
  });

  test.each([
    ['without PD', { pd: undefined }],
    ['with a wider limit', { pd: undefined, limits: { maxTsDriftSeconds: 600 } }],
  ])('does not count %s', (_, more) => {
    const filter = started(more);
    second(filter, 10);
    expect(filter.timeCalls).toEqual([]);
    expect(read(filter, filter.clock + 10 * MINUTE)).toBe('passes');
    expect(read(filter, filter.clock + 10 * MINUTE + 1)).toBe('refused');
  });

  test('is asked for by one VM for all of an Envoy, and known to one that is made anew', () => {
    const shared: SharedData = new Map();
    const [one, other] = [started({}, shared), started({}, shared)];
    tell(one, NOW + HOUR);
    second(other);
    expect(other.timeCalls).toEqual([]);
    const anew = started({}, shared);
    second(anew);
    for (const filter of [other, anew]) {
      expect(read(filter, NOW + HOUR + DRIFT)).toBe('passes');
      expect(read(filter, NOW + HOUR + DRIFT + 1)).toBe('refused');
    }
    // All ask in turn: never two within five seconds.
    for (let i = 0; i < 12; i++) for (const filter of [other, one, anew]) second(filter);
    const questions = [one, other, anew].flatMap(({ timeCalls }) => timeCalls);
    expect(questions.length).toBeLessThanOrEqual(2 + 3);
  });

  test('is not taken from an answer about the cluster that comes late', () => {
    const shared: SharedData = new Map();
    const [one, other] = [started({}, shared), started({}, shared)];
    for (let i = 0; i < 2; i++) for (const filter of [one, other]) second(filter);
    // Both have asked which cluster it is. One is told, and tells the other, whose own answer comes then.
    expect([asked(one), asked(other)]).toEqual(['/pd/cluster_id', '/pd/cluster_id']);
    answer(one, held(eightBytes(CLUSTER)));
    answer(one, held(eightBytes(BigInt(NOW) * 1_000_000n)));
    second(other);
    answer(other, held(eightBytes(CLUSTER)));
    expect(asked(other)).toBe(`/pd/${CLUSTER}/timestamp`);
    for (const filter of [other, one]) {
      expect(read(filter, NOW + 10_000 + DRIFT)).not.toBe('passes');
      second(one);
    }
  });

  test('is that of the own PD where two plugins name two', () => {
    const shared: SharedData = new Map();
    const filter = started({}, shared);
    tell(filter, NOW + HOUR);
    filter.pluginName = 'other';
    const first = filter.supersede(config({ pd: { cluster: 'another' } }));
    expect(read(filter, filter.clock + DRIFT + 1)).toBe('held');
    // The other PD is asked for its own cluster, and says another time.
    second(filter);
    expect(asked(filter)).toBe('/pd/cluster_id');
    answer(filter, held(eightBytes(CLUSTER + 1n)));
    expect(asked(filter)).toBe(`/pd/${CLUSTER + 1n}/timestamp`);
    answer(filter, held(eightBytes(BigInt(NOW - HOUR) * 1_000_000n)));
    const latest = (time: number, root?: number): void => {
      expect(read(filter, time, false, root)).toBe('passes');
      expect(read(filter, time + 1, false, root)).not.toBe('passes');
    };
    latest(NOW - HOUR + DRIFT);
    latest(NOW + HOUR + 1000 + DRIFT, first);
    // A VM that is made anew finds both.
    const anew = started({ pd: { cluster: 'another' } }, shared);
    second(anew);
    expect(read(anew, NOW - HOUR + DRIFT)).toBe('passes');
    expect(read(anew, NOW)).toBe('refused');
  });

  test('that goes back by Envoy is asked for at once', () => {
    const filter = started();
    tell(filter, NOW);
    const before = filter.timeCalls.length;
    filter.clock -= HOUR;
    second(filter);
    expect(filter.timeCalls.length).toBe(before + 1);
    expect(read(filter, NOW + DRIFT)).toBe('passes');
  });
});
