/** What the steps of a move need done with keys. One engine works in one direction, from one place to another. */
import { CommandError } from '../../errors.ts';
import type { ForeignCommit, PieceMap, Throttle } from '../record.ts';
import type { BegunOptions } from './locks.ts';

/** A change feed is being read while this lives. */
export interface Feed {
  /** Everything that was committed at or below has been seen. */
  readonly resolvedTs: bigint;
  /** Where another worker can go on. */
  readonly checkpoint: unknown;
  /** What keeps it from going on, and is tried again and again. */
  readonly trouble: string | undefined;
  /** Rejects when it cannot go on. Never resolves. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}

/** Changes are being carried over while this lives: what it has seen is at the target, too. */
export interface Following extends Feed {
  /** How far the target is behind, ms, by the clock that `renew` has looked at. */
  readonly lagMs: number;
}

export interface Copied {
  readonly bytes: number;
  readonly keys: number;
  /** Of the whole, estimated by PD. */
  readonly ofBytes: number;
  /** The source's history is needed since then: a timestamp of PD, decimal. */
  readonly since?: string;
}

/** Versions that a feed needs have been collected. It cannot go on, ever. */
export class HistoryGone extends CommandError {
  constructor(since: bigint, lowest: bigint) {
    super(
      'REFUSED',
      `the storage layer has collected garbage up to ${lowest}, which is behind ${since}`,
      'end the move and begin again; a worker must not be away for longer than an hour',
    );
    this.name = 'HistoryGone';
  }
}

/** Of a region, or the highest ones of several. */
export interface Epoch {
  readonly version: number;
  readonly confVer: number;
}

export interface Engine {
  /** Keeps the source's history and the target's range for the move, and splits the target as the source is. Can be repeated. */
  prepare(): Promise<void>;
  /**
   * Keeps the source's history from garbage collection for an hour, and looks at its PD's clock. Where the target has another PD, keeps all
   * that the tenant still reads there, too, and raises the revision of its etcd a little where that is behind.
   * @throws HistoryGone
   */
  renew(): Promise<void>;
  /** Keeps the target's history since a switch, which is where the way back begins, and all that was kept. @throws HistoryGone */
  keepWayBack(fence: bigint): Promise<void>;
  /**
   * Copies what is not copied yet.
   * @param pieces of its state, as `saved` got them last; undefined at first
   * @param saved gets all pieces at first when there were none, and then those that change
   * @returns where to follow from
   */
  copy(
    pieces: readonly string[] | undefined,
    saved: (changed: PieceMap, copied: Copied) => Promise<void>,
    signal: AbortSignal,
  ): Promise<unknown>;
  /** Where to follow from when source and target are equal at this timestamp. */
  equalAt(timestamp: bigint): unknown;
  follow(checkpoint: unknown): Promise<Following>;
  /**
   * Watches the target, where nobody but the mover writes.
   * @param onForeign hears of commits there that the source does not have
   */
  watch(checkpoint: unknown, onForeign: (commits: readonly ForeignCommit[]) => void): Promise<Feed>;
  /** Takes another limit, which holds from now on. */
  limit(throttle: Throttle): void;
  /** A current timestamp of the source's PD. */
  timestamp(): Promise<bigint>;
  /** Why the source may have lost the tenant's keys, in words; undefined when nothing says so. @throws when it cannot be asked */
  sourceLoss(): Promise<string | undefined>;
  /** Of the target's, which is another one when a cluster outside of the mesh is one side. */
  targetTimestamp(): Promise<bigint>;
  /** Addresses of the TiDBs that run at a source outside of the mesh. */
  tidbs(): Promise<string[]>;
  /** Of those that run at a target outside of the mesh: nobody should. */
  strangers(): Promise<string[]>;
  /** The highest versions of the source's regions. */
  highestEpoch(): Promise<Epoch>;
  /** The ids of the clusters of both sides' PDs, decimal. */
  clusterIds(): Promise<{ readonly source: string; readonly target: string }>;
  /** Nothing older than this can be read at the target; undefined when all history is there. */
  readableSince(progress: unknown): bigint | undefined;
  /** The same as it is now, where the target has another PD: its garbage collection may have passed more. */
  readableAtTarget(): Promise<bigint | undefined>;
  /**
   * Waits until every transaction of the source has ended that has begun to commit by now.
   * @returns how many have not ended in time
   */
  endBegun(options: BegunOptions): Promise<number>;
  /** How many locks a switch would have to carry over, about. */
  openLocks(): Promise<number>;
  /**
   * Ends transactions that have begun to commit, at the source, and forbids at the target those that did not. Nobody writes.
   * @returns how many locks `carryLocks` will find
   */
  settle(signal: AbortSignal): Promise<number>;
  /**
   * Takes the source's pessimistic locks at the target, too. Everything else is there already, and nobody writes.
   * @returns how many could not be taken: their transactions fail at the target
   */
  carryLocks(signal: AbortSignal): Promise<number>;
  /** Where the target has another PD: brings its etcd to the source's revision, which takes long when it is far behind. */
  raiseRevision(): Promise<void>;
  /** How far the target's etcd was behind the source's when `renew` looked last. */
  revisionsBehind(): number;
  /** Gives what the source's PD keeps by the tenant's name to the target's, if that is another one. */
  carryNames(signal: AbortSignal): Promise<void>;
  /** Keeps the leases that `carryNames` has made from running out while nobody can reach the target. */
  keepLeases(): Promise<void>;
  /** Makes placement rules and attributes of the place that the tenant has left rules of the source, where it is served. */
  takeNamesAlong(): Promise<void>;
  /** Removes pessimistic locks that a switch has left at what is the target now. */
  dropCarriedLocks(): Promise<void>;
  /**
   * Destroys all keys of the target. False when no rule of PD keeps it for the tenant: then nothing was destroyed.
   * @param isMine is asked right before each call that destroys, and throws when another worker has the move
   */
  destroyTarget(isMine: () => Promise<void>): Promise<boolean>;
  /**
   * Gives up what was kept for the move. Source and target stay as they are. Where the source is gone for good, the target keeps the tenant's
   * range for it.
   * @returns why nothing could be given up at the other PD, if so. What it keeps ends by itself
   */
  release(): Promise<string | undefined>;
  close(): void;
}
