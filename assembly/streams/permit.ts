/** Decides whether a tenant's call goes on: by the tables, the tenant's state, the policy, and the dry run. */
import { NO_OPERATION, callFor } from '../policy/names';
import { isStreamAt } from '../policy/methods';
import { refusesOperation } from '../policy/policy-bits';
import { hasMovedAway } from '../rewrite/current';
import { Call, METHOD_COUNT, Msg } from '../schema/table';
import * as move from '../terms/move';
import { MovePhase, isHeldAlone } from '../terms/move';
import { closedBy } from '../terms/state';
import { Terms } from '../terms/terms';
import { Status } from '../wire/status';
import { namesKeysForLong } from './drain';
import { refuseCall } from './refuse';
import { Stream } from './stream';
import { passesInDryRun } from './dry-run';

/**
 * True if the call goes on; otherwise it was refused. `operation`: see policy/names. `isOpen`: the tables open it to tenants; if not,
 * `because` says why, a text, or 0. `plain`: length of the path without its query.
 */
export function permit(
  stream: Stream,
  terms: Terms,
  operation: u32,
  isOpen: bool,
  because: u32,
  plain: usize,
): bool {
  stream.operation = operation;
  stream.call = callFor(operation);
  const closed = isOpen ? closedBy(terms.account.state, stream.call) : Status.OK;
  if (closed != Status.OK) {
    refuseCall(stream, closed, 0, plain);
    return false;
  }
  if (isOpen && (isRefusedInPhase(stream, terms) || endsInMove(stream, terms))) {
    refuseCall(stream, Status.TENANT_MOVES, 0, plain);
    return false;
  }
  if (isOpen && !refusesOperation(terms.policyBits, operation)) return admit(stream, terms, plain);
  if (passesInDryRun(terms, operation, isOpen, plain)) return admit(stream, terms, plain);
  const unserved = operation == NO_OPERATION ? Status.UNKNOWN_METHOD : Status.NOT_FOR_TENANTS;
  refuseCall(stream, isOpen ? Status.BY_POLICY : unserved, isOpen ? 0 : because, plain);
  return false;
}

/** True if a request alone on its stream is refused because its tenant moves by now. */
function isRefusedInPhase(stream: Stream, terms: Terms): bool {
  return (
    terms.account.phase != MovePhase.NONE &&
    !stream.isBatch &&
    refusesOperation(move.refusedBits, stream.operation)
  );
}

/**
 * Why it is refused when its body comes, OK if it is not: its headers may have come before, or it may have waited. The tenant may have moved
 * meanwhile, or another storage layer may serve it, and the request would act at the former place, which may be another tenant's by now.
 */
export function refusalByMove(stream: Stream, terms: Terms): Status {
  if (isRefusedInPhase(stream, terms)) return Status.TENANT_MOVES;
  const isFormer = terms.isAway || hasMovedAway(terms);
  if (!isFormer || !actsAtFormerPlace(stream)) return Status.OK;
  return terms.account.isAway ? Status.SERVED_ELSEWHERE : Status.TENANT_MOVES;
}

/** Long streams that name keys end by themselves (drain.ts), those of timestamps go on. Names in etcd are the same at each place. */
function actsAtFormerPlace(stream: Stream): bool {
  const isLong = stream.operation < METHOD_COUNT && isStreamAt(stream.operation);
  return !stream.isBatch && !isLong && stream.call != Call.ETCD && !isTurnedAway(stream);
}

/** True for a request that TiKV turns away by its region: it has version 0. Two have a region that TiKV does not look at. */
function isTurnedAway(stream: Stream): bool {
  return (
    stream.isOfStore &&
    isHeldAlone(MovePhase.FINAL, stream.call) &&
    stream.requestMessage != Msg.DESTROY_RANGE_REQUEST &&
    stream.requestMessage != Msg.LOCK_WAIT_REQUEST
  );
}

/**
 * True if the move of its tenant is so far that the stream must end: it names keys for as long as it is open, and a change feed would go
 * on to tell of the former ones.
 */
export function endsInMove(stream: Stream, terms: Terms): bool {
  return terms.account.phase == MovePhase.FINAL && namesKeysForLong(stream);
}

/** Counts an open stream. False if the tenant has as many as it may: the call was refused. */
function admit(stream: Stream, terms: Terms, plain: usize): bool {
  const account = terms.account;
  if (account.openStreams >= account.maxStreams) {
    refuseCall(stream, Status.TOO_MANY_STREAMS, 0, plain);
    return false;
  }
  account.openStreams++;
  stream.isAdmitted = true;
  return true;
}
