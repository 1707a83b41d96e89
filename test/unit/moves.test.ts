/** A tenant that moves to another key range: its phases on open streams, what the VMs acknowledge, and its keys and regions afterwards. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule, type SharedData } from '../../bench/module.ts';
import { concat } from '../harness/model/bytes.ts';
import { bytes, frame, scalar } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';

const BATCH = '/tikvpb.Tikv/BatchCommands';
const FEED = '/cdcpb.ChangeData/EventFeed';
const KEY = rowKey(100, 1);
const NOW = 1_700_000_000_000;
const TS = BigInt(NOW) << 18n;
const LATEST = (1n << 64n) - 1n;
const EMPTY_KEY = new Uint8Array();
const CONTEXT = { regionId: 7n, regionEpoch: { confVer: 1n, version: 300n }, peer: { id: 5n, storeId: 1n } };
const MOVES =
  'tidb-mesh[TENANT_MOVES]: the tenant moves to another key range, and what this request does cannot be followed; try again when the move is over';

const caller = (name: string): Buffer => Buffer.from(`spiffe://m/ns/${name}/sa/tidb`);
const ALPHA = caller('alpha');
const BETA = caller('beta');
const SYSTEM = Buffer.from('spiffe://m/ns/storage/sa/pd');

const config = (alpha: object = {}, more: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name: 'alpha', number: 1, ...alpha },
        { name: 'beta', number: 2 },
      ],
      rules: [
        { principal: 'spiffe://m/ns/storage/sa/*', system: true },
        { principal: 'spiffe://m/ns/{tenant}/sa/*' },
      ],
      limits: { drainTimeoutSeconds: 30 },
      ...more,
    }),
  );
const TIMED = ['calm', 'drain', 'fence'];
const phase = (name: string, serial = 7): object => ({
  move: { serial, phase: name, ...(TIMED.includes(name) ? { until: NOW + 5000 } : {}) },
});

const GET: [string, Fields] = ['Get', { context: CONTEXT, key: KEY, version: TS }];
const NEWEST: [string, Fields] = ['Get', { context: CONTEXT, key: KEY, version: LATEST }];
const SCAN: [string, Fields] = [
  'Scan',
  { context: CONTEXT, startKey: KEY, endKey: rowKey(100, 9), version: TS },
];
const PREWRITE: [string, Fields] = [
  'Prewrite',
  {
    context: CONTEXT,
    mutations: [{ key: KEY }],
    primaryLock: KEY,
    startVersion: TS,
    useAsyncCommit: true,
    tryOnePc: true,
  },
];
const LOCK: [string, Fields] = [
  'PessimisticLock',
  { context: CONTEXT, mutations: [{ op: 5, key: KEY }], primaryLock: KEY, startVersion: TS },
];
const COMMIT: [string, Fields] = [
  'Commit',
  { context: CONTEXT, keys: [KEY], startVersion: TS, commitVersion: TS + 1n },
];
const FLUSH: [string, Fields] = [
  'Flush',
  { context: CONTEXT, mutations: [{ key: KEY }], primaryKey: KEY, startTs: TS, generation: 1n },
];
const DESTROY: [string, Fields] = [
  'DeleteRange',
  { context: CONTEXT, startKey: KEY, endKey: rowKey(100, 9) },
];
/** It asks for `_tidb_tid`, so the filter keeps a note for its answer. */
const PARTITIONS: [string, Fields] = [
  'Coprocessor',
  {
    context: CONTEXT,
    tp: 103n,
    startTs: TS,
    data: concat(
      bytes(2, scalar(1, 0), bytes(2, scalar(1, 77), bytes(2, scalar(1, -3), scalar(2, 8)))),
      bytes(5, Uint8Array.of(0)),
    ),
  },
];
const HEALTH: [string, Fields] = ['GetHealthFeedback', {}];

let filter: HostedModule;
let id: bigint;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = NOW;
  filter.configure(config());
  id = 0n;
});

/** Tells the end of a move as its worker does. */
const endMove = (alpha: object = {}, serial = 7): void => {
  filter.supersede(config({ ...alpha, ...phase('over', serial) }));
  filter.supersede(config(alpha));
};

const later = (ms: number): void => {
  filter.clock += ms;
  filter.tick();
};

/** The commands of a batch as they go on; its ids go on from the last. */
function sent(stream: number, ...commands: [string, Fields][]): Fields[] {
  const batch = encode('tikvpb.BatchCommandsRequest', {
    requests: commands.map(([name, value]) => ({ cmd: { case: name, value } })),
    requestIds: commands.map(() => ++id),
  });
  expect(filter.request(stream, frame(batch))).toBe(true);
  const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
  return (requests as Fields[]).map(({ cmd }) => cmd as Fields);
}

const names = (commands: Fields[]): string[] => commands.map((command) => command['case'] as string);

/** What the caller gets when the store answers this to a request. */
function answered(stream: number, request: bigint, command = 'Empty', value: Fields = {}): Fields {
  filter.answerHeaders(stream);
  const answer = encode('tikvpb.BatchCommandsResponse', {
    responses: [{ cmd: { case: command, value } }],
    requestIds: [request],
  });
  expect(filter.answer(stream, frame(answer))).toBe(true);
  const { responses } = decode('tikvpb.BatchCommandsResponse', filter.passed().subarray(5));
  return responses[0].cmd as Fields;
}

/** One unary request as it goes on. */
function alone(type: string, [command, value]: [string, Fields]): { stream: number; message: Fields } {
  const stream = filter.open(ALPHA, callHeaders(`/tikvpb.Tikv/Kv${command}`));
  expect(filter.request(stream, frame(encode(type, value)))).toBe(true);
  return { stream, message: decode(type, filter.passed().subarray(5)) };
}

function status(): Fields {
  const headers = headerPairs([
    [':method', 'GET'],
    [':path', '/tidb-mesh/status'],
    [':authority', 'store:20160'],
  ]);
  expect(() => filter.open(SYSTEM, headers)).toThrow();
  return JSON.parse(filter.refusal) as Fields;
}

/** The moves that the first VM acknowledges. */
const moves = (): Fields[] => (status()['vms'] as Fields[])[0]!['moves'] as Fields[];

