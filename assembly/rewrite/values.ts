/** Maps a field's value by its role, in requests and in answers. */
import * as names from '../keys/namespace';
import {
  Bound,
  Mapped,
  apiVersion,
  decodeEncoded,
  decodeEnd,
  decodeKey,
  decodeStart,
  encodeEncoded,
  encodeKey,
  encodeLower,
  encodePlace,
  encodeUpper,
  keyNumber,
  keyspaceId,
  isKeyspace,
  mapsTableIds,
  tableIdTag,
} from '../keys/space';
import { mayQuoteKeys } from '../keys/text';
import { alloc } from '../memory/arena';
import { isAllowed, limitAt, limitPlaceIn, roleIn } from '../schema/messages';
import { Role } from '../schema/table';
import { Ascii, ascii } from '../wire/bytes';
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint, writePaddedVarint, writeVarint } from '../wire/varint';
import * as current from './current';
import { Direction, isLater, isReadable, isTimely, mayBeTimely } from './current';
import * as batch from './batch';
import { MovePhase } from '../terms/move';
import { remove, replace, replaceField, setTouched, settle } from './edits';
import { WITHHELD, isConfigPath, isSegment } from './names';
import { stripPartitionIds } from '../rows/partition-id';
import { sawRegion, sawVersion } from './region-acts';
import { Verdict, countTurnedAway, verdictNow } from './regions';
import { group, groupKey, groupLabel, scatterGroup } from './resource-groups';
import { sawServiceId, sawServiceSafePoint, sawServiceTtl } from './service-safe-point';
import { Span } from './span';

/** Which form the bounds of a range have. */
export const enum BoundForm {
  /** Raw keys. */
  RAW,
  /** Keys in PD's form. */
  ENCODED,
  /** The same, where every key has a place. */
  PLACE,
}

/** TiDB's table ids fit into this many bits. */
const TABLE_ID_BITS: u64 = 48;
/** tipb.ExecType.TypeIndexLookUp */
const INDEX_LOOK_UP: u32 = 20;

/** Above it a double does not hold every whole number. */
const MAX_AMOUNT: f64 = <f64>((<u64>1) << 53);

/** Those of TiDB have less than 64, with what client-go adds of retries (util/request_source.go, internal/locate/region_request.go). */
const MAX_LABEL_BYTES: usize = 128;

/** Stands for the source of requests beyond `MOST_LABELS`. */
const OTHER_SOURCE: Ascii = ascii('other');

/** PD's clients ask for 10,000 at most. */
const MAX_TSO_COUNT: u64 = 1 << 14;

/** Maps one bound of a range, in the field `number`. An absent bound lies at the message's end. */
export function bound(form: BoundForm, lower: bool, number: u32, field: Span): Status {
  const value = field.bytes;
  const length = field.length;
  let mapped: Mapped;
  if (current.direction == Direction.REQUEST) {
    if (form == BoundForm.PLACE) mapped = encodePlace(value, length, lower ? Bound.LOWER : Bound.UPPER);
    else if (form == BoundForm.ENCODED)
      mapped = encodeEncoded(value, length, lower ? Bound.LOWER : Bound.UPPER);
    else mapped = lower ? encodeLower(value, length) : encodeUpper(value, length);
  } else {
    if (form != BoundForm.RAW) mapped = decodeEncoded(value, length, lower ? Bound.LOWER : Bound.UPPER);
    else mapped = lower ? decodeStart(value, length) : decodeEnd(value, length);
    if (mapped == Mapped.OUTSIDE) return Status.DROP;
  }
  return settle(mapped, (number << 3) | 2, field);
}

