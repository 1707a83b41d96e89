/**
 * Ends open streams that a tenant's new state closes, or the end of its move. Streams of BatchCommands stay open: each of their requests is judged by itself, and
 * the refusal is an answer that TiDB takes as final.
 */
import { actAs, endStream } from '../host/host';
import { closedBy } from '../terms/state';
import { Terms } from '../terms/terms';
import { Status } from '../wire/status';
import { takeStateChange } from './accounts';
import { endsInMove } from './permit';
import { reportEnding } from './refusal-log';
import { Phase, Stream, eachStream } from './stream';
import { mayAct } from './turns';

/** True when a change has streams to end. */
let areClosed: bool = false;

/** Why the stream must end; OK if it may stay open. */
function closes(stream: Stream, terms: Terms): Status {
  const status = closedBy(terms.account.state, stream.call);
  return status == Status.OK && endsInMove(stream, terms) ? Status.TENANT_MOVES : status;
}

/** Ends the stream if the state or the move of its tenant closes it. */
function endIfClosed(stream: Stream): void {
  const terms = stream.terms;
  if (terms == null || stream.phase == Phase.NEW || stream.phase == Phase.ENDED) return;
  const status = closes(stream, terms);
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
