/**
 * Fills a VM's part of the tenants' rates from the bucket that all VMs of this Envoy share. The record of a tenant:
 *
 *   filled at, ms:u64 | left of each Rate, thousandths: u64 x Rate.ALL
 *
 * The clock and the record are read only when the VM's part may not be enough. While the shared bucket is empty, the record is read every
 * PAUSE_MS at most.
 */
import * as host from '../host/host';
import { alloc } from '../memory/arena';
import { Account } from '../terms/account';
import { Bucket, Rate, Rates, UNIT } from '../terms/rates';
import { Ascii, ascii } from '../wire/bytes';
import { Stream } from './stream';

const RECORD: Ascii = ascii('tidb-mesh.rate.');
const RECORD_BYTES: usize = 8 + ((<usize>Rate.ALL) << 3);
const PAUSE_MS: u64 = 5;
/** Maximum of attempts: other VMs write at the same time. */
const ATTEMPTS: u32 = 8;
/** A request of a batch mostly has more bytes: a point get has a key, a timestamp and a context. */
const REQUEST_BYTES: u64 = 32;

/** What is taken, u64 by Rate. */
const takes: usize = memory.data(24, 8);

/** Milliseconds since 1970, now. */
export function readTime(): u64 {
  return host.currentTime() / 1_000_000;
}

/** Prepares for a piece of a batch. Its requests are judged one by one if they may be too many. */
export function prepareBatch(stream: Stream, account: Account, size: u32): void {
  const bytes = <u64>stream.request.length + size;
  const rates = account.rates;
  const count = bytes / REQUEST_BYTES + 1;
  fill(account, count);
  const enough = rates.requests.rate == 0 || rates.requests.left >= <i64>count * UNIT;
  rates.isShort = !enough || !rates.bytes.has;
}

/** Counts so many requests of a batch that went on together. Those that were judged one by one are counted. */
export function spendBatch(account: Account, count: i32): void {
  if (!account.rates.isShort) account.rates.spendRequests(max(count, 0));
}

/**
 * Counts messages on an open stream of PD or etcd; its first was counted when it opened. Envoy loses data of a stream that is continued later,
 * so none waits. False if the tenant owes as much as it can: the stream must end.
 */
export function spendMessages(stream: Stream, account: Account, count: u32): bool {
  if (count == 0) return true;
  const free: u32 = stream.hasSent ? 0 : 1;
  stream.hasSent = true;
  if (count == free) return true;
  fill(account, 1);
  account.rates.pd.spend(count - free);
  return !account.rates.pd.owesMost;
}

/** Takes what is missing before so many requests, as far as it is there. */
export function fill(account: Account, count: u64): void {
  const rates = account.rates;
  if (!isMissing(rates, count)) return;
  const now = readTime();
  rates.measure(now);
  if (now < rates.asksAt && rates.asksAt <= now + PAUSE_MS) return;
  const key = keyOf(account);
  for (let i: u32 = 0; i < ATTEMPTS; i++) if (ask(account, key, now, count)) break;
  rates.asksAt = isMissing(rates, count) ? now + PAUSE_MS : 0;
}

function isMissing(rates: Rates, count: u64): bool {
  return (rates.requests.missing(count) | rates.bytes.missing(1) | rates.pd.missing(1)) != 0;
}

function keyOf(account: Account): usize {
  const key = alloc(<usize>RECORD.length + account.nameLength);
  memory.copy(key, changetype<usize>(RECORD), RECORD.length);
  memory.copy(key + RECORD.length, account.nameAt, account.nameLength);
  return key;
}

/** False if another VM was quicker. */
function ask(account: Account, key: usize, now: u64, count: u64): bool {
  const rates = account.rates;
  const keyLength = <usize>RECORD.length + account.nameLength;
  const isThere = host.readShared(key, keyLength) && host.resultLength == RECORD_BYTES;
  const old = isThere ? host.resultAt : 0;
  const cas = host.sharedCas;
  const record = alloc(RECORD_BYTES);
  store<u64>(record, now);
  for (let rate: i32 = 0; rate < Rate.ALL; rate++) {
    const bucket = rates.bucket(rate);
    const full = bucket.rate * <u64>UNIT;
    const there = isThere
      ? min<u64>(load<u64>(placeOf(old, rate)) + filledSince(bucket, old, now), full)
      : full;
    const taken = min<u64>(there, bucket.missing(rate == Rate.REQUESTS ? count : 1));
    store<u64>(placeOf(record, rate), there - taken);
    store<u64>(takes + ((<usize>rate) << 3), taken);
  }
  if (!host.writeShared(key, keyLength, record, RECORD_BYTES, cas)) return false;
  for (let rate: i32 = 0; rate < Rate.ALL; rate++)
    rates.bucket(rate).take(load<u64>(takes + ((<usize>rate) << 3)));
  return true;
}

/** What has come into the shared bucket since the record was written. The clock may have been set back. */
function filledSince(bucket: Bucket, record: usize, now: u64): u64 {
  const since = load<u64>(record);
  return now > since ? min<u64>(now - since, <u64>UNIT) * bucket.rate : 0;
}

function placeOf(record: usize, rate: i32): usize {
  return record + 8 + ((<usize>rate) << 3);
}