/** Maps a bytes or string field by its role. */
export function bytes(role: u32, tag: u32, field: Span): Status {
  const value = field.bytes;
  const length = field.length;
  const request = current.direction == Direction.REQUEST;
  switch (role) {
    case Role.NAME:
    case Role.HOST:
    case Role.REWRITE_OLD:
    case Role.ETCD_VALUE:
      return Status.OK;
    case Role.LABEL:
      return request ? label(tag, field) : Status.OK;
    case Role.KEY_OR_NONE:
      if (length == 0) return Status.OK;
    // fall through
    case Role.KEY:
    case Role.KEY_DROP:
    case Role.REWRITE_NEW:
      if (request) {
        const mapped = encodeKey(value, length);
        return mapped == Mapped.OUTSIDE ? Status.KEY_OUTSIDE : settle(mapped, tag, field);
      }
      return decoded(decodeKey(value, length), role == Role.KEY_DROP, tag, field);
    case Role.ENC_KEY:
      if (request) {
        const mapped = encodeEncoded(value, length, Bound.KEY);
        return mapped == Mapped.OUTSIDE ? Status.KEY_OUTSIDE : settle(mapped, tag, field);
      }
      return decoded(decodeEncoded(value, length, Bound.KEY), false, tag, field);
    case Role.DROP:
      remove(field.at, field.end);
      return Status.OK;
    case Role.TEXT:
      if (!request && mayQuoteKeys(value, length))
        replaceField(tag, field.at, field.end, changetype<usize>(WITHHELD), WITHHELD.length);
      return Status.OK;
    case Role.SELECT:
      if (request || current.answerColumns == 0) return Status.OK;
      setTouched(true);
      return stripPartitionIds(value, length, current.answerColumns, keyNumber());
    case Role.ETCD_KEY:
    case Role.ETCD_READ_KEY:
      return named(request ? names.encodeName(value, length) : names.decodeName(value, length), tag, field);
    case Role.SERVICE_ID:
      if (request) sawServiceId(field);
      return Status.OK;
    case Role.GROUP:
    case Role.OWN_GROUP:
      return group(request, role == Role.OWN_GROUP, tag, field);
    case Role.SCATTER_GROUP:
      return request ? scatterGroup(tag, field) : Status.OK;
    case Role.GROUP_LABEL:
      return request ? groupLabel(tag, field) : group(request, false, tag, field);
    case Role.RESOURCE_KEY:
      return groupKey(tag, field);
    case Role.COLUMN_FAMILY:
      return !request || length == 0 || isDefaultFamily(value, length) ? Status.OK : Status.VALUE_OUTSIDE;
    case Role.SEGMENT:
      return !request || isSegment(value, length) ? Status.OK : Status.NAME_OUTSIDE;
    case Role.CONFIG_PATH:
      return !request || isConfigPath(value, length) ? Status.OK : Status.NAME_OUTSIDE;
    default:
      // A role that the walker does not know must never pass.
      return Status.MALFORMED;
  }
}

/** True for the name of the column family that RawKV's keys are in. */
function isDefaultFamily(p: usize, length: usize): bool {
  // 'default', little-endian.
  return length == 7 && load<u32>(p) == 0x61666564 && load<u32>(p, 3) == 0x746c7561;
}

/** Judges a text that TiKV keeps. One beyond those that a tenant may name becomes another one: it decides nothing. */
function label(tag: u32, field: Span): Status {
  if (field.length > MAX_LABEL_BYTES) return Status.TEXT_TOO_LONG;
  if (!current.terms.account.sources.admits(field.bytes, field.length))
    replaceField(tag, field.at, field.end, changetype<usize>(OTHER_SOURCE), OTHER_SOURCE.length);
  return Status.OK;
}

/** Maps a key in etcd. A reserved key is refused. Another tenant's key leaves the answer. */
function named(mapped: Mapped, tag: u32, field: Span): Status {
  if (mapped == Mapped.OUTSIDE)
    return current.direction == Direction.REQUEST ? Status.NAME_OUTSIDE : Status.DROP;
  if (mapped == Mapped.REPLACED) replaceField(tag, field.at, field.end, names.namedAt, names.namedLength);
  return Status.OK;
}

/** Maps an exact key of an answer. Another tenant's key is blanked, or its message is dropped. */
function decoded(mapped: Mapped, drops: bool, tag: u32, field: Span): Status {
  if (mapped != Mapped.OUTSIDE) return settle(mapped, tag, field);
  if (drops) return Status.DROP;
  if (field.length != 0) replaceField(tag, field.at, field.end, 0, 0);
  return Status.OK;
}

