/** Begins an event of a stream: everything below streams/ works for its tenant from now on. */
import { randomLease } from '../host/host';
import * as current from '../rewrite/current';
import { holdMessages, install } from '../rewrite/current';
import { grantsLease } from '../schema/messages';
import { MovePhase, isHeldAlone } from '../terms/move';
import { Terms } from '../terms/terms';
import * as clock from './clock';
import { Phase, Stream } from './stream';

export function enter(stream: Stream, terms: Terms): void {
  const grants = stream.phase == Phase.MAP && grantsLease(stream.requestMessage);
  const lease = grants ? randomLease() : 0;
  const now = clock.now;
  install(
    terms,
    stream.exchange,
    terms.latestTimestamp(now),
    terms.timestampDoubt(now),
    terms.oldestTimestamp(now),
    lease,
  );
  if (!stream.isOfStore || stream.isBatch) return;
  if (isHeldAlone(current.holdsAll ? MovePhase.FINAL : terms.account.phase, stream.call)) holdMessages();
}
