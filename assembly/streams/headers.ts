/** Reads the request's headers: those for the classifier, and those that callers must not set. */
import { HeaderMap } from '../host/abi';
import * as host from '../host/host';
import { Ascii, ascii, equals, isSameBytes, startsWith } from '../wire/bytes';

export let methodAt: usize = 0;
export let methodLength: usize = 0;
export let pathAt: usize = 0;
export let pathLength: usize = 0;
export let contentTypeAt: usize = 0;
export let contentTypeLength: usize = 0;
/** The caller's own metadata, and how many headers hold it. */
export let peerAt: usize = 0;
export let peerLength: usize = 0;
export let peerCount: u32 = 0;
/** The tenant that the caller says it acts for, and how many headers say so. */
export let behalfAt: usize = 0;
export let behalfLength: usize = 0;
export let behalfCount: u32 = 0;
/** The caller asks for another protocol on this connection. */
export let upgrades: bool = false;

const METHOD: Ascii = ascii(':method');
const PATH: Ascii = ascii(':path');
const CONTENT_TYPE: Ascii = ascii('content-type');
const UPGRADE: Ascii = ascii('upgrade');

/**
 * PD and TiKV dial what the first name; the filter sets the tenant; a body may change its length; answers must not be compressed; PD keeps
 * a counter or a histogram for each value of the last six (pkg/audit/audit.go, pkg/utils/apiutil/apiutil.go, and etcd's
 * v3rpc/interceptor.go).
 */
const STRIPPED: Ascii[] = [
  ascii('pd-forwarded-host'),
  ascii('tikv-forwarded-host'),
  ascii('x-tidb-mesh-tenant'),
  ascii('content-length'),
  ascii('accept-encoding'),
  ascii('grpc-accept-encoding'),
  ascii('x-caller-id'),
  ascii('component'),
  ascii('x-forwarded-for'),
  ascii('x-forwarded-port'),
  ascii('x-real-ip'),
  ascii('client-api-version'),
];
/** The name of the tenant that a call of another storage layer's proxy is for. Believed of those that a rule names (`mayActFor`). */
export const ON_BEHALF: Ascii = ascii('x-tidb-mesh-on-behalf');
const ENVOY: Ascii = ascii('x-envoy-');
const PEER: Ascii = ascii('x-envoy-peer-metadata');

const COLON: u8 = 0x3a;

function isForeign(name: usize, length: usize): bool {
  if (load<u8>(name) == COLON) return false;
  for (let i = 0; i < STRIPPED.length; i++) if (equals(name, length, unchecked(STRIPPED[i]))) return true;
  return startsWith(name, length, ENVOY) && !startsWith(name, length, PEER);
}

/** The header that `nextHeader` read. */
export let nameAt: usize = 0;
export let nameLength: usize = 0;
export let valueAt: usize = 0;
export let valueLength: usize = 0;

let sizesAt: usize = 0;
let left: u32 = 0;

/** Reads all headers of a map in one call. That costs about as much as reading one. */
export function openHeaders(map: HeaderMap): bool {
  if (!host.readHeaders(map)) return false;
  left = load<u32>(host.resultAt);
  sizesAt = host.resultAt + 4;
  valueAt = sizesAt + <usize>left * 8 - 1;
  valueLength = 0;
  return true;
}

/** Reads the next header; false after the last. */
export function nextHeader(): bool {
  if (left == 0) return false;
  left--;
  nameAt = valueAt + valueLength + 1;
  nameLength = <usize>load<u32>(sizesAt);
  valueAt = nameAt + nameLength + 1;
  valueLength = <usize>load<u32>(sizesAt, 4);
  sizesAt += 8;
  return true;
}

/** @inline */
export function isNamed(name: Ascii): bool {
  return nameLength == <usize>name.length && isSameBytes(nameAt, changetype<usize>(name), nameLength);
}

/** Reads the request's headers and removes those that callers must not set. False if a required one is missing or comes twice. */
export function readRequestHeaders(): bool {
  if (!openHeaders(HeaderMap.REQUEST_HEADERS)) return false;
  methodLength = 0;
  pathLength = 0;
  contentTypeLength = 0;
  upgrades = false;
  peerLength = 0;
  peerCount = 0;
  behalfLength = 0;
  behalfCount = 0;
  let twice = false;
  while (nextHeader()) {
    if (isNamed(METHOD)) {
      twice = twice || methodLength != 0;
      methodAt = valueAt;
      methodLength = valueLength;
    } else if (isNamed(PATH)) {
      twice = twice || pathLength != 0;
      pathAt = valueAt;
      pathLength = valueLength;
    } else if (isNamed(CONTENT_TYPE)) {
      twice = twice || contentTypeLength != 0;
      contentTypeAt = valueAt;
      contentTypeLength = valueLength;
    } else if (isNamed(PEER)) {
      peerCount++;
      peerAt = valueAt;
      peerLength = valueLength;
    } else if (isNamed(UPGRADE)) upgrades = true;
    else if (isNamed(ON_BEHALF)) {
      behalfCount++;
      behalfAt = valueAt;
      behalfLength = valueLength;
      // Nobody behind this filter is to read it, whoever sent it.
      host.removeHeader(HeaderMap.REQUEST_HEADERS, nameAt, nameLength);
    } else if (isForeign(nameAt, nameLength))
      host.removeHeader(HeaderMap.REQUEST_HEADERS, nameAt, nameLength);
  }
  return !twice && methodLength != 0 && pathLength != 0;
}