/** Judges a number of a request of which not every value passes. */
export function bounded(entry: u32, field: Span, value: u64): Status {
  if (current.direction != Direction.REQUEST) return Status.OK;
  const role = roleIn(entry);
  if (role == Role.ONE_OF) return isAllowed(entry, value) ? Status.OK : Status.VALUE_OUTSIDE;
  if (role != Role.AT_MOST && role != Role.CAPPED) return Status.MALFORMED;
  const limit = limitAt(limitPlaceIn(entry));
  if (value <= limit) return Status.OK;
  if (role == Role.AT_MOST) return Status.VALUE_OUTSIDE;
  overwrite(field, limit);
  return Status.OK;
}

/** Judges a number of fixed length. What is no amount becomes 0 in a request: NaN fails the comparison. */
export function fixed(role: u32, field: Span): Status {
  if (role != Role.AMOUNT) return Status.MALFORMED;
  if (current.direction != Direction.REQUEST || abs<f64>(load<f64>(field.bytes)) <= MAX_AMOUNT)
    return Status.OK;
  store<f64>(field.bytes, 0);
  setTouched(true);
  return Status.OK;
}

/** Maps a varint field by its role. */
export function scalar(role: u32, field: Span, value: u64): Status {
  const request = current.direction == Direction.REQUEST;
  let result = value;
  switch (role) {
    case Role.LEASE_ID:
    case Role.LEASE_GRANT_ID:
      if (!request) result = names.decodeLease(value);
      else if (!names.isClientLease(value)) return Status.NAME_OUTSIDE;
      else result = names.encodeLease(value == 0 && role == Role.LEASE_GRANT_ID ? current.leaseSeed : value);
      break;
    case Role.CLIENT_ID:
      if (request) result = names.encodeClient(value);
      break;
    case Role.LEASE_TTL:
      if (request) result = <u64>min<i64>(<i64>value, current.terms.maxLeaseSeconds);
      break;
    case Role.API_VERSION:
      if (request) result = apiVersion();
      break;
    case Role.KEYSPACE_ID:
      if (request) result = keyspaceId();
      break;
    case Role.SERVICE_TTL:
      if (request) sawServiceTtl(value, field);
      break;
    case Role.SERVICE_SAFE_POINT:
      if (request) sawServiceSafePoint(value, field);
      break;
    case Role.TIMESTAMP_OR_MAX:
    case Role.TIMESTAMP:
    case Role.FOR_UPDATE:
    case Role.TXN_START:
      if (request && !isTimely(value, role == Role.TIMESTAMP_OR_MAX)) return tooLate(value);
      break;
    case Role.READ_TIMESTAMP_OR_MAX:
      if (request && !isReadable(value)) return unreadable(value);
      break;
    case Role.EARLY_COMMIT:
      if (request && value != 0 && current.terms.account.phase >= MovePhase.CALM) overwrite(field, 0);
      break;
    case Role.TXN_SOURCE:
      if (request && value != 0 && current.terms.account.phase != MovePhase.NONE) overwrite(field, 0);
      break;
    case Role.REGION_ID:
      if (request) sawRegion(value);
      break;
    case Role.REGION_VERSION:
      if (request) sentVersion(value, field);
      else if (value != 0) result = value + current.terms.epochOffset;
      break;
    case Role.REGION_ACT:
      if (request && !mayAct(value)) result = 0;
      break;
    case Role.REGION_CONF_VERSION:
      if (request) sentConfVersion(value, field);
      else if (value != 0) result = value + current.terms.confVerOffset;
      break;
    case Role.STORE_ID:
      if (request && current.holdsMessage && current.terms.account.isAway) overwrite(field, 0);
      break;
    case Role.CLUSTER_ID:
      result = current.terms.clusterOf(value, request);
      break;
    case Role.HAS_ANSWER:
      if (request && value != 0 && current.terms.isFromElsewhere) overwrite(field, 0);
      break;
    case Role.NEW_TIME:
      if (!request && !isLater(value)) return Status.TIME_GOES_BACK;
      break;
    case Role.EXECUTOR:
      // TiKV reads 32 bits of it.
      if (request && <u32>value == INDEX_LOOK_UP && isKeyspace()) return Status.KEY_OUTSIDE;
      break;
    case Role.TABLE_ID:
      if (!request || isKeyspace()) break;
      if (value >> TABLE_ID_BITS != 0) return Status.KEY_OUTSIDE;
      if (mapsTableIds()) result = value | tableIdTag();
      break;
    case Role.SAFE_POINT_IN:
      if (!request) break;
      current.exchange.remembered = value;
      result = 0;
      break;
    case Role.SAFE_POINT_OUT:
      if (!request) result = current.exchange.remembered;
      break;
    case Role.SAFE_POINT_MIN:
      if (!request) result = min<u64>(current.exchange.remembered, value);
      break;
    case Role.TSO_COUNT:
      if (request && value > MAX_TSO_COUNT) return Status.TSO_COUNT;
      break;
    case Role.DROP:
      remove(field.at, field.end);
      return Status.OK;
    case Role.OPAQUE:
    case Role.NAME:
      break;
    default:
      return Status.MALFORMED;
  }
  if (result == value) return Status.OK;
  const to = alloc(16);
  const size = writeVarint(to, result) - to;
  replace(field.bytes, field.end, to, size);
  return Status.OK;
}

