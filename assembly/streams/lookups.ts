/**
 * Asks PD whose a region is. Asks on the root context, so that a lookup outlives the stream that needed it. A request alone on its stream
 * waits for the answer, see waiting.ts. A request on a shared stream goes on in a form that the store turns away, and its client tries
 * again.
 */
import { Buffer } from '../host/abi';
import * as host from '../host/host';
import { ownsRegion, useSpace } from '../keys/space';
import { alloc } from '../memory/arena';
import * as regionAnswer from '../pd-http/region-answer';
import * as regions from '../rewrite/regions';
import { clearWanted, learnRegion, useRegionsOf, wantedRegion } from '../rewrite/regions';
import { Ascii, ascii } from '../wire/bytes';
import { digitsOf, writeDecimal } from '../wire/decimal';
import * as clock from './clock';
import { Config } from '../tenant/config';
import { Terms } from '../terms/terms';
import { ConfigVersion, resolverOf, versionOf } from './configs';
import { countLookup } from './metrics';
import { Stream } from './stream';

/**
 * Maximum of lookups in flight in one VM. Regions beyond it are asked for again when the client tries again. A tenant gets half of what others
 * leave, so that one alone cannot take all of them.
 */
const MAX_LOOKUPS: u32 = 256;
const TIMEOUT_MS: u32 = 2000;
/** After this time no answer comes: Envoy answers no root context that has ended. */
const FORGOTTEN_MS: u64 = 2 * <u64>TIMEOUT_MS;
const PATH: Ascii = ascii('/pd/api/v1/region/id/');

/** region:u64 | sent at, ms:u64 | place of the key range:u64 | tenant:u32 | root:u32 | token:u32 | 0:u32, packed from the front */
const ENTRY_BYTES: usize = 40;
const inFlight: usize = memory.data(10240, 8);
let count: u32 = 0;

/** @inline */
function entryAt(i: u32): usize {
  return inFlight + <usize>i * ENTRY_BYTES;
}

/** The token of a lookup in flight for this region; 0 when there is none. */
function sentFor(region: u64, stream: Stream, terms: Terms): u32 {
  for (let i: u32 = 0; i < count; i++) {
    const at = entryAt(i);
    if (load<u64>(at) == region && load<u64>(at, 16) == terms.space.place && load<u32>(at, 28) == stream.root)
      return load<u32>(at, 32);
  }
  return 0;
}

/** True when the tenant has fewer lookups in flight than are free. */
function hasShare(tenant: u32): bool {
  let own: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (load<u32>(entryAt(i), 24) == tenant) own++;
  return own < MAX_LOOKUPS - count;
}

/** Sends a lookup. Returns its token; 0 when it cannot be sent. */
function send(region: u64, stream: Stream, terms: Terms, config: Config): u32 {
  if (!hasShare(terms.number)) return 0;
  const length = <usize>PATH.length + digitsOf(region);
  const path = alloc(length);
  memory.copy(path, changetype<usize>(PATH), PATH.length);
  writeDecimal(path + length, region);
  host.actAs(stream.root);
  const token = host.httpGet(config.pdCluster, config.pdAuthority, path, length, TIMEOUT_MS);
  host.actAs(stream.context);
  countLookup(token != 0);
  if (token == 0) return 0;
  const at = entryAt(count++);
  store<u64>(at, region);
  store<u64>(at, clock.now, 8);
  store<u64>(at, terms.space.place, 16);
  store<u32>(at, terms.number, 24);
  store<u32>(at, stream.root, 28);
  store<u32>(at, token, 32);
  return token;
}

/** Sends lookups for the wanted regions. Calls `each`, if given, with the token of each lookup in flight. */
export function lookUpWanted(
  stream: Stream,
  terms: Terms,
  each: ((stream: Stream, token: u32) => bool) | null,
): void {
  if (regions.wantedCount == 0) return;
  const resolver = resolverOf(stream.root);
  if (resolver != null && resolver.config.pdCluster.byteLength != 0) {
    for (let i: u32 = 0; i < regions.wantedCount; i++) {
      const region = wantedRegion(i);
      let token = sentFor(region, stream, terms);
      if (token == 0) token = send(region, stream, terms, resolver.config);
      if (token == 0 || (each != null && !each(stream, token))) break;
    }
  }
  clearWanted();
}

/** Takes PD's answer. `size` 0 means that PD did not answer in time. */
export function takeAnswer(root: u32, token: u32, size: u32): void {
  let i: u32 = 0;
  while (i < count && load<u32>(entryAt(i), 32) != token) i++;
  if (i == count) return;
  const region = load<u64>(entryAt(i));
  const place = load<u64>(entryAt(i), 16);
  const number = load<u32>(entryAt(i), 24);
  forget(i);
  if (size == 0 || !host.readBuffer(Buffer.HTTP_CALL_RESPONSE_BODY, size)) return;
  if (!regionAnswer.readRegion(host.resultAt, host.resultLength) || regionAnswer.regionId != region) return;
  const version = versionOf(root);
  if (version == null) return;
  // A stream may have changed over to the keys that the tenant has by now.
  const successor = version.successor;
  if (!useSpaceAt(version, number, place) && (successor == null || !useSpaceAt(successor, number, place)))
    return;
  learnRegion(
    region,
    regionAnswer.regionVersion,
    ownsRegion(regionAnswer.startAt, regionAnswer.startLength, regionAnswer.endAt, regionAnswer.endLength),
  );
}

/** Makes the codecs map for the tenant with this number, if its key range is at this place. */
function useSpaceAt(version: ConfigVersion, number: u32, place: u64): bool {
  const tenant = version.resolver.config.tenantOf(number);
  if (tenant == null || tenant.terms.space.place != place) return false;
  useSpace(tenant.terms.space);
  useRegionsOf(tenant.terms.clock);
  return true;
}

function forget(i: u32): void {
  count--;
  memory.copy(entryAt(i), entryAt(count), ENTRY_BYTES);
}

/** Gives up one lookup that gets no answer, and returns its token; 0 when there is none. */
export function takeForgotten(): u32 {
  for (let i: u32 = 0; i < count; i++) {
    if (load<u64>(entryAt(i), 8) + FORGOTTEN_MS >= clock.now) continue;
    const token = load<u32>(entryAt(i), 32);
    forget(i);
    return token;
  }
  return 0;
}
