/**
 * Tells Envoy on the tick what was counted of each tenant: the difference to what it was told before. A series is defined when it has its
 * first value, so a tenant that was never seen costs nothing. Tenants without series of their own are told as one.
 *
 * A name carries its labels as Istio's do, so that Istio's bootstrap makes them Prometheus labels (extraStatTags):
 * `tenant=.=alpha;.;kind=.=read;.;tidbmesh_tenant_requests_total`
 */
import { MetricType } from '../host/abi';
import { add, defineMetricAt, record } from '../host/host';
import { codeOf } from '../schema/statuses';
import { Call, ErrorClass, STATUS_COUNT } from '../schema/table';
import { Account, Count, Latency, boundOf, newAccount, newCounts } from '../terms/account';
import { Holding } from '../terms/holdings';
import { Rate } from '../terms/rates';
import { Text } from '../texts/table';
import * as writer from '../texts/writer';
import { Ascii, ascii } from '../wire/bytes';
import { Status } from '../wire/status';
import * as clock from './clock';

/** Places of values: by Count, then gauges, then refusals by Status. */
const enum Place {
  STREAMS = Count.ALL,
  HELD,
  WATCHES,
  REFUSALS,
}

/** No tenant can have this name. */
const OTHER_NAME: Ascii = ascii('_other');
/** The tenants without series of their own. */
const other: Account = newAccount(changetype<usize>(OTHER_NAME), OTHER_NAME.length);

/** The text of a kind of calls. */
export function kindText(call: i32): u32 {
  switch (call) {
    case Call.READ:
      return Text.KIND_READ;
    case Call.SCAN:
      return Text.KIND_SCAN;
    case Call.COPROCESSOR:
      return Text.KIND_COPROCESSOR;
    case Call.WRITE:
      return Text.KIND_WRITE;
    case Call.FINISH:
      return Text.KIND_FINISH;
    case Call.FIND:
      return Text.KIND_FIND;
    case Call.PD:
      return Text.KIND_PD;
    case Call.ETCD:
      return Text.KIND_ETCD;
    default:
      return Text.KIND_OTHER;
  }
}

/** The text of a class of errors. */
export function errorText(errorClass: u32): u32 {
  switch (errorClass) {
    case ErrorClass.REGION:
      return Text.ERROR_REGION;
    case ErrorClass.BUSY:
      return Text.ERROR_BUSY;
    case ErrorClass.LOCK:
      return Text.ERROR_LOCK;
    case ErrorClass.CONFLICT:
      return Text.ERROR_CONFLICT;
    default:
      return Text.ERROR_OTHER;
  }
}

/** The name of the limit of a rate. */
function limitText(rate: i32): u32 {
  return rate == Rate.REQUESTS
    ? Text.LIMIT_REQUESTS
    : rate == Rate.BYTES
      ? Text.LIMIT_BYTES
      : Text.LIMIT_PD_REQUESTS;
}

function templateOf(place: i32): u32 {
  switch (place) {
    case Count.REQUEST_BYTES:
      return Text.METRIC_REQUEST_BYTES;
    case Count.RESPONSE_BYTES:
      return Text.METRIC_RESPONSE_BYTES;
    case Count.REWRITES:
      return Text.METRIC_REWRITES;
    case Count.STREAMS:
      return Text.METRIC_STREAMS;
    case Place.STREAMS:
      return Text.METRIC_STREAMS_ACTIVE;
    case Place.WATCHES:
      return Text.METRIC_WATCHES;
    case Count.DELAYED_MS:
      return Text.METRIC_DELAYED_MS;
    default:
      return Text.METRIC_HELD;
  }
}

/** Defines the metric of a place. Returns its number. */
function define(account: Account, place: i32): u32 {
  writer.fill(0, account.nameAt, account.nameLength);
  if (place < Count.CALLS) {
    writer.fillText(1, kindText(place));
    writer.writeTemplate(Text.METRIC_REQUESTS);
  } else if (place >= Count.DELAYED && place < Count.DELAYED_MS) {
    writer.fillText(1, limitText(place - Count.DELAYED));
    writer.writeTemplate(Text.METRIC_DELAYED);
  } else if (place >= Count.ERRORS && place < Count.DELAYED) {
    writer.fillText(1, errorText(ErrorClass.REGION + <u32>(place - Count.ERRORS)));
    writer.writeTemplate(Text.METRIC_ERRORS);
  } else if (place >= Place.REFUSALS) {
    writer.fillText(1, codeOf(place - Place.REFUSALS));
    writer.writeTemplate(Text.METRIC_TENANT_REFUSED);
  } else writer.writeTemplate(templateOf(place));
  const isGauge = place >= Place.STREAMS && place < Place.REFUSALS;
  return defineMetricAt(isGauge ? MetricType.GAUGE : MetricType.COUNTER, writer.textAt, writer.textLength);
}