const tableOf = (command: Fields): number =>
  Buffer.from((command['value'] as Fields)['key'] as Uint8Array).readUInt16BE(1) - 0x8000;

const TRY_AGAIN = { maxTimestampNotSynced: {} };
const isTryAgain = (command: Fields): void => {
  const error = (command['value'] as Fields)['regionError'] as Fields;
  expect(error).toMatchObject(TRY_AGAIN);
  expect(error['message']).toBe('');
};

describe('a phase on an open stream', () => {
  const ALL = [GET, NEWEST, SCAN, PREWRITE, LOCK, COMMIT, DESTROY, FLUSH, HEALTH];
  test.each([
    ['prepare', ['DeleteRange', 'Flush']],
    ['calm', ['DeleteRange', 'Flush']],
    ['drain', ['Prewrite', 'PessimisticLock', 'DeleteRange', 'Flush']],
    ['fence', ['newest', 'Prewrite', 'PessimisticLock', 'Commit', 'DeleteRange', 'Flush']],
    ['final', ['Get', 'newest', 'Scan', 'Prewrite', 'PessimisticLock', 'Commit', 'DeleteRange', 'Flush']],
    ['over', ['DeleteRange', 'Flush']],
  ])('%s keeps %s back', (name, kept) => {
    const labels = [
      'Get',
      'newest',
      'Scan',
      'Prewrite',
      'PessimisticLock',
      'Commit',
      'DeleteRange',
      'Flush',
      'GetHealthFeedback',
    ];
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const beta = filter.open(BETA, callHeaders(BATCH));
    expect(names(sent(stream, ...ALL))).not.toContain('Empty');
    filter.supersede(config(phase(name)));
    const first = id + 1n;
    const commands = names(sent(stream, ...ALL));
    expect(labels.filter((_, i) => commands[i] === 'Empty')).toEqual(kept);
    for (const [i, label] of labels.entries()) {
      if (!kept.includes(label)) continue;
      const got = answered(stream, first + BigInt(i));
      const { error, errors } = got['value'] as { error?: string; errors?: { abort: string }[] };
      if (label === 'DeleteRange') expect(error).toBe(MOVES);
      else if (label === 'Flush') expect(errors?.map(({ abort }) => abort)).toEqual([MOVES]);
      else isTryAgain(got);
    }
    expect(names(sent(beta, ...ALL))).not.toContain('Empty');
  });

  test('calm takes early commits out of prewrites, prepare does not', () => {
    const flags = (stream: number): unknown[] => {
      const [prewrite] = sent(stream, PREWRITE);
      const value = prewrite!['value'] as Fields;
      return [value['useAsyncCommit'], value['tryOnePc']];
    };
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < 20; i++) expect(flags(stream)).toEqual([true, true]);
    filter.supersede(config(phase('prepare')));
    expect(flags(stream)).toEqual([true, true]);
    filter.supersede(config(phase('calm')));
    for (let i = 0; i < 20; i++) expect(flags(stream)).toEqual([false, false]);
    endMove();
    for (let i = 0; i < 20; i++) expect(flags(stream)).toEqual([true, true]);
  });

  test('who writes is hidden while the tenant moves, also where the context is known', () => {
    const context = { ...CONTEXT, txnSource: 5n, requestSource: 'external_Insert' };
    const source = (stream: number): unknown => {
      const [get] = sent(stream, ['Get', { context, key: KEY, version: TS }]);
      return ((get!['value'] as Fields)['context'] as Fields)['txnSource'];
    };
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < 20; i++) expect(source(stream)).toBe(5n);
    filter.supersede(config(phase('prepare')));
    for (let i = 0; i < 20; i++) expect(source(stream)).toBe(0n);
    endMove();
    for (let i = 0; i < 20; i++) expect(source(stream)).toBe(5n);
  });
});

describe('a request alone on its stream', () => {
  test.each([
    ['drain', 'kvrpcpb.PrewriteRequest', PREWRITE, 0n],
    ['drain', 'kvrpcpb.CommitRequest', COMMIT, 300n],
    ['fence', 'kvrpcpb.CommitRequest', COMMIT, 0n],
    ['fence', 'kvrpcpb.GetRequest', NEWEST, 0n],
    ['final', 'kvrpcpb.GetRequest', GET, 0n],
  ] as const)('in %s: %s goes on where the store turns it away', (name, type, command, version) => {
    const get = (): bigint =>
      alone(type, [...command] as [string, Fields]).message['context'].regionEpoch.version as bigint;
    for (let i = 0; i < 20; i++) expect(get()).toBe(300n);
    filter.supersede(config(phase(name)));
    for (let i = 0; i < 20; i++) expect(get()).toBe(version);
    expect(moves()[0]).toMatchObject({ held: version === 0n ? 20 : 0 });
  });

  test.each([
    '/tikvpb.Tikv/UnsafeDestroyRange',
    '/tikvpb.Tikv/KvDeleteRange',
    '/tikvpb.Tikv/KvFlush',
    '/import_sstpb.ImportSST/Write',
    '/import_sstpb.ImportSST/Ingest',
    '/import_sstpb.ImportSST/MultiIngest',
  ])('%s is refused while the tenant moves', (path) => {
    filter.close(filter.open(ALPHA, callHeaders(path)));
    filter.supersede(config(phase('prepare')));
    expect(() => filter.open(ALPHA, callHeaders(path))).toThrow(MOVES.replace(': ', `: ${path}: `));
    filter.close(filter.open(BETA, callHeaders(path)));
    endMove();
    filter.close(filter.open(ALPHA, callHeaders(path)));
  });

  const DELETION = frame(
    encode('kvrpcpb.DeleteRangeRequest', { context: CONTEXT, startKey: KEY, endKey: rowKey(100, 9) }),
  );
  const INGESTION = frame(encode('import_sstpb.IngestRequest', { context: CONTEXT }));
  test.each([
    ['/tikvpb.Tikv/KvDeleteRange', DELETION],
    ['/import_sstpb.ImportSST/Ingest', INGESTION],
  ])('%s is refused when its body comes after the beginning, and not when it has gone on', (path, body) => {
    const [gone, whole, half] = [1, 2, 3].map(() => filter.open(ALPHA, callHeaders(path)));
    expect(filter.request(gone!, body)).toBe(true);
    filter.request(half!, body.subarray(0, 7));
    filter.supersede(config(phase('prepare')));
    filter.refusal = '';
    expect(filter.request(gone!, Buffer.alloc(0))).toBe(true);
    expect(filter.refusal).toBe('');
    expect(filter.request(whole!, body)).toBe(false);
    expect(filter.refusal).toContain(MOVES);
    filter.refusal = '';
    expect(filter.request(half!, body.subarray(7))).toBe(false);
    expect(filter.refusal).toContain(MOVES);
  });

  test('that has waited under a rate is refused when it goes on after the beginning', () => {
    const limits = { limits: { requestsPerSecond: 1 } };
    filter.supersede(config(limits));
    filter.open(ALPHA, callHeaders('/tikvpb.Tikv/KvGet'));
    const { context, goesOn } = filter.tryOpen(ALPHA, callHeaders('/tikvpb.Tikv/KvDeleteRange'));
    expect(goesOn).toBe(false);
    filter.supersede(config({ ...limits, ...phase('prepare') }));
    later(1000);
    expect(filter.continued).toEqual([context]);
    expect(filter.request(context, DELETION)).toBe(false);
    expect(filter.refusal).toContain(MOVES);
  });

  test.each(['/pdpb.PD/Tso', '/pdpb.PD/GetRegion', '/etcdserverpb.KV/Txn'])('%s goes on in final', (path) => {
    filter.supersede(config(phase('final')));
    filter.close(filter.open(ALPHA, callHeaders(path)));
  });
});

