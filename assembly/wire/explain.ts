/** What a caller is told: one sentence that says what to do. */
import { Text } from '../texts/table';
import { Status } from './status';

/** The sentence for a status, a text. */
export function explain(status: Status): u32 {
  switch (status) {
    case Status.MALFORMED:
      return Text.MALFORMED;
    case Status.DUPLICATE:
      return Text.DUPLICATE;
    case Status.GROUP:
      return Text.GROUP;
    case Status.UNKNOWN_FIELD:
      return Text.UNKNOWN_FIELD;
    case Status.KEY_OUTSIDE:
      return Text.KEY_OUTSIDE;
    case Status.NAME_OUTSIDE:
      return Text.NAME_OUTSIDE;
    case Status.TOO_DEEP:
      return Text.TOO_DEEP;
    case Status.COMPRESSED:
      return Text.COMPRESSED;
    case Status.TOO_LONG:
      return Text.TOO_LONG;
    case Status.HELD_TOO_MUCH:
      return Text.HELD_TOO_MUCH;
    case Status.TRUNCATED:
      return Text.TRUNCATED;
    case Status.ROW_DATA:
      return Text.ROW_DATA;
    case Status.TOO_MANY_PENDING:
      return Text.TOO_MANY_PENDING;
    case Status.TOO_MANY_CHANGES:
      return Text.TOO_MANY_CHANGES;
    case Status.SERVICE_ID:
      return Text.SERVICE_ID;
    case Status.TIMESTAMP_AHEAD:
      return Text.TIMESTAMP_AHEAD;
    case Status.WRONG_SPACE:
      return Text.WRONG_SPACE;
    case Status.NOT_FOR_TENANTS:
      return Text.NOT_FOR_TENANTS;
    case Status.REGION_NOT_NAMED:
      return Text.REGION_NOT_NAMED;
    case Status.REGION_NOT_PROVEN:
      return Text.REGION_NOT_PROVEN;
    case Status.BY_POLICY:
      return Text.BY_POLICY;
    case Status.RANGES_MISSING:
      return Text.RANGES_MISSING;
    case Status.READ_SINCE:
      return Text.READ_SINCE;
    case Status.FILE_BACKUP:
      return Text.FILE_BACKUP;
    case Status.HELD_BACK:
      return Text.HELD_BACK;
    case Status.GROUP_NAME:
      return Text.GROUP_NAME;
    case Status.GROUP_SHARED:
      return Text.GROUP_SHARED;
    case Status.GROUP_SETTINGS:
      return Text.GROUP_SETTINGS;
    case Status.TSO_COUNT:
      return Text.TSO_COUNT;
    case Status.TOO_MANY_FIELDS:
      return Text.TOO_MANY_FIELDS;
    default:
      return Text.REFUSED;
  }
}
