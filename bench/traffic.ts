/** What TiDB and the store say to each other in the benchmark of Envoy: about a kilobyte each way, and a mix of commands. */
import { encode, type Fields } from '../test/harness/support/messages.ts';
import { rowKey } from '../test/harness/support/keys.ts';

const TABLE = 112;
/** The tenant's number in the store's keys. */
const TAG = 1;
const TIMESTAMP = BigInt(Date.now()) << 18n;
const KEYS = 40;
const VALUE = Buffer.alloc(190, 7);
const CONTEXT: Fields = {
  regionId: 1042n,
  regionEpoch: { confVer: 5n, version: 61n },
  peer: { id: 1043n, storeId: 4n },
  maxExecutionDurationMs: 30_000n,
  requestSource: 'external_Select',
};

/** kvrpcpb.BatchGetRequest */
export function keyedRequest(): Uint8Array {
  const keys = Array.from({ length: KEYS }, (_, i) => rowKey(TABLE, i));
  return encode('kvrpcpb.BatchGetRequest', { context: CONTEXT, keys, version: TIMESTAMP });
}

/** kvrpcpb.BatchGetResponse, as the store has it for the tenant with this number. */
export function keyedAnswer(tag = TAG): Uint8Array {
  const pairs = Array.from({ length: 5 }, (_, i) => ({ key: rowKey(TABLE, i, tag), value: VALUE }));
  return encode('kvrpcpb.BatchGetResponse', { pairs });
}

/** Eight commands: six point gets, a prewrite and a commit. */
export function batchRequest(): Uint8Array {
  const key = rowKey(TABLE, 1);
  const get = { case: 'Get', value: { context: CONTEXT, key, version: TIMESTAMP } };
  const prewrite = {
    case: 'Prewrite',
    value: {
      context: CONTEXT,
      mutations: [{ op: 0, key, value: VALUE }],
      primaryLock: key,
      startVersion: TIMESTAMP,
      lockTtl: 3000n,
      txnSize: 1n,
    },
  };
  const commit = {
    case: 'Commit',
    value: { context: CONTEXT, keys: [key], startVersion: TIMESTAMP, commitVersion: TIMESTAMP },
  };
  const commands = [get, get, get, prewrite, get, get, commit, get];
  return encode('tikvpb.BatchCommandsRequest', {
    requests: commands.map((cmd) => ({ cmd })),
    requestIds: commands.map((_, i) => BigInt(100_000 + i)),
  });
}

/** What the store answers to it. */
export function batchAnswer(): Uint8Array {
  const get = { case: 'Get', value: { value: VALUE } };
  const commands = [
    get,
    get,
    get,
    { case: 'Prewrite', value: {} },
    get,
    get,
    { case: 'Commit', value: { commitVersion: TIMESTAMP } },
    get,
  ];
  return encode('tikvpb.BatchCommandsResponse', {
    responses: commands.map((cmd) => ({ cmd })),
    requestIds: commands.map((_, i) => BigInt(100_000 + i)),
    transportLayerLoad: 0n,
  });
}