test('the status tells one Envoy from another, whichever of its VMs answers', () => {
  const shared: SharedData = new Map();
  const envoys = [new HostedModule(shared), new HostedModule(shared), new HostedModule(new Map())].map(
    (vm) => {
      filter = vm;
      vm.clock = NOW;
      vm.configure(config());
      return status()['envoy'] as string;
    },
  );
  expect(envoys[0]).toMatch(/^[0-9a-f]{16}$/);
  expect(envoys[1]).toBe(envoys[0]);
  expect(envoys[2]).not.toBe(envoys[0]);
});

describe('the acknowledgement', () => {
  test('is there at once, also for a tenant that sent nothing', () => {
    expect(moves()).toEqual([]);
    filter.supersede(config(phase('fence', 9)));
    const nothing = {
      writesOutstanding: 0,
      finishesOutstanding: 0,
      bulkOutstanding: 0,
      outstanding: 0,
      held: 0,
    };
    expect(moves()).toEqual([{ tenant: 'alpha', serial: 9, phase: 'fence', lifted: false, ...nothing }]);
    endMove({}, 9);
    expect(moves()).toEqual([]);
  });

  test('counts what the store has not answered, by kind', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(phase('prepare')));
    sent(stream, GET, PREWRITE, COMMIT, LOCK);
    const commit = alone('kvrpcpb.CommitRequest', COMMIT);
    const is = (writes: number, finishes: number, all: number): void =>
      expect(moves()[0]).toMatchObject({
        writesOutstanding: writes,
        finishesOutstanding: finishes,
        outstanding: all,
      });
    is(2, 2, 5);
    answered(stream, 2n, 'Prewrite');
    is(1, 2, 4);
    answered(stream, 1n, 'Get');
    is(1, 2, 3);
    filter.close(commit.stream);
    is(1, 1, 2);
    filter.supersede(config(phase('drain')));
    sent(stream, PREWRITE, LOCK);
    is(1, 1, 2);
    expect(moves()[0]).toMatchObject({ held: 2, phase: 'drain' });
    answered(stream, 4n, 'PessimisticLock');
    answered(stream, 5n);
    is(0, 1, 1);
    answered(stream, 3n, 'Commit');
    is(0, 0, 0);
  });

  test('counts what is refused now, and was let through before', () => {
    const path = '/import_sstpb.ImportSST/MultiIngest';
    const stream = filter.open(ALPHA, callHeaders(path));
    expect(
      filter.request(stream, frame(encode('import_sstpb.MultiIngestRequest', { context: CONTEXT }))),
    ).toBe(true);
    const batch = filter.open(ALPHA, callHeaders(BATCH));
    sent(batch, DESTROY);
    filter.supersede(config(phase('prepare')));
    sent(batch, PREWRITE);
    expect(moves()[0]).toMatchObject({ bulkOutstanding: 2 });
    filter.close(stream);
    expect(moves()[0]).toMatchObject({ bulkOutstanding: 1 });
    answered(batch, 1n, 'DeleteRange');
    expect(moves()[0]).toMatchObject({ bulkOutstanding: 0, writesOutstanding: 1 });
  });

  test('counts requests from before the move as both kinds, until they are answered', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    sent(stream, GET, PREWRITE, GET);
    filter.supersede(config(phase('calm')));
    const is = (writes: number, all: number): void =>
      expect(moves()[0]).toMatchObject({ writesOutstanding: writes, outstanding: all });
    is(3, 3);
    sent(stream, GET, GET);
    is(3, 5);
    answered(stream, 4n, 'Get');
    is(3, 4);
    answered(stream, 2n, 'Prewrite');
    is(2, 3);
    answered(stream, 1n, 'Get');
    answered(stream, 5n, 'Get');
    answered(stream, 3n, 'Get');
    is(0, 0);
  });

  test('the same for a request that has left a note', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    sent(stream, PARTITIONS, GET);
    filter.supersede(config(phase('prepare')));
    sent(stream, PARTITIONS);
    const is = (writes: number, all: number): void =>
      expect(moves()[0]).toMatchObject({ writesOutstanding: writes, outstanding: all });
    is(2, 3);
    answered(stream, 3n, 'Coprocessor');
    is(2, 2);
    answered(stream, 1n, 'Coprocessor');
    is(1, 1);
    answered(stream, 2n, 'Get');
    is(0, 0);
  });

  test('comes from a VM that serves since its last tick', () => {
    const shared: SharedData = new Map();
    const [one, two] = [new HostedModule(shared), new HostedModule(shared)];
    for (const vm of [one, two]) {
      vm.clock = NOW;
      vm.configure(config(phase('prepare')));
    }
    const ids = (): unknown[] => {
      filter = one;
      return (status()['vms'] as Fields[]).map((vm) => vm['id']);
    };
    expect(ids()).toEqual([0]);
    two.open(ALPHA, callHeaders(BATCH));
    expect(ids()).toEqual([0, 1]);
  });
});

