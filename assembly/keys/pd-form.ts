/**
 * Maps keys in PD's form, which region errors and SplitRegion's answers use too. The form is memcomparable for transactions. For raw keys
 * it is so only under API V2. Client and store may use different forms.
 *
 *                                       client          store
 *   table, tenant 0, txn                memcomparable   memcomparable
 *   raw prefix (API V1)                 plain           plain
 *   raw keyspace (API V2)               plain           memcomparable     client-go internal/apicodec NewCodecV1, NewCodecV2
 */
import * as codecs from './codec';
import { Codec, decode, encode, encodePlaceOf } from './codec';
import * as mapping from './mapped';
import { Bound, Mapped } from './mapped';
import * as memcomparable from './memcomparable';
import { KeyRange, compareBytes } from './range';
import * as table from './table';

let clientEncodes: bool = true;
let storeEncodes: bool = true;
/** In the store's form: the bytes at which the key range begins, and those at which it ends. */
let stored: KeyRange = changetype<KeyRange>(0);
/** In the store's form: the furthest boundary behind the tenant's last key, with no key of another tenant before it. */
let lastBoundary: usize = 0;
let lastBoundaryLength: usize = 0;

/** Sets which sides use the memcomparable form. */
export function useForms(client: bool, store: bool): void {
  clientEncodes = client;
  storeEncodes = store;
}

/** Sets where the key range lies, in the store's form. */
export function useStored(range: KeyRange, boundary: usize, boundaryLength: usize): void {
  stored = range;
  lastBoundary = boundary;
  lastBoundaryLength = boundaryLength;
}

/** Encodes the result of a raw mapping in memcomparable form. */
function reencode(mapped: Mapped, p: usize, length: usize): Mapped {
  const at = mapped == Mapped.REPLACED ? mapping.mappedAt : p;
  const size = mapped == Mapped.REPLACED ? mapping.mappedLength : length;
  const encoded = memcomparable.encode(at, size);
  return mapping.replacedBy(encoded, memcomparable.resultLength);
}

/** Maps a client's key or bound in PD's form to the store's. BROKEN: it is not in that form. */
export function encodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (codecs.codec == Codec.TABLE && table.tagEncoded(p, length)) return Mapped.IN_PLACE;
  let raw = p;
  let rawLength = length;
  if (clientEncodes && length != 0) {
    raw = memcomparable.decode(p, length);
    if (raw == 0) return Mapped.BROKEN;
    rawLength = memcomparable.resultLength;
  }
  // The encoded empty key lies before everything. An absent end does not.
  if (bound == Bound.UPPER && rawLength == 0 && length != 0) bound = Bound.LOWER;
  // Tenant 0 begins where the store begins. It looks up its first region by the empty key.
  if (codecs.codec == Codec.TENANT_ZERO && rawLength == 0 && bound == Bound.KEY) return Mapped.SAME;
  const mapped = encode(raw, rawLength, bound);
  if (mapped == Mapped.OUTSIDE || mapped == Mapped.SAME || !storeEncodes) return mapped;
  return reencode(mapped, raw, rawLength);
}

/**
 * Maps a client's bound of a range of regions to its place in the store. Every key has a region, in order: never OUTSIDE or BROKEN. An
 * empty lower bound means the first key of the tenant's key range; an empty upper bound means its end.
 */
export function encodePlace(p: usize, length: usize, bound: Bound): Mapped {
  if (length == 0 && bound == Bound.UPPER) return encodeEncoded(p, length, bound);
  if (codecs.codec == Codec.TABLE && table.tagEncoded(p, length)) return Mapped.IN_PLACE;
  let raw = p;
  let rawLength = length;
  let isBetween = false;
  if (clientEncodes && length != 0) {
    raw = memcomparable.decodeCeiling(p, length);
    rawLength = memcomparable.resultLength;
    isBetween = !memcomparable.isExact;
  }
  const mapped = encodePlaceOf(raw, rawLength);
  if (mapped == Mapped.SAME || !storeEncodes) return mapped;
  reencode(mapped, raw, rawLength);
  if (isBetween && rawLength != 0) {
    // The place must lie below the encoded key, and not below any smaller encoded key.
    const marker = mapping.mappedAt + mapping.mappedLength - 1;
    store<u8>(marker, load<u8>(marker) - 1);
  }
  return Mapped.REPLACED;
}

/** Maps a store's key or boundary in PD's form to the client's. */
export function decodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (codecs.codec == Codec.TABLE && table.untagEncoded(p, length)) return Mapped.IN_PLACE;
  if (length == 0) return bound == Bound.KEY ? Mapped.OUTSIDE : Mapped.SAME;
  let raw = p;
  let rawLength = length;
  if (storeEncodes) {
    raw = memcomparable.decode(p, length);
    if (raw == 0) return undecodable(p, length, bound);
    rawLength = memcomparable.resultLength;
    // The encoded empty key is a boundary before everything, not an absent one.
    if (rawLength == 0 && bound != Bound.KEY)
      return bound == Bound.LOWER ? mapping.unbounded() : Mapped.OUTSIDE;
  }
  const mapped = decode(raw, rawLength, bound);
  if (mapped == Mapped.OUTSIDE || mapped == Mapped.SAME) return mapped;
  // PD writes an open bound, and the first key of a key range, as ''.
  if (mapped == Mapped.REPLACED && (mapping.mappedLength == 0 || !clientEncodes)) return mapped;
  return reencode(mapped, raw, rawLength);
}

/** Maps a boundary that is no encoded key. It may still lie before or behind the tenant. Inside, only tenant 0 can see it. */
function undecodable(p: usize, length: usize, bound: Bound): Mapped {
  if (bound == Bound.KEY) return Mapped.OUTSIDE;
  const lower = bound == Bound.LOWER;
  if (compareBytes(p, length, stored.at, stored.length) < 0)
    return lower ? mapping.unbounded() : Mapped.OUTSIDE;
  if (compareBytes(p, length, stored.endAt, stored.endLength) >= 0)
    return lower ? Mapped.OUTSIDE : mapping.unbounded();
  return codecs.codec == Codec.TENANT_ZERO ? Mapped.SAME : Mapped.BROKEN;
}

/**
 * True when a whole region lies inside the tenant's key range. The bounds are in PD's form of the store, empty where the region is open.
 */
export function ownsRegion(start: usize, startLength: usize, end: usize, endLength: usize): bool {
  return (
    endLength != 0 &&
    compareBytes(start, startLength, stored.at, stored.length) >= 0 &&
    compareBytes(end, endLength, lastBoundary, lastBoundaryLength) <= 0
  );
}
