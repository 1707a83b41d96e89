/** The codec in use. Maps raw keys and bounds with the codec of the current key range. */
import * as tenantZero from './tenant-zero';
import { Bound, Mapped } from './mapped';
import * as prefix from './prefix';
import * as table from './table';

export const enum Codec {
  /** A tag inside TiDB's own keys. */
  TABLE,
  /** A prefix before the key. */
  PREFIX,
  /** Keys stay as they are. */
  TENANT_ZERO,
}

export let codec: Codec = Codec.TABLE;

export function useCodec(chosen: Codec): void {
  codec = chosen;
}

/** Maps a client's key to the store's. OUTSIDE: it is no key of this tenant. */
export function encodeKey(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeKey(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.checkKey(p, length);
}

/** Maps a client's lower bound, the smaller key of a range, to the store's. Never OUTSIDE. */
export function encodeLower(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeLower(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.encodeLower(p, length);
}

/** Maps a client's upper bound to the store's. Empty means the end of the key range. Never OUTSIDE. */
export function encodeUpper(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodeUpper(p, length);
  return codec == Codec.PREFIX ? prefix.encodeUpper(p, length) : tenantZero.encodeUpper(p, length);
}

/** Maps a client's key to its place among the store's regions. Every key has a place, and order is kept: never OUTSIDE. */
export function encodePlaceOf(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.encodePlace(p, length);
  return codec == Codec.PREFIX ? prefix.encodeKey(p, length) : tenantZero.encodePlace(p, length);
}

/** Maps a store's key to the client's. OUTSIDE: it is another tenant's. */
export function decodeKey(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.decodeKey(p, length);
  return codec == Codec.PREFIX ? prefix.decodeKey(p, length) : tenantZero.checkKey(p, length);
}

/** Maps a store's boundary to the start of what the client sees. OUTSIDE: it lies behind the key range. */
export function decodeStart(p: usize, length: usize): Mapped {
  if (codec == Codec.TABLE) return table.decodeStart(p, length);
  return codec == Codec.PREFIX ? prefix.decodeStart(p, length) : tenantZero.decodeStart(p, length);
}

/** Maps a store's boundary to the end of what the client sees. OUTSIDE: it lies before the key range. */
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
