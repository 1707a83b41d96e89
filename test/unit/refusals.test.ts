/** What the walker refuses, drops and inserts, case by case. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { BUILD_NAMES, buildFilter, Filter, Status, type Rewritten, type Way } from './filter.ts';
import { concat, EMPTY, hex, unhex } from '../harness/model/bytes.ts';
import { messageId } from '../harness/model/schema.ts';
import * as table from '../harness/model/table-codec.ts';
import { bytes, scalar, varint } from '../harness/model/wire.ts';

const TENANT = 1;
const LOGICAL = unhex('74 8000000000000007 5f72 8000000000000001');
const PHYSICAL = table.encodeKey(TENANT, LOGICAL) as Uint8Array;
const FOREIGN = table.encodeKey(2, LOGICAL) as Uint8Array;
const P = table.first(TENANT);
const E = table.behind(TENANT);
const encoded = table.memcomparable;
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
const PREFIX = ascii('/tidb-mesh/alpha:');

const GROUP_START = varint((9 << 3) | 3);
const GROUP_END = varint((9 << 3) | 4);

/** Of all messages etcd's Txn alone can contain itself: two levels more with each. */
function nestedTxn(levels: number): Uint8Array {
  let inner: Uint8Array = EMPTY;
  // TxnRequest.success = 2, RequestOp.request_txn = 4
  for (let i = 0; i < levels; i++) inner = bytes(2, bytes(4, inner));
  return inner;
}

interface Case {
  readonly name: string;
  readonly message: string;
  readonly way?: Way;
  readonly input: Uint8Array;
  readonly status: Status;
  /** The message's name and field that the refusal names. */
  readonly at?: [string, number];
}

const GET = 'kvrpcpb.GetRequest';
const context = (...fields: Uint8Array[]): Uint8Array => bytes(1, ...fields);