describe('a change feed', () => {
  test('goes on until final, which is acknowledged when it has ended', () => {
    const [feed, beta] = [ALPHA, BETA].map((who) => filter.open(who, callHeaders(FEED)));
    const unended = (): unknown => moves()[0]!['writesOutstanding'];
    for (const name of ['prepare', 'drain', 'fence']) {
      filter.supersede(config(phase(name)));
      later(100);
      expect(unended()).toBe(0);
    }
    expect(filter.ended).toEqual([]);
    filter.supersede(config(phase('final')));
    expect(unended()).toBe(1);
    later(100);
    expect([filter.ended, unended()]).toEqual([[feed], 0]);
    expect(() => filter.open(ALPHA, callHeaders(FEED))).toThrow(MOVES.replace(': ', `: ${FEED}: `));
    filter.close(filter.open(BETA, callHeaders(FEED)));
    expect(filter.request(beta!, Buffer.alloc(0))).toBe(true);
    endMove();
    filter.close(filter.open(ALPHA, callHeaders(FEED)));
  });
});

describe('a hold whose time is over', () => {
  test('ends by itself, and the VM says so for ever', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(phase('fence')));
    expect(names(sent(stream, PREWRITE))).toEqual(['Empty']);
    later(4900);
    expect(names(sent(stream, PREWRITE))).toEqual(['Empty']);
    expect(moves()[0]).toMatchObject({ lifted: false });
    later(100);
    const [prewrite] = sent(stream, PREWRITE);
    expect(prewrite).toMatchObject({ case: 'Prewrite', value: { useAsyncCommit: true } });
    expect(names(sent(stream, DESTROY))).toEqual(['Empty']);
    expect(moves()[0]).toMatchObject({ lifted: true, phase: 'fence', serial: 7 });
    filter.supersede(config(phase('final')));
    expect(moves()[0]).toMatchObject({ lifted: true, phase: 'final' });
    filter.supersede(config(phase('prepare', 8)));
    expect(moves()[0]).toMatchObject({ lifted: false, phase: 'prepare' });
  });

  test('that was over before the configuration came is never begun', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.clock = NOW + 6000;
    filter.supersede(config(phase('fence')));
    expect(names(sent(stream, PREWRITE))).toEqual(['Prewrite']);
    expect(moves()[0]).toMatchObject({ lifted: true });
  });

  test('final never ends by itself', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(phase('final')));
    later(10 * 24 * 3600 * 1000);
    expect(names(sent(stream, GET))).toEqual(['Empty']);
  });
});

