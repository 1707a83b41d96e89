/** A key that lies in the store, as the store has it. */
export interface StoredKey {
  key: Buffer;
  /** Bytes of its latest value; undefined where the store does not say. */
  valueLength: number | undefined;
}

export interface StoredLock {
  key: Buffer;
  startTs: bigint;
}

export interface StoreInspector {
  /** Keys of [start, end) in order, past PD, Envoy and regions. An empty end has no bound. */
  keys(start: Uint8Array, end: Uint8Array, limit?: number): Promise<StoredKey[]>;
  /** Keys of [start, end) that are locked, with the start ts of who locks them. */
  locks(start: Uint8Array, end: Uint8Array): Promise<StoredLock[]>;
  /** Counters of the store by name, as it reports them. */
  stats(): Promise<Record<string, unknown>>;
}

export function storeInspector(url: string): StoreInspector {
  const ask = async (path: string): Promise<unknown> => {
    const response = await fetch(`${url}${path}`);
    if (!response.ok)
      throw new Error(`the store answers ${response.status} to ${path}: ${await response.text()}`);
    return response.json();
  };
  return {
    async keys(start, end, limit = 10_000) {
      const query = new URLSearchParams({
        start: Buffer.from(start).toString('hex'),
        end: Buffer.from(end).toString('hex'),
        limit: String(limit),
      });
      const answer = (await ask(`/keys?${query.toString()}`)) as { key: string; valueLength?: number }[];
      return answer.map((entry) => ({ key: Buffer.from(entry.key, 'hex'), valueLength: entry.valueLength }));
    },
    async locks(start, end) {
      const query = new URLSearchParams({
        start: Buffer.from(start).toString('hex'),
        end: Buffer.from(end).toString('hex'),
      });
      const answer = (await ask(`/locks?${query.toString()}`)) as { key: string; startTs: string }[];
      return answer.map((lock) => ({ key: Buffer.from(lock.key, 'hex'), startTs: BigInt(lock.startTs) }));
    },
    stats: async () => (await ask('/stats')) as Record<string, unknown>,
  };
}
