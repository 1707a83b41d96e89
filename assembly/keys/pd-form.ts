/**
 * Keys as PD has them, which region errors and SplitRegion's answers share: memcomparable for transactions, and for raw keys only where the
 * store's API version says so. Client and store need not agree.
 *
 *                                       client          store
 *   table, tenant 0, txn                memcomparable   memcomparable
 *   raw prefix (API V1)                 plain           plain
 *   raw keyspace (API V2)               plain           memcomparable     client-go internal/apicodec NewCodecV1, NewCodecV2
 */
import { Codec, codec, decode, encode, encodePlaceOf } from './codec';
import { Bound, Mapped, mappedAt, mappedLength, replacedBy, unbounded } from './mapped';
import * as memcomparable from './memcomparable';
import { KeyRange, compareBytes } from './range';
import * as table from './table';

let clientEncodes: bool = true;
let storeEncodes: bool = true;
/** In the store's form: what every key of the space begins at, and what everything behind it does. */
let stored: KeyRange = changetype<KeyRange>(0);
/** In the store's form: the border that lies furthest behind the space's last key without a key of another in between. */
let lastBorder: usize = 0;
let lastBorderLength: usize = 0;

/** Sets which sides have the memcomparable form. */
export function useForms(client: bool, store: bool): void {
  clientEncodes = client;
  storeEncodes = store;
}

/** Sets where the space lies, in the store's form. */
export function useStored(range: KeyRange, border: usize, borderLength: usize): void {
  stored = range;
  lastBorder = border;
  lastBorderLength = borderLength;
}

/** The result of a raw mapping in memcomparable form. */
function reencode(mapped: Mapped, p: usize, length: usize): Mapped {
  const at = mapped == Mapped.REPLACED ? mappedAt : p;
  const size = mapped == Mapped.REPLACED ? mappedLength : length;
  const encoded = memcomparable.encode(at, size);
  return replacedBy(encoded, memcomparable.resultLength);
}

/** A client's key or bound in PD's form to the store's. BROKEN: it is not in that form. */
export function encodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (codec == Codec.TABLE && table.tagEncoded(p, length)) return Mapped.IN_PLACE;
  let raw = p;
  let rawLength = length;
  if (clientEncodes && length != 0) {
    raw = memcomparable.decode(p, length);
    if (raw == 0) return Mapped.BROKEN;
    rawLength = memcomparable.resultLength;
  }
  // The encoded empty key lies before everything, unlike an absent end.
  if (bound == Bound.UPPER && rawLength == 0 && length != 0) bound = Bound.LOWER;
  // Tenant 0 begins where the store does: its first region is looked up by the empty key.
  if (codec == Codec.TENANT_ZERO && rawLength == 0 && bound == Bound.KEY) return Mapped.SAME;
  const mapped = encode(raw, rawLength, bound);
  if (mapped == Mapped.OUTSIDE || mapped == Mapped.SAME || !storeEncodes) return mapped;
  return reencode(mapped, raw, rawLength);
}

/**
 * Where a client's bound of a range of regions lies in the store: there is a region for every key, in order. Neither OUTSIDE nor BROKEN. An
 * empty lower bound is the space's first key, an empty upper one its end.
 */
export function encodePlace(p: usize, length: usize, bound: Bound): Mapped {
  if (length == 0 && bound == Bound.UPPER) return encodeEncoded(p, length, bound);
  if (codec == Codec.TABLE && table.tagEncoded(p, length)) return Mapped.IN_PLACE;
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
    // Below the key's encoded form, and not below that of any other key before it.
    const marker = mappedAt + mappedLength - 1;
    store<u8>(marker, load<u8>(marker) - 1);
  }
  return Mapped.REPLACED;
}

/** A store's key or boundary in PD's form to the client's. */
export function decodeEncoded(p: usize, length: usize, bound: Bound): Mapped {
  if (codec == Codec.TABLE && table.untagEncoded(p, length)) return Mapped.IN_PLACE;
  if (length == 0) return bound == Bound.KEY ? Mapped.OUTSIDE : Mapped.SAME;
  let raw = p;
  let rawLength = length;
  if (storeEncodes) {
    raw = memcomparable.decode(p, length);
    if (raw == 0) return undecodable(p, length, bound);
    rawLength = memcomparable.resultLength;
    // The encoded empty key is a boundary before everything, not an absent one.
    if (rawLength == 0 && bound != Bound.KEY) return bound == Bound.LOWER ? unbounded() : Mapped.OUTSIDE;
  }
  const mapped = decode(raw, rawLength, bound);
  if (mapped == Mapped.OUTSIDE || mapped == Mapped.SAME) return mapped;
  // PD writes an open bound, and a space's first key, as ''.
  if (mapped == Mapped.REPLACED && (mappedLength == 0 || !clientEncodes)) return mapped;
  return reencode(mapped, raw, rawLength);
}

/** A boundary that is no encoded key still lies before or behind the tenant; inside, only tenant 0 can be shown it. */
function undecodable(p: usize, length: usize, bound: Bound): Mapped {
  if (bound == Bound.KEY) return Mapped.OUTSIDE;
  const lower = bound == Bound.LOWER;
  if (compareBytes(p, length, stored.at, stored.length) < 0) return lower ? unbounded() : Mapped.OUTSIDE;
  if (compareBytes(p, length, stored.endAt, stored.endLength) >= 0)
    return lower ? Mapped.OUTSIDE : unbounded();
  return codec == Codec.TENANT_ZERO ? Mapped.SAME : Mapped.BROKEN;
}

/** True when the whole of a region lies inside the space. Its bounds as the store's PD has them, empty where the region is open. */
export function ownsRegion(start: usize, startLength: usize, end: usize, endLength: usize): bool {
  return (
    endLength != 0 &&
    compareBytes(start, startLength, stored.at, stored.length) >= 0 &&
    compareBytes(end, endLength, lastBorder, lastBorderLength) <= 0
  );
}
