/** A key that lies in the store, as the store has it. */
export interface StoredKey {
  key: Buffer;
  /** Bytes of its latest value; undefined where the store does not say. */
  valueLength: number | undefined;
}

/** One version of a key; a deletion's value has no length. */
export interface StoredVersion {
  key: Buffer;
  startTs: bigint;
  commitTs: bigint;
  valueLength: number;
}

/** What a garbage collection did, in versions of all keys. */
export interface Collected {
  safePoint: bigint;
  before: number;
  after: number;
}

export interface StoredLock {
  key: Buffer;
  primary: Buffer;
  startTs: bigint;
}

const LIMIT = 10_000;

export interface StoreInspector {
  /** Keys of [start, end) in order, past PD, Envoy and regions. An empty end has no bound. */
  keys(start: Uint8Array, end: Uint8Array, limit?: number): Promise<StoredKey[]>;
  /** Keys of [start, end) that are locked, with the start ts of who locks them. */
  locks(start: Uint8Array, end: Uint8Array): Promise<StoredLock[]>;
  /** Every version of the keys of [start, end), newest first. */
  versions(start: Uint8Array, end: Uint8Array, limit?: number): Promise<StoredVersion[]>;
  /** The values of keys of [start, end), in order. */
  values(start: Uint8Array, end: Uint8Array): Promise<{ key: Buffer; value: Buffer }[]>;
  /** Takes what PD's safe point allows to take, as TiKV's compaction does in its own time. */
  collectGarbage(): Promise<Collected>;
  /** From now on commits of [start, end) wait, all or those without their primary, until `none` are held. */
  holdCommits(which: 'all' | 'secondaries' | 'none', start?: Uint8Array, end?: Uint8Array): Promise<void>;
  /** How many commits wait. */
  heldCommits(): Promise<number>;
  /** Counters of the store by name, as it reports them. */
  stats(): Promise<Record<string, unknown>>;
}

export function storeInspector(url: string): StoreInspector {
  const ask = async (path: string, method = 'GET'): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, { method });
    if (!response.ok)
      throw new Error(`the store answers ${response.status} to ${path}: ${await response.text()}`);
    return response.json();
  };
  const range = (start: Uint8Array, end: Uint8Array, more: Record<string, string> = {}): string =>
    new URLSearchParams({
      start: Buffer.from(start).toString('hex'),
      end: Buffer.from(end).toString('hex'),
      ...more,
    }).toString();
  const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
  return {
    async keys(start, end, limit = LIMIT) {
      const answer = (await ask(`/keys?${range(start, end, { limit: String(limit) })}`)) as {
        key: string;
        valueLength?: number;
      }[];
      return answer.map((entry) => ({ key: bytes(entry.key), valueLength: entry.valueLength }));
    },
    async values(start, end) {
      const answer = (await ask(`/keys?${range(start, end, { limit: String(LIMIT), values: '1' })}`)) as {
        key: string;
        value?: string;
      }[];
      return answer.map((entry) => ({ key: bytes(entry.key), value: bytes(entry.value ?? '') }));
    },
    async locks(start, end) {
      const answer = (await ask(`/locks?${range(start, end, { limit: String(LIMIT) })}`)) as {
        key: string;
        primary: string;
        startTs: string;
      }[];
      return answer.map((lock) => ({
        key: bytes(lock.key),
        primary: bytes(lock.primary),
        startTs: BigInt(lock.startTs),
      }));
    },
    async versions(start, end, limit = LIMIT) {
      const answer = (await ask(`/versions?${range(start, end, { limit: String(limit) })}`)) as {
        key: string;
        startTs: string;
        commitTs: string;
        valueLength: number;
      }[];
      return answer.map((version) => ({
        key: bytes(version.key),
        startTs: BigInt(version.startTs),
        commitTs: BigInt(version.commitTs),
        valueLength: version.valueLength,
      }));
    },
    async collectGarbage() {
      const answer = (await ask('/gc', 'POST')) as { safePoint: string; before: number; after: number };
      return { ...answer, safePoint: BigInt(answer.safePoint) };
    },
    async holdCommits(which, start = Buffer.alloc(0), end = Buffer.alloc(0)) {
      await ask(`/commits?${range(start, end, { hold: which })}`, 'POST');
    },
    heldCommits: async () => ((await ask('/commits')) as { waiting: number }).waiting,
    stats: async () => (await ask('/stats')) as Record<string, unknown>,
  };
}
