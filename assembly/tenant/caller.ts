/** What Envoy knows of one caller. It is filled in for each stream and valid until the callback ends. */
import { alloc } from '../memory/arena';

/** Rules may ask for this many facts of the peer. */
export const MAX_FACTS: i32 = 16;

const ABSENT: u32 = u32.MAX_VALUE;

/** The URI in its certificate; 0 bytes for none. */
export let principalAt: usize = 0;
export let principalLength: usize = 0;
/** The metadata in its request's header; 0 bytes for none. */
export let headerAt: usize = 0;
export let headerLength: usize = 0;
/** There are several such headers: two readings are possible. */
export let hasManyHeaders = false;

/** Whether it says that it acts for somebody, and for which tenant; 0 bytes if it says so twice. Not part of the key: see Resolver.resolve. */
export let saysBehalf = false;
export let behalfAt: usize = 0;
export let behalfLength: usize = 0;

/** The cache's key of the caller: everything above, lengths in front. */
export let keyAt: usize = 0;
export let keyLength: usize = 0;

const facts: usize = memory.data(128, 8);
let factCount: i32 = 0;

/** Begins a new caller. Nothing else is known of it yet. */
export function beginCaller(at: usize, length: usize): void {
  principalAt = at;
  principalLength = length;
  headerLength = 0;
  hasManyHeaders = false;
  saysBehalf = false;
  behalfLength = 0;
  factCount = 0;
}

/** Adds the peer's next fact; 0 bytes if the proxy does not know it. */
export function addFact(at: usize, length: usize): void {
  if (factCount == MAX_FACTS) return;
  const to = facts + ((<usize>factCount) << 3);
  store<usize>(to, at);
  store<usize>(to, length, 4);
  factCount++;
}

export function factAt(i: i32): usize {
  return i < factCount ? load<usize>(facts + ((<usize>i) << 3)) : 0;
}

export function factLength(i: i32): usize {
  return i < factCount ? load<usize>(facts + ((<usize>i) << 3), 4) : 0;
}

/** The header x-envoy-peer-metadata; `many`: it is there more than once. */
export function setHeader(at: usize, length: usize, many: bool): void {
  headerAt = at;
  headerLength = length;
  hasManyHeaders = many;
}

/** The tenant that the caller acts for, by its request; 0 bytes if it names several. */
export function setBehalf(at: usize, length: usize): void {
  saysBehalf = true;
  behalfAt = at;
  behalfLength = length;
}

function put(to: usize, at: usize, length: usize): usize {
  store<u32>(to, length == 0 ? ABSENT : <u32>length);
  memory.copy(to + 4, at, length);
  return to + 4 + length;
}

/** Makes the key. If only the principal is known, the key is the principal. */
export function makeKey(): void {
  keyAt = principalAt;
  keyLength = principalLength;
  if (factCount == 0 && headerLength == 0) return;
  let size = principalLength + headerLength + 12;
  for (let i = 0; i < factCount; i++) size += 4 + factLength(i);
  keyAt = alloc(size);
  store<u32>(keyAt, hasManyHeaders ? 1 : 0);
  let to = put(keyAt + 4, principalAt, principalLength);
  for (let i = 0; i < factCount; i++) to = put(to, factAt(i), factLength(i));
  keyLength = put(to, headerAt, headerLength) - keyAt;
}
