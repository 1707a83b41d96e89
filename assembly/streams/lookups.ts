/**
 * Asks PD whose a region is, on the root context, so that no stream waits: the request that needed to know has gone on as one that the
 * store itself turns away, and its client comes back.
 */
import { Buffer } from '../host/abi';
import { actAs, httpGet, readBuffer, resultAt, resultLength } from '../host/host';
import { ownsRegion, useSpace } from '../keys/space';
import { alloc } from '../memory/arena';
import {
  endAt,
  endLength,
  readRegion,
  regionId,
  regionVersion,
  startAt,
  startLength,
} from '../pd-http/region-answer';
import { clearWanted, learnRegion, wantedCount, wantedRegion } from '../rewrite/regions';
import { Ascii, ascii } from '../wire/bytes';
import { resolverOf } from './configs';
import { countLookup } from './metrics';
import { Stream } from './stream';

/** Lookups in flight in one VM; what does not fit is asked for again by the client's next try. */
const MAX_LOOKUPS: u32 = 64;
const TIMEOUT_MS: u32 = 2000;
const PATH: Ascii = ascii('/pd/api/v1/region/id/');
const MAX_DIGITS: usize = 20;

/** region:u64 | tenant:u32 | token:u32, packed from the front */
const ENTRY_BYTES: usize = 16;
const inFlight: usize = memory.data(1024, 8);
let count: u32 = 0;

function asked(region: u64, tenant: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const at = inFlight + <usize>i * ENTRY_BYTES;
    if (load<u64>(at) == region && load<u32>(at, 8) == tenant) return true;
  }
  return false;
}

/** Writes a number in decimal and gives the place behind it. */
function writeDecimal(to: usize, value: u64): usize {
  if (value >= 10) to = writeDecimal(to, value / 10);
  store<u8>(to, <u8>(0x30 + (value % 10)));
  return to + 1;
}

/** Sends for what the message that was walked last wanted to know. */
export function lookUpWanted(stream: Stream): void {
  if (wantedCount == 0) return;
  const resolver = resolverOf(stream.root);
  if (resolver != null && resolver.config.pdCluster.byteLength != 0) {
    const config = resolver.config;
    actAs(stream.root);
    for (let i: u32 = 0; i < wantedCount && count < MAX_LOOKUPS; i++) {
      const region = wantedRegion(i);
      if (asked(region, stream.tenantNumber)) continue;
      const path = alloc(PATH.length + MAX_DIGITS);
      memory.copy(path, changetype<usize>(PATH), PATH.length);
      const end = writeDecimal(path + PATH.length, region);
      const token = httpGet(config.pdCluster, config.pdAuthority, path, end - path, TIMEOUT_MS);
      countLookup(token != 0);
      if (token == 0) break;
      const at = inFlight + <usize>count * ENTRY_BYTES;
      store<u64>(at, region);
      store<u32>(at, stream.tenantNumber, 8);
      store<u32>(at, token, 12);
      count++;
    }
    actAs(stream.context);
  }
  clearWanted();
}

/** PD has answered, or has not in time (`size` 0). */
export function onLookup(root: u32, token: u32, size: u32): void {
  let at = inFlight;
  const end = inFlight + <usize>count * ENTRY_BYTES;
  while (at < end && load<u32>(at, 12) != token) at += ENTRY_BYTES;
  if (at == end) return;
  const region = load<u64>(at);
  const number = load<u32>(at, 8);
  count--;
  memory.copy(at, inFlight + <usize>count * ENTRY_BYTES, ENTRY_BYTES);
  if (size == 0 || !readBuffer(Buffer.HTTP_CALL_RESPONSE_BODY, size)) return;
  if (!readRegion(resultAt, resultLength) || regionId != region) return;
  const resolver = resolverOf(root);
  if (resolver == null) return;
  const tenant = resolver.config.tenantOf(number);
  if (tenant == null) return;
  useSpace(tenant.space);
  learnRegion(region, regionVersion, number, ownsRegion(startAt, startLength, endAt, endLength));
}