/** Tells one value, if it is another than before. `at` keeps what was told, and the metric plus one: u64 each. */
function tell(account: Account, place: i32, value: u64, at: usize): void {
  const more = <i64>(value - load<u64>(at));
  if (more == 0) return;
  store<u64>(at, value);
  if (!account.hasSeries) {
    addToOther(place, more);
    return;
  }
  if (load<u64>(at, 8) == 0) store<u64>(at, <u64>define(account, place) + 1, 8);
  add(<u32>load<u64>(at, 8) - 1, more);
}

function addToOther(place: i32, more: i64): void {
  other.isChanged = true;
  if (place < Count.ALL) other.add(place, <u64>more);
  else if (place >= Place.REFUSALS) other.addRefusals(place - Place.REFUSALS, <u64>more);
  else if (place == Place.STREAMS) other.openStreams += <u32>more;
  else if (place == Place.WATCHES) other.watches += <u32>more;
  else other.budget.used += <usize>more;
}

/** A TiDB tells twice a minute since when it reads. One that has not for so long, in ms, holds nothing back any more. */
const SILENCE_MS: u64 = 120_000;

/** A timestamp of PD has the milliseconds since 1970 above these bits. */
const LOGICAL_BITS: u64 = 18;

/**
 * Tells how old the tenant's oldest transaction is, as its TiDBs tell PD's etcd. Each sets the gauge, so it shows the one that told last:
 * the highest value of some minutes counts.
 */
function tellOldestTransaction(account: Account): void {
  const timestamp = account.oldestTransaction;
  if (timestamp != 0) {
    account.oldestTransaction = 0;
    account.oldestToldAt = clock.now;
  } else if (account.oldestToldAt == 0 || clock.now - account.oldestToldAt < SILENCE_MS) return;
  else account.oldestToldAt = 0;
  if (!account.hasSeries) return;
  if (account.oldestGauge == 0) {
    writer.fill(0, account.nameAt, account.nameLength);
    writer.writeTemplate(Text.METRIC_OLDEST);
    account.oldestGauge = defineMetricAt(MetricType.GAUGE, writer.textAt, writer.textLength) + 1;
  }
  const since = timestamp >> LOGICAL_BITS;
  record(account.oldestGauge - 1, timestamp == 0 || since >= clock.now ? 0 : (clock.now - since) / 1000);
}

/** The name of the limit of a holding. */
function holdingText(holding: i32): u32 {
  switch (holding) {
    case Holding.KEYS:
      return Text.LIMIT_ETCD_KEYS;
    case Holding.GROUPS:
      return Text.LIMIT_GROUPS;
    case Holding.LEASES:
      return Text.LIMIT_ETCD_LEASES;
    default:
      return Text.LIMIT_PD_RECORDS;
  }
}

/** Tells how much PD keeps of the tenant, if that is limited. All VMs set one gauge. */
export function tellHolding(account: Account, holding: i32): void {
  const holdings = account.holdings;
  const held = holdings.held(holding);
  if (!account.hasSeries || held.limit == 0) return;
  if (holdings.gauges == 0) holdings.gauges = newCounts(Holding.ALL);
  const gauge = holdings.gauges + ((<usize>holding) << 3);
  if (load<u64>(gauge) == 0) {
    writer.fill(0, account.nameAt, account.nameLength);
    writer.fillText(1, holdingText(holding));
    writer.writeTemplate(Text.METRIC_HOLDINGS);
    store<u64>(gauge, <u64>defineMetricAt(MetricType.GAUGE, writer.textAt, writer.textLength) + 1);
  }
  record(<u32>load<u64>(gauge) - 1, held.known);
}

/** What Prometheus calls the last bucket. */
const NO_BOUND: Ascii = ascii('+Inf');
/** Behind the buckets: their count, then the sum. */
const LATENCY_METRICS: i32 = Latency.BUCKETS + 2;

