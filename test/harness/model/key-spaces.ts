/** Every kind of key space once more, slowly: whole keys compared as bytes. See assembly/keys/space.ts for the kinds. */
import { Flag } from '../../../src-ts/schema/bits.ts';
import type { SpaceChoice } from '../../unit/filter.ts';
import { compare, concat, EMPTY, hex, unhex } from './bytes.ts';
import * as table from './table-codec.ts';
import { BROKEN, type Bound, fromMemcomparable, memcomparable, OUTSIDE, type Result } from './table-codec.ts';

type Mapping = (key: Uint8Array) => Result;

/** One tenant's key space: raw keys both ways, and which sides of PD's form are memcomparable. */
export interface KeySpace {
  readonly name: string;
  readonly choice: SpaceChoice;
  readonly clientEncodes: boolean;
  readonly storeEncodes: boolean;
  /** P and E, raw; nothing but this space's keys lies between. */
  readonly first: Uint8Array;
  readonly behind: Uint8Array;
  /** Whether a client may name this key. */
  readonly takes: (key: Uint8Array) => boolean;
  readonly encodeKey: Mapping;
  readonly encodeLower: Mapping;
  readonly encodeUpper: Mapping;
  readonly decodeKey: Mapping;
  readonly decodeStart: Mapping;
  readonly decodeEnd: Mapping;
}

/** As in assembly/keys/space.ts. */
export const { TXN, RAW, COPROCESSOR, RAW_TTL } = Flag;

function tableSpace(number: number, keyNumber: number): KeySpace {
  const of =
    (mapping: (tenant: number, key: Uint8Array) => Result): Mapping =>
    (key) =>
      mapping(keyNumber, key);
  return {
    name: keyNumber === number ? `table ${number}` : `table ${number} with the keys of ${keyNumber}`,
    choice: { number },
    clientEncodes: true,
    storeEncodes: true,
    first: table.first(keyNumber).subarray(0, 3),
    behind: table.behind(keyNumber),
    takes: (key) => compare(key, table.LIMIT) < 0,
    encodeKey: of(table.encodeKey),
    encodeLower: of(table.encodeLower),
    encodeUpper: of(table.encodeUpper),
    decodeKey: of(table.decodeKey),
    decodeStart: of(table.decodeStart),
    decodeEnd: of(table.decodeEnd),
  };
}

/** Tenant 0: all keys below the first table tenant's. */
function tenantZeroSpace(): KeySpace {
  const end = table.first(1);
  const isBehind = (key: Uint8Array): boolean => compare(key, table.LIMIT) >= 0;
  const exact: Mapping = (key) => (key.length === 0 || isBehind(key) ? OUTSIDE : key);
  return {
    name: 'tenant 0',
    choice: { number: 0 },
    clientEncodes: true,
    storeEncodes: true,
    first: EMPTY,
    behind: end,
    takes: (key) => key.length > 0 && !isBehind(key),
    encodeKey: exact,
    encodeLower: (key) => (isBehind(key) ? end : key),
    encodeUpper: (key) => (key.length === 0 || isBehind(key) ? end : key),
    decodeKey: exact,
    decodeStart: (key) => (isBehind(key) ? OUTSIDE : key),
    decodeEnd: (key) => (isBehind(key) ? EMPTY : key),
  };
}

function behindPrefix(name: string, choice: SpaceChoice, prefix: Uint8Array, end: Uint8Array): KeySpace {
  const raw = (choice.keyspace ?? choice.prefix)?.mode === 'raw';
  const inside = (key: Uint8Array): boolean => compare(key.subarray(0, prefix.length), prefix) === 0;
  const strip = (key: Uint8Array): Uint8Array => key.slice(prefix.length);
  const encodeKey = (key: Uint8Array): Uint8Array => concat(prefix, key);
  return {
    name,
    choice,
    clientEncodes: !raw,
    storeEncodes: !raw || choice.keyspace !== undefined,
    first: prefix,
    behind: end,
    takes: () => true,
    encodeKey,
    encodeLower: encodeKey,
    encodeUpper: (key) => (key.length === 0 ? end : encodeKey(key)),
    decodeKey: (key) => (inside(key) ? strip(key) : OUTSIDE),
    decodeStart: (key) => {
      if (inside(key)) return strip(key);
      return compare(key, prefix) <= 0 ? EMPTY : OUTSIDE;
    },
    decodeEnd: (key) => {
      if (key.length === 0) return EMPTY;
      if (compare(key, prefix) <= 0) return OUTSIDE;
      return inside(key) ? strip(key) : EMPTY;
    },
  };
}

