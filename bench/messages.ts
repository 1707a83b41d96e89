/** The ten typical messages of TiDB's traffic that the rewriter is measured with. */
import { rowKey } from '../test/harness/support/keys.ts';
import { encode, type Fields } from '../test/harness/support/messages.ts';
import { bytes, scalar } from '../test/harness/model/wire.ts';
import { memcomparable } from '../test/harness/model/table-codec.ts';
import { storedKey, type KeySpace } from '../test/harness/model/key-spaces.ts';
import { Random } from '../test/harness/model/random.ts';
import type { Way } from '../test/unit/filter.ts';

export interface TypicalMessage {
  readonly name: string;
  /** Its type's full name in proto/. */
  readonly type: string;
  readonly way: Way;
  readonly bytes: Uint8Array;
}

const TABLE = 112;
const REGION_EPOCH = { confVer: 5n, version: 61n };
const TIMESTAMP = 453128812934103041n;
/** About a sysbench row. */
const VALUE_BYTES = 190;
const MEBIBYTE = 1 << 20;

/** As TiDB writes it. */
const row = (handle: number): Uint8Array => rowKey(TABLE, handle);

/** Regions and statements that one batch of requests mixes. */
const REGIONS = 4;
const STATEMENTS = 3;

/** What TiDB 8.5 sets in front of the n-th request to a region. */
function context(n = 0): Fields {
  const region = 1042n + 3n * BigInt(n % REGIONS);
  return {
    regionId: region,
    regionEpoch: REGION_EPOCH,
    peer: { id: region + 1n, storeId: 4n },
    maxExecutionDurationMs: 30_000n,
    resourceGroupTag: new Random(n % STATEMENTS).bytes(36),
    requestSource: 'external_Select',
    resourceControlContext: { resourceGroupName: 'default' },
  };
}

function get(handle: number): Fields {
  return { context: context(handle), key: row(handle), version: TIMESTAMP };
}

function prewrite(mutations: number, random: Random): Fields {
  return {
    context: { ...context(), requestSource: 'external_Insert', txnSource: 0n },
    mutations: Array.from({ length: mutations }, (_, i) => ({
      op: 0,
      key: row(i),
      value: random.bytes(VALUE_BYTES),
      assertion: 2,
    })),
    primaryLock: row(0),
    startVersion: TIMESTAMP,
    lockTtl: 3_000n,
    txnSize: BigInt(mutations),
    minCommitTs: TIMESTAMP + 1n,
    maxCommitTs: TIMESTAMP + (2_000n << 18n),
    assertionLevel: 1,
  };
}

/** The context, `mutations` writes of a row each, as one prewrite. */
export function prewriteOf(mutations: number): TypicalMessage {
  const type = 'kvrpcpb.PrewriteRequest';
  const bytes = encode(type, prewrite(mutations, new Random(2)));
  const s = mutations === 1 ? '' : 's';
  return { name: `prewrite, ${mutations.toLocaleString('en')} mutation${s}`, type, way: 'request', bytes };
}

/** One page of a coprocessor's answer, `size` bytes of rows, with the range that it covers. */
export function coprocessorResponseOf(size: number, space: KeySpace): TypicalMessage {
  const type = 'coprocessor.Response';
  const bytes = encode(type, {
    data: new Random(3).bytes(size),
    range: { start: storedKey(space, row(1)), end: storedKey(space, row(1_000_000)) },
    execDetailsV2: {},
    latestBucketsVersion: 7n,
  });
  return { name: `coprocessor response, ${size} bytes`, type, way: 'response', bytes };
}

function scanResponse(rows: number, space: KeySpace): Fields {
  const random = new Random(4);
  return {
    pairs: Array.from({ length: rows }, (_, i) => ({
      key: storedKey(space, row(i)),
      value: random.bytes(VALUE_BYTES),
    })),
  };
}

