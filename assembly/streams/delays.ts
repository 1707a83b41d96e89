/**
 * Delays calls over their tenant's rate, all but requests of a batch. Their headers wait, and with them all that comes: nothing has gone
 * on. They go on in the order in which they came, tried ten times a second. A client gives up some day, so a call waits for a limited time.
 */
import * as host from '../host/host';
import { hasMovedAway } from '../rewrite/current';
import { Call } from '../schema/table';
import { Account } from '../terms/account';
import { Rate, Rates, isDelayable } from '../terms/rates';
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { eachAccount } from './accounts';
import { hasRates } from './configs';
import * as headers from './headers';
import { fill, readTime } from './rates';
import { refuse } from './refuse';
import { Phase, Stream, findStream } from './stream';
import { mayAct } from './turns';

/**
 * The longest wait. PD's client gives up after 3 s (pd-client.pd-server-timeout), TiDB's calls of etcd after 2 s. Calls of TiKV last 30 s
 * and more (client-go's client.go: ReadTimeoutShort).
 */
const PD_WAIT_MS: u64 = 1500;
const WAIT_MS: u64 = 10_000;

/** The first tick knows of no one before it. */
const LONGEST_TICK_MS: u64 = 1000;

/** The calls that wait, in order: context:u32 | account:u32 | since, ms:u64, with FOR_PD for calls of PD */
const MAX_WAITING: u32 = 2048;
const MAX_WAITING_PER_TENANT: u32 = 256;
const ENTRY_BYTES: usize = 16;
const FOR_PD: u64 = 1 << 63;
const entries: usize = memory.data(32768, 8);
let count: u32 = 0;

/**
 * Not limited: a TiDB that gets no timestamps stands still, and one that hears nothing of a store takes it for dead. A stream of
 * timestamps counts them all as one.
 */
const TIMESTAMPS: Ascii = ascii('/pdpb.PD/Tso');
const HEALTH: Ascii = ascii('/grpc.health.');
const IS_ALIVE: Ascii = ascii('/tikvpb.Tikv/IsAlive');

function isUnlimited(): bool {
  return (
    equals(headers.pathAt, headers.pathLength, TIMESTAMPS) ||
    startsWith(headers.pathAt, headers.pathLength, HEALTH) ||
    equals(headers.pathAt, headers.pathLength, IS_ALIVE)
  );
}

/** Changes of resource groups are writes, as those of TiKV are. */
const RESOURCE_MANAGER: Ascii = ascii('/resource_manager.');

/** True for a call of PD or its etcd, whose headers have just come. TiKV serves no HTTP but gRPC. */
function isForPd(stream: Stream): bool {
  const call = stream.call;
  if (call == Call.PD || call == Call.ETCD || call == Call.FIND || !stream.isGrpc) return true;
  return startsWith(headers.pathAt, headers.pathLength, RESOURCE_MANAGER);
}

/** True if the messages of a call count whose headers have just come. */
export function countsMessages(stream: Stream): bool {
  return isForPd(stream) && !isUnlimited();
}

function mayGo(rates: Rates, call: u32, ofPd: bool): bool {
  return ofPd ? rates.pd.has : !isDelayable(call) || rates.mayRequest;
}

/** Counts a call that goes on. */
function spend(rates: Rates, ofPd: bool): void {
  if (ofPd) rates.pd.spend(1);
  else rates.spendRequests(1);
}

/** True if the call whose headers have just come may go on. Otherwise it waits, or was refused. */
export function mayBegin(stream: Stream, account: Account): bool {
  const rates = account.rates;
  if (!rates.isOn || stream.isBatch || isUnlimited()) return true;
  fill(account, 1);
  const call = stream.call;
  const ofPd = isForPd(stream);
  const isFirst = ofPd ? rates.waitingForPd == 0 : rates.waiting == 0 || !isDelayable(call);
  if (isFirst && mayGo(rates, call, ofPd)) {
    spend(rates, ofPd);
    return true;
  }
  if (count == MAX_WAITING || rates.waiting + rates.waitingForPd >= MAX_WAITING_PER_TENANT) {
    refuse(stream, Status.OVER_RATE);
    return false;
  }
  account.addDelay(ofPd ? Rate.PD : rates.countDelay());
  const entry = entryAt(count);
  count++;
  store<u32>(entry, stream.context);
  store<usize>(entry, changetype<usize>(account), 4);
  store<u64>(entry, readTime() | (ofPd ? FOR_PD : 0), 8);
  if (ofPd) rates.waitingForPd++;
  else rates.waiting++;
  return false;
}

/** Lets calls go on that may by now. Called on every tick. */
export function wakeDelayed(): void {
  if (count == 0) return;
  const now = readTime();
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const entry = entryAt(i);
    const rates = changetype<Account>(load<usize>(entry, 4)).rates;
    const ofPd = (load<u64>(entry, 8) & FOR_PD) != 0;
    if (waits(entry, now)) {
      memory.copy(entryAt(kept), entry, ENTRY_BYTES);
      kept++;
    } else if (ofPd) rates.waitingForPd--;
    else rates.waiting--;
  }
  count = kept;
}

let measuredAt: u64 = 0;
let elapsed: u64 = 0;

function measure(account: Account): void {
  if (account.rates.isOn) account.measureDelays(elapsed);
}

/** Measures for how long tenants were delayed. Called on every tick; there are ten a second while a tenant has a rate. */
export function measureDelays(now: u64): void {
  elapsed = now > measuredAt ? min(now - measuredAt, LONGEST_TICK_MS) : 0;
  measuredAt = now;
  if (elapsed != 0 && hasRates()) eachAccount(measure);
}

/** True if the call waits on. Otherwise it went on, was refused, or has ended. */
function waits(entry: usize, now: u64): bool {
  const stream = findStream(load<u32>(entry));
  if (stream == null || stream.phase == Phase.ENDED) return false;
  const account = changetype<Account>(load<usize>(entry, 4));
  const since = load<u64>(entry, 8);
  fill(account, 1);
  const ofPd = (since & FOR_PD) != 0;
  const goes = mayGo(account.rates, stream.call, ofPd);
  const longest = ofPd ? PD_WAIT_MS : WAIT_MS;
  if (!goes && now < (since & ~FOR_PD) + longest) return true;
  // Only what goes on or ends is an act: a tenant's waiting calls must not keep those of others waiting.
  if (!mayAct()) return true;
  host.actAs(stream.context);
  const terms = stream.terms;
  if (!goes) refuse(stream, Status.OVER_RATE);
  // The keys in its path were mapped when it came.
  else if (terms != null && !stream.isGrpc && hasMovedAway(terms)) refuse(stream, Status.TENANT_MOVES);
  else {
    spend(account.rates, ofPd);
    host.continueRequest();
  }
  return false;
}

function entryAt(i: u32): usize {
  return entries + <usize>i * ENTRY_BYTES;
}