function bigEndian(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** The next bytes as a number of the same length, without the zeros that the carry leaves. */
function raised(prefix: Uint8Array): Uint8Array {
  const value = (BigInt(`0x${hex(prefix)}`) + 1n).toString(16).padStart(prefix.length * 2, '0');
  return unhex(value.replace(/(00)+$/, ''));
}

export function spaceOf(choice: SpaceChoice): KeySpace {
  const space = keysOf(choice);
  const name = choice.ownDefaultGroup ? `${space.name}, own default group` : space.name;
  return { ...space, choice, name };
}

function keysOf(choice: SpaceChoice): KeySpace {
  const { number, keyNumber, keyspace, prefix } = choice;
  if (keyspace) {
    const first = (keyspace.mode === 'raw' ? 0x72 : 0x78) * 2 ** 24 + keyspace.id;
    const name = `keyspace ${keyspace.id} ${keyspace.mode}`;
    return behindPrefix(name, choice, bigEndian(first), bigEndian(first + 1));
  }
  if (prefix)
    return behindPrefix(
      `prefix ${hex(prefix.bytes)} ${prefix.mode}`,
      choice,
      prefix.bytes,
      raised(prefix.bytes),
    );
  return ownsTheRest(choice) ? tenantZeroSpace() : tableSpace(number, keyNumber ?? number);
}

/** Tenant 0 where its keys have always been. */
export function ownsTheRest({ number, keyNumber, keyspace }: SpaceChoice): boolean {
  return number === 0 && keyNumber === undefined && !keyspace;
}

export function capabilities({ choice }: KeySpace): number {
  if (choice.keyspace?.mode === 'raw') return RAW | RAW_TTL;
  if (choice.prefix?.mode === 'raw') return choice.prefix.ttl ? RAW | RAW_TTL : RAW;
  return choice.prefix ? TXN : TXN | COPROCESSOR;
}

const ENCODE = { key: 'encodeKey', lower: 'encodeLower', upper: 'encodeUpper' } as const;
const DECODE = { key: 'decodeKey', lower: 'decodeStart', upper: 'decodeEnd' } as const;

export function encodeEncoded(space: KeySpace, bytes: Uint8Array, bound: Bound): Result {
  const raw = space.clientEncodes && bytes.length > 0 ? fromMemcomparable(bytes) : bytes;
  if (raw === undefined) return BROKEN;
  // The encoded empty key is a key before all others, not the absence of an end.
  if (raw.length === 0 && bytes.length > 0 && bound === 'upper') bound = 'lower';
  // Nothing lies before tenant 0: the empty key is where its first region begins.
  if (space.first.length === 0 && raw.length === 0 && bound !== 'upper') return bytes;
  const mapped = space[ENCODE[bound]](raw);
  return mapped instanceof Uint8Array && space.storeEncodes ? memcomparable(mapped) : mapped;
}

/** Bytes FF between a tag and a key that the tenant cannot write. */
const FAR = new Uint8Array(61).fill(0xff);

/** Where a bound of a range of regions lies; undefined for bytes that are no encoded key, which have a place too. */
export function encodePlace(
  space: KeySpace,
  bytes: Uint8Array,
  bound: 'lower' | 'upper',
): Uint8Array | undefined {
  const raw = space.clientEncodes && bytes.length > 0 ? fromMemcomparable(bytes) : bytes;
  if (raw === undefined) return undefined;
  const place =
    raw.length === 0 || space.takes(raw)
      ? encodeEncoded(space, bytes, bound)
      : memcomparable(concat(space.first.length > 0 ? space.first : [0x74, 0x80, 0x00], FAR, raw));
  if (typeof place === 'string') throw new Error(`${hex(bytes)} has no place`);
  return place;
}

/** The encoded form without its last marker and padding: what everything that begins with these bytes begins with. */
export function unpadded(key: Uint8Array): Uint8Array {
  return memcomparable(key).subarray(0, Math.floor(key.length / 8) * 9 + (key.length % 8));
}

export function decodeEncoded(space: KeySpace, bytes: Uint8Array, bound: Bound): Result {
  if (bytes.length === 0) return bound === 'key' ? OUTSIDE : EMPTY;
  const raw = space.storeEncodes ? fromMemcomparable(bytes) : bytes;
  if (raw === undefined) return undecodable(space, bytes, bound);
  if (raw.length === 0 && bound !== 'key') return bound === 'lower' ? EMPTY : OUTSIDE;
  const mapped = space[DECODE[bound]](raw);
  if (!(mapped instanceof Uint8Array) || !space.clientEncodes || mapped.length === 0) return mapped;
  return memcomparable(mapped);
}

/** A boundary that is no encoded key lies somewhere in the store all the same. */
function undecodable(space: KeySpace, bytes: Uint8Array, bound: Bound): Result {
  if (bound === 'key') return OUTSIDE;
  const end = ownsTheRest(space.choice) || isTable(space) ? space.behind.subarray(0, 3) : space.behind;
  if (compare(bytes, unpadded(space.first)) < 0) return bound === 'lower' ? EMPTY : OUTSIDE;
  if (compare(bytes, unpadded(end)) >= 0) return bound === 'lower' ? OUTSIDE : EMPTY;
  return ownsTheRest(space.choice) ? bytes : BROKEN;
}

function isTable({ choice }: KeySpace): boolean {
  return !ownsTheRest(choice) && !choice.keyspace && !choice.prefix;
}

/** A raw key in the form that the store's PD has it in. */
export function stored(space: KeySpace, key: Uint8Array): Uint8Array {
  return space.storeEncodes && key.length > 0 ? memcomparable(key) : key;
}

/** A key as the store has it. */
export function storedKey(space: KeySpace, key: Uint8Array): Uint8Array {
  const mapped = space.encodeKey(key);
  if (!(mapped instanceof Uint8Array)) throw new Error('the key space has no such key');
  return mapped;
}
