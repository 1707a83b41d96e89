/** Makes committed rows of what a change feed tells of one region (TiKV components/cdc; TiCDC's cdc/kv/matcher.go reads it the same way). */
import {
  Event_LogType as LogType,
  Event_Row_OpType as OpType,
  type Event_Row as Told,
} from '../../pd/generated/tikv/cdcpb_pb.ts';
import type { Rollback, Row } from './apply.ts';

/** The feed contradicts itself: it is registered again from the last checkpoint. */
export class FeedError extends Error {}

/** A key that a transaction has prewritten. */
export type Prewritten = Pick<Told, 'startTs' | 'key'>;

const nameOf = ({ startTs, key }: Prewritten): string => `${startTs} ${Buffer.from(key).toString('latin1')}`;

/**
 * Before INITIALIZED come what the region held, in the order of keys with a key's newest version first, and live changes between. So all is
 * kept until then, and sorted once.
 */
export class Matcher {
  private initial: Told[] | undefined = [];
  private readonly prewrites = new Map<string, Told>();
  /** Of prewrites whose end is not known, and of what came before INITIALIZED. */
  bytes = 0;

  /**
   * @param checkpoint rows that were committed at or before it are known
   * @param before what was prewritten when the last registration ended. What the region does not show any more was rolled back meanwhile.
   */
  constructor(
    private readonly checkpoint: bigint,
    private readonly before: readonly Prewritten[] = [],
  ) {}

  get isInitialized(): boolean {
    return this.initial === undefined;
  }

  /** What is prewritten, and neither committed nor rolled back as far as is known. */
  get prewritten(): Prewritten[] {
    const known = this.isInitialized ? [...this.prewrites.values()] : this.before;
    return known.map(({ startTs, key }) => ({ startTs, key }));
  }

  /** @returns what to apply, a key's rows in the order of commits */
  take(rows: readonly Told[]): (Row | Rollback)[] {
    const ready: (Row | Rollback)[] = [];
    for (const row of rows) {
      if (!this.initial) this.live(row, ready);
      else if (row.type === LogType.INITIALIZED) ready.push(...this.initialize(this.initial));
      else {
        this.initial.push(row);
        this.bytes += row.key.length + row.value.length;
      }
    }
    return ready;
  }

  private initialize(initial: readonly Told[]): (Row | Rollback)[] {
    this.initial = undefined;
    this.bytes = 0;
    const committed = new Map<string, Row>();
    const add = (row: Told, { opType, value }: Told): void => {
      if (row.commitTs > this.checkpoint) committed.set(nameOf(row), toRow(row, opType, value));
    };
    for (const row of initial) if (row.type === LogType.PREWRITE) this.prewrite(row);
    for (const row of initial) {
      const prewrite = this.prewrites.get(nameOf(row));
      if (row.type === LogType.COMMITTED) add(row, row);
      // Without its prewrite, it is among what the region held.
      else if (row.type === LogType.COMMIT && prewrite) add(row, prewrite);
      if (row.type !== LogType.PREWRITE) this.forget(nameOf(row));
    }
    const shown = new Set(initial.map(nameOf));
    const gone = this.before.filter((one) => !shown.has(nameOf(one)));
    const rolledBack = initial.filter(({ type }) => type === LogType.ROLLBACK);
    return [
      ...[...committed.values()].sort((a, b) =>
        a.commitTs === b.commitTs ? Buffer.compare(a.key, b.key) : a.commitTs < b.commitTs ? -1 : 1,
      ),
      ...[...gone, ...rolledBack].map(toRollback),
    ];
  }

  private prewrite(row: Told): void {
    const name = nameOf(row);
    const known = this.prewrites.get(name);
    // Heartbeats of large transactions repeat a prewrite without its value; pipelined ones replace it by a later generation.
    if (known && (row.value.length === 0 || row.generation < known.generation)) return;
    this.forget(name);
    this.prewrites.set(name, row);
    this.bytes += row.key.length + row.value.length;
  }

  private forget(name: string): void {
    const known = this.prewrites.get(name);
    if (known) this.bytes -= known.key.length + known.value.length;
    this.prewrites.delete(name);
  }

  private live(row: Told, ready: (Row | Rollback)[]): void {
    const name = nameOf(row);
    switch (row.type) {
      case LogType.PREWRITE:
        return this.prewrite(row);
      case LogType.ROLLBACK:
        ready.push(toRollback(row));
        return this.forget(name);
      case LogType.COMMITTED:
        this.forget(name);
        if (row.commitTs > this.checkpoint) ready.push(toRow(row, row.opType, row.value));
        return;
      case LogType.COMMIT: {
        if (row.commitTs <= this.checkpoint) return this.forget(name);
        const prewrite = this.prewrites.get(name);
        if (!prewrite) throw new FeedError('a commit without its prewrite');
        ready.push(toRow(row, prewrite.opType, prewrite.value));
        return this.forget(name);
      }
      case LogType.INITIALIZED:
        return;
      default:
        throw new FeedError(`a row of type ${row.type}`);
    }
  }
}

function toRollback({ startTs, key }: Prewritten): Rollback {
  return { startTs, key, op: 'rollback' };
}

function toRow({ startTs, commitTs, key }: Told, opType: OpType, value: Uint8Array): Row {
  return { startTs, commitTs, key, op: opType === OpType.DELETE ? 'delete' : 'put', value };
}
