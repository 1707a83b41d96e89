/**
 * Ends streams whose caller a new config version maps differently: as soon as nothing is outstanding on them, after
 * drainTimeoutSeconds at most. Clients open them again. All other streams live on.
 */
import { actAs, endStream } from '../host/host';
import { isSameSpace } from '../keys/space';
import { NO_OPERATION } from '../policy/names';
import { isStreamAt } from '../policy/methods';
import { Call, METHOD_COUNT } from '../schema/table';
import { areSamePolicyBits } from '../policy/policy-bits';
import { Access, Identity } from '../tenant/identity';
import { Terms } from '../terms/terms';
import { isSameBytes } from '../wire/bytes';
import { identifyAgain } from './callers';
import { ConfigVersion, versionOf, hasFormer, reviewConfigs } from './configs';
import { countDrained } from './metrics';
import { reportEnding } from './refusal-log';
import { isLate, moveOver } from './move-over';
import { hasMovedAway } from '../rewrite/current';
import * as streams from './stream';
import { Phase, Stream, eachStream } from './stream';
import { mayAct } from './turns';
import { Status } from '../wire/status';

/** Streams that are draining, as of the last tick. */
export let drainingCount: u32 = 0;

let now: u64 = 0;

/** How a caller is mapped under another config version. */
const enum Change {
  NONE,
  /** The same tenant has another key range. */
  MOVED,
  /** Another storage layer serves the same tenant by now, or this one again. */
  AWAY,
  OTHER,
}

function changeOf(one: Terms, other: Terms): Change {
  const isSameTenant =
    one.number == other.number &&
    one.prefixLength == other.prefixLength &&
    isSameBytes(one.prefixAt, other.prefixAt, one.prefixLength) &&
    one.space.hasOwnDefaultGroup == other.space.hasOwnDefaultGroup &&
    one.seenClusterId == other.seenClusterId &&
    one.ownClusterId == other.ownClusterId &&
    one.dryRun == other.dryRun &&
    areSamePolicyBits(one.policyBits, other.policyBits);
  if (!isSameTenant) return Change.OTHER;
  const isSameAway =
    one.awayLength == other.awayLength && isSameBytes(one.awayAt, other.awayAt, one.awayLength);
  if (!isSameAway) return Change.AWAY;
  return one.range == other.range && isSameSpace(one.space, other.space) ? Change.NONE : Change.MOVED;
}

/** How the stream's caller is mapped under the new config version. */
function changeFor(stream: Stream, identity: Identity): Change {
  const terms = stream.terms;
  if (terms == null) return identity.access == Access.SYSTEM ? Change.NONE : Change.OTHER;
  const tenant = identity.tenant;
  return identity.access == Access.TENANT && tenant != null ? changeOf(terms, tenant.terms) : Change.OTHER;
}

/** True if a stream that is not of BatchCommands may name keys for long. TSO, etcd's streams and others of PD name none. */
export function namesKeysForLong(stream: Stream): bool {
  const operation = stream.operation;
  if (operation == NO_OPERATION || operation >= METHOD_COUNT || !isStreamAt(operation)) return false;
  return stream.call == Call.OTHER || stream.call == Call.WRITE;
}

function review(stream: Stream): void {
  if (stream.phase == Phase.NEW || stream.phase == Phase.ENDED) return;
  const version = versionOf(stream.root);
  if (version == null) return;
  const successor = version.successor;
  if (successor == null && !stream.isPinned) {
    stream.draining = false;
    stream.isMoving = false;
    return;
  }
  const inForce = successor == null ? version : successor;
  if (stream.reviewed != inForce.serial) judge(stream, inForce);
  if (stream.isMoving) moveOver(stream, inForce);
  if (!stream.draining && !stream.isMoving) return;
  drainingCount++;
  stream.mustEnd = mustEnd(stream, version, inForce);
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

function mustEnd(stream: Stream, version: ConfigVersion, inForce: ConfigVersion): bool {
  const isDone = stream.isMoving ? isLate(stream, now) : isIdle(stream, version);
  return isDone || isOverdue(stream, version, inForce);
}

/** The same for a stream of a former callback: it may be in use again, and is then judged on the next tick. */
function endLeft(stream: Stream): void {
  if (!stream.mustEnd) return;
  const version = versionOf(stream.root);
  stream.mustEnd = false;
  if (version == null) return;
  const successor = version.successor;
  stream.mustEnd = successor != null && mustEnd(stream, version, successor);
  endIfDue(stream);
}

/** Decides what becomes of a stream under the config version in force. */
function judge(stream: Stream, inForce: ConfigVersion): void {
  stream.reviewed = inForce.serial;
  actAs(stream.context);
  const change = changeFor(stream, identifyAgain(inForce.resolver, stream.isOnBehalf ? stream.terms : null));
  const moves = (change == Change.MOVED || change == Change.AWAY) && stream.isBatch;
  if (moves && !stream.isMoving) stream.movingSince = now;
  stream.isMoving = moves;
  stream.draining =
    change == Change.OTHER ||
    (change == Change.MOVED && namesKeysForLong(stream)) ||
    (change == Change.AWAY && !stream.isBatch);
}

/** Reviews the streams of tenants whose keys are elsewhere by now. Called when a configuration is loaded. */
export function reviewMoved(time: u64): void {
  now = time;
  if (hasFormer()) eachStream(reviewIfMoved);
}

function reviewIfMoved(stream: Stream): void {
  const terms = stream.terms;
  if (terms != null && hasMovedAway(terms)) review(stream);
}

/**
 * True if nothing is outstanding: all requests of a batch stream are answered, or nothing has moved on another stream since the last
 * tick. Never true for a stream that began under a former config version, which may be coming back.
 */
function isIdle(stream: Stream, version: ConfigVersion): bool {
  if (stream.beganAt > version.supersededAt) return false;
  return stream.isBatch ? stream.exchange.outstanding <= 0 : stream.bodies == 0;
}

function isOverdue(stream: Stream, version: ConfigVersion, inForce: ConfigVersion): bool {
  const since = stream.isMoving ? stream.movingSince : max(version.supersededAt, stream.beganAt);
  return now >= since + <u64>inForce.resolver.config.limits.drainTimeoutSeconds * 1000;
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
  // Draining streams go on if their config version is in force again and no other is left, and pinned ones move over to its keys.
  const areThere = hasFormer() || drainingCount != 0 || streams.pinnedCount != 0;
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