describe('other keys under an open stream', () => {
  const MOVED = { keyNumber: 5, epochOffset: 1000, readableSince: String(TS) };

  test('are taken over at once where nothing is outstanding', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    expect(tableOf(sent(stream, GET)[0]!)).toBe(1);
    answered(stream, 1n, 'Get');
    filter.supersede(config(MOVED));
    const context = { ...CONTEXT, regionEpoch: { confVer: 1n, version: 1300n } };
    const [get] = sent(stream, ['Get', { context, key: KEY, version: TS }]);
    expect(tableOf(get!)).toBe(5);
    expect((get!['value'] as Fields)['context'].regionEpoch.version).toBe(300n);
    later(2000);
    expect(filter.ended).toEqual([]);
  });

  test('wait for the answers to come, and hold what is new', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(phase('final')));
    endMove();
    sent(stream, SCAN);
    filter.supersede(config({ ...MOVED, ...phase('calm', 8) }));
    expect(names(sent(stream, GET, COMMIT))).toEqual(['Empty', 'Empty']);
    isTryAgain(answered(stream, 2n));
    const key = Buffer.from(KEY);
    key.writeUInt16BE(0x8001, 1);
    const scanned = answered(stream, 1n, 'Scan', { pairs: [{ key, value: KEY }] });
    expect(Buffer.from((scanned['value'] as Fields)['pairs'][0].key as Uint8Array)).toEqual(KEY);
    expect(tableOf(sent(stream, GET)[0]!)).toBe(5);
    isTryAgain(answered(stream, 3n));
    later(40_000);
    expect(filter.ended).toEqual([]);
  });

  test('end a stream whose reads take too long, but not one with a write', () => {
    const reads = filter.open(ALPHA, callHeaders(BATCH));
    const writes = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(phase('prepare')));
    sent(reads, SCAN);
    sent(writes, COMMIT);
    filter.supersede(config({ ...MOVED, ...phase('prepare') }));
    later(4000);
    expect(filter.ended).toEqual([]);
    later(2000);
    expect(filter.ended).toEqual([reads]);
    answered(writes, 2n, 'Commit');
    expect(tableOf(sent(writes, GET)[0]!)).toBe(5);
  });

  test('hold requests alone on their streams that begin under the former configuration', () => {
    const former = filter.supersede(config(MOVED));
    const stream = filter.openUnder(former, ALPHA, callHeaders('/tikvpb.Tikv/KvGet'));
    filter.request(stream, frame(encode('kvrpcpb.GetRequest', GET[1])));
    const message = decode('kvrpcpb.GetRequest', filter.passed().subarray(5));
    expect(message['context'].regionEpoch.version).toBe(0n);
  });

  const RANGE = { context: CONTEXT, startKey: KEY, endKey: rowKey(100, 9) };
  const SOME_KEYS = { startKey: EMPTY_KEY, endKey: EMPTY_KEY, limit: 3 };
  test.each([
    ['/tikvpb.Tikv/UnsafeDestroyRange', encode('kvrpcpb.UnsafeDestroyRangeRequest', RANGE)],
    ['/tikvpb.Tikv/GetLockWaitInfo', encode('kvrpcpb.GetLockWaitInfoRequest', { context: CONTEXT })],
    ['/pdpb.PD/ScanRegions', encode('pdpb.ScanRegionsRequest', SOME_KEYS)],
    ['/pdpb.PD/ScatterRegion', encode('pdpb.ScatterRegionRequest', { regionId: 7n })],
  ])('%s does not reach the former place when its body comes after the move', (path, message) => {
    const body = frame(message);
    const [before, whole, half] = [1, 2, 3].map(() => filter.open(ALPHA, callHeaders(path)));
    expect(filter.request(before!, body)).toBe(true);
    filter.request(half!, body.subarray(0, 4));
    filter.supersede(config(MOVED));
    for (const [stream, rest] of [
      [whole!, body],
      [half!, body.subarray(4)],
    ] as const) {
      filter.refusal = '';
      expect(filter.request(stream, rest)).toBe(false);
      expect(filter.refusal).toContain(MOVES);
    }
    filter.refusal = '';
    const anew = filter.open(ALPHA, callHeaders(path));
    filter.request(anew, body);
    expect(filter.refusal).toBe('');
  });

  const LABELS = '/pd/api/v1/config/region-label/rule';
  const rule = (path = LABELS, method = 'POST'): Uint8Array =>
    headerPairs([
      [':method', method],
      [':path', path],
      ['content-type', 'application/json'],
    ]);

  test('a rule does not reach the former place when its body comes after the move', () => {
    const bounds = { start_key: '', end_key: '' };
    const labels = [{ key: 'merge_option', value: 'deny' }];
    const body = Buffer.from(
      JSON.stringify({ id: 'schema/1', labels, rule_type: 'key-range', data: [bounds] }),
    );
    const [before, whole, half] = [1, 2, 3].map(() => filter.open(ALPHA, rule()));
    expect(filter.request(before!, body, true)).toBe(true);
    filter.request(half!, body.subarray(0, 9));
    filter.supersede(config(MOVED));
    for (const [stream, rest] of [
      [whole!, body],
      [half!, body.subarray(9)],
    ] as const) {
      filter.refusal = '';
      expect(filter.request(stream, rest, true)).toBe(false);
      expect(filter.refusal).toContain('TENANT_MOVES');
    }
    expect(filter.request(filter.open(ALPHA, rule()), body, true)).toBe(true);
  });

  test('a path with keys does not reach the former place when its call has waited', () => {
    const limits = { pdRequestsPerSecond: 1 };
    filter.configure(config({ limits }));
    const regions = (): Uint8Array => rule('/pd/api/v1/regions/key?key=&end_key=', 'GET');
    const calls = [1, 2, 3].map(() => filter.tryOpen(ALPHA, regions()));
    expect(calls.map(({ goesOn }) => goesOn)).toEqual([true, false, false]);
    later(1000);
    expect(filter.continued).toEqual([calls[1]!.context]);
    expect(filter.refusal).toBe('');
    filter.supersede(config({ ...MOVED, limits }));
    later(1000);
    expect(filter.continued).toEqual([calls[1]!.context]);
    expect(filter.refusal).toContain('TENANT_MOVES');
  });

  test('a stream of timestamps goes on at the new place', () => {
    const tso = filter.open(ALPHA, callHeaders('/pdpb.PD/Tso'));
    const body = frame(encode('pdpb.TsoRequest', { count: 1 }));
    expect(filter.request(tso, body)).toBe(true);
    filter.supersede(config(MOVED));
    expect(filter.request(tso, body)).toBe(true);
    later(2000);
    expect(filter.ended).toEqual([]);
  });

  test('outlive the configuration that gave them', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    filter.supersede(config(MOVED));
    expect(tableOf(sent(stream, GET)[0]!)).toBe(5);
    answered(stream, 1n, 'Get');
    const gone = filter.supersede(config(MOVED, { observability: { maxTenants: 5 } }));
    filter.close(gone);
    later(2000);
    for (let i = 0; i < 50; i++) filter.supersede(config({ ...MOVED, keyNumber: 6 + (i % 2) }));
    expect(tableOf(sent(stream, GET)[0]!)).toBe(7);
    answered(stream, 2n, 'Get');
    filter.close(stream);
    later(2000);
  });

  test('hold nothing for ever when the configuration that gave them has gone', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const former = filter.supersede(config(MOVED));
    expect(tableOf(sent(stream, GET)[0]!)).toBe(5);
    answered(stream, 1n, 'Get');
    filter.goBack(former);
    later(1000);
    expect(tableOf(sent(stream, GET)[0]!)).toBe(1);
  });

  test('leave the new configuration its own timer', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    sent(stream, GET);
    const former = filter.supersede(config(MOVED));
    expect(filter.tickPeriod).toBe(1000);
    filter.close(stream);
    filter.close(former);
    later(3_600_000);
    const beta = filter.open(BETA, callHeaders(BATCH));
    const newer: [string, Fields] = ['Get', { ...GET[1], version: BigInt(filter.clock) << 18n }];
    expect(names(sent(beta, newer))).toEqual(['Get']);
  });

  test('leave time, etcd and the neighbour alone', () => {
    const open = ['/pdpb.PD/Tso', '/etcdserverpb.Watch/Watch', '/etcdserverpb.Lease/LeaseKeepAlive'].map(
      (path) => filter.open(ALPHA, callHeaders(path)),
    );
    open.push(filter.open(BETA, callHeaders(BATCH)));
    const feed = filter.open(ALPHA, callHeaders(FEED));
    filter.supersede(config(MOVED));
    later(2000);
    later(40_000);
    expect(filter.ended).toEqual([feed]);
    for (const stream of open) expect(filter.answerHeaders(stream)).toBe(true);
  });
});

