/**
 * A tenant's key range, and the only way to the codecs.
 *
 *   made from                          keys in the store         PD's form     Context
 *   tableSpace(m, n)                   't' 80+n:2 ...            see table.ts  API V1
 *   keyspaceSpace(n, id, Mode.TXN)     'x' id:3 | key            both sides    API V2, keyspace id
 *   keyspaceSpace(n, id, Mode.RAW)     'r' id:3 | key            store only    API V2, keyspace id
 *   prefixSpace(n, ..., Mode.TXN)      prefix | key              both sides    API V1
 *   prefixSpace(n, ..., Mode.RAW)      prefix | key              neither       API V1
 *   tenantZeroSpace()                     as they are, < t 80 01    both sides    API V1
 */
import { alloc } from '../memory/arena';
import { Flag } from '../schema/bits';
import { isSameBytes } from '../wire/bytes';
import { Codec, useCodec } from './codec';
import * as mapping from './mapped';
import * as memcomparable from './memcomparable';
import { useForms, useStored } from './pd-form';
import { usePrefix } from './prefix';
import { KeyRange, freeRange, keepBytes, newRange } from './range';
import { MAX_TENANT, MIN_TENANT, firstOf, useTenant } from './table';
import { LIMIT, T, writeBound } from './tidb-keys';

export { decodeEnd, decodeKey, decodeStart, encodeKey, encodeLower, encodeUpper } from './codec';
export { Bound, Mapped, mappedAt, mappedLength } from './mapped';
export { decodeEncoded, encodeEncoded, encodePlace, ownsRegion } from './pd-form';

/** Kinds of requests that a key range serves: flags of the requests' messages. */
const TXN: u32 = Flag.TXN;
export const RAW: u32 = Flag.RAW;
const COPROCESSOR: u32 = Flag.COPROCESSOR;
const RAW_TTL: u32 = Flag.RAW_TTL;

export const MAX_KEYSPACE: u32 = 0xffffff;

/** Which of the store's two interfaces a client uses. */
export const enum Mode {
  TXN,
  RAW,
}

/** kvrpcpb.APIVersion */
const enum ApiVersion {
  V1 = 0,
  V2 = 2,
}

/** 'x' and 'r' (client-go internal/apicodec/codec_v2.go) */
const TXN_KEYSPACE: u8 = 0x78;
const RAW_KEYSPACE: u8 = 0x72;
const KEYSPACE_BYTES: usize = 4;
/** `t` and a tag. */
const TAGGED_BYTES: usize = 3;

let lastSerial: u64 = 0;

/** One tenant's key range. Made when the configuration is loaded, and never changed. A tenant that moves gets another one. */
@unmanaged
export class Space {
  /** Unique among all key ranges; not 0. */
  serial: u64;
  codec: Codec;
  /** The tenant's number: of its names, groups and leases. */
  number: u32;
  /** The number in the keys of a table tenant: another one if the tenant has moved. */
  keyNumber: u32;
  capabilities: u32;
  apiVersion: u32;
  keyspaceId: u32;
  /** Whether PD's form of keys is memcomparable: on the client's side, on the store's side. */
  clientEncodes: bool;
  storeEncodes: bool;
  /** The raw keys [P, E) of the store that belong to this tenant alone. */
  keys: KeyRange;
  /** The same in the store's form of PD's keys, without the padding of the encoding. */
  stored: KeyRange;
  /** The furthest boundary, in that form, at which a region of the tenant may end. */
  lastBoundary: usize;
  lastBoundaryLength: usize;
  /** Equal for equal parts of the store, in any configuration. */
  place: u64;
  /** The tenant's resource group `default` is its own. Set once, before the key range is used. */
  hasOwnDefaultGroup: bool;

  constructor(number: u32, codec: Codec, mode: Mode, keys: KeyRange) {
    this.serial = ++lastSerial;
    this.codec = codec;
    this.number = number;
    this.keyNumber = number;
    this.capabilities = mode == Mode.RAW ? RAW : TXN;
    this.apiVersion = ApiVersion.V1;
    this.keyspaceId = 0;
    this.clientEncodes = mode == Mode.TXN;
    this.storeEncodes = mode == Mode.TXN;
    this.keys = keys;
    this.stored = keys;
    this.lastBoundary = keys.endAt;
    this.lastBoundaryLength = keys.endLength;
    this.place = placeOf(this);
    this.hasOwnDefaultGroup = false;
  }
}

