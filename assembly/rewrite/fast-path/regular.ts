/** Regular keys: they map as nearly all keys do. Whether a key is regular can be tested before anything is changed. */
import * as tenantZero from '../../keys/tenant-zero';
import * as codecs from '../../keys/codec';
import { Codec } from '../../keys/codec';
import * as prefix from '../../keys/prefix';
import * as table from '../../keys/table';
import { BOUND_BYTES } from '../../keys/tidb-keys';

/** What makes a key regular, and how it is mapped. */
export const enum Regular {
  /** No key is regular. */
  NONE,
  /** Table codec: the tag is written, or removed. */
  TAGGABLE,
  TAGGED,
  TAGGABLE_ENCODED,
  TAGGED_ENCODED,
  /** Prefix codec: the prefix is added, or removed. */
  ANY,
  PREFIXED,
  /** Tenant 0: it stays. */
  TENANT_ZERO,
}

/** Two groups of a memcomparable key. */
const ENCODED_BYTES: usize = 18;

/** The regular keys of the key range in use. */
export function regularOf(encoded: bool, request: bool): Regular {
  if (codecs.codec == Codec.TABLE) {
    if (encoded) return request ? Regular.TAGGABLE_ENCODED : Regular.TAGGED_ENCODED;
    return request ? Regular.TAGGABLE : Regular.TAGGED;
  }
  if (encoded) return Regular.NONE;
  if (codecs.codec == Codec.PREFIX) return request ? Regular.ANY : Regular.PREFIXED;
  return Regular.TENANT_ZERO;
}

/** Length of the shortest regular key, as a key and as a range's bound. */
export function shortestRegular(kind: Regular): usize {
  switch (kind) {
    case Regular.TAGGABLE:
    case Regular.TAGGED:
      return BOUND_BYTES;
    case Regular.TAGGABLE_ENCODED:
    case Regular.TAGGED_ENCODED:
      return ENCODED_BYTES;
    case Regular.PREFIXED:
      return prefix.prefixBytes() + 1;
    default:
      return 1;
  }
}

/** True for a regular key; `length` is not below `shortestRegular`. */
export function isRegular(kind: Regular, p: usize, length: usize): bool {
  switch (kind) {
    case Regular.TAGGABLE:
      return table.isTaggable(p);
    case Regular.TAGGED:
      return table.isTagged(p);
    case Regular.TAGGABLE_ENCODED:
      return table.isTaggableEncoded(p, length);
    case Regular.TAGGED_ENCODED:
      return table.isTaggedEncoded(p, length);
    case Regular.PREFIXED:
      return prefix.hasPrefix(p);
    case Regular.ANY:
      return true;
    case Regular.TENANT_ZERO:
      return !tenantZero.behind(p, length);
    default:
      return false;
  }
}

/** True for keys that are changed where they lie. */
export function isTaggedInPlace(kind: Regular): bool {
  return kind >= Regular.TAGGABLE && kind <= Regular.TAGGED_ENCODED;
}

/** Bytes at a regular key's end that stay. */
export function regularTail(kind: Regular, length: usize): usize {
  return kind == Regular.PREFIXED ? length - prefix.prefixBytes() : length;
}