describe('the versions of regions', () => {
  const OFFSET = 2 ** 31;
  const region = (version: bigint, key = 1): Fields => {
    const startKey = Buffer.from(encode('metapb.Region', {}));
    void startKey;
    return { id: BigInt(key), regionEpoch: { confVer: 3n, version } };
  };

  test.each([
    [300n, 0n],
    [2n ** 31n - 1n, 0n],
    [2n ** 31n, 0n],
    [2n ** 31n + 1n, 1n],
    [2n ** 31n + 300n, 300n],
    [2n ** 63n, 2n ** 63n - 2n ** 31n],
    [0n, 0n],
  ])('%s of a request becomes %s', (shown, stored) => {
    filter.supersede(config({ epochOffset: OFFSET }));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const context = { ...CONTEXT, regionEpoch: { confVer: 9n, version: shown } };
    for (let i = 0; i < 10; i++) {
      const [get] = sent(stream, ['Get', { context, key: KEY, version: TS }]);
      expect((get!['value'] as Fields)['context'].regionEpoch).toMatchObject({
        confVer: 9n,
        version: stored,
      });
    }
    const { message } = alone('kvrpcpb.GetRequest', ['Get', { context, key: KEY, version: TS }]);
    expect(message['context'].regionEpoch.version).toBe(stored);
  });

  test('a region that the store tells of is raised, an absent version stays absent', () => {
    filter.supersede(config({ epochOffset: OFFSET }));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    for (let i = 0; i < 10; i++) {
      sent(stream, GET);
      const got = answered(stream, id, 'Get', {
        regionError: { epochNotMatch: { currentRegions: [region(300n), region(0n), region(1n)] } },
      });
      const regions = (got['value'] as Fields)['regionError'].epochNotMatch.currentRegions as Fields[];
      expect(regions.map((one) => one['regionEpoch'].version as bigint)).toEqual([
        2n ** 31n + 300n,
        0n,
        2n ** 31n + 1n,
      ]);
    }
  });

  test('PD tells of raised ones', () => {
    filter.supersede(config({ epochOffset: OFFSET }));
    for (let i = 0; i < 10; i++) {
      const stream = filter.open(ALPHA, callHeaders('/pdpb.PD/GetRegion'));
      filter.answerHeaders(stream);
      expect(filter.answer(stream, frame(encode('pdpb.GetRegionResponse', { region: region(40n) })))).toBe(
        true,
      );
      const answer = decode('pdpb.GetRegionResponse', filter.passed().subarray(5));
      expect(answer['region'].regionEpoch.version).toBe(2n ** 31n + 40n);
    }
  });

  test('tenant 0 sees raised ones, and still all keys', () => {
    filter.supersede(config({ number: 0, epochOffset: 1000 }));
    const stream = filter.open(ALPHA, callHeaders('/tikvpb.Tikv/KvScanLock'));
    const foreign = rowKey(100, 1, 2);
    const context = { ...CONTEXT, regionEpoch: { confVer: 1n, version: 1300n } };
    filter.request(
      stream,
      frame(encode('kvrpcpb.ScanLockRequest', { context, startKey: foreign, maxVersion: TS })),
    );
    const request = decode('kvrpcpb.ScanLockRequest', filter.passed().subarray(5));
    expect(request['context'].regionEpoch.version).toBe(300n);
    expect(Buffer.from(request['startKey'] as Uint8Array)).toEqual(Buffer.from(foreign));
    filter.answerHeaders(stream);
    filter.answer(
      stream,
      frame(
        encode('kvrpcpb.ScanLockResponse', {
          regionError: { epochNotMatch: { currentRegions: [region(300n)] } },
          locks: [{ key: foreign, primaryLock: foreign, lockVersion: 5n }],
        }),
      ),
    );
    const answer = decode('kvrpcpb.ScanLockResponse', filter.passed().subarray(5));
    expect(answer['regionError'].epochNotMatch.currentRegions[0].regionEpoch.version).toBe(1300n);
    expect(Buffer.from(answer['locks'][0].key as Uint8Array)).toEqual(Buffer.from(foreign));
  });
});

describe('a copy without older versions', () => {
  test.each([
    [TS - 1n, 'refused'],
    [TS, 'read'],
    [LATEST, 'read'],
    [1n, 'refused'],
  ])('a read at %s is %s', (version, what) => {
    filter.supersede(config({ readableSince: String(TS) }));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const reads: [string, Fields][] = [
      ['Get', { context: CONTEXT, key: KEY, version }],
      ['Scan', { context: CONTEXT, startKey: KEY, endKey: rowKey(100, 9), version }],
      ['BatchGet', { context: CONTEXT, keys: [KEY], version }],
      ['Coprocessor', { context: CONTEXT, tp: 104n, startTs: version }],
    ];
    for (let i = 0; i < 10; i++) {
      const first = id + 1n;
      const commands = names(sent(stream, ...reads));
      expect(commands).toEqual(what === 'read' ? reads.map(([name]) => name) : reads.map(() => 'Empty'));
      if (what === 'refused')
        expect((answered(stream, first)['value'] as Fields)['error'].abort).toMatch(
          /^tidb-mesh\[READ_TOO_OLD\]: the snapshot is older than the copy/,
        );
    }
    const feed = filter.open(ALPHA, callHeaders(FEED));
    const registration = { regionId: 7n, checkpointTs: version, startKey: EMPTY_KEY, endKey: EMPTY_KEY };
    const goesOn = filter.request(feed, frame(encode('cdcpb.ChangeDataRequest', registration)));
    expect(goesOn).toBe(what === 'read');
    expect(
      names(sent(stream, ['Prewrite', { ...PREWRITE[1], startVersion: version === LATEST ? TS : version }])),
    ).toEqual(['Prewrite']);
  });
});

