/**
 * Watches the side of a move that is not serving. Nobody but the mover writes there. So any other commit is one that the serving side
 * lacks: an Envoy that is not asked, or has an old configuration, has let a client through to it; or a TiDB runs at a cluster that was
 * imported. The mover writes with the source's timestamps, so its rows are known by the source's history, also where each side has a PD of
 * its own.
 */
import type { ForeignCommit } from '../record.ts';
import { isRow, type Rollback, type Row } from './apply.ts';
import { forEach } from './for-each.ts';
import { KeyMap, tableIdOf } from './key-space.ts';
import { after, Snapshot } from './snapshot.ts';
import type { Side } from './storage.ts';

/** Rows of which it is remembered that the mover wrote them. Of others the source is asked. */
const MOST_KNOWN = 100_000;
const CONCURRENCY = 16;

const nameOf = (key: Uint8Array, commitTs: bigint): string =>
  `${commitTs} ${Buffer.from(key).toString('latin1')}`;

/** What a mover has just written to the target. */
export class Written {
  private readonly known = new Set<string>();

  constructor(private readonly map: KeyMap) {}

  /** @param items of the source; say it before they are written */
  add(items: readonly (Row | Rollback)[]): void {
    for (const { key, commitTs } of items.filter(isRow)) this.known.add(nameOf(this.map.map(key), commitTs));
    for (const oldest of this.known) {
      if (this.known.size <= MOST_KNOWN) break;
      this.known.delete(oldest);
    }
  }

  /** True once for what was added. */
  take({ key, commitTs }: Row): boolean {
    return this.known.delete(nameOf(key, commitTs));
  }
}

export interface WatchOptions {
  /** Where the tenant is served. */
  readonly source: Side;
  readonly target: Side;
  readonly written: Written;
  /** Hears of commits at the target that the source does not have. */
  readonly onForeign: (commits: readonly ForeignCommit[]) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Judges what the change feed of the target tells. A Follower of the target "applies" to it. */
export class Watcher {
  private readonly back: KeyMap;
  /** A timestamp that the source's PD has given. */
  private latest = 0n;

  constructor(private readonly options: WatchOptions) {
    this.back = new KeyMap(options.target.space, options.source.space);
  }

  async apply(items: readonly (Row | Rollback)[]): Promise<void> {
    const { written, onForeign } = this.options;
    const unknown = items.filter(isRow).filter((row) => !written.take(row));
    const foreign: Row[] = [];
    await forEach(unknown, CONCURRENCY, async (row) => {
      if (!(await this.isOfSource(row))) foreign.push(row);
    });
    if (foreign.length > 0) onForeign(foreign.map((row) => this.described(row)));
  }

  /**
   * True if the source had the same at the row's commit timestamp, as it has of all that a mover wrote. A commit of somebody else that
   * changes nothing against the source is no loss.
   */
  private async isOfSource({ key, commitTs, op, value }: Row): Promise<boolean> {
    const { source, signal } = this.options;
    // A mover's row has a timestamp of the source's PD. One of another PD may lie in the source's future, where nobody may read.
    if (commitTs > this.latest) this.latest = await source.storage.timestamp();
    const at = commitTs < this.latest ? commitTs : this.latest;
    const start = this.back.map(key);
    // Whoever holds a lock there commits later than what the mover has carried.
    const snapshot = new Snapshot(source, at, { locks: 'ignore', signal });
    const { pairs } = await snapshot.page({ start, end: after(start) });
    const [there] = pairs;
    if (op === 'delete') return there === undefined;
    return there !== undefined && Buffer.compare(there.value, value) === 0;
  }

  private described({ key, startTs, commitTs, op }: Row): ForeignCommit {
    const logical = this.options.target.space.decode(key) ?? Buffer.alloc(0);
    const tableId = tableIdOf(logical);
    return {
      key: logical.toString('hex'),
      ...(tableId === undefined ? {} : { tableId: String(tableId) }),
      op,
      startTs: String(startTs),
      commitTs: String(commitTs),
    };
  }
}
