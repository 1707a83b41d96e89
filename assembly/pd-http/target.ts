/** The path and query of a request to PD's HTTP API, as they go on. */
import { Bound, Mapped, encodePlace, mappedAt, mappedLength } from '../keys/space';
import { alloc } from '../memory/arena';
import {
  Segment,
  decisionOf,
  endNameOf,
  endpoint,
  queryOf,
  segment,
  segmentAt,
  segmentLength,
  startNameOf,
} from '../policy/endpoints';
import { HttpDecision, HttpQuery } from '../schema/http';
import { textOf } from '../texts/text';
import { Ascii, ascii, equals } from '../wire/bytes';
import { escapedLength, unescape, writeEscaped } from '../wire/escape';
import { Status } from '../wire/status';
import { KeyForm, formOf, queryAt, queryLength, readKey, rewriteQuery } from './query';
import { encodeGroup, encodeLabelId, nameAt, nameLength } from './rule-names';

const QUESTION: u8 = 0x3f;
const PLUS: u8 = 0x2b;

const REGIONS_BY_KEY: Ascii = ascii('/pd/api/v1/regions/key');
const NO_LIMIT: Ascii = ascii('limit=-1');
const PARTIAL: Ascii = ascii('partial=true');

/** What goes on, in the arena or where it was. */
export let targetAt: usize = 0;
export let targetLength: usize = 0;
/** The key in the path, mapped and escaped, at `nameAt`. */
let keyAt: usize = 0;
let keyLength: usize = 0;

function mapKey(form: KeyForm): bool {
  if (form == KeyForm.UNREADABLE) return false;
  keyAt = readKey(segmentAt, segmentLength, form);
  if (keyAt == 0) return false;
  keyLength = escapedLength;
  if (encodePlace(keyAt, keyLength, Bound.LOWER) == Mapped.REPLACED) {
    keyAt = mappedAt;
    keyLength = mappedLength;
  }
  return true;
}

/** A rule's id in the path: there a plus is a plus, which the escapes of queries do not know. */
function mapLabelId(): bool {
  for (let i: usize = 0; i < segmentLength; i++) if (load<u8>(segmentAt + i) == PLUS) return false;
  const id = unescape(segmentAt, segmentLength);
  if (id == 0 || !encodeLabelId(id, escapedLength)) return false;
  keyAt = nameAt;
  keyLength = nameLength;
  return true;
}

/** Joins the path's part before the segment with the segment, escaped or not, and what comes behind. */
function replaceSegment(path: usize, plain: usize, at: usize, length: usize, escapes: bool): void {
  const before = segmentAt - path;
  const behind = plain - before - segmentLength;
  targetAt = alloc(before + length * 3 + behind);
  memory.copy(targetAt, path, before);
  let to = targetAt + before;
  if (escapes) to = writeEscaped(to, at, length);
  else {
    memory.copy(to, at, length);
    to += length;
  }
  memory.copy(to, path + plain - behind, behind);
  targetLength = to + behind - targetAt;
}

function mapSegment(path: usize, plain: usize, form: KeyForm): Status {
  targetAt = path;
  targetLength = plain;
  if (segment == Segment.KEY) {
    if (!mapKey(form)) return Status.KEY_UNREADABLE;
    replaceSegment(path, plain, keyAt, keyLength, true);
  } else if (segment == Segment.LABEL_ID) {
    if (!mapLabelId()) return Status.ID_UNREADABLE;
    replaceSegment(path, plain, keyAt, keyLength, true);
  } else if (segment == Segment.GROUP) {
    if (!encodeGroup(segmentAt, segmentLength)) return Status.NAME_OUTSIDE;
    replaceSegment(path, plain, nameAt, nameLength, false);
  }
  return Status.OK;
}

function appendQuery(at: usize, length: usize): void {
  const whole = alloc(targetLength + 1 + length);
  memory.copy(whole, targetAt, targetLength);
  store<u8>(whole + targetLength, QUESTION);
  memory.copy(whole + targetLength + 1, at, length);
  targetAt = whole;
  targetLength += 1 + length;
}

function rangeForm(kind: u32): KeyForm {
  if (kind == HttpQuery.HEX_RANGE) return KeyForm.HEX;
  return kind == HttpQuery.RANGE ? KeyForm.ESCAPED : KeyForm.BY_FORMAT;
}

/**
 * Maps the target of the endpoint that was found last. `plain` is the path's length without its query. NOT_FOR_TENANTS: for the
 * endpoint's own reason.
 */
export function mapTarget(path: usize, plain: usize, length: usize): Status {
  const kind = queryOf(endpoint);
  let query = path + plain + 1;
  let size = plain < length ? length - plain - 1 : 0;
  const status = mapSegment(path, plain, kind == HttpQuery.FORMAT ? formOf(query, size) : KeyForm.ESCAPED);
  if (status != Status.OK) return status;
  if (kind == HttpQuery.DROPPED || kind == HttpQuery.FORMAT) return Status.OK;
  if (kind == HttpQuery.NONE && plain < length) return Status.QUERY_REFUSED;
  if (kind == HttpQuery.PARTIAL && !equals(query, size, PARTIAL)) return Status.NOT_FOR_TENANTS;
  if (kind == HttpQuery.RANGE || kind == HttpQuery.HEX_RANGE || kind == HttpQuery.RANGE_BY_FORMAT) {
    if (decisionOf(endpoint) == HttpDecision.REGIONS) {
      targetAt = changetype<usize>(REGIONS_BY_KEY);
      targetLength = REGIONS_BY_KEY.length;
      query = changetype<usize>(NO_LIMIT);
      size = NO_LIMIT.length;
    }
    const form = rangeForm(kind);
    const start = textOf(startNameOf(endpoint));
    const end = textOf(endNameOf(endpoint));
    if (rewriteQuery(query, size, start, end, form) != Status.OK) return Status.QUERY_UNREADABLE;
    query = queryAt;
    size = queryLength;
  }
  if (size != 0) appendQuery(query, size);
  return Status.OK;
}
