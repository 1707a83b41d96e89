/** Begins an event of a stream: everything below streams/ works for its tenant from now on. */
import { randomLease } from '../host/host';
import { install } from '../rewrite/current';
import { grantsLease } from '../schema/messages';
import { Terms } from '../terms/terms';
import * as clock from './clock';
import { Phase, Stream } from './stream';

export function enter(stream: Stream, terms: Terms): void {
  const grants = stream.phase == Phase.MAP && grantsLease(stream.requestMessage);
  const lease = grants ? randomLease() : 0;
  install(terms, stream.exchange, terms.latestTimestamp(clock.now), terms.oldestTimestamp(clock.now), lease);
}