const REFUSED: Case[] = [
  {
    name: 'a singular field twice',
    message: GET,
    input: concat(bytes(2, LOGICAL), bytes(2, LOGICAL)),
    status: Status.DUPLICATE,
    at: [GET, 2],
  },
  {
    name: 'a singular scalar twice',
    message: GET,
    input: concat(bytes(2, LOGICAL), scalar(3, 1), scalar(3, 1)),
    status: Status.DUPLICATE,
    at: [GET, 3],
  },
  {
    name: 'reverse as two',
    message: 'kvrpcpb.ScanRequest',
    input: scalar(6, 2),
    status: Status.VALUE_OUTSIDE,
    at: ['kvrpcpb.ScanRequest', 6],
  },
  {
    name: 'a singular message twice',
    message: GET,
    input: concat(context(), context(), bytes(2, LOGICAL)),
    status: Status.DUPLICATE,
    at: [GET, 1],
  },
  {
    name: 'a singular message twice, in an answer',
    message: 'kvrpcpb.GetResponse',
    way: 'response',
    input: concat(bytes(1), bytes(1)),
    status: Status.DUPLICATE,
  },
  // BroadcastTxnStatus = 40 becomes an empty command; Empty = 255
  ...[
    [bytes(40), bytes(255)],
    [bytes(255), bytes(40)],
    [bytes(40), bytes(40)],
    [bytes(255), bytes(1, bytes(2, LOGICAL))],
  ].map((commands, i): Case => ({
    name: `two commands in one request of a batch, ${i}`,
    message: 'tikvpb.BatchCommandsRequest.Request',
    input: concat(...commands),
    status: Status.DUPLICATE,
  })),
  {
    name: 'a group',
    message: GET,
    input: concat(bytes(2, LOGICAL), GROUP_START, GROUP_END),
    status: Status.GROUP,
    at: [GET, 9],
  },
  {
    name: 'the end of a group',
    message: GET,
    input: concat(GROUP_END, bytes(2, LOGICAL)),
    status: Status.GROUP,
  },
  {
    name: 'a group in an answer',
    message: 'kvrpcpb.GetResponse',
    way: 'response',
    input: concat(GROUP_START, GROUP_END),
    status: Status.GROUP,
  },
  {
    name: 'an overlong tag',
    message: GET,
    input: concat([0x92, 0x00], varint(LOGICAL.length), LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'an overlong tag of five bytes',
    message: GET,
    input: concat([0x92, 0x80, 0x80, 0x80, 0x00], varint(LOGICAL.length), LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'a tag beyond 32 bits',
    message: GET,
    input: concat([0x92, 0x80, 0x80, 0x80, 0x10], varint(LOGICAL.length), LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'field number 0',
    message: GET,
    input: concat(bytes(2, LOGICAL), [0x02, 0x00]),
    status: Status.MALFORMED,
  },
  {
    name: 'a wire type that does not exist',
    message: GET,
    input: concat(bytes(2, LOGICAL), [0x4f]),
    status: Status.MALFORMED,
  },
  { name: 'a key as a varint', message: GET, input: scalar(2, 7), status: Status.MALFORMED },
  {
    name: 'a key as fixed64',
    message: GET,
    input: concat([0x11], new Uint8Array(8)),
    status: Status.MALFORMED,
  },
  {
    name: 'a scalar as bytes',
    message: GET,
    input: concat(bytes(2, LOGICAL), bytes(3, Uint8Array.of(1))),
    status: Status.MALFORMED,
  },
  {
    name: 'a varint of eleven bytes',
    message: GET,
    input: concat(bytes(2, LOGICAL), [0x18], new Uint8Array(10).fill(0xff), [1]),
    status: Status.MALFORMED,
  },
  {
    name: 'a varint beyond 64 bits',
    message: GET,
    input: concat(bytes(2, LOGICAL), [0x18], new Uint8Array(9).fill(0xff), [2]),
    status: Status.MALFORMED,
  },
  {
    name: 'a length beyond the end',
    message: GET,
    input: concat([0x12, 0x7f], LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'a length of 2^64 - 1',
    message: GET,
    input: concat([0x12], new Uint8Array(9).fill(0xff), [1], LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'a length of 2^32',
    message: GET,
    input: concat([0x12], varint(1n << 32n), LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'an unknown field with bytes',
    message: GET,
    input: concat(bytes(2, LOGICAL), bytes(77, LOGICAL)),
    status: Status.UNKNOWN_FIELD,
    at: [GET, 77],
  },
  {
    name: 'an unknown field with bytes, nested',
    message: GET,
    input: concat(context(bytes(500, LOGICAL)), bytes(2, LOGICAL)),
    status: Status.UNKNOWN_FIELD,
    at: ['kvrpcpb.Context', 500],
  },
  {
    name: 'a command in a batch that nobody knows',
    message: 'tikvpb.BatchCommandsRequest',
    input: concat(bytes(1, bytes(200, bytes(2, LOGICAL))), bytes(2, varint(1))),
    status: Status.UNKNOWN_FIELD,
    at: ['tikvpb.BatchCommandsRequest.Request', 200],
  },
  {
    name: "another tenant's key",
    message: GET,
    input: bytes(2, FOREIGN),
    status: Status.KEY_OUTSIDE,
    at: [GET, 2],
  },
  {
    name: "the tenant's own tagged key",
    message: GET,
    input: bytes(2, PHYSICAL),
    status: Status.KEY_OUTSIDE,
  },
  {
    name: 'a key behind every table',
    message: GET,
    input: bytes(2, Uint8Array.of(0x75)),
    status: Status.KEY_OUTSIDE,
  },
  { name: 'an absent key', message: GET, input: scalar(3, 1), status: Status.KEY_OUTSIDE, at: [GET, 2] },
  {
    name: 'a foreign key in a repeated field',
    message: 'kvrpcpb.BatchGetRequest',
    input: concat(bytes(2, LOGICAL), bytes(2, FOREIGN)),
    status: Status.KEY_OUTSIDE,
  },
  {
    name: "a neighbour's lease",
    message: 'etcdserverpb.LeaseRevokeRequest',
    input: scalar(1, (1n << 63n) | (2n << 48n) | 5n),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'an absent path of the meta storage',
    message: 'meta_storagepb.GetRequest',
    input: EMPTY,
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a path beside the resource groups',
    message: 'meta_storagepb.GetRequest',
    input: bytes(2, ascii('gc/safe_point')),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a range that leaves the resource groups',
    message: 'meta_storagepb.GetRequest',
    input: concat(bytes(2, ascii('resource_group/a')), bytes(3, ascii('s'))),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'an unknown number',
    message: GET,
    input: concat(bytes(2, LOGICAL), scalar(99, 7)),
    status: Status.UNKNOWN_FIELD,
  },
  {
    name: 'a part of the resource groups',
    message: 'meta_storagepb.GetRequest',
    input: concat(bytes(2, ascii('resource_group/settings/2')), bytes(3, ascii('resource_group/settings/3'))),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a source of more than 128 bytes',
    message: 'kvrpcpb.GetRequest',
    input: concat(bytes(1, bytes(24, ascii('s'.repeat(129)))), bytes(2, LOGICAL)),
    status: Status.TEXT_TOO_LONG,
  },
  {
    name: 'a resource group whose name PD would not keep',
    message: 'kvrpcpb.GetRequest',
    input: concat(bytes(1, bytes(28, bytes(1, ascii('g'.repeat(31))))), bytes(2, LOGICAL)),
    status: Status.TEXT_TOO_LONG,
  },
  {
    name: 'a path of the global configuration',
    message: 'pdpb.LoadGlobalConfigRequest',
    input: bytes(2, ascii('/pd/1/raft')),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a name that leads out of its path',
    message: 'pdpb.LoadGlobalConfigRequest',
    input: bytes(1, ascii('..')),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a name with a slash',
    message: 'pdpb.LoadGlobalConfigRequest',
    input: bytes(1, ascii('a/../../b')),
    status: Status.NAME_OUTSIDE,
  },
  {
    name: 'a safe point of a service whose name leads elsewhere',
    message: 'pdpb.UpdateServiceGCSafePointRequest',
    input: bytes(2, ascii('../gc_worker')),
    status: Status.SERVICE_ID,
  },
  {
    name: 'an encoded key that is none',
    message: 'cdcpb.ChangeDataRequest',
    input: bytes(5, LOGICAL),
    status: Status.MALFORMED,
  },
  {
    name: 'nesting beyond the limit',
    message: 'etcdserverpb.TxnRequest',
    input: nestedTxn(17),
    status: Status.TOO_DEEP,
  },
  {
    name: 'nesting far beyond the limit',
    message: 'etcdserverpb.TxnRequest',
    input: nestedTxn(2000),
    status: Status.TOO_DEEP,
  },
  {
    name: 'more changes than a message may need',
    message: 'coprocessor.Request',
    input: Buffer.alloc(2 * 700_000).fill(Buffer.from([0x22, 0x00])),
    status: Status.TOO_MANY_CHANGES,
  },
];

interface Change {
  readonly name: string;
  readonly message: string;
  readonly way?: Way;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

const WITHHELD = ascii('tidb-mesh: the text of this error is withheld, it may quote keys of the store');

const CHANGED: Change[] = [
  { name: 'a key in place', message: GET, input: bytes(2, LOGICAL), output: bytes(2, PHYSICAL) },
  { name: 'a meta key', message: GET, input: bytes(2, ascii('mDDL')), output: bytes(2, P, ascii('mDDL')) },
  {
    name: 'absent bounds',
    message: 'kvrpcpb.ScanRequest',
    input: scalar(3, 5),
    output: concat(scalar(3, 5), bytes(2, P), bytes(7, E)),
  },
  {
    name: 'an absent upper bound',
    message: 'kvrpcpb.ScanRequest',
    input: bytes(2, LOGICAL),
    output: concat(bytes(2, PHYSICAL), bytes(7, E)),
  },
  {
    name: 'empty bounds',
    message: 'kvrpcpb.ScanRequest',
    input: concat(bytes(2), bytes(7)),
    output: concat(bytes(2, P), bytes(7, E)),
  },
  {
    name: 'reverse behind the keys',
    message: 'kvrpcpb.ScanRequest',
    input: concat(bytes(2), bytes(7), scalar(6, 1)),
    output: concat(bytes(2, E), bytes(7, P), scalar(6, 1)),
  },
  {
    name: 'reverse before the keys',
    message: 'kvrpcpb.ScanRequest',
    input: concat(scalar(6, 1), bytes(7), bytes(2)),
    output: concat(scalar(6, 1), bytes(7, P), bytes(2, E)),
  },
  {
    name: 'reverse without bounds',
    message: 'kvrpcpb.ScanRequest',
    input: scalar(6, 1),
    output: concat(scalar(6, 1), bytes(2, E), bytes(7, P)),
  },
  {
    name: 'a range above the tenant',
    message: 'kvrpcpb.ScanRequest',
    input: concat(bytes(2, Uint8Array.of(0x75)), bytes(7, Uint8Array.of(0xff))),
    output: concat(bytes(2, E), bytes(7, E)),
  },
  {
    name: 'a primary that may be none',
    message: 'kvrpcpb.SplitRegionRequest',
    input: bytes(2),
    output: bytes(2),
  },
  {
    name: 'an answer with an unknown number',
    message: 'kvrpcpb.GetResponse',
    way: 'response',
    input: concat(scalar(4, 1), scalar(99, 7)),
    output: scalar(4, 1),
  },
  { name: 'no region key', message: 'pdpb.GetRegionRequest', input: EMPTY, output: bytes(2, encoded(P)) },
  {
    name: 'a request of a batch that is not for tenants',
    message: 'tikvpb.BatchCommandsRequest',
    input: concat(bytes(1, bytes(40, scalar(1, 1), bytes(2, LOGICAL))), bytes(2, varint(7))),
    output: concat(bytes(1, bytes(255)), bytes(2, varint(7))),
  },
  {
    name: 'an etcd key',
    message: 'etcdserverpb.RangeRequest',
    input: bytes(1, ascii('/tidb')),
    output: bytes(1, PREFIX, ascii('/tidb')),
  },
  {
    name: 'an absent etcd key',
    message: 'etcdserverpb.RangeRequest',
    input: EMPTY,
    output: bytes(1, PREFIX),
  },
  {
    name: 'all etcd keys',
    message: 'etcdserverpb.RangeRequest',
    input: concat(bytes(1, Uint8Array.of(0)), bytes(2, Uint8Array.of(0))),
    output: concat(bytes(1, PREFIX, Uint8Array.of(0)), bytes(2, ascii('/tidb-mesh/alpha;'))),
  },
  {
    name: 'an etcd range',
    message: 'etcdserverpb.RangeRequest',
    input: concat(bytes(1, ascii('a')), bytes(2, ascii('b'))),
    output: concat(bytes(1, PREFIX, ascii('a')), bytes(2, PREFIX, ascii('b'))),
  },
  {
    name: 'a lease without an id',
    message: 'etcdserverpb.LeaseGrantRequest',
    input: scalar(1, 60),
    output: concat(scalar(1, 60), scalar(2, (1n << 63n) | (1n << 48n) | 0x123456789abcn)),
  },
  {
    name: "the tenant's lease in an answer",
    message: 'etcdserverpb.LeaseGrantResponse',
    way: 'response',
    input: scalar(2, (1n << 63n) | (1n << 48n) | 9n),
    output: scalar(2, 9),
  },
  {
    name: "a neighbour's lease in an answer",
    message: 'etcdserverpb.LeaseGrantResponse',
    way: 'response',
    input: scalar(2, (1n << 63n) | (2n << 48n) | 9n),
    output: scalar(2, 0),
  },
  {
    name: "a neighbour's key in an answer",
    message: 'kvrpcpb.LockInfo',
    way: 'response',
    input: bytes(1, FOREIGN),
    output: bytes(1),
  },
  {
    name: 'an answer with an unknown field',
    message: 'kvrpcpb.GetResponse',
    way: 'response',
    input: concat(bytes(3, ascii('v')), bytes(99, FOREIGN)),
    output: bytes(3, ascii('v')),
  },
  {
    name: 'a text that quotes a key',
    message: 'errorpb.ServerIsBusy',
    way: 'response',
    input: bytes(1, ascii('key "t\\200"')),
    output: bytes(1, WITHHELD),
  },
  {
    name: 'a text that quotes none',
    message: 'errorpb.ServerIsBusy',
    way: 'response',
    input: bytes(1, ascii('scheduler is busy')),
    output: bytes(1, ascii('scheduler is busy')),
  },
  {
    name: 'a region that reaches past the tenant',
    message: 'metapb.Region',
    way: 'response',
    input: concat(scalar(1, 4), bytes(2, encoded(ascii('m'))), bytes(3, encoded(ascii('u')))),
    output: concat(scalar(1, 4), bytes(2), bytes(3)),
  },
  {
    name: 'a region that ends at the encoded empty key',
    message: 'pdpb.Region',
    way: 'response',
    input: bytes(1, scalar(1, 4), bytes(3, encoded(EMPTY))),
    output: EMPTY,
  },
  {
    name: 'a region that begins at the encoded empty key',
    message: 'metapb.Region',
    way: 'response',
    input: concat(scalar(1, 4), bytes(2, encoded(EMPTY))),
    output: concat(scalar(1, 4), bytes(2)),
  },
  {
    name: 'regions of neighbours',
    message: 'pdpb.ScanRegionsResponse',
    way: 'response',
    input: concat(
      bytes(4, bytes(1, scalar(1, 4), bytes(2, encoded(FOREIGN)))),
      bytes(4, bytes(1, scalar(1, 5))),
    ),
    output: bytes(4, bytes(1, scalar(1, 5))),
  },
  {
    name: 'keys of a region error',
    message: 'errorpb.KeyNotInRegion',
    way: 'response',
    input: concat(bytes(1, FOREIGN), scalar(2, 8), bytes(3, FOREIGN), bytes(4, FOREIGN)),
    output: scalar(2, 8),
  },
];

beforeAll(buildFilter);

describe.each(BUILD_NAMES)('the %s build', (build) => {
  let filter: Filter;
  beforeAll(() => {
    filter = new Filter(build);
  });

  const goodOneStillPasses = (): void => {
    const after = filter.message(messageId(GET), bytes(2, LOGICAL), 'request');
    expect([Status[after.status], hex(after.bytes)]).toEqual(['OK', hex(bytes(2, PHYSICAL))]);
  };
  const rewritten = (message: string, input: Uint8Array, way: Way = 'request'): Rewritten => {
    filter.newStream();
    return filter.message(messageId(message), input, way);
  };

  test.each(REFUSED)('refuses $name', ({ message, way, input, status, at }) => {
    const got = rewritten(message, input, way);
    expect(Status[got.status]).toBe(Status[status]);
    if (at) expect([got.failedMessage, got.failedField]).toEqual([messageId(at[0]), at[1]]);
    goodOneStillPasses();
  });

  test.each(CHANGED)('maps $name', ({ message, way, input, output }) => {
    const got = rewritten(message, input, way);
    expect([Status[got.status], hex(got.bytes)]).toEqual(['OK', hex(output)]);
  });

  test('takes nesting up to the limit', () => {
    expect(Status[rewritten('etcdserverpb.TxnRequest', nestedTxn(16)).status]).toBe('OK');
  });

  test("sets the context's API and key space, whatever the client wrote", () => {
    const message = bytes(2, LOGICAL);
    // Context.api_version = 21, keyspace_id = 32
    const own = rewritten(GET, concat(context(scalar(1, 5), scalar(21, 2), scalar(32, 77)), message));
    expect(hex(own.bytes)).toBe(
      hex(concat(context(scalar(1, 5), scalar(21, 0), scalar(32, 0)), bytes(2, PHYSICAL))),
    );
  });

  test('UpdateGCSafePoint moves nothing and is answered with what was asked', () => {
    const asked = rewritten('pdpb.UpdateGCSafePointRequest', scalar(2, 453n << 18n));
    expect(hex(asked.bytes)).toBe(hex(scalar(2, 0)));
    for (const stored of [EMPTY, scalar(2, 5)]) {
      const answer = filter.message(messageId('pdpb.UpdateGCSafePointResponse'), stored, 'response');
      expect(hex(answer.bytes)).toBe(hex(scalar(2, 453n << 18n)));
    }
  });

  test.each([
    [100, 90, 90],
    [100, 110, 100],
  ])('UpdateServiceGCSafePoint(%i) reads only; PD says %i, the client gets %i', (asked, stored, given) => {
    const request = concat(bytes(2, ascii('gc_worker')), scalar(3, 1 << 20), scalar(4, asked));
    expect(hex(rewritten('pdpb.UpdateServiceGCSafePointRequest', request).bytes)).toBe(
      hex(concat(bytes(2, ascii('tidb_mesh_reader')), scalar(3, 0), scalar(4, 0))),
    );
    const answer = concat(bytes(2, ascii('neighbour')), scalar(3, 9), scalar(4, stored));
    expect(
      hex(filter.message(messageId('pdpb.UpdateServiceGCSafePointResponse'), answer, 'response').bytes),
    ).toBe(hex(concat(scalar(3, 9), scalar(4, given))));
  });
});
