/** Calls PD's etcd by gRPC on PD's own port: etcdserverpb.KV and Lease of etcd's rpc.proto. */
import { create, createFileRegistry, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
} from '@bufbuild/protobuf/wkt';
import { CallError, type Endpoint } from './endpoint.ts';
import type { CompareSchema } from './generated/etcd/rpc_pb.ts';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  LeaseGrantRequestSchema,
  LeaseGrantResponseSchema,
  LeaseKeepAliveRequestSchema,
  LeaseKeepAliveResponseSchema,
  LeaseRevokeRequestSchema,
  LeaseRevokeResponseSchema,
  LeaseTimeToLiveRequestSchema,
  LeaseTimeToLiveResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
} from './generated/etcd/rpc_pb.ts';

const RANGE = {
  path: '/etcdserverpb.KV/Range',
  request: RangeRequestSchema,
  answer: RangeResponseSchema,
  isRead: true,
} as const;
const DELETE_RANGE = {
  path: '/etcdserverpb.KV/DeleteRange',
  request: DeleteRangeRequestSchema,
  answer: DeleteRangeResponseSchema,
} as const;

const GRANT = {
  path: '/etcdserverpb.Lease/LeaseGrant',
  request: LeaseGrantRequestSchema,
  answer: LeaseGrantResponseSchema,
} as const;
const REVOKE = {
  path: '/etcdserverpb.Lease/LeaseRevoke',
  request: LeaseRevokeRequestSchema,
  answer: LeaseRevokeResponseSchema,
} as const;
const KEEP_ALIVE = {
  path: '/etcdserverpb.Lease/LeaseKeepAlive',
  request: LeaseKeepAliveRequestSchema,
  answer: LeaseKeepAliveResponseSchema,
  isStream: true,
} as const;
const TIME_TO_LIVE = {
  path: '/etcdserverpb.Lease/LeaseTimeToLive',
  request: LeaseTimeToLiveRequestSchema,
  answer: LeaseTimeToLiveResponseSchema,
  isRead: true,
} as const;
/** gRPC's. */
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;

const TXN = { path: '/etcdserverpb.KV/Txn', request: TxnRequestSchema, answer: TxnResponseSchema } as const;

/**
 * LeaseLeases lists all leases, and the filter refuses it to tenants: proto/ leaves its messages out. The answer's first field, a header,
 * is of no use.
 */
const LEASES = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      {
        name: 'leases.proto',
        package: 'etcdserverpb',
        syntax: 'proto3',
        messageType: [
          { name: 'LeaseLeasesRequest' },
          { name: 'LeaseStatus', field: [{ name: 'ID', number: 1, type: FieldDescriptorProto_Type.INT64 }] },
          {
            name: 'LeaseLeasesResponse',
            field: [
              {
                name: 'leases',
                number: 2,
                label: FieldDescriptorProto_Label.REPEATED,
                type: FieldDescriptorProto_Type.MESSAGE,
                typeName: '.etcdserverpb.LeaseStatus',
              },
            ],
          },
        ],
      },
    ],
  }),
);

function leasesMessage(name: string): DescMessage {
  const found = LEASES.getMessage(`etcdserverpb.${name}`);
  if (!found) throw new Error(`there is no message ${name}`);
  return found;
}

const LEASE_LEASES = {
  path: '/etcdserverpb.Lease/LeaseLeases',
  request: leasesMessage('LeaseLeasesRequest'),
  answer: leasesMessage('LeaseLeasesResponse'),
  isRead: true,
} as const;

/** A key or a value. A text is written in UTF-8. */
type Bytes = string | Uint8Array;

const bytesOf = (bytes: Bytes): Uint8Array => (typeof bytes === 'string' ? Buffer.from(bytes) : bytes);

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** 0 when the key has no lease. */
  readonly lease: bigint;
  /** Of the last change. */
  readonly revision: bigint;
  /** Of the change that made it. */
  readonly created: bigint;
}

