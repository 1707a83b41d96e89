/** The request's headers: what the classifier reads, and what must not come from outside. */
import { HeaderMap } from '../host/abi';
import { readHeaders, removeHeader, resultAt } from '../host/host';
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';

export let methodAt: usize = 0;
export let methodLength: usize = 0;
export let pathAt: usize = 0;
export let pathLength: usize = 0;
export let contentTypeAt: usize = 0;
export let contentTypeLength: usize = 0;
/** The caller's own metadata, and how many headers hold some. */
export let peerAt: usize = 0;
export let peerLength: usize = 0;
export let peerCount: u32 = 0;
/** The caller asks for another protocol on this connection. */
export let upgrades: bool = false;

const METHOD: Ascii = ascii(':method');
const PATH: Ascii = ascii(':path');
const CONTENT_TYPE: Ascii = ascii('content-type');
const UPGRADE: Ascii = ascii('upgrade');

/** PD and TiKV dial whatever these name; the tenant is ours to say; a body may change its length; answers must not be compressed. */
const STRIPPED: Ascii[] = [
  ascii('pd-forwarded-host'),
  ascii('tikv-forwarded-host'),
  ascii('x-tidb-mesh-tenant'),
  ascii('content-length'),
  ascii('accept-encoding'),
  ascii('grpc-accept-encoding'),
];
const ENVOY: Ascii = ascii('x-envoy-');
const PEER: Ascii = ascii('x-envoy-peer-metadata');

function isForeign(name: usize, length: usize): bool {
  for (let i = 0; i < STRIPPED.length; i++) if (equals(name, length, STRIPPED[i])) return true;
  return startsWith(name, length, ENVOY) && !startsWith(name, length, PEER);
}

/** Reads all headers in one call and removes those that outsiders may not set. False when one that must be there is missing or twice. */
export function readRequestHeaders(): bool {
  if (!readHeaders(HeaderMap.REQUEST_HEADERS)) return false;
  methodLength = 0;
  pathLength = 0;
  contentTypeLength = 0;
  upgrades = false;
  peerLength = 0;
  peerCount = 0;
  const count = load<u32>(resultAt);
  const base = resultAt;
  let sizes = base + 4;
  let at = sizes + <usize>count * 8;
  let twice = false;
  for (let i: u32 = 0; i < count; i++, sizes += 8) {
    const name = at;
    const nameLength = <usize>load<u32>(sizes);
    const value = name + nameLength + 1;
    const valueLength = <usize>load<u32>(sizes, 4);
    at = value + valueLength + 1;
    if (equals(name, nameLength, METHOD)) {
      twice = twice || methodLength != 0;
      methodAt = value;
      methodLength = valueLength;
    } else if (equals(name, nameLength, PATH)) {
      twice = twice || pathLength != 0;
      pathAt = value;
      pathLength = valueLength;
    } else if (equals(name, nameLength, CONTENT_TYPE)) {
      twice = twice || contentTypeLength != 0;
      contentTypeAt = value;
      contentTypeLength = valueLength;
    } else if (equals(name, nameLength, PEER)) {
      peerCount++;
      peerAt = value;
      peerLength = valueLength;
    } else if (equals(name, nameLength, UPGRADE)) upgrades = true;
    else if (isForeign(name, nameLength)) removeHeader(HeaderMap.REQUEST_HEADERS, name, nameLength);
  }
  return !twice && methodLength != 0 && pathLength != 0;
}
