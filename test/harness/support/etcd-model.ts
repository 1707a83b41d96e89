/** etcd as moves need it: revisions with their history, transactions, reads of a prefix, leases that do not run. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CallError, type Endpoint } from '../../../src-ts/pd/endpoint.ts';

interface Value {
  readonly value: Uint8Array;
  readonly revision: bigint;
  readonly created: bigint;
  readonly lease: bigint;
}

interface Bounds {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
}

interface Txn {
  readonly compare?: readonly { key: Uint8Array; targetUnion: { value: bigint } }[];
  readonly success: readonly {
    request: { case: string; value: Bounds & { value: Uint8Array; lease?: bigint } };
  }[];
}

/** What one request may have, as etcd's own limit. */
const MOST_BYTES = 1.5 * 2 ** 20;
const MOST_OPS = 128;

export class EtcdModel {
  private revision = 1n;
  private keys = new Map<string, Value>();
  private readonly history = new Map<bigint, ReadonlyMap<string, Value>>();
  /** How long each lasts, in seconds. */
  readonly leases = new Map<bigint, bigint>();
  /** Those that were given their whole time again. */
  readonly kept: bigint[] = [];
  /** Keys in the order in which they were deleted. */
  readonly deleted: string[] = [];
  /** How many there were so far. */
  transactions = 0;
  /** Of the largest request so far. */
  largest = 0;
  /** So many transactions are done, and then all fail. */
  failAfter: number | undefined;
  /** Older revisions cannot be read. */
  compacted = 0n;

  constructor(
    /** What PD answers over HTTP, by the end of the path. */
    private readonly http: Readonly<Record<string, unknown>> = {},
    /** Keep what it was at each revision. */
    private readonly keepsHistory = false,
  ) {}

  /** As after so many changes of others. */
  advance(changes: bigint): void {
    this.revision += changes;
  }

  readonly endpoint = {
    http: async (_method: string, path: string) => {
      const [, answer] = Object.entries(this.http).find(([end]) => path.endsWith(end)) ?? [];
      if (answer === undefined) throw new Error(`the model has no ${path}`);
      return answer;
    },
    grpc: async ({ path }: { path: string }, fields: never) => {
      await sleep(0);
      if (path.endsWith('/Txn')) return this.txn(fields);
      if (path.startsWith('/etcdserverpb.Lease/')) return this.lease(path, fields);
      if (path.endsWith('/DeleteRange')) return this.deleteRange(fields);
      if (path.endsWith('/Range')) return this.range(fields);
      throw new Error(`the model has no ${path}`);
    },
  } as unknown as Endpoint;

  /** Number of keys. */
  get size(): number {
    return this.keys.size;
  }

  private holds({ key, rangeEnd }: Bounds, name: string): boolean {
    const at = Buffer.from(name, 'latin1');
    const isBehind = Buffer.compare(at, key) >= 0;
    return rangeEnd ? isBehind && Buffer.compare(at, rangeEnd) < 0 : at.equals(key);
  }

  private range({ revision = 0n, ...bounds }: Bounds & { revision?: bigint }): unknown {
    const refused = (why: string): CallError =>
      new CallError(`/etcdserverpb.KV/Range: OUT_OF_RANGE: ${why}`, 11);
    if (revision > this.revision) throw refused('etcdserver: mvcc: required revision is a future revision');
    if (revision !== 0n && revision < this.compacted)
      throw refused('etcdserver: mvcc: required revision has been compacted');
    const keys = revision === 0n ? this.keys : (this.history.get(revision) ?? this.keys);
    const kvs = [...keys]
      .filter(([name]) => this.holds(bounds, name))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, { value, lease, revision: modRevision, created: createRevision }]) => ({
        key: Buffer.from(name, 'latin1'),
        value,
        lease,
        modRevision,
        createRevision,
      }));
    return { kvs, header: { revision: this.revision } };
  }

  private deleteRange(bounds: Bounds): unknown {
    const names = [...this.keys.keys()].filter((name) => this.holds(bounds, name));
    for (const name of names) this.keys.delete(name);
    this.deleted.push(...names);
    return { deleted: BigInt(names.length) };
  }

  private lease(path: string, { ID, TTL }: { ID: bigint; TTL: bigint }): unknown {
    const refused = (why: string, code: number): CallError =>
      new CallError(`${path}: etcdserver: ${why}`, code);
    if (path.endsWith('/LeaseLeases')) return { leases: [...this.leases.keys()].map((one) => ({ ID: one })) };
    const lifetime = this.leases.get(ID);
    if (path.endsWith('/LeaseTimeToLive'))
      return lifetime === undefined
        ? { TTL: -1n, grantedTTL: 0n }
        : { TTL: lifetime - 1n, grantedTTL: lifetime };
    if (path.endsWith('/LeaseKeepAlive')) {
      this.kept.push(ID);
      return { ID, TTL: lifetime ?? 0n };
    }
    if (path.endsWith('/LeaseGrant')) {
      if (lifetime !== undefined) throw refused('lease already exists', 9);
      this.leases.set(ID, TTL);
      return { ID, TTL };
    }
    if (!this.leases.delete(ID)) throw refused('requested lease not found', 5);
    const ended = [...this.keys].filter(([, { lease }]) => lease === ID).map(([name]) => name);
    for (const name of ended) this.keys.delete(name);
    this.deleted.push(...ended);
    this.revision++;
    return {};
  }

  private txn({ compare = [], success }: Txn): unknown {
    if (this.failAfter !== undefined && this.failAfter-- <= 0) throw new Error('the model fails');
    this.transactions++;
    if (compare.length > MOST_OPS || success.length > MOST_OPS) throw new Error('too many operations in txn');
    const bytes = success.reduce(
      (sum, { request: { value } }) => sum + value.key.length + (value.value?.length ?? 0),
      0,
    );
    if (bytes > MOST_BYTES) throw new Error(`request of ${bytes} bytes is too large`);
    this.largest = Math.max(this.largest, bytes);
    const name = (key: Uint8Array): string => Buffer.from(key).toString('latin1');
    const succeeded = compare.every(
      ({ key, targetUnion }) => (this.keys.get(name(key))?.revision ?? 0n) === targetUnion.value,
    );
    if (succeeded) {
      const keys = this.keepsHistory ? new Map(this.keys) : this.keys;
      this.revision++;
      for (const { request } of success)
        if (request.case === 'requestPut') {
          const { key, value, lease = 0n } = request.value;
          if (lease !== 0n && !this.leases.has(lease)) throw new Error('requested lease not found');
          const { created } = keys.get(name(key)) ?? { created: this.revision };
          keys.set(name(key), { value, lease, created, revision: this.revision });
        } else
          for (const key of [...keys.keys()])
            if (this.holds(request.value, key)) {
              keys.delete(key);
              this.deleted.push(key);
            }
      this.keys = keys;
      if (this.keepsHistory) this.history.set(this.revision, keys);
    }
    return { succeeded, header: { revision: this.revision } };
  }
}