/** The first key behind all keys with this prefix. */
function behind(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

function range(prefix: string): { key: Buffer; rangeEnd: Buffer } {
  const key = Buffer.from(prefix);
  return { key, rangeEnd: behind(key) };
}

/** Counts the keys with this prefix. */
export async function countKeys(pd: Endpoint, prefix: string): Promise<number> {
  return Number((await pd.grpc(RANGE, { ...range(prefix), countOnly: true })).count);
}

/** How many keys are read for their leases: some hundred kilobytes. */
const MOST_LEASED = 10_000;

export interface KeysAndLeases {
  readonly keys: number;
  /** Leases that the first 10,000 keys have. */
  readonly leases: number;
}

/** Counts the keys with this prefix, and the leases that they have. */
export async function countKeysAndLeases(pd: Endpoint, prefix: string): Promise<KeysAndLeases> {
  const fields = { ...range(prefix), keysOnly: true, limit: BigInt(MOST_LEASED) };
  const { count, kvs } = await pd.grpc(RANGE, fields);
  const leases = new Set(kvs.map(({ lease }) => lease).filter((lease) => lease !== 0n));
  return { keys: Number(count), leases: leases.size };
}

/** What etcd held at one revision. */
export interface Snapshot {
  /** Of etcd as a whole. */
  readonly revision: bigint;
  readonly entries: readonly Entry[];
}

/** How keys and values are read: in latin1, each character is a byte. */
type Encoding = 'utf8' | 'latin1';

/**
 * Reads the keys with this prefix as they were at a revision of etcd; 0: as they are.
 * @throws CallError when etcd does not know that revision any more, or not yet
 */
export async function snapshot(
  pd: Endpoint,
  prefix: string,
  revision = 0n,
  encoding: Encoding = 'utf8',
): Promise<Snapshot> {
  const { kvs, header } = await pd.grpc(RANGE, { ...range(prefix), revision });
  const found = kvs.map(({ key, value, lease, modRevision, createRevision }) => ({
    key: Buffer.from(key).toString(encoding),
    value: Buffer.from(value).toString(encoding),
    lease,
    revision: modRevision,
    created: createRevision,
  }));
  return { revision: header?.revision ?? 0n, entries: found };
}

/** Reads the keys with this prefix. */
export async function entries(
  pd: Endpoint,
  prefix: string,
  encoding: Encoding = 'utf8',
): Promise<readonly Entry[]> {
  return (await snapshot(pd, prefix, 0n, encoding)).entries;
}

/** What a key must be for a change: of this revision; 0 for a key that is not there. */
function unchanged(key: Buffer, revision: bigint): MessageInitShape<typeof CompareSchema> {
  return {
    result: Compare_CompareResult.EQUAL,
    target: Compare_CompareTarget.MOD,
    key,
    targetUnion: { case: 'modRevision', value: revision },
  };
}

/** etcd's max-txn-ops. */
export const MOST_PUTS = 128;

/**
 * Writes keys if nobody has changed any of them since its revision; 0: if it is not there. All are written, or none.
 * @param along is written with them, whatever was there
 * @returns their new revision; undefined when somebody has changed one
 */
export async function putIfUnchanged(
  pd: Endpoint,
  puts: readonly Pick<Entry, 'key' | 'value' | 'revision'>[],
  along: readonly Pick<Entry, 'key' | 'value'>[] = [],
): Promise<bigint | undefined> {
  const { succeeded, header } = await pd.grpc(TXN, {
    compare: puts.map(({ key, revision }) => unchanged(Buffer.from(key), revision)),
    success: [...puts, ...along].map(({ key, value }) => ({
      request: { case: 'requestPut' as const, value: { key: Buffer.from(key), value: Buffer.from(value) } },
    })),
  });
  return succeeded ? header?.revision : undefined;
}

/** Deletes a key if nobody has changed it since this revision. False when somebody has. */
export async function deleteIfUnchanged(
  pd: Endpoint,
  { key, revision }: Pick<Entry, 'key' | 'revision'>,
): Promise<boolean> {
  const at = Buffer.from(key);
  const { succeeded } = await pd.grpc(TXN, {
    compare: [unchanged(at, revision)],
    success: [{ request: { case: 'requestDeleteRange', value: { key: at } } }],
  });
  return succeeded;
}

/** Deletes keys, whatever is there: all of them at one revision. */
export async function deleteKeys(pd: Endpoint, keys: readonly Bytes[]): Promise<void> {
  await pd.grpc(TXN, {
    success: keys.map((key) => ({
      request: { case: 'requestDeleteRange' as const, value: { key: bytesOf(key) } },
    })),
  });
}

/** Deletes the keys with this prefix. Returns their number. */
export async function deletePrefix(pd: Endpoint, prefix: string): Promise<number> {
  return Number((await pd.grpc(DELETE_RANGE, range(prefix))).deleted);
}

/** What `putAll` writes. */
export interface Put {
  readonly key: Bytes;
  readonly value: Bytes;
  readonly lease?: bigint;
}

/** Writes keys, whatever is there: all of them at one revision. */
export async function putAll(pd: Endpoint, puts: readonly Put[]): Promise<void> {
  await pd.grpc(TXN, {
    success: puts.map(({ key, value, lease = 0n }) => ({
      request: {
        case: 'requestPut' as const,
        value: { key: bytesOf(key), value: bytesOf(value), lease },
      },
    })),
  });
}

const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof CallError && error.status === status;

/** All leases that etcd has, whoever has them, also those without keys. */
export async function leaseIds(pd: Endpoint): Promise<readonly bigint[]> {
  const { leases } = (await pd.grpc(LEASE_LEASES, {})) as unknown as { leases: { ID: bigint }[] };
  return leases.map(({ ID }) => ID);
}

/** How long a lease lasts from each keep-alive, in seconds; undefined when there is none. */
export async function lifetimeOf(pd: Endpoint, lease: bigint): Promise<bigint | undefined> {
  const { TTL, grantedTTL } = await pd.grpc(TIME_TO_LIVE, { ID: lease });
  return TTL <= 0n ? undefined : grantedTTL;
}

/** Makes a lease with this id. One that is there stays as it is. */
export async function grantLease(pd: Endpoint, lease: bigint, seconds: bigint): Promise<void> {
  try {
    await pd.grpc(GRANT, { ID: lease, TTL: seconds });
  } catch (error) {
    // A call that got no answer is made again.
    if (!hasStatus(error, FAILED_PRECONDITION)) throw error;
  }
}

/** Gives a lease its whole time again. False when there is none. */
export async function keepAlive(pd: Endpoint, lease: bigint): Promise<boolean> {
  return (await pd.grpc(KEEP_ALIVE, { ID: lease })).TTL > 0n;
}

/** Ends a lease, and deletes the keys that have it. */
export async function revokeLease(pd: Endpoint, lease: bigint): Promise<void> {
  try {
    await pd.grpc(REVOKE, { ID: lease });
  } catch (error) {
    if (!hasStatus(error, NOT_FOUND)) throw error;
  }
}
