/**
 * Delays repeated refusals. Some clients answer a refusal with the same call, at once and for ever: TiDB's DDL worker, BR. In each VM a
 * tenant gets AT_ONCE refusals per second without delay. Further calls are answered on the next tick. So a loop costs Envoy little CPU and
 * the client few lines of log.
 *
 * Only calls refused by their headers wait: nothing of them was forwarded.
 */
import { actAs, increment, sendReply } from '../host/host';
import { grpcStatusOf, httpStatusOf } from '../schema/statuses';
import { writeDetails } from '../texts/statuses';
import { Terms } from '../terms/terms';
import * as writer from '../texts/writer';
import { Status } from '../wire/status';
import * as clock from './clock';
import * as metrics from './metrics';
import { Stream, eachStream } from './stream';
import { mayAct } from './turns';

/** Refusals that one tenant gets without delay, per second and VM. */
const AT_ONCE: u32 = 20;
/** Maximum of streams in one VM that wait for their refusal. Others are answered at once. */
const MAX_LATE: u32 = 1024;

let lateCount: u32 = 0;

/** Counts a refusal. True when it must wait for the next tick. The clock moves once a second, with the tick. */
export function isTooMany(terms: Terms | null): bool {
  if (terms == null || clock.now == 0) return false;
  if (terms.refusedAt != clock.now) {
    terms.refusedAt = clock.now;
    terms.refusals = 0;
  }
  return ++terms.refusals > AT_ONCE && lateCount < MAX_LATE;
}

/** Keeps the answer of a stream for the next tick. The stream must have ended. */
export function answerLater(stream: Stream, status: Status, text: usize, length: usize): void {
  stream.lateAt = heap.alloc(length);
  memory.copy(stream.lateAt, text, length);
  stream.lateLength = length;
  stream.lateStatus = status;
  stream.lateSince = clock.now;
  lateCount++;
  increment(metrics.refusedLateTotal);
}

/** Frees what is kept for a stream that closes. */
export function forgetLate(stream: Stream): void {
  if (stream.lateAt == 0) return;
  heap.free(stream.lateAt);
  stream.lateAt = 0;
  lateCount--;
}

function answer(stream: Stream): void {
  // What has come since the tick waits for the next one, however many callbacks this one needs.
  if (stream.lateAt == 0 || stream.lateSince == clock.now || !mayAct()) return;
  actAs(stream.context);
  const status = stream.lateStatus;
  writeDetails(status);
  sendReply(
    httpStatusOf(status),
    grpcStatusOf(status),
    stream.lateAt,
    stream.lateLength,
    writer.textAt,
    writer.textLength,
  );
  forgetLate(stream);
}

/** Sends the kept answers. Called on the tick. */
export function answerLate(): void {
  if (lateCount != 0) eachStream(answer);
}
