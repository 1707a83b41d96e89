/** The path and query of a request to PD's HTTP API, as they go on. */
import * as keys from '../keys/space';
import { Bound, Mapped } from '../keys/space';
import { alloc } from '../memory/arena';
import * as endpoints from '../policy/endpoints';
import { Segment } from '../policy/endpoints';
import { HttpDecision, HttpQuery } from '../schema/http';
import { textOf } from '../texts/text';
import { Ascii, ascii, equals } from '../wire/bytes';
import * as escaping from '../wire/escape';
import { Status } from '../wire/status';
import * as queries from './query';
import { KeyForm } from './query';
import * as ruleNames from './rule-names';

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
  keyAt = queries.readKey(endpoints.segmentAt, endpoints.segmentLength, form);
  if (keyAt == 0) return false;
  keyLength = escaping.escapedLength;
  if (keys.encodePlace(keyAt, keyLength, Bound.LOWER) == Mapped.REPLACED) {
    keyAt = keys.mappedAt;
    keyLength = keys.mappedLength;
  }
  return true;
}

/** A rule's id in the path: there a plus is a plus, which the escapes of queries do not know. */
function mapLabelId(): bool {
  for (let i: usize = 0; i < endpoints.segmentLength; i++)
    if (load<u8>(endpoints.segmentAt + i) == PLUS) return false;
  const id = escaping.unescape(endpoints.segmentAt, endpoints.segmentLength);
  if (id == 0 || !ruleNames.encodeLabelId(id, escaping.escapedLength)) return false;
  keyAt = ruleNames.nameAt;
  keyLength = ruleNames.nameLength;
  return true;
}

/** Joins the path's part before the segment with the segment, escaped or not, and what comes behind. */
function replaceSegment(path: usize, plain: usize, at: usize, length: usize, escapes: bool): void {
  const before = endpoints.segmentAt - path;
  const behind = plain - before - endpoints.segmentLength;
  targetAt = alloc(before + length * 3 + behind);
  memory.copy(targetAt, path, before);
  let to = targetAt + before;
  if (escapes) to = escaping.writeEscaped(to, at, length);
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
  if (endpoints.segment == Segment.KEY) {
    if (!mapKey(form)) return Status.KEY_UNREADABLE;
    replaceSegment(path, plain, keyAt, keyLength, true);
  } else if (endpoints.segment == Segment.LABEL_ID) {
    if (!mapLabelId()) return Status.ID_UNREADABLE;
    replaceSegment(path, plain, keyAt, keyLength, true);
  } else if (endpoints.segment == Segment.GROUP) {
    if (!ruleNames.encodeGroup(endpoints.segmentAt, endpoints.segmentLength)) return Status.NAME_OUTSIDE;
    replaceSegment(path, plain, ruleNames.nameAt, ruleNames.nameLength, false);
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
  const kind = endpoints.queryOf(endpoints.endpoint);
  let query = path + plain + 1;
  let size = plain < length ? length - plain - 1 : 0;
  const status = mapSegment(
    path,
    plain,
    kind == HttpQuery.FORMAT ? queries.formOf(query, size) : KeyForm.ESCAPED,
  );
  if (status != Status.OK) return status;
  if (kind == HttpQuery.DROPPED || kind == HttpQuery.FORMAT) return Status.OK;
  if (kind == HttpQuery.NONE && plain < length) return Status.QUERY_REFUSED;
  if (kind == HttpQuery.PARTIAL && !equals(query, size, PARTIAL)) return Status.NOT_FOR_TENANTS;
  if (kind == HttpQuery.RANGE || kind == HttpQuery.HEX_RANGE || kind == HttpQuery.RANGE_BY_FORMAT) {
    if (endpoints.decisionOf(endpoints.endpoint) == HttpDecision.REGIONS) {
      targetAt = changetype<usize>(REGIONS_BY_KEY);
      targetLength = REGIONS_BY_KEY.length;
      query = changetype<usize>(NO_LIMIT);
      size = NO_LIMIT.length;
    }
    const form = rangeForm(kind);
    const start = textOf(endpoints.startNameOf(endpoints.endpoint));
    const end = textOf(endpoints.endNameOf(endpoints.endpoint));
    if (queries.rewriteQuery(query, size, start, end, form) != Status.OK) return Status.QUERY_UNREADABLE;
    query = queries.queryAt;
    size = queries.queryLength;
  }
  if (size != 0) appendQuery(query, size);
  return Status.OK;
}