/** Hashes both boundaries that `ownsRegion` compares: FNV-1a, 64 bits. */
function placeOf(space: Space): u64 {
  const start = hashOn(0xcbf29ce484222325, space.stored.at, space.stored.length);
  return hashOn(start, space.lastBoundary, space.lastBoundaryLength) | 1;
}

/** Hashes the length first, so that no two pairs of boundaries give the same bytes. */
function hashOn(hash: u64, p: usize, length: usize): u64 {
  hash = (hash ^ (<u64>length)) * 0x100000001b3;
  for (let i: usize = 0; i < length; i++) hash = (hash ^ (<u64>load<u8>(p + i))) * 0x100000001b3;
  return hash;
}

/** True when both are the same part of the store, accessed in the same way. */
export function isSameSpace(a: Space, b: Space): bool {
  return (
    a.codec == b.codec &&
    a.capabilities == b.capabilities &&
    a.apiVersion == b.apiVersion &&
    a.hasOwnDefaultGroup == b.hasOwnDefaultGroup &&
    a.keys.length == b.keys.length &&
    isSameBytes(a.keys.at, b.keys.at, a.keys.length)
  );
}

/** Completes a key range whose store uses the memcomparable form. Its regions may end at `end`, a raw key. */
function encodeStored(space: Space, end: usize, endLength: usize): void {
  const keys = space.keys;
  const from = memcomparable.encode(keys.at, keys.length);
  const to = memcomparable.encode(keys.endAt, keys.endLength);
  const fromLength = memcomparable.sharedLength(keys.length);
  space.stored = newRange(from, fromLength, to, memcomparable.sharedLength(keys.endLength));
  const boundary = memcomparable.encode(end, endLength);
  space.lastBoundaryLength = memcomparable.resultLength;
  space.lastBoundary = keepBytes(boundary, space.lastBoundaryLength);
  space.place = placeOf(space);
}

/** Writes `t` and the two bytes of tenant `n`'s tag. */
function tagged(n: u32): usize {
  const at = alloc(TAGGED_BYTES);
  store<u8>(at, T);
  store<u16>(at, bswap<u16>(<u16>(firstOf(n) >> 48)), 1);
  return at;
}

/** All keys that table tenants may ever use. */
export function tableTenants(): KeyRange {
  return newRange(tagged(MIN_TENANT), TAGGED_BYTES, tagged(MAX_TENANT + 1), TAGGED_BYTES);
}

/** The key range of a table tenant. `keyNumber`, MIN_TENANT to MAX_TENANT, is in its keys. */
export function tableSpace(number: u32, keyNumber: u32): Space {
  const start = tagged(keyNumber);
  const end = tagged(keyNumber + 1);
  const space = new Space(number, Codec.TABLE, Mode.TXN, newRange(start, TAGGED_BYTES, end, TAGGED_BYTES));
  space.keyNumber = keyNumber;
  space.capabilities |= COPROCESSOR;
  // No tenant has keys between `t` tag and the nine bytes of P, so a region may end at either.
  writeBound(firstOf(keyNumber + 1));
  encodeStored(space, mapping.mappedAt, mapping.mappedLength);
  return space;
}

/** The key range of tenant 0. */
export function tenantZeroSpace(): Space {
  const space = new Space(0, Codec.TENANT_ZERO, Mode.TXN, newRange(0, 0, tagged(MIN_TENANT), TAGGED_BYTES));
  space.capabilities |= COPROCESSOR;
  writeBound(LIMIT);
  encodeStored(space, mapping.mappedAt, mapping.mappedLength);
  return space;
}

