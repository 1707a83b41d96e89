/** The codec in use: raw keys and bounds go to the one of the current key space's kind. */
import * as tenantZero from './tenant-zero';
import { Bound, Mapped } from './mapped';
import * as prefix from './prefix';
import * as table from './table';

export const enum Codec {
  /** A tag inside of TiDB's own keys. */
  TABLE,
  /** Bytes in front. */
  PREFIX,
  /** The keys that are there already. */
  TENANT_ZERO,
}

export let codec: Codec = Codec.TABLE;

export function useCodec(chosen: Codec): void {
  codec = chosen;
}

/** A client's key to the store's. OUTSIDE: it is no key of this space. */
export function encodeKey(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeKey(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.checkKey(p, length);
}

/** A client's lower bound, the smaller key of a range, to the store's. Never OUTSIDE. */
export function encodeLower(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeLower(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.encodeLower(p, length);
}

/** A client's upper bound to the store's; empty is the space's end. Never OUTSIDE. */
export function encodeUpper(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeUpper(p, length);
  return codec == Codec.PREFIX ? prefix.encodeUpper(p, length) : tenantZero.encodeUpper(p, length);
}

/** Where a client's key lies among the store's regions. Every key has a place, and order is kept: never OUTSIDE. */
export function encodePlaceOf(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodePlace(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.encodePlace(p, length);
}

/** A store's key to the client's. OUTSIDE: another tenant's. */
export function decodeKey(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.decodeKey(p, length);
  return codec == Codec.PREFIX ? prefix.decodeKey(p, length) : tenantZero.checkKey(p, length);
}

/** A store's boundary as the start of what the client sees. OUTSIDE: it starts behind the space. */
export function decodeStart(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.decodeStart(p, length);
  return codec == Codec.PREFIX ? prefix.decodeStart(p, length) : tenantZero.decodeStart(p, length);
}

/** A store's boundary as the end of what the client sees. OUTSIDE: it ends before the space. */
export function decodeEnd(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.decodeEnd(p, length);
  return codec == Codec.PREFIX ? prefix.decodeEnd(p, length) : tenantZero.decodeEnd(p, length);
}

export function encode(p: usize, length: usize, bound: Bound): Mapped {
  if (bound == Bound.KEY) return encodeKey(p, length);
  return bound == Bound.LOWER ? encodeLower(p, length) : encodeUpper(p, length);
}

export function decode(p: usize, length: usize, bound: Bound): Mapped {
  if (bound == Bound.KEY) return decodeKey(p, length);
  return bound == Bound.LOWER ? decodeStart(p, length) : decodeEnd(p, length);
}
