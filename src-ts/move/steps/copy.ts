/** Copies the tenant's keys, and keeps how far that is in pieces, so that another worker can go on. */
import { CommandError } from '../../errors.ts';
import type { Copied, Engine } from '../engine/engine.ts';
import type { Place } from '../place.ts';
import { dropPieces, piecesOf, type PieceMap } from '../record.ts';
import type { EndWish } from './end-wish.ts';
import { NO_PROBLEM, type OwnRecord } from './own-record.ts';
import { isPaused } from './pause.ts';
import { Rate } from './rate.ts';
import type { Tools } from './tools.ts';

/** How often it looks at what an operator has asked for. */
const HEED_MS = 1000;
/** In one transaction: far below what etcd takes, beside a record (--max-request-bytes 1.5 MB, --max-txn-ops 128). */
const MOST_BYTES = 1 << 20;
const MOST_PIECES = 100;

/** Pieces that are written together. */
function groupsOf(pieces: PieceMap): PieceMap[] {
  const groups: Map<number, string>[] = [];
  let bytes = 0;
  for (const [index, text] of pieces) {
    const last = groups.at(-1);
    bytes += text.length;
    if (last && bytes <= MOST_BYTES && last.size < MOST_PIECES) last.set(index, text);
    else {
      groups.push(new Map([[index, text]]));
      bytes = text.length;
    }
  }
  return groups;
}

export class Copy {
  constructor(
    private readonly own: OwnRecord,
    private readonly endWish: EndWish,
    private readonly tools: Pick<Tools, 'pd'>,
  ) {}

  async run(engine: Engine): Promise<boolean> {
    await engine.prepare();
    if (await isPaused(this.own)) return false;
    const stop = new AbortController();
    const signal = AbortSignal.any([this.own.signal, stop.signal]);
    const rate = new Rate();
    let all: Copied | undefined;
    let { pieces: count } = (this.own.record.progress ?? {}) as { pieces?: number };
    const saved = async (changed: PieceMap, copied: Copied): Promise<void> => {
      await engine.renew();
      all = copied;
      const progress = { copied: { ...copied, bytesPerSecond: rate.add(copied.bytes) } };
      const groups = groupsOf(changed);
      for (const [index, group] of groups.entries()) {
        // Until all pieces of a plan are there, it does not count.
        if (index === groups.length - 1) count ??= changed.size;
        await this.own.change({ progress: { ...progress, pieces: count } }, group);
      }
      await this.own.reached('copied');
      heed();
    };
    // Between two states that are kept, a chunk goes on for a while.
    const heed = (): void => {
      engine.limit(this.own.record.throttle);
      if (this.own.record.isPaused || this.own.record.wish !== undefined) stop.abort();
    };
    const listening = setInterval(heed, HEED_MS);
    const { tools } = this;
    const { record } = this.own;
    const pieces = count === undefined ? undefined : (await piecesOf(tools.pd, record)).slice(0, count);
    if (pieces && pieces.length !== count)
      throw new CommandError(
        'REFUSED',
        `${pieces.length} of ${count ?? 0} pieces of the copy's state are in etcd`,
        `somebody has deleted keys of the mesh; begin again: tidb-mesh move cancel ${this.own.tenant}`,
      );
    try {
      const checkpoint = await engine.copy(pieces, saved, signal);
      const since = engine.readableSince(checkpoint);
      const to: Place = {
        ...this.own.record.to,
        ...(since === undefined ? {} : { readableSince: String(since) }),
      };
      const watch = engine.equalAt(await engine.targetTimestamp());
      await this.own.enter('copying', {
        state: 'following',
        progress: { follow: checkpoint, watch },
        copied: all && { bytes: all.bytes, keys: all.keys },
        to,
        ...NO_PROBLEM,
      });
      await dropPieces(tools.pd, record);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
      await this.endWish.isToEnd();
    } finally {
      clearInterval(listening);
    }
    return false;
  }
}
