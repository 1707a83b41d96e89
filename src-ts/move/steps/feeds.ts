/** The change feeds of a move that follows: what is being carried over from the source, and what others write to the target. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError } from '../../errors.ts';
import type { Feed, Following } from '../engine/engine.ts';
import type { ForeignCommit, MoveRecord } from '../record.ts';

const LOOK_MS = 10;

/** What a move that follows reads. */
export interface Feeds {
  readonly following: Following;
  /** Of the target. */
  readonly watching: Feed;
  /** Commits at the target that are none of the mover's, and in no alarm yet. */
  readonly foreign: ForeignCommit[];
  /** Throws when one of them cannot go on. A race with their promises, again and again, would keep all that has lost it. */
  check(): void;
  /** See `Engine`. */
  revisionsBehind(): number;
}

/** Where nothing can be carried over any more. */
export const STANDS_STILL: Following = {
  resolvedTs: 0n,
  lagMs: Infinity,
  checkpoint: undefined,
  trouble: undefined,
  failed: new Promise<never>(() => undefined),
  stop: async () => undefined,
};

/** What is kept of what has been read, so that another worker can go on. */
export function progressOf({ progress }: MoveRecord, feeds: Feeds): unknown {
  const { following, watching, foreign } = feeds;
  // Whoever goes on must hear of these again until they are written down.
  if (foreign.length > 0) return progress;
  const { checkpoint, lagMs, resolvedTs } = following;
  const trouble = following.trouble ?? watching.trouble;
  const revisionsBehind = feeds.revisionsBehind();
  return {
    follow: checkpoint,
    watch: watching.checkpoint,
    lagMs,
    resolvedTs: String(resolvedTs),
    ...(trouble === undefined ? {} : { trouble }),
    ...(revisionsBehind === 0 ? {} : { revisionsBehind }),
  };
}

/** @throws when the target has not got everything up to the fence in time */
export async function catchUp(feeds: Feeds, fence: bigint, until: number, holdMs: number): Promise<void> {
  if (await reach(feeds.following, fence, until, feeds)) return;
  throw new CommandError(
    'REFUSED',
    `the target was still ${feeds.following.lagMs} ms behind when writes had been held for ${holdMs} ms`,
    'try again when less is written; or give --hold more time',
  );
}

/** @throws when anybody else has written to the target up to the timestamp of its PD, or that is not known in time */
export async function untouched(ts: bigint, until: number, feeds: Feeds): Promise<void> {
  if (!(await reach(feeds.watching, ts, until, feeds))) throw new Error('the watch of the target is behind');
  if (feeds.foreign.length > 0) throw new Error('somebody else has written to the target');
}

/** Waits until a feed has seen everything up to a timestamp. False at the deadline. */
async function reach(feed: Feed, ts: bigint, until: number, { check }: Feeds): Promise<boolean> {
  while (feed.resolvedTs < ts) {
    if (Date.now() > until) return false;
    await sleep(LOOK_MS);
    check();
  }
  return true;
}