describe('a configuration from before what was obeyed', () => {
  const AT = { keyNumber: 5, epochOffset: 100 };
  const outdated = { tenant: 'alpha', phase: 'outdated' };
  const first = (vm: HostedModule, all = [GET, COMMIT]): string[] => {
    filter = vm;
    id = 0n;
    const stream = vm.open(ALPHA, callHeaders(BATCH));
    const found = names(sent(stream, ...all));
    vm.close(stream);
    return found;
  };

  test.each([
    ['of an earlier phase', phase('calm', 7)],
    ['of the time before the move', {}],
  ])('%s is held, until one as late comes', (_, alpha) => {
    filter.supersede(config(phase('calm', 7)));
    filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    expect(first(filter)).toEqual(['Get', 'Commit']);
    filter.supersede(config(alpha));
    expect(first(filter)).toEqual(['Empty', 'Empty']);
    expect(moves()).toMatchObject([{ ...outdated, serial: 'move' in alpha ? 7 : 0, latestSerial: 8 }]);
    // Nobody else is.
    expect(names(sent(filter.open(BETA, callHeaders(BATCH)), GET))).toEqual(['Get']);
    expect(alone('kvrpcpb.GetRequest', GET).message['context'].regionEpoch.version).toBe(0n);
    filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    expect(first(filter)).toEqual(['Get', 'Commit']);
    expect(moves()).toMatchObject([{ serial: 8, phase: 'calm' }]);
  });

  test('is also an earlier phase of the same serial, and does not end by itself', () => {
    const shared: SharedData = new Map();
    const one = new HostedModule(shared);
    one.clock = NOW;
    one.configure(config(phase('fence', 7)));
    one.supersede(config(phase('final', 7)));
    const two = new HostedModule(shared);
    for (const vm of [one, two]) {
      vm.clock = NOW;
      if (vm === one) vm.supersede(config(phase('drain', 7)));
      else vm.configure(config(phase('drain', 7)));
      filter = vm;
      later(6000);
      expect(first(vm)).toEqual(['Empty', 'Empty']);
      expect((status()['vms'] as Fields[]).at(-1)!['moves']).toMatchObject([{ ...outdated, serial: 7 }]);
      vm.supersede(config(phase('final', 7)));
      expect((status()['vms'] as Fields[]).at(-1)!['moves']).toMatchObject([{ phase: 'final', serial: 7 }]);
    }
    for (const vm of [one, two]) {
      vm.supersede(config(phase('prepare', 8)));
      expect(first(vm)).toEqual(['Get', 'Commit']);
    }
  });

  test('is known by a VM that is made anew', () => {
    const shared: SharedData = new Map();
    const one = new HostedModule(shared);
    one.clock = NOW;
    one.configure(config({ ...AT, ...phase('calm', 8) }));
    for (const alpha of [phase('calm', 7), {}]) {
      const two = new HostedModule(shared);
      two.clock = NOW;
      two.configure(config(alpha));
      expect(first(two)).toEqual(['Empty', 'Empty']);
      expect((status()['vms'] as Fields[]).at(-1)!['moves']).toMatchObject([outdated]);
      // Nor does it act at the former place by what PD does.
      const call = headerPairs([
        [':method', 'POST'],
        [':path', '/pd/api/v1/regions/scatter'],
      ]);
      const { context, goesOn } = two.tryOpen(ALPHA, call);
      expect(goesOn && two.request(context, Buffer.from('{"start_key":"","end_key":""}'), true)).toBe(false);
      expect(two.refusal).toContain(MOVES);
    }
    const three = new HostedModule(shared);
    three.clock = NOW;
    three.configure(config({ ...AT, ...phase('calm', 9) }));
    expect(first(three)).toEqual(['Get', 'Commit']);
  });

  test('is not the end of a move, nor a move back', () => {
    filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    filter.supersede(config({ epochOffset: 200, ...phase('calm', 9) }));
    expect(first(filter)).toEqual(['Get', 'Commit']);
    filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    expect(first(filter)).toEqual(['Empty', 'Empty']);
    endMove({ epochOffset: 200 }, 9);
    expect(first(filter)).toEqual(['Get', 'Commit']);
    expect(moves()).toEqual([]);
    // The end of a move is no reason to go back to a former place.
    filter.supersede(config(AT));
    expect(first(filter)).toEqual(['Empty', 'Empty']);
    filter.supersede(config({ ...AT, ...phase('over', 8) }));
    expect(first(filter)).toEqual(['Empty', 'Empty']);
    endMove({ epochOffset: 200 }, 9);
    expect(first(filter)).toEqual(['Get', 'Commit']);
    // The versions of regions may begin anew by hand.
    filter.supersede(config());
    expect(first(filter)).toEqual(['Get', 'Commit']);
  });

  test('is not in force again for a stream that begins while Envoy puts a newer one in its place', () => {
    const calm = (serial: number): object => ({ move: { serial, phase: 'calm', until: NOW + 60_000 } });
    const former = filter.supersede(config(calm(7)));
    filter.openUnder(former, BETA, callHeaders(BATCH));
    // The filter's clock moves with the tick.
    later(5);
    filter.openUnder(former, BETA, callHeaders(BATCH));
    later(3000);
    expect(moves()).toMatchObject([{ serial: 7, phase: 'calm' }]);
    filter.open(BETA, callHeaders(BATCH));
    filter.supersede(config({ ...AT, ...calm(8) }));
    later(3000);
    expect(moves()).toMatchObject([{ serial: 8, phase: 'calm' }]);
    // Envoy goes back.
    filter.openUnder(former, BETA, callHeaders(BATCH));
    later(3000);
    expect(moves()).toMatchObject([outdated]);
  });

  test('is in force again when Envoy goes back within a second, once a stream had begun under the newer one', () => {
    const former = filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    filter.open(BETA, callHeaders(BATCH));
    later(1000);
    filter.openUnder(former, BETA, callHeaders(BATCH));
    later(3000);
    expect(moves()).toMatchObject([outdated]);
  });

  test('is that of another tenant once the tenant was gone', () => {
    filter.supersede(config({ ...AT, ...phase('calm', 8) }));
    filter.supersede(config({ name: 'gamma', number: 3 }));
    filter.supersede(config());
    expect(first(filter)).toEqual(['Get', 'Commit']);
  });
});

