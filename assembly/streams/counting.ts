/** Counts for a stream's tenant what a piece of its bodies held. */
import * as current from '../rewrite/current';
import { takeRewrites } from '../rewrite/edits';
import * as frames from '../rewrite/frames';
import { Count } from '../terms/account';
import { Terms } from '../terms/terms';
import { Stream } from './stream';

/** Counts what `feed` has just let go on. The requests of a batch count by themselves, see rewrite/walker.ts. */
export function countFrames(stream: Stream, terms: Terms, answer: bool): void {
  terms.account.add(Count.REWRITES, takeRewrites());
  if (answer || stream.isBatch) return;
  terms.account.add(stream.call, frames.frameCount);
  if (!current.holdsMessage || frames.frameCount == 0) return;
  stream.isHeld = true;
  terms.account.held += frames.frameCount;
}
