/**
 * Ends open streams that a tenant's new state closes. Streams of BatchCommands stay open: each of their requests is judged by itself, and
 * the refusal is an answer that TiDB takes as final.
 */
import { actAs, endStream } from '../host/host';
import { closedBy } from '../terms/state';
import { Status } from '../wire/status';
import { takeStateChange } from './accounts';
import { reportEnding } from './refusal-log';
import { Phase, Stream, eachStream } from './stream';
import { mayAct } from './turns';

/** True when a change of state has streams to end. */
let areClosed: bool = false;

/** Ends the stream if the state of its tenant closes it. */
function endIfClosed(stream: Stream): void {
  const terms = stream.terms;
  if (terms == null || stream.phase == Phase.NEW || stream.phase == Phase.ENDED) return;
  const status = closedBy(terms.account.state, stream.call);
  if (status == Status.OK) return;
  if (!mayAct()) {
    areClosed = true;
    return;
  }
  stream.phase = Phase.ENDED;
  actAs(stream.context);
  reportEnding(stream, status);
  endStream();
}

/** Called on the tick. */
export function endClosedStreams(): void {
  const isDue = takeStateChange() || areClosed;
  areClosed = false;
  if (isDue) eachStream(endIfClosed);
}