/** Fills the place with the bound of a bucket in milliseconds. No power of two that is a number of microseconds ends in 0. */
function fillBound(place: usize, bucket: i32): void {
  if (bucket == Latency.BUCKETS - 1) {
    writer.fill(place, changetype<usize>(NO_BOUND), NO_BOUND.length);
    return;
  }
  const bound = <u32>boundOf(bucket);
  writer.beginText();
  writer.addNumber(bound / 1000);
  // The thousand keeps the zeros of the fraction, and the point replaces its digit.
  const point = writer.textLength;
  writer.addNumber(1000 + (bound % 1000));
  store<u8>(writer.textAt + point, POINT);
  writer.fillWritten(place);
}
const POINT: u8 = 0x2e;

/** Defines all metrics of the tenant's latencies: a histogram lacks no bucket. */
function defineLatencies(account: Account): void {
  account.latencyMetrics = heap.alloc((<usize>LATENCY_METRICS) << 2);
  for (let i: i32 = 0; i < LATENCY_METRICS; i++) {
    writer.fill(0, account.nameAt, account.nameLength);
    if (i < Latency.BUCKETS) {
      fillBound(1, i);
      writer.writeTemplate(Text.METRIC_LATENCY_BUCKET);
    } else writer.writeTemplate(i == Latency.BUCKETS ? Text.METRIC_LATENCY_COUNT : Text.METRIC_LATENCY_SUM);
    const metric = defineMetricAt(MetricType.COUNTER, writer.textAt, writer.textLength);
    store<u32>(account.latencyMetrics + ((<usize>i) << 2), metric);
    add(metric, 0);
  }
}

/** Adds to one of the metrics of latencies. */
function addLatencies(account: Account, place: i32, more: u64): void {
  if (more != 0) add(load<u32>(account.latencyMetrics + ((<usize>place) << 2)), more);
}

/** Tells how long requests took since the last tick: a histogram of Prometheus, in which each bucket counts those before it, too. */
function tellLatencies(account: Account): void {
  const latencies = account.latencies;
  if (latencies == 0) return;
  if (!account.hasSeries) {
    other.addLatencies(latencies);
    clearLatencies(latencies);
    return;
  }
  if (account.latencyMetrics == 0) defineLatencies(account);
  let count: u64 = 0;
  for (let bucket: i32 = 0; bucket < Latency.BUCKETS; bucket++) {
    count += load<u64>(latencies + ((<usize>bucket) << 3));
    addLatencies(account, bucket, count);
  }
  addLatencies(account, Latency.BUCKETS, count);
  const sum = account.untoldMicroseconds + load<u64>(latencies + ((<usize>Latency.SUM) << 3));
  addLatencies(account, Latency.BUCKETS + 1, sum / 1000);
  account.untoldMicroseconds = sum % 1000;
  clearLatencies(latencies);
}

function clearLatencies(latencies: usize): void {
  memory.fill(latencies, 0, (<usize>Latency.ALL) << 3);
}

/** Tells what has changed of an account. */
export function tellAccount(account: Account): void {
  tellOldestTransaction(account);
  if (!account.isChanged) return;
  account.isChanged = false;
  if (account.told == 0) account.told = newCounts(2 * Place.REFUSALS);
  for (let place: i32 = 0; place < Count.ALL; place++)
    tell(account, place, account.valueOf(place), account.told + ((<usize>place) << 4));
  tell(account, Place.STREAMS, account.openStreams, account.told + ((<usize>Place.STREAMS) << 4));
  tell(account, Place.HELD, account.budget.used, account.told + ((<usize>Place.HELD) << 4));
  tell(account, Place.WATCHES, account.watches, account.told + ((<usize>Place.WATCHES) << 4));
  tellRefusals(account);
  tellLatencies(account);
}

function tellRefusals(account: Account): void {
  if (account.refusals == 0) return;
  if (account.refusalsTold == 0) account.refusalsTold = newCounts(2 * <i32>STATUS_COUNT);
  for (let status: i32 = Status.MALFORMED; status < <i32>STATUS_COUNT; status++) {
    const at = account.refusalsTold + ((<usize>status) << 4);
    tell(account, Place.REFUSALS + status, account.refusalsOf(status), at);
  }
}

/** Tells the sum of the accounts without series of their own. Called after all others. */
export function tellOther(): void {
  if (Count.DELAYED - Count.ERRORS != <i32>ErrorClass.OTHER)
    ERROR('there is a place for each class of errors');
  tellAccount(other);
}
