/** One stream's way through the filter: who calls, what is called, then its bodies. Default deny at every step. */
import { Buffer, Grpc, HeaderMap } from '../host/abi';
import {
  PRINCIPAL,
  addHeader,
  increment,
  randomLease,
  readBuffer,
  readHeader,
  readProperty,
  removeHeader,
  replaceBuffer,
  replaceHeader,
  resultAt,
  resultLength,
  sendReply,
} from '../host/host';
import { useNamespace } from '../keys/namespace';
import { useSpace } from '../keys/space';
import { isPlainText } from '../keys/text';
import { alloc } from '../memory/arena';
import { Budget, Held, append, consume } from '../memory/held';
import { RequestKind, classify, keySegment, pathBytes } from '../policy/classify';
import { ENDPOINTS, Endpoint, EndpointKind, findEndpoint } from '../policy/endpoints';
import { because, decision, findMethod, requestMessage, responseMessage } from '../policy/methods';
import { feed, outputAt, outputChanged, outputLength } from '../rewrite/frames';
import { rewritePatch, rewriteRule, rulesAt, rulesLength } from '../rewrite/label-rules';
import { jsonAt, jsonLength, rewriteRegions } from '../rewrite/json-regions';
import { useHoldBack } from '../rewrite/hold-back';
import { WITHHELD } from '../rewrite/names';
import { countExchange } from '../rewrite/exchange';
import { keyAt, keyLength, mapKey, queryAt, queryLength, rewriteQuery } from '../rewrite/query';
import { useLookups } from '../rewrite/region-acts';
import { Direction, useLatestTimestamp } from '../rewrite/values';
import { useExchange } from '../rewrite/walker';
import { Decision, Msg } from '../schema/table';
import { grantsLease } from '../schema/messages';
import { Text } from '../texts/table';
import { Access, Identity } from '../tenant/identity';
import { Ascii, ascii, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { earliestTimestamp, latestTimestamp } from './clock';
import { resolverOf } from './configs';
import { endDrained } from './drain';
import {
  contentTypeAt,
  contentTypeLength,
  methodAt,
  methodLength,
  pathAt,
  pathLength,
  readRequestHeaders,
  upgrades,
} from './headers';
import { lookUpWanted } from './lookups';
import { streamsTotal } from './metrics';
import { refuse, refuseCall, refuseForm, refuseMessage } from './refuse';
import { Phase, Stream } from './stream';

const TENANT_HEADER: Ascii = ascii('x-tidb-mesh-tenant');
const PATH: Ascii = ascii(':path');
const GRPC_MESSAGE: Ascii = ascii('grpc-message');
const GRPC_DETAILS: Ascii = ascii('grpc-status-details-bin');
const CONTENT_LENGTH: Ascii = ascii('content-length');
const CONTENT_TYPE: Ascii = ascii('content-type');
const GRPC_TYPE: Ascii = ascii('application/grpc');
const REGIONS_BY_KEY: Ascii = ascii('/pd/api/v1/regions/key');
const NO_LIMIT: Ascii = ascii('limit=-1');

/** True when the stream may go on. */
export function onRequestHeaders(stream: Stream): bool {
  increment(streamsTotal);
  const resolver = resolverOf(stream.root);
  const good = readRequestHeaders();
  const kind = good
    ? classify(methodAt, methodLength, pathAt, pathLength, contentTypeAt, contentTypeLength)
    : RequestKind.REFUSED;
  stream.isGrpc = kind == RequestKind.GRPC;
  if (kind == RequestKind.REFUSED || upgrades) {
    refuseForm(stream, Text.FORM);
    return false;
  }
  if (resolver == null) {
    refuseForm(stream, Text.NO_CONFIGURATION);
    return false;
  }
  readProperty(PRINCIPAL);
  const identity = resolver.resolve(resultAt, resultLength);
  if (identity.access == Access.REFUSED) {
    refuse(stream, changetype<usize>(identity.refusal), identity.refusal.byteLength);
    return false;
  }
  if (identity.access == Access.SYSTEM) {
    stream.phase = Phase.PASS;
    return true;
  }
  takeTenant(stream, identity);
  stream.maxMessageBytes = resolver.config.limits.maxMessageBytes;
  stream.maxDriftMs = <u64>resolver.config.limits.maxTsDriftSeconds * 1000;
  stream.maxHoldBackSeconds = resolver.config.limits.maxHoldBackSeconds;
  stream.looksUp = resolver.config.pdCluster.byteLength != 0;
  return stream.isGrpc ? onGrpcCall(stream) : onHttpCall(stream);
}

function takeTenant(stream: Stream, identity: Identity): void {
  const tenant = identity.tenant;
  if (tenant == null) return;
  stream.tenantNumber = tenant.number;
  stream.space = tenant.space;
  stream.namespaceAt = changetype<usize>(tenant.prefixBytes);
  stream.namespaceLength = tenant.prefixBytes.byteLength;
  stream.budget = tenant.budget;
  addHeader(
    HeaderMap.REQUEST_HEADERS,
    TENANT_HEADER,
    changetype<usize>(tenant.nameBytes),
    tenant.nameBytes.byteLength,
  );
}

function onGrpcCall(stream: Stream): bool {
  if (!findMethod(pathAt, pathLength)) {
    refuseCall(stream, pathAt, pathLength, Text.UNKNOWN_METHOD);
    return false;
  }
  if (decision == Decision.PASS) {
    stream.phase = Phase.PASS;
    return true;
  }
  if (decision == Decision.MAP) {
    stream.phase = Phase.MAP;
    stream.requestMessage = requestMessage;
    stream.isBatch = requestMessage == Msg.BATCH_COMMANDS_REQUEST;
    stream.responseMessage = responseMessage;
    return true;
  }
  refuseCall(stream, pathAt, pathLength, because);
  return false;
}

function onHttpCall(stream: Stream): bool {
  const plain = pathBytes(pathAt, pathLength);
  const index = findEndpoint(methodAt, methodLength, pathAt, plain);
  if (index < 0) {
    refuseCall(stream, pathAt, plain, Text.NOT_FOR_TENANTS_AT_ALL);
    return false;
  }
  const endpoint = ENDPOINTS[index];
  stream.endpoint = index;
  stream.phase = Phase.PASS;
  if (endpoint.kind == EndpointKind.ANSWER) {
    stream.phase = Phase.ENDED;
    sendReply(200, Grpc.NONE, changetype<usize>(endpoint.bodyBytes), endpoint.bodyBytes.length);
    return false;
  }
  if (endpoint.kind == EndpointKind.PASS) return true;
  if (endpoint.kind == EndpointKind.PATCH_RULES || endpoint.kind == EndpointKind.RULE) {
    stream.phase = Phase.RULES;
    return true;
  }
  if (endpoint.kind == EndpointKind.KEY_REGIONS) {
    stream.phase = Phase.HTTP;
    return rewriteKeyPath(stream, plain);
  }
  if (endpoint.kind != EndpointKind.QUERY) stream.phase = Phase.HTTP;
  return endpoint.kind == EndpointKind.REGIONS || rewritePath(stream, endpoint, plain);
}

/** Maps the range in the query; one over all regions becomes one over the tenant's. */
function rewritePath(stream: Stream, endpoint: Endpoint, plain: usize): bool {
  enter(stream);
  let source = endpoint;
  let from = pathAt;
  let fromLength = plain;
  let query = plain < pathLength ? pathAt + plain + 1 : pathAt;
  let size = plain < pathLength ? pathLength - plain - 1 : 0;
  if (endpoint.kind == EndpointKind.ALL_REGIONS) {
    for (let i = 0; i < ENDPOINTS.length; i++)
      if (ENDPOINTS[i].kind == EndpointKind.QUERY_REGIONS) source = ENDPOINTS[i];
    from = changetype<usize>(REGIONS_BY_KEY);
    fromLength = REGIONS_BY_KEY.length;
    query = changetype<usize>(NO_LIMIT);
    size = NO_LIMIT.length;
  }
  if (rewriteQuery(query, size, source.startBytes, source.endBytes, source.hex) != Status.OK) {
    refuseForm(stream, Text.QUERY_UNREADABLE);
    return false;
  }
  const path = alloc(fromLength + 1 + queryLength);
  memory.copy(path, from, fromLength);
  store<u8>(path + fromLength, 0x3f);
  memory.copy(path + fromLength + 1, queryAt, queryLength);
  replaceHeader(HeaderMap.REQUEST_HEADERS, PATH, path, fromLength + 1 + queryLength);
  return true;
}

/** Maps the key in the path's last segment. */
function rewriteKeyPath(stream: Stream, plain: usize): bool {
  enter(stream);
  const key = keySegment(pathAt, plain);
  const fixed = key - pathAt;
  if (!mapKey(key, plain - fixed)) {
    refuseForm(stream, Text.KEY_UNREADABLE);
    return false;
  }
  const path = alloc(fixed + keyLength + pathLength - plain);
  memory.copy(path, pathAt, fixed);
  memory.copy(path + fixed, keyAt, keyLength);
  // A query would say that the key is in another form.
  replaceHeader(HeaderMap.REQUEST_HEADERS, PATH, path, fixed + keyLength);
  return true;
}

/** Makes this stream's tenant the one that the rewriter works for. */
function enter(stream: Stream): void {
  const space = stream.space;
  if (space != null) useSpace(space);
  useLatestTimestamp(latestTimestamp(stream.maxDriftMs));
  useHoldBack(earliestTimestamp(stream.maxHoldBackSeconds), stream.maxHoldBackSeconds);
  useLookups(stream.looksUp);
  useNamespace(stream.namespaceAt, stream.namespaceLength, stream.tenantNumber);
  const grants = stream.phase == Phase.MAP && grantsLease(stream.requestMessage);
  useExchange(stream.exchange, grants ? randomLease() : 0);
}

/** A piece of a gRPC body. True when the stream may go on. */
function onFrames(stream: Stream, budget: Budget, answer: bool, size: u32, last: bool): bool {
  const held = answer ? stream.response : stream.request;
  const buffer = answer ? Buffer.RESPONSE_BODY : Buffer.REQUEST_BODY;
  if (size > 0) {
    if (!readBuffer(buffer, size)) {
      refuseMessage(stream, Status.MALFORMED, answer);
      return false;
    }
    enter(stream);
    const message = answer ? stream.responseMessage : stream.requestMessage;
    const way = answer ? Direction.RESPONSE : Direction.REQUEST;
    const status = feed(held, budget, message, way, resultAt, resultLength, stream.maxMessageBytes);
    const counted = countExchange(stream.exchange, budget);
    if (status != Status.OK || !counted) {
      refuseMessage(stream, status != Status.OK ? status : Status.HELD_TOO_MUCH, answer);
      return false;
    }
    if (outputChanged) replaceBuffer(buffer, size, outputAt, outputLength);
    if (!answer) lookUpWanted(stream);
  }
  if (last && held.length > 0) {
    refuseMessage(stream, Status.TRUNCATED, answer);
    return false;
  }
  return true;
}

export function onRequestBody(stream: Stream, size: u32, last: bool): bool {
  stream.bodies++;
  if (stream.draining && stream.isBatch && stream.exchange.outstanding <= 0) {
    // Nothing is on its way, and this request has not been sent: the best moment.
    endDrained(stream);
    return false;
  }
  const budget = stream.budget;
  if (stream.phase == Phase.ENDED) return false;
  if (budget == null) return true;
  if (stream.phase == Phase.RULES) return onRules(stream, budget, size, last);
  return stream.phase != Phase.MAP || onFrames(stream, budget, false, size, last);
}

/** Keeps a piece of an HTTP body until it is whole. True when it could be kept. */
function keep(stream: Stream, held: Held, budget: Budget, buffer: Buffer, size: u32): bool {
  if (size == 0) return true;
  if (!readBuffer(buffer, size) || held.length + size > stream.maxMessageBytes) return false;
  return append(held, resultAt, resultLength, held.length + size, budget);
}

/** Region label rules: kept until they are whole, then mapped. Their headers have gone to PD: paused ones would keep the body back as well. */
function onRules(stream: Stream, budget: Budget, size: u32, last: bool): bool {
  const held = stream.request;
  const endpoint = ENDPOINTS[stream.endpoint];
  if (!keep(stream, held, budget, Buffer.REQUEST_BODY, size)) {
    refuseMessage(stream, Status.HELD_TOO_MUCH, false);
    return false;
  }
  if (!last) {
    replaceBuffer(Buffer.REQUEST_BODY, size, 0, 0);
    return true;
  }
  enter(stream);
  const status =
    endpoint.kind == EndpointKind.RULE
      ? rewriteRule(held.at, held.length)
      : rewritePatch(held.at, held.length);
  if (status == Status.NAME_OUTSIDE) {
    refuseCall(stream, changetype<usize>(endpoint.pathBytes), endpoint.pathBytes.length, Text.LABEL_RULES);
    return false;
  }
  if (status != Status.OK) {
    refuseForm(stream, Text.RULES_UNREADABLE);
    return false;
  }
  replaceBuffer(Buffer.REQUEST_BODY, size, rulesAt, rulesLength);
  consume(held, held.length, budget);
  return true;
}

export function onRequestTrailers(stream: Stream): bool {
  if (stream.phase == Phase.ENDED) return false;
  if (stream.phase != Phase.MAP || stream.request.length == 0) return true;
  refuseMessage(stream, Status.TRUNCATED, false);
  return false;
}

/** Errors travel in headers too: a text that may quote keys is withheld, details that we cannot read go. */
function scrubStatus(map: HeaderMap): void {
  if (readHeader(map, GRPC_MESSAGE) && resultLength > 0) {
    let plain = isPlainText(resultAt, resultLength);
    for (let i: usize = 0; plain && i < resultLength; i++) plain = load<u8>(resultAt + i) != 0x25;
    if (!plain) replaceHeader(map, GRPC_MESSAGE, changetype<usize>(WITHHELD), WITHHELD.length);
  }
  removeHeader(map, changetype<usize>(GRPC_DETAILS), GRPC_DETAILS.length);
}

export function onResponseHeaders(stream: Stream): bool {
  if (stream.phase == Phase.ENDED || stream.budget == null) return true;
  if (stream.isGrpc) scrubStatus(HeaderMap.RESPONSE_HEADERS);
  if (stream.phase == Phase.HTTP)
    removeHeader(HeaderMap.RESPONSE_HEADERS, changetype<usize>(CONTENT_LENGTH), CONTENT_LENGTH.length);
  if (stream.phase == Phase.MAP) {
    const isGrpc =
      readHeader(HeaderMap.RESPONSE_HEADERS, CONTENT_TYPE) && startsWith(resultAt, resultLength, GRPC_TYPE);
    if (!isGrpc) {
      refuseMessage(stream, Status.MALFORMED, true);
      return false;
    }
  }
  return true;
}

export function onResponseBody(stream: Stream, size: u32, last: bool): bool {
  stream.bodies++;
  const budget = stream.budget;
  if (budget == null || stream.phase == Phase.ENDED) return true;
  if (stream.phase == Phase.MAP) return onFrames(stream, budget, true, size, last);
  return stream.phase != Phase.HTTP || onRegions(stream, budget, size, last);
}

/** An HTTP answer that holds regions: kept until it is whole, then rewritten. */
function onRegions(stream: Stream, budget: Budget, size: u32, last: bool): bool {
  const held = stream.response;
  if (!keep(stream, held, budget, Buffer.RESPONSE_BODY, size)) {
    refuseMessage(stream, Status.HELD_TOO_MUCH, true);
    return false;
  }
  if (!last) {
    replaceBuffer(Buffer.RESPONSE_BODY, size, 0, 0);
    return true;
  }
  enter(stream);
  if (rewriteRegions(held.at, held.length) != Status.OK) {
    refuseMessage(stream, Status.MALFORMED, true);
    return false;
  }
  replaceBuffer(Buffer.RESPONSE_BODY, size, jsonAt, jsonLength);
  consume(held, held.length, budget);
  return true;
}

export function onResponseTrailers(stream: Stream): bool {
  if (stream.phase == Phase.ENDED || stream.budget == null) return true;
  if (stream.isGrpc) scrubStatus(HeaderMap.RESPONSE_TRAILERS);
  if (stream.phase != Phase.MAP || stream.response.length == 0) return true;
  refuseMessage(stream, Status.TRUNCATED, true);
  return false;
}
