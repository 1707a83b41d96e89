/** Maps fields of requests to PD's etcd that must be checked together: ranges of names, and the value that is put under a name. */
import * as names from '../keys/namespace';
import { Mapped } from '../keys/mapped';
import { isReadSince } from '../keys/read-since';
import { alloc } from '../memory/arena';
import { Ascii, ascii, startsWith } from '../wire/bytes';
import { MAX_DIGITS, readDecimal, writeDecimal } from '../wire/decimal';
import { Status } from '../wire/status';
import * as current from './current';
import { replaceField } from './edits';
import { Span } from './span';

/** Where BR announces a restore, before it does anything else (TiDB: br/pkg/utils/register.go). */
const RESTORE: Ascii = ascii('/tidb/brie/import/restore/');

/** Of a value. PD lets etcd take requests of 150 MiB, and etcd keeps thousands of them in memory; its own default is this. */
const MAX_VALUE_BYTES: usize = 1536 * 1024;

/** Maps the range of names from `name` to `last`. `last` has no bytes when the range is one name. */
export function nameRange(nameField: u32, name: Span, lastField: u32, last: Span, reads: bool): Status {
  const mapped = names.encodeNameRange(name.bytes, name.length, last.bytes, last.length, reads);
  if (mapped == Mapped.OUTSIDE) return Status.NAME_OUTSIDE;
  if (mapped != Mapped.REPLACED) return Status.OK;
  replaceField((nameField << 3) | 2, name.at, name.end, names.namedAt, names.namedLength);
  if (last.length != 0)
    replaceField((lastField << 3) | 2, last.at, last.end, names.namedEndAt, names.namedEndLength);
  return Status.OK;
}

/**
 * Checks the value that is put under a key:
 * - A key that says since when a TiDB reads must hold a timestamp and have a lease. The lease removes it when the TiDB is gone.
 *   A timestamp further back than the tenant may hold GC is raised to that limit.
 * - A key that announces a restore is refused.
 * - Any other key takes any value, as long as etcd itself takes by default.
 *
 * Nothing is put while etcd has as many keys of the tenant as it may have.
 */
export function namedValue(name: Span, valueField: u32, value: Span, lease: u64): Status {
  if (startsWith(name.bytes, name.length, RESTORE)) return Status.FILE_BACKUP;
  if (value.length > MAX_VALUE_BYTES) return Status.TEXT_TOO_LONG;
  if (!current.terms.account.holdings.keys.add()) return Status.TOO_MANY_ETCD_KEYS;
  if (!isReadSince(name.bytes, name.length)) return Status.OK;
  const timestamp = readDecimal(value.bytes, value.length);
  if (timestamp == u64.MAX_VALUE || lease == 0) return Status.READ_SINCE;
  const oldest = current.oldestTimestamp;
  current.terms.account.sawOldestTransaction(timestamp < oldest ? oldest : timestamp);
  if (timestamp >= oldest) return Status.OK;
  const end = alloc(MAX_DIGITS) + MAX_DIGITS;
  const from = writeDecimal(end, oldest);
  replaceField((valueField << 3) | 2, value.at, value.end, from, end - from);
  return Status.OK;
}
