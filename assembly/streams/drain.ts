/**
 * Ends streams whose caller a new config version maps differently: as soon as nothing is outstanding on them, after
 * drainTimeoutSeconds at most. Clients open them again. All other streams live on.
 */
import { actAs, endStream } from '../host/host';
import { isSameSpace } from '../keys/space';
import { areSamePolicyBits } from '../policy/policy-bits';
import { Access, Identity } from '../tenant/identity';
import { Terms } from '../terms/terms';
import { isSameBytes } from '../wire/bytes';
import { identify } from './callers';
import { ConfigVersion, versionOf, hasFormer, reviewConfigs } from './configs';
import { countDrained } from './metrics';
import { reportEnding } from './refusal-log';
import { Phase, Stream, eachStream } from './stream';
import { mayAct } from './turns';
import { Status } from '../wire/status';

/** Streams that are draining, as of the last tick. */
export let drainingCount: u32 = 0;

let now: u64 = 0;

/** True if both are the same part of the store, in PD's etcd too, under the same policy. */
function areSame(one: Terms, other: Terms): bool {
  return (
    one.number == other.number &&
    one.prefixLength == other.prefixLength &&
    isSameBytes(one.prefixAt, other.prefixAt, one.prefixLength) &&
    isSameSpace(one.space, other.space) &&
    one.dryRun == other.dryRun &&
    areSamePolicyBits(one.policyBits, other.policyBits)
  );
}

/** True if the caller has the same key range and policy under the new config version. */
function isSame(stream: Stream, identity: Identity): bool {
  const terms = stream.terms;
  if (terms == null) return identity.access == Access.SYSTEM;
  const tenant = identity.tenant;
  return identity.access == Access.TENANT && tenant != null && areSame(terms, tenant.terms);
}

function review(stream: Stream): void {
  if (stream.phase == Phase.NEW || stream.phase == Phase.ENDED) return;
  const version = versionOf(stream.root);
  if (version == null) return;
  const successor = version.successor;
  if (successor == null) {
    stream.draining = false;
    return;
  }
  if (stream.reviewed != successor.serial) {
    stream.reviewed = successor.serial;
    actAs(stream.context);
    stream.draining = !isSame(stream, identify(successor.resolver, false));
  }
  if (!stream.draining) return;
  drainingCount++;
  stream.mustEnd = mustEnd(stream, version);
  stream.bodies = 0;
  endIfDue(stream);
}

/** Ends the stream if it is to end, as far as this callback may. */
function endIfDue(stream: Stream): void {
  if (!stream.mustEnd || stream.phase == Phase.ENDED) return;
  if (!mayAct()) return;
  stream.mustEnd = false;
  endDrained(stream);
}

function mustEnd(stream: Stream, version: ConfigVersion): bool {
  const successor = version.successor;
  return successor != null && (isIdle(stream, version) || isOverdue(stream, version, successor));
}

/** The same for a stream of a former callback: it may be in use again, and is then judged on the next tick. */
function endLeft(stream: Stream): void {
  if (!stream.mustEnd) return;
  const version = versionOf(stream.root);
  stream.mustEnd = version != null && mustEnd(stream, version);
  endIfDue(stream);
}

/**
 * True if nothing is outstanding: all requests of a batch stream are answered, or nothing has moved on another stream since the last
 * tick. Never true for a stream that began under a former config version, which may be coming back.
 */
function isIdle(stream: Stream, version: ConfigVersion): bool {
  if (stream.beganAt > version.supersededAt) return false;
  return stream.isBatch ? stream.exchange.outstanding <= 0 : stream.bodies == 0;
}

function isOverdue(stream: Stream, version: ConfigVersion, successor: ConfigVersion): bool {
  const since = max(version.supersededAt, stream.beganAt);
  return now >= since + <u64>successor.resolver.config.limits.drainTimeoutSeconds * 1000;
}

/** True if a BatchCommands stream must end now, instead of sending its next request. */
export function isDrained(stream: Stream): bool {
  if (!stream.draining || !stream.isBatch) return false;
  const version = versionOf(stream.root);
  return version != null && isIdle(stream, version);
}

/** Ends a draining stream. Its client connects again. */
export function endDrained(stream: Stream): void {
  stream.phase = Phase.ENDED;
  countDrained();
  actAs(stream.context);
  reportEnding(stream, Status.DRAINED);
  endStream();
}

/** Called on the tick, with the time in ms. */
export function reviewStreams(time: u64): void {
  // Draining streams go on if their config version is in force again and no other is left.
  const areThere = hasFormer() || drainingCount != 0;
  drainingCount = 0;
  if (!areThere) return;
  now = time;
  reviewConfigs(now);
  eachStream(review);
}

/** Ends streams that the last review left. */
export function endLeftStreams(): void {
  if (drainingCount != 0) eachStream(endLeft);
}
