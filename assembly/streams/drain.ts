/**
 * No stream runs under rules that no longer hold. After a change of the configuration, streams whose caller it makes somebody else (or
 * nobody) are ended: when nothing is outstanding on them, at the latest after drainTimeoutSeconds. Clients open them anew. Streams whose
 * caller stays who it was live on.
 */
import { actAs, endStream } from '../host/host';
import { isSameSpace } from '../keys/space';
import { isSameTightening } from '../policy/tighten';
import { Access, Identity } from '../tenant/identity';
import { isSameBytes } from '../wire/bytes';
import { identify } from './callers';
import { Generation, generationOf, hasFormer } from './configs';
import { countDrained } from './metrics';
import { Phase, Stream, eachStream } from './stream';

/** Streams that are to end, as of the last tick. */
export let drainingCount: u32 = 0;

let now: u64 = 0;

/** True when the new rules give the caller the same part of the storage, and let it do the same there. */
function isSame(stream: Stream, identity: Identity): bool {
  if (stream.budget == null) return identity.access == Access.SYSTEM;
  const tenant = identity.tenant;
  const space = stream.space;
  if (space == null) return false;
  if (identity.access != Access.TENANT || tenant == null) return false;
  return (
    tenant.number == stream.tenantNumber &&
    tenant.prefixBytes.byteLength == <i32>stream.namespaceLength &&
    isSameBytes(changetype<usize>(tenant.prefixBytes), stream.namespaceAt, stream.namespaceLength) &&
    isSameSpace(tenant.space, space) &&
    tenant.trial == stream.trial &&
    isSameTightening(tenant.tightening, stream.tightening)
  );
}

function review(stream: Stream): void {
  if (stream.phase == Phase.NEW || stream.phase == Phase.ENDED) return;
  const generation = generationOf(stream.root);
  if (generation == null) return;
  const successor = generation.successor;
  if (successor == null) return;
  if (stream.reviewed != successor.serial) {
    stream.reviewed = successor.serial;
    actAs(stream.context);
    stream.draining = !isSame(stream, identify(successor.resolver, false));
  }
  if (!stream.draining) return;
  drainingCount++;
  if (isIdle(stream) || isOverdue(generation, successor)) endDrained(stream);
  stream.bodies = 0;
}

/** Nothing is on its way: all requests of a batch stream are answered, on any other nothing has moved since the last tick. */
function isIdle(stream: Stream): bool {
  return stream.isBatch ? stream.exchange.outstanding <= 0 : stream.bodies == 0;
}

function isOverdue(generation: Generation, successor: Generation): bool {
  return now >= generation.supersededAt + <u64>successor.resolver.config.limits.drainTimeoutSeconds * 1000;
}

/** Ends a stream that is to be drained; its client connects again. */
export function endDrained(stream: Stream): void {
  stream.phase = Phase.ENDED;
  countDrained();
  actAs(stream.context);
  endStream();
}

/** Called on the tick, with the time in ms. */
export function reviewStreams(time: u64): void {
  drainingCount = 0;
  if (!hasFormer()) return;
  now = time;
  eachStream(review);
}