/** Writes a smaller number in the place of a varint, in as many bytes. */
function overwrite(field: Span, value: u64): void {
  writePaddedVarint(field.bytes, value, <i32>field.length);
  setTouched(true);
}

/** Maps the version of a region to the store's. Version 0, which no region has, stands for one that the store never showed. */
function sentVersion(value: u64, field: Span): void {
  const offset = current.terms.epochOffset;
  const version = current.holdsMessage || value < offset ? 0 : value - offset;
  if (version != value) overwrite(field, version);
  sawVersion(version, field);
}

/** The same for its configuration version. One that the store never showed comes with a version that it never showed, which is what counts. */
function sentConfVersion(value: u64, field: Span): void {
  const offset = current.terms.confVerOffset;
  if (offset != 0) overwrite(field, value < offset ? 0 : value - offset);
}

/** Why a request may not read at this timestamp. What is newest is held back; a request alone on its stream is held by its region. */
function unreadable(timestamp: u64): Status {
  if (timestamp == u64.MAX_VALUE) return batch.batchIndex >= 0 ? Status.HELD : Status.OK;
  return isTimely(timestamp, false) ? Status.READ_TOO_OLD : tooLate(timestamp);
}

/** What becomes of a request with a timestamp beyond the latest: one of a batch is held back until PD has said what time it is. */
function tooLate(timestamp: u64): Status {
  if (!mayBeTimely(timestamp)) return Status.TIMESTAMP_AHEAD;
  current.terms.clock.isWanted = true;
  return batch.batchIndex >= 0 ? Status.HELD : Status.TIMESTAMP_AHEAD;
}

/** True when PD may act on this region for the tenant. */
function mayAct(region: u64): bool {
  if (verdictNow(region) == Verdict.INSIDE) return true;
  countTurnedAway();
  return false;
}

/** Maps one number of a list that is not packed. */
export function listed(role: u32, field: Span, value: u64): Status {
  switch (role) {
    case Role.OPAQUE:
    case Role.NAME:
      return Status.OK;
    case Role.REGION_ACT:
      if (current.direction == Direction.REQUEST && !mayAct(value)) remove(field.at, field.end);
      return Status.OK;
    default:
      return Status.MALFORMED;
  }
}

/** Maps numbers of a packed list. */
export function packed(role: u32, tag: u32, field: Span): Status {
  switch (role) {
    case Role.OPAQUE:
    case Role.NAME:
      return Status.OK;
    case Role.REGION_ACT:
      return current.direction == Direction.REQUEST ? packedRegions(tag, field) : Status.OK;
    default:
      return Status.MALFORMED;
  }
}

/** Maps a packed list of regions to act on. Regions not known to be the tenant's are removed. */
function packedRegions(tag: u32, field: Span): Status {
  const end = field.end;
  let value = field.bytes;
  const kept = alloc(end - value);
  let to = kept;
  while (value < end) {
    const region = readVarint(value, end);
    if (varint.readEnd == 0) return Status.MALFORMED;
    value = varint.readEnd;
    if (mayAct(region)) to = writeVarint(to, region);
  }
  replaceField(tag, field.at, end, kept, to - kept);
  return Status.OK;
}