/** The key range of a keyspace in an API V2 store, id 0 to MAX_KEYSPACE. E is P + 1 as a number, as in client-go. */
export function keyspaceSpace(number: u32, id: u32, mode: Mode): Space {
  const p = alloc(KEYSPACE_BYTES);
  const e = alloc(KEYSPACE_BYTES);
  const prefix = ((<u32>(mode == Mode.RAW ? RAW_KEYSPACE : TXN_KEYSPACE)) << 24) | id;
  store<u32>(p, bswap<u32>(prefix));
  store<u32>(e, bswap<u32>(prefix + 1));
  const space = new Space(number, Codec.PREFIX, mode, newRange(p, KEYSPACE_BYTES, e, KEYSPACE_BYTES));
  space.capabilities |= mode == Mode.TXN ? COPROCESSOR : RAW_TTL;
  space.apiVersion = ApiVersion.V2;
  space.keyspaceId = id;
  space.storeEncodes = true;
  encodeStored(space, e, KEYSPACE_BYTES);
  return space;
}

/** The key range behind a prefix of `length` bytes. At least one of the bytes must not be FF. `hasTtl`: TiKV keeps a time to live. */
export function prefixSpace(number: u32, p: usize, length: usize, mode: Mode, hasTtl: bool): Space {
  // Raises the last byte that is not FF: every key that begins with the prefix lies below the result.
  let endLength = length;
  while (endLength > 1 && load<u8>(p + endLength - 1) == 0xff) endLength--;
  const e = alloc(endLength);
  memory.copy(e, p, endLength);
  store<u8>(e + endLength - 1, load<u8>(e + endLength - 1) + 1);
  const space = new Space(number, Codec.PREFIX, mode, newRange(p, length, e, endLength));
  if (hasTtl) space.capabilities |= RAW_TTL;
  if (mode == Mode.TXN) encodeStored(space, e, endLength);
  return space;
}

/** Frees a key range that is no longer used. */
export function freeSpace(space: Space): void {
  if (space.storeEncodes) {
    freeRange(space.stored);
    heap.free(space.lastBoundary);
  }
  freeRange(space.keys);
  heap.free(changetype<usize>(space));
}

let current: Space = changetype<Space>(0);

/** Makes the codecs map for this key range. */
export function useSpace(space: Space): void {
  current = space;
  useCodec(space.codec);
  useForms(space.clientEncodes, space.storeEncodes);
  useStored(space.stored, space.lastBoundary, space.lastBoundaryLength);
  if (space.codec == Codec.TABLE) useTenant(space.keyNumber);
  else if (space.codec == Codec.PREFIX) usePrefix(space.keys);
}

/** What the key range in use serves: TXN, RAW, COPROCESSOR, RAW_TTL. */
export function capabilities(): u32 {
  return current.capabilities;
}

/** kvrpcpb.Context.api_version of requests into the key range in use. */
export function apiVersion(): u32 {
  return current.apiVersion;
}

/** kvrpcpb.Context.keyspace_id of requests into the key range in use; 0 under API V1. */
export function keyspaceId(): u32 {
  return current.keyspaceId;
}

/** The number of the tenant in use. */
export function tenantNumber(): u32 {
  return current.number;
}

/** The number in the keys of the tenant in use, if it is a table tenant. */
export function keyNumber(): u32 {
  return current.keyNumber;
}

/** True when the tenant in use has all keys that are no other tenant's: tenant 0, unless it has moved. */
export function ownsTheRest(): bool {
  return current.codec == Codec.TENANT_ZERO;
}

/** True when the resource group `default` of the tenant in use is its own. */
export function hasOwnDefaultGroup(): bool {
  return current.hasOwnDefaultGroup;
}

/** Identifies the key range in use among all others, those of older configurations included. @inline */
export function spaceSerial(): u64 {
  return current.serial;
}

/** Identifies the part of the store in use, in any configuration; not 0. @inline */
export function spacePlace(): u64 {
  return current.place;
}

/** True when the key range in use is a keyspace of the store. */
export function isKeyspace(): bool {
  return current.apiVersion == ApiVersion.V2;
}

/** True when the store sees other table ids than the tenant. */
export function mapsTableIds(): bool {
  return current.codec == Codec.TABLE;
}

/** The number added to a table id on its way to the store: the number of its keys in the upper 16 bits. */
export function tableIdTag(): u64 {
  return current.codec == Codec.TABLE ? (<u64>current.keyNumber) << 48 : 0;
}
