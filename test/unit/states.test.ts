/** The states of a tenant: what is closed in which, on new streams and on open ones, and who is told what. */
import { beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { buildModule, callHeaders, headerPairs, HostedModule } from '../../bench/module.ts';
import { frame } from '../harness/model/wire.ts';
import { rowKey } from '../harness/support/keys.ts';
import { decode, encode, type Fields } from '../harness/support/messages.ts';
import { judge, type JudgedMethod } from '../../src-ts/schema/judgement.ts';
import { readDescriptors } from '../../src-ts/schema/descriptors.ts';

const BATCH = '/tikvpb.Tikv/BatchCommands';
const WATCH = '/etcdserverpb.Watch/Watch';
const KEY = rowKey(100, 1);
const READ_ONLY =
  'tidb-mesh[TENANT_READ_ONLY]: the tenant is read-only, so nothing can be written; ask the operators of the storage layer to make it active';
const SUSPENDED =
  'tidb-mesh[TENANT_SUSPENDED]: the tenant is suspended, so all its requests are refused; ask the operators of the storage layer to make it active';

const config = (state: string, name = 'alpha'): Buffer =>
  Buffer.from(
    JSON.stringify({
      tenants: [
        { name, number: 1, state },
        { name: 'beta', number: 2 },
      ],
      rules: [{ principal: 'spiffe://m/ns/{tenant}/sa/*' }],
    }),
  );
const caller = (tenant: string): Buffer => Buffer.from(`spiffe://m/ns/${tenant}/sa/tidb`);
const ALPHA = caller('alpha');

let filter: HostedModule;
beforeAll(buildModule);
beforeEach(() => {
  filter = new HostedModule();
  filter.clock = 1_700_000_000_000;
  filter.configure(config('active'));
});

const COMMANDS: [string, Fields][] = [
  ['Get', { key: KEY, version: 5n }],
  ['Scan', { startKey: KEY, version: 5n }],
  ['Coprocessor', { tp: 104n }],
  ['Prewrite', { mutations: [{ key: KEY }], primaryLock: KEY, startVersion: 5n }],
  ['PessimisticLock', { mutations: [{ op: 5, key: KEY }], primaryLock: KEY, startVersion: 5n }],
  ['Commit', { keys: [KEY], startVersion: 5n, commitVersion: 6n }],
  ['BatchRollback', { keys: [KEY], startVersion: 5n }],
  ['CheckTxnStatus', { primaryKey: KEY, lockTs: 5n }],
  ['ResolveLock', { startVersion: 5n, keys: [KEY] }],
  ['GetHealthFeedback', {}],
  ['Empty', {}],
];
const NAMES = COMMANDS.map(([name]) => name);

/** The commands of a batch as they go on. */
function sent(context: number): string[] {
  const batch = encode('tikvpb.BatchCommandsRequest', {
    requests: COMMANDS.map(([name, value]) => ({ cmd: { case: name, value } })),
    requestIds: COMMANDS.map((_, i) => BigInt(i + 1)),
  });
  expect(filter.request(context, frame(batch))).toBe(true);
  const { requests } = decode('tikvpb.BatchCommandsRequest', filter.passed().subarray(5));
  return (requests as Fields[]).map(({ cmd }) => cmd.case as string);
}

/** What the caller gets for the command with this number, if the store answers to an empty one. */
function answered(context: number, id: number): Fields {
  filter.answerHeaders(context);
  const answer = encode('tikvpb.BatchCommandsResponse', {
    responses: [{ cmd: { case: 'Empty', value: {} } }],
    requestIds: [BigInt(id)],
  });
  expect(filter.answer(context, frame(answer))).toBe(true);
  return decode('tikvpb.BatchCommandsResponse', filter.passed().subarray(5))['responses'][0].cmd;
}

const without = (...refused: string[]): string[] =>
  NAMES.map((name) => (refused.includes(name) ? 'Empty' : name));
const keeping = (...kept: string[]): string[] => NAMES.map((name) => (kept.includes(name) ? name : 'Empty'));

/** What a call is answered; '' if it goes on. */
function called(path: string, tenant = ALPHA, headers = callHeaders(path)): string {
  try {
    filter.close(filter.open(tenant, headers));
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

const http = (method: string, path: string): string =>
  called(
    path,
    ALPHA,
    headerPairs([
      [':method', method],
      [':path', path],
      [':authority', 'pd:2379'],
    ]),
  );

describe('a batch', () => {
  test('of a tenant that is read-only: writes are refused one by one, transactions can end', () => {
    filter.configure(config('read-only'));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    expect(sent(stream)).toEqual(without('Prewrite', 'PessimisticLock'));
    expect(answered(stream, 4).value.errors[0].abort).toBe(READ_ONLY);
    expect(answered(stream, 5).value.errors[0].abort).toBe(READ_ONLY);
  });

  test('of a suspended tenant: nothing but the health of the store is asked', () => {
    filter.configure(config('suspended'));
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    expect(sent(stream)).toEqual(keeping('GetHealthFeedback'));
    expect(answered(stream, 1).value.error.abort).toBe(SUSPENDED);
    expect(answered(stream, 3).value.otherError).toBe(SUSPENDED);
  });

  test('on a stream that is open takes the state of each new configuration, and the neighbour stays active', () => {
    const stream = filter.open(ALPHA, callHeaders(BATCH));
    const beta = filter.open(caller('beta'), callHeaders(BATCH));
    expect(sent(stream)).toEqual(NAMES);
    filter.supersede(config('read-only'));
    expect(sent(stream)).toEqual(without('Prewrite', 'PessimisticLock'));
    filter.supersede(config('suspended'));
    expect(sent(stream)).toEqual(keeping('GetHealthFeedback'));
    expect(sent(beta)).toEqual(NAMES);
    filter.tick();
    expect(filter.ended).toEqual([]);
    filter.supersede(config('active'));
    expect(sent(stream)).toEqual(NAMES);
  });

  test('of a tenant that comes under a former configuration has the state in force', () => {
    const former = new HostedModule();
    filter = former;
    filter.clock = 1_700_000_000_000;
    filter.configure(config('active'));
    const root = filter.supersede(config('suspended'));
    const stream = filter.openUnder(root, ALPHA, callHeaders(BATCH));
    expect(sent(stream)).toEqual(keeping('GetHealthFeedback'));
  });
});

describe('other calls', () => {
  test('of a tenant that is read-only', () => {
    filter.configure(config('read-only'));
    for (const path of [
      '/tikvpb.Tikv/KvGet',
      '/tikvpb.Tikv/KvCommit',
      '/etcdserverpb.KV/Put',
      '/pdpb.PD/Tso',
    ])
      expect([path, called(path)]).toEqual([path, '']);
    const place = '/tikvpb.Tikv/KvPrewrite: ';
    expect(called('/tikvpb.Tikv/KvPrewrite')).toBe(READ_ONLY.replace(': ', `: ${place}`));
    expect(called('/tikvpb.Tikv/KvPrewrite', caller('beta'))).toBe('');
    expect(http('GET', '/pd/api/v1/config/rules')).toBe('');
    expect(http('DELETE', '/pd/api/v1/config/placement-rule/a')).toContain('TENANT_READ_ONLY');
  });

  test('of a suspended tenant', () => {
    filter.configure(config('suspended'));
    for (const path of ['/pdpb.PD/Tso', '/pdpb.PD/GetRegion', '/grpc.health.v1.Health/Check'])
      expect([path, called(path)]).toEqual([path, '']);
    for (const path of [
      '/tikvpb.Tikv/KvGet',
      '/tikvpb.Tikv/KvCommit',
      '/etcdserverpb.KV/Range',
      '/pdpb.PD/UpdateGCSafePoint',
    ])
      expect(called(path)).toMatch(/^tidb-mesh\[TENANT_SUSPENDED\]: /);
    expect(http('GET', '/pd/api/v1/version')).toContain('TENANT_SUSPENDED');
    expect(called('/tikvpb.Tikv/KvGet', caller('beta'))).toBe('');
  });

  test('that are open when the tenant is suspended end with the next tick, with a line in the log', () => {
    const watch = filter.open(ALPHA, callHeaders(WATCH));
    const time = filter.open(ALPHA, callHeaders('/pdpb.PD/Tso'));
    filter.open(caller('beta'), callHeaders(WATCH));
    filter.supersede(config('suspended'));
    filter.tick();
    expect(filter.ended).toEqual([watch]);
    expect(filter.logged.at(-1)?.text).toMatch(
      /^tidb-mesh\[TENANT_SUSPENDED\]: ended the stream of etcdserverpb\.Watch\/Watch for tenant alpha: /,
    );
    expect(filter.request(watch, frame(new Uint8Array()))).toBe(false);
    filter.tick();
    expect([filter.ended, filter.answerHeaders(time)]).toEqual([[watch], true]);
  });

  test('that are open when the tenant becomes read-only go on, but for those that write', () => {
    filter.open(ALPHA, callHeaders(WATCH));
    const write = filter.open(ALPHA, callHeaders('/import_sstpb.ImportSST/Write'));
    filter.supersede(config('read-only'));
    filter.tick();
    expect(filter.ended).toEqual([write]);
  });
});

test('what is a write, and what ends a transaction', () => {
  const methods = judge(readDescriptors()).methods;
  const named = (kind: string): string[] =>
    methods.filter((method: JudgedMethod) => method.kind === kind).map(({ path }) => path.slice(1));
  expect(named('KIND_WRITE')).toEqual([
    'import_sstpb.ImportSST/Ingest',
    'import_sstpb.ImportSST/MultiIngest',
    'import_sstpb.ImportSST/Write',
    'resource_manager.ResourceManager/AddResourceGroup',
    'resource_manager.ResourceManager/DeleteResourceGroup',
    'resource_manager.ResourceManager/ModifyResourceGroup',
    'tikvpb.Tikv/KvDeleteRange',
    'tikvpb.Tikv/KvFlush',
    'tikvpb.Tikv/KvPessimisticLock',
    'tikvpb.Tikv/KvPrewrite',
    'tikvpb.Tikv/RawBatchDelete',
    'tikvpb.Tikv/RawBatchPut',
    'tikvpb.Tikv/RawCompareAndSwap',
    'tikvpb.Tikv/RawDelete',
    'tikvpb.Tikv/RawDeleteRange',
    'tikvpb.Tikv/RawPut',
    'tikvpb.Tikv/UnsafeDestroyRange',
  ]);
  expect(named('KIND_FINISH')).toEqual([
    'tikvpb.Tikv/KVPessimisticRollback',
    'tikvpb.Tikv/KvBatchRollback',
    'tikvpb.Tikv/KvCheckSecondaryLocks',
    'tikvpb.Tikv/KvCheckTxnStatus',
    'tikvpb.Tikv/KvCleanup',
    'tikvpb.Tikv/KvCommit',
    'tikvpb.Tikv/KvResolveLock',
    'tikvpb.Tikv/KvScanLock',
    'tikvpb.Tikv/KvTxnHeartBeat',
  ]);
});
