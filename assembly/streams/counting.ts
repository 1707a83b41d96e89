/** Counts for a stream's tenant what a piece of its bodies held. */
import { takeRewrites } from '../rewrite/edits';
import * as frames from '../rewrite/frames';
import { Count } from '../terms/account';
import { Terms } from '../terms/terms';
import { Stream } from './stream';

/** Counts what `feed` has just let go on. The requests of a batch count by themselves, see rewrite/walker.ts. */
export function countFrames(stream: Stream, terms: Terms, answer: bool): void {
  terms.account.add(Count.REWRITES, takeRewrites());
  if (!answer && !stream.isBatch) terms.account.add(stream.call, frames.frameCount);
}