/** tipb.DAGRequest of a scan of four columns, a selection and an aggregation; proto/ has only the path to the table's id. */
function plan(): Uint8Array {
  const random = new Random(5);
  const column = (id: number): Uint8Array =>
    bytes(2, scalar(1, id), scalar(2, 254), scalar(3, -46), scalar(4, 120), scalar(6, 1));
  const scan = bytes(2, scalar(1, TABLE), ...[1, 2, 3, 4].map(column));
  // The expressions of a selection (field 4 of an executor) and an aggregation (5) are opaque to the filter.
  return Buffer.concat([
    bytes(2, scalar(1, 0), scan),
    bytes(2, scalar(1, 2), bytes(4, random.bytes(80))),
    bytes(2, scalar(1, 3), bytes(5, random.bytes(60))),
    scalar(3, 0),
    scalar(4, 226),
    ...[0, 1].map((offset) => scalar(5, offset)),
    scalar(8, 1),
    bytes(11, Buffer.from('UTC')),
  ]);
}

function coprocessorRequest(): Fields {
  return {
    context: context(),
    tp: 103n,
    data: plan(),
    ranges: [1, 2, 3, 4].map((i) => ({ start: row(i * 1000), end: row(i * 1000 + 500) })),
    startTs: TIMESTAMP,
    schemaVer: 58n,
    isCacheEnabled: true,
    pagingSize: 128n,
    connectionId: 2097158n,
  };
}

/** PD's answer to ScanRegions from the middle of a table. */
function regions(count: number, space: KeySpace): Fields {
  const boundary = (i: number): Uint8Array => memcomparable(storedKey(space, row(i * 1000)));
  return {
    header: { clusterId: 7301n },
    regions: Array.from({ length: count }, (_, i) => {
      const peers = [0, 1, 2].map((n) => ({ id: BigInt(1000 + i * 3 + n), storeId: BigInt(1 + n) }));
      return {
        region: {
          id: BigInt(5000 + i),
          startKey: boundary(i + 1),
          endKey: boundary(i + 2),
          regionEpoch: REGION_EPOCH,
          peers,
        },
        leader: peers[0],
      };
    }),
  };
}

/** How TiDB moves its schema version on: when nobody else did. */
function etcdTxn(): Fields {
  const key = Buffer.from('/tidb/ddl/global_schema_version');
  return {
    compare: [{ result: 0, target: 2, key, targetUnion: { case: 'modRevision', value: 512n } }],
    success: [{ request: { case: 'requestPut', value: { key, value: Buffer.from('58') } } }],
    failure: [{ request: { case: 'requestRange', value: { key } } }],
  };
}

/** All ten. Answers hold the keys that the store of this key space would have. */
export function typicalMessages(space: KeySpace): TypicalMessage[] {
  const request = (name: string, type: string, fields: Fields): TypicalMessage => ({
    name,
    type,
    way: 'request',
    bytes: encode(type, fields),
  });
  const response = (name: string, type: string, fields: Fields): TypicalMessage => ({
    name,
    type,
    way: 'response',
    bytes: encode(type, fields),
  });
  return [
    request('point get', 'kvrpcpb.GetRequest', get(1)),
    request('batch of 128 gets', 'tikvpb.BatchCommandsRequest', {
      requests: Array.from({ length: 128 }, (_, i) => ({ cmd: { case: 'Get', value: get(i) } })),
      requestIds: Array.from({ length: 128 }, (_, i) => BigInt(100_000 + i)),
    }),
    prewriteOf(1),
    prewriteOf(64),
    prewriteOf(1000),
    response('scan response, 1,000 rows', 'kvrpcpb.ScanResponse', scanResponse(1000, space)),
    request('coprocessor request', 'coprocessor.Request', coprocessorRequest()),
    { ...coprocessorResponseOf(MEBIBYTE, space), name: 'coprocessor response, 1 MiB' },
    response('region list of 128', 'pdpb.ScanRegionsResponse', regions(128, space)),
    request('etcd txn', 'etcdserverpb.TxnRequest', etcdTxn()),
  ];
}
