/**
 * Hands the calls of a tenant over that another storage layer serves by now (docs/decisions/0017). What is for PD goes on to that layer's
 * Envoy, unread, by a path that only the filter writes. Where no route takes that path, PD refuses it as unknown. What is for the store is
 * answered so that its client asks PD where to go. Nothing of this layer reaches the tenant any more.
 */
import { HeaderMap } from '../host/abi';
import * as host from '../host/host';
import { alloc } from '../memory/arena';
import { MovePhase } from '../terms/move';
import { Terms } from '../terms/terms';
import { Ascii, ascii, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { endDrained } from './drain';
import * as headers from './headers';
import { refuseCall } from './refuse';
import { Phase, Stream } from './stream';

const PATH: Ascii = ascii(':path');
const STORE: Ascii = ascii('/tikvpb.');

/** True for a call that goes on to another storage layer: its headers have just come, and it is permitted. */
export function goesOver(stream: Stream, terms: Terms): bool {
  return terms.isAway && !(stream.isGrpc && startsWith(headers.pathAt, headers.pathLength, STORE));
}

/**
 * Sends a call on. True when the stream may go on.
 * @param plain length of the path without its query
 */
export function handOver(stream: Stream, terms: Terms, plain: usize): bool {
  // Two layers that name each other would send a call round for ever. And nobody serves the tenant while everything is held.
  if (stream.isOnBehalf || terms.account.phase == MovePhase.FINAL) {
    refuseCall(stream, Status.SERVED_ELSEWHERE, 0, plain);
    return false;
  }
  const length = terms.awayLength + headers.pathLength;
  const path = alloc(length);
  memory.copy(path, terms.awayAt, terms.awayLength);
  memory.copy(path + terms.awayLength, headers.pathAt, headers.pathLength);
  host.replaceHeader(HeaderMap.REQUEST_HEADERS, PATH, path, length);
  host.addHeader(HeaderMap.REQUEST_HEADERS, headers.ON_BEHALF, terms.nameAt, terms.nameLength);
  terms.account.add(stream.call, 1);
  stream.phase = Phase.PASS;
  return true;
}

/**
 * Ends a stream of PD or etcd that began here before its tenant was handed over. A timestamp that came late would end TiDB, and a watch
 * would wait for what nobody writes here any more. False when the stream may go on.
 */
export function endsLeftBehind(stream: Stream, terms: Terms): bool {
  if (!terms.account.isAway || terms.isAway || stream.isOfStore || stream.phase == Phase.ENDED) return false;
  endDrained(stream);
  return true;
}
