/** Requests to PD's etcd whose fields must be judged together: ranges of names, and what is put under a name. */
import { encodeNameRange, namedAt, namedEndAt, namedEndLength, namedLength } from '../keys/namespace';
import { Mapped } from '../keys/mapped';
import { isReadSince } from '../keys/read-since';
import { alloc } from '../memory/arena';
import { Ascii, ascii, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { replaceField } from './edits';
import { oldestTimestamp } from './gc-limits';

const MAX_DIGITS: usize = 20;
/** Where BR says that it restores, before it does anything else (TiDB: br/pkg/utils/register.go). */
const RESTORE: Ascii = ascii('/tidb/brie/import/restore/');

/**
 * Maps the range of names whose key spans [at, to) with its bytes from `key` on, all at `end` (the message's) when absent, and the same
 * of its end.
 */
export function nameRange(
  keyField: u32,
  at: usize,
  key: usize,
  to: usize,
  endField: u32,
  endAt: usize,
  endKey: usize,
  endTo: usize,
  reads: bool,
): Status {
  const endLength = endTo - endKey;
  const mapped = encodeNameRange(key, to - key, endKey, endLength, reads);
  if (mapped == Mapped.OUTSIDE) return Status.NAME_OUTSIDE;
  if (mapped != Mapped.REPLACED) return Status.OK;
  replaceField((keyField << 3) | 2, at, to, namedAt, namedLength);
  if (endLength != 0) replaceField((endField << 3) | 2, endAt, endTo, namedEndAt, namedEndLength);
  return Status.OK;
}

/** The decimal number of `length` digits at `p`; u64.MAX_VALUE when it is none or too large. */
function readDecimal(p: usize, length: usize): u64 {
  if (length == 0 || length > MAX_DIGITS) return u64.MAX_VALUE;
  let value: u64 = 0;
  for (let i: usize = 0; i < length; i++) {
    const digit = <u64>load<u8>(p + i) - 0x30;
    if (digit > 9 || value > (u64.MAX_VALUE - digit) / 10) return u64.MAX_VALUE;
    value = value * 10 + digit;
  }
  return value;
}

/**
 * What is put under a key. One that says since when a TiDB reads takes a timestamp, with a lease that takes it away when the TiDB is
 * gone, and not further back than GC may be held. One that says that a restore runs is refused. Other keys take any value.
 */
export function namedValue(
  key: usize,
  keyLength: usize,
  valueField: u32,
  at: usize,
  value: usize,
  to: usize,
  lease: u64,
): Status {
  if (startsWith(key, keyLength, RESTORE)) return Status.FILE_BACKUP;
  if (!isReadSince(key, keyLength)) return Status.OK;
  const timestamp = readDecimal(value, to - value);
  if (timestamp == u64.MAX_VALUE || lease == 0) return Status.READ_SINCE;
  if (timestamp >= oldestTimestamp) return Status.OK;
  const digits = alloc(MAX_DIGITS);
  let from = digits + MAX_DIGITS;
  for (let rest = oldestTimestamp; rest != 0; rest /= 10) store<u8>(--from, 0x30 + <u8>(rest % 10));
  replaceField((valueField << 3) | 2, at, to, from, digits + MAX_DIGITS - from);
  return Status.OK;
}