describe('a configuration without the move', () => {
  const untold = { tenant: 'alpha', serial: 7, phase: 'untold' };
  const ALL = [GET, PREWRITE, COMMIT, DESTROY];
  const OPEN = ['Get', 'Prewrite', 'Commit', 'Empty'];
  const FREE = ['Get', 'Prewrite', 'Commit', 'DeleteRange'];
  const HELD = ['Empty', 'Empty', 'Empty', 'Empty'];
  /** What passes on a stream of its own. */
  const passing = (vm: HostedModule): string[] => {
    filter = vm;
    const stream = vm.open(ALPHA, callHeaders(BATCH));
    const found = names(sent(stream, ...ALL));
    vm.close(stream);
    return found;
  };
  const acknowledged = (): Fields[] => (status()['vms'] as Fields[]).at(-1)!['moves'] as Fields[];

  test('is the end of a move that was told to be over, and of no other', () => {
    filter.supersede(config(phase('prepare')));
    filter.supersede(config());
    expect(passing(filter)).toEqual(OPEN);
    expect(moves()).toMatchObject([{ ...untold, lifted: false }]);
    // A later order counts, and one at the same place from before does not.
    filter.supersede(config(phase('drain', 8)));
    expect(passing(filter)).toEqual(['Get', 'Empty', 'Commit', 'Empty']);
    filter.supersede(config(phase('over', 7)));
    expect(passing(filter)).toEqual(HELD);
    filter.supersede(config(phase('over', 9)));
    expect(passing(filter)).toEqual(OPEN);
    expect(moves()).toMatchObject([{ serial: 9, phase: 'over' }]);
    filter.supersede(config());
    expect(passing(filter)).toEqual(FREE);
    expect(moves()).toEqual([]);
  });

  test('lets a hold go on until its end', () => {
    filter.supersede(config(phase('fence')));
    filter.supersede(config());
    expect(passing(filter)).toEqual(['Get', 'Empty', 'Empty', 'Empty']);
    expect(moves()).toMatchObject([{ ...untold, lifted: false }]);
    later(5000);
    expect(passing(filter)).toEqual(OPEN);
    expect(moves()).toMatchObject([{ ...untold, lifted: true }]);
  });

  test('lets what is held without an end be held', () => {
    filter.supersede(config(phase('final')));
    filter.supersede(config());
    later(24 * 3600 * 1000);
    expect(passing(filter)).toEqual(HELD);
    endMove();
    expect(passing(filter)).toEqual(FREE);
  });

  test('does not go on with what was held since an order was older', () => {
    filter.supersede(config(phase('fence')));
    filter.supersede(config(phase('prepare')));
    expect(passing(filter)).toEqual(HELD);
    filter.supersede(config());
    expect(passing(filter)).toEqual(OPEN);
  });

  test.each([
    ['prepare', OPEN, false],
    ['fence', OPEN, true],
    ['final', HELD, false],
    ['over', FREE, undefined],
  ])('is judged by a VM that is made anew, after %s', (name, passes, lifted) => {
    const shared: SharedData = new Map();
    const one = new HostedModule(shared);
    one.clock = NOW;
    one.configure(config(phase(name)));
    const two = new HostedModule(shared);
    two.clock = NOW;
    two.configure(config());
    expect(passing(two)).toEqual(passes);
    expect(acknowledged()).toMatchObject(lifted === undefined ? [] : [{ ...untold, lifted }]);
    // Another Envoy knows nothing.
    const other = new HostedModule();
    other.clock = NOW;
    other.configure(config());
    expect(passing(other)).toEqual(FREE);
  });

  test('is that of another tenant once the tenant was gone', () => {
    filter.supersede(config(phase('prepare')));
    filter.supersede(config({ name: 'gamma', number: 3 }));
    filter.supersede(config());
    expect(passing(filter)).toEqual(FREE);
    expect(moves()).toEqual([]);
  });
});

describe('the state of a tenant that moves', () => {
  const SUSPENDED = { state: 'suspended' };
  const READ_ONLY = { state: 'read-only' };
  const get = (): void => filter.close(filter.open(ALPHA, callHeaders('/tikvpb.Tikv/KvGet')));
  const states = (): unknown => ((status()['vms'] as Fields[]).at(-1)!['configs'] as Fields[])[0]!['states'];
  const isSuspended = (): void => {
    expect(get).toThrow('TENANT_SUSPENDED');
    expect(states()).toEqual({ alpha: 'suspended' });
  };

  test.each([
    ['without the move', {}],
    ['of the time before, which has it elsewhere', { keyNumber: 5 }],
    ['of an earlier move', phase('prepare', 6)],
    ['of an earlier phase', phase('prepare', 7)],
    ['of a later version of the filter', phase('flipped', 8)],
  ])('is opened by no configuration %s', (_, alpha) => {
    filter.supersede(config({ ...SUSPENDED, ...phase('calm', 7) }));
    isSuspended();
    for (const state of [{}, READ_ONLY]) {
      filter.supersede(config({ ...alpha, ...state }));
      isSuspended();
    }
    filter.supersede(config(phase('prepare', 9)));
    get();
    expect(states()).toEqual({});
  });

  test('is known by a VM that is made anew', () => {
    const shared: SharedData = new Map();
    const vm = (alpha: object): void => {
      filter = new HostedModule(shared);
      filter.clock = NOW;
      filter.configure(config(alpha));
    };
    vm({ ...SUSPENDED, ...phase('prepare') });
    vm({});
    isSuspended();
    vm(phase('prepare'));
    get();
    vm({});
    get();
  });

  test('can be stricter in a configuration without the move', () => {
    filter.supersede(config(phase('prepare')));
    filter.supersede(config(SUSPENDED));
    isSuspended();
    filter.supersede(config());
    get();
  });

  test('is that of the configuration once the move is over', () => {
    filter.supersede(config({ ...SUSPENDED, ...phase('prepare') }));
    endMove(SUSPENDED);
    isSuspended();
    filter.supersede(config());
    get();
  });
});

test('a phase of a later version of the filter holds its tenant, and nobody else', () => {
  filter.supersede(config({ move: { serial: 7, phase: 'flipped', until: 5 } }));
  expect(names(sent(filter.open(ALPHA, callHeaders(BATCH)), GET, COMMIT))).toEqual(['Empty', 'Empty']);
  expect(names(sent(filter.open(BETA, callHeaders(BATCH)), GET, COMMIT))).toEqual(['Get', 'Commit']);
  expect(moves()).toMatchObject([{ tenant: 'alpha', serial: 7, phase: 'unknown' }]);
  filter.supersede(config(phase('calm', 7)));
  expect(names(sent(filter.open(ALPHA, callHeaders(BATCH)), GET, COMMIT))).toEqual(['Get', 'Commit']);
  expect(moves()).toMatchObject([{ serial: 7, phase: 'calm' }]);
});
