/** Entry of the test build: the pure parts of the filter without Envoy. Not part of the product. */
import * as names from '../keys/namespace';
import * as keys from '../keys/space';
import { Mapped, Mode, Space } from '../keys/space';
import { mayQuoteKeys } from '../keys/text';
import { alloc, beginWork, reset } from '../memory/arena';
import { StreamBuffer, release, vmBudget } from '../memory/stream-buffer';
import { classify, pathBytes } from '../policy/classify';
import * as endpoints from '../policy/endpoints';
import * as methods from '../policy/methods';
import { movingBits } from '../policy/moving';
import { commandFor, isOpen, nameOperation, operationCount } from '../policy/names';
import { refusesOperation } from '../policy/policy-bits';
import * as batch from '../rewrite/batch';
import * as current from '../rewrite/current';
import { holdMessages, install, useDirection } from '../rewrite/current';
import { Exchange, clearExchange, countExchange, outstandingIn } from '../rewrite/exchange';
import * as frames from '../rewrite/frames';
import * as json from '../pd-http/json';
import * as fastPath from '../rewrite/fast-path/fast-path';
import * as patches from '../rewrite/patches';
import { applyPatches } from '../rewrite/patches';
import * as queries from '../pd-http/query';
import { KeyForm } from '../pd-http/query';
import * as edits from '../rewrite/edits';
import * as target from '../pd-http/target';
import * as regions from '../rewrite/regions';
import { clearWanted, doubtRegions, learnRegion, setRegionClock, wantedRegion } from '../rewrite/regions';
import * as walker from '../rewrite/walker';
import { closeWatches } from '../rewrite/watches';
import { sentenceOf } from '../schema/statuses';
import { textOf } from '../texts/text';
import { Status } from '../wire/status';
import { MovePhase, useRefusedBits } from '../terms/move';
import { DryRun, Terms } from '../terms/terms';
import { addFact, beginCaller, setHeader } from '../tenant/caller';
import { ConfigReader } from '../tenant/config';
import { Access, Resolver } from '../tenant/identity';
import { writeRefusal } from '../tenant/refusal';
import * as writer from '../texts/writer';
import { Ascii, ascii } from '../wire/bytes';

export { alloc, reset };

const exchange = new Exchange();
const held = new StreamBuffer();
const result: usize = memory.data(32, 8);

function give(at: usize, length: usize): usize {
  store<usize>(result, at);
  store<usize>(result, length, 4);
  return result;
}

function giveAscii(text: Ascii): usize {
  return give(changetype<usize>(text), text.length);
}

/** The selected tenant, and the time of its events. */
const terms = new Terms(keys.tableSpace(1, 1), 0, 0, 0, 0);
const budget = terms.budget;
let space = terms.space;
let latestTimestamp: u64 = u64.MAX_VALUE;
let timestampDoubt: u64 = 0;
let oldestTimestamp: u64 = 0;
let leaseSeed: u64 = 0;

function begin(): void {
  install(terms, exchange, latestTimestamp, timestampDoubt, oldestTimestamp, leaseSeed);
}

function choose(chosen: Space): void {
  keys.freeSpace(space);
  space = chosen;
  terms.space = chosen;
  begin();
}

/** Selects a table tenant, or tenant 0; `prefix` is its prefix in etcd and must outlive the test. */
export function select(number: u32, prefix: usize, prefixLength: usize, lease: u64): void {
  const copy = heap.alloc(prefixLength);
  memory.copy(copy, prefix, prefixLength);
  terms.prefixAt = copy;
  terms.prefixLength = prefixLength;
  leaseSeed = lease;
  choose(number == 0 ? keys.tenantZeroSpace() : keys.tableSpace(number, number));
}

/** Gives the selected tenant table keys with another number than its own. */
export function selectKeyNumber(number: u32, keyNumber: u32): void {
  choose(keys.tableSpace(number, keyNumber));
}

/** Gives the selected tenant a keyspace; mode: 0 txn, 1 raw. */
export function selectKeyspace(number: u32, id: u32, mode: Mode): void {
  choose(keys.keyspaceSpace(number, id, mode));
}

/** Gives the selected tenant the key space behind a prefix. */
export function selectPrefix(number: u32, at: usize, length: usize, mode: Mode, hasTtl: bool): void {
  choose(keys.prefixSpace(number, at, length, mode, hasTtl));
}

/** Adds this to the versions of regions that the selected tenant sees. */
export function epochOffset(offset: u64): void {
  terms.epochOffset = offset;
  begin();
}

/** The earliest timestamp that the selected tenant may read at. */
export function readableSince(timestamp: u64): void {
  terms.readableSince = timestamp;
  begin();
}

/** Makes the selected tenant move: as if its keys were elsewhere by now, and as if the request were alone on its stream. */
export function move(phase: MovePhase, elsewhere: bool, alone: bool): void {
  useRefusedBits(movingBits());
  const account = terms.account;
  account.useMove(phase, 1, u64.MAX_VALUE, 0);
  account.number = terms.number;
  account.range = elsewhere ? terms.range ^ 1 : 0;
  begin();
  if (alone) holdMessages();
}

/** Number of requests that were held back. */
export function heldRequests(): u32 {
  return <u32>terms.account.held;
}

/** What the stream has outstanding; result: all, writes, finishes, of unknown kind. */
export function outstanding(): usize {
  store<u32>(result, outstandingIn(exchange));
  store<u32>(result, exchange.writes, 4);
  store<u32>(result, exchange.finishes, 8);
  store<u32>(result, exchange.earlier, 12);
  return result;
}

/** Gives the selected tenant a resource group `default` of its own. */
export function ownDefaultGroup(): void {
  space.hasOwnDefaultGroup = true;
}

/** What the selected space says of itself; result: capabilities, API version, keyspace id, the upper half of the table ids' tag. */
export function spaceFacts(): usize {
  store<u32>(result, keys.capabilities());
  store<u32>(result, keys.apiVersion(), 4);
  store<u32>(result, keys.keyspaceId(), 8);
  store<u32>(result, <u32>(keys.tableIdTag() >> 32), 12);
  return result;
}

/** True when the region with these bounds, as PD has them, lies inside the selected space. */
export function owns(start: usize, startLength: usize, end: usize, endLength: usize): bool {
  return keys.ownsRegion(start, startLength, end, endLength);
}

export function newStream(vmLimit: u32, tenantLimit: u32): void {
  terms.account.removeWatches(closeWatches(exchange));
  clearExchange(exchange);
  countExchange(exchange, budget);
  release(held, budget);
  vmBudget.limit = vmLimit;
  budget.limit = tenantLimit;
}

export function latest(timestamp: u64, doubt: u64): void {
  latestTimestamp = timestamp;
  timestampDoubt = doubt;
  begin();
}

export function holdBack(oldest: u64, seconds: u32): void {
  oldestTimestamp = oldest;
  terms.maxHoldBackSeconds = seconds;
  begin();
}

export function longestLease(seconds: i64): void {
  terms.maxLeaseSeconds = seconds;
}

export function lookups(possible: bool): void {
  terms.looksUp = possible;
}

/** As if PD had said whether the region lies inside the selected tenant. */
export function learn(region: u64, version: u64, inside: bool): void {
  learnRegion(region, version, inside);
}

/** The i-th region that was wanted, or 0. */
export function wanted(i: u32): u64 {
  return i < regions.wantedCount ? wantedRegion(i) : 0;
}

/** Sets the time that regions are learned at, ms. */
export function regionClock(ms: u64): void {
  setRegionClock(ms);
}

/** As if another configuration had been loaded. */
export function doubt(): void {
  doubtRegions();
}

/** As if PD had been made anew: nothing is known of its regions. */
export function forgetRegions(): void {
  terms.clock.latestCluster++;
  regions.useRegionsOf(terms.clock);
}

/** Forgets the sources of requests and the groups that the tenant has named. */
export function forgetLabels(): void {
  terms.account.sources.forget();
  terms.account.groups.forget();
}

export function forgetWanted(): void {
  clearWanted();
}

export function heldBytes(): u32 {
  return <u32>vmBudget.used;
}

export function pending(): u32 {
  return exchange.count;
}

/** Rewrites one message; result: at, length, status, message and field of a failure. */
export function message(type: u32, at: usize, length: usize, way: u32): usize {
  // A message by itself is bounded by its own limits only; `body` is bounded as an event is.
  beginWork(1 << 27);
  const status = walker.rewrite(type, at, length, way);
  store<u32>(result, status, 8);
  store<u32>(result, current.failedMessage, 12);
  store<u32>(result, current.failedField, 16);
  store<u32>(result, edits.touched ? 1 : 0, 20);
  if (status != 0) return give(0, 0);
  if (patches.patchCount == 0) return give(at, length);
  const out = alloc(walker.newLength);
  applyPatches(at, length, out);
  return give(out, walker.newLength);
}

/** 1 when such a message would not be walked, because one like it was before. */
export function knows(type: u32, at: usize, length: usize, way: u32): u32 {
  useDirection(way);
  return fastPath.knows(type, at, length) ? 1 : 0;
}

/** Feeds a piece of a body; result: at, length, status, changed, waits, acts that are turned away. */
export function body(type: u32, at: usize, length: usize, way: u32, limit: u32, mayWait: bool): usize {
  terms.maxMessageBytes = limit;
  let status = frames.feed(held, type, way, at, length, mayWait);
  if (!countExchange(exchange, budget) && status == Status.OK) status = Status.HELD_TOO_MUCH;
  store<u32>(result, status, 8);
  store<u32>(result, frames.outputChanged ? 1 : 0, 12);
  store<u32>(result, frames.frameWaits ? 1 : 0, 16);
  store<u32>(result, regions.turnedAwayCount, 20);
  return status == 0 ? give(frames.outputAt, frames.outputLength) : give(0, 0);
}

export function method(at: usize, length: usize): usize {
  if (!methods.findMethod(at, length)) return 0;
  store<u32>(result, methods.decision, 8);
  store<u32>(result, methods.requestMessage, 12);
  store<u32>(result, methods.responseMessage, 16);
  return giveAscii(textOf(methods.because));
}

/** One mapping of the selected space: 0 encodeKey, 1 encodeLower, 2 encodeUpper, 3 decodeKey, 4 decodeStart, 5 decodeEnd, 6.. encoded forms, 12.. places. */
export function map(kind: u32, at: usize, length: usize): usize {
  let mapped: u32 = Mapped.BROKEN;
  switch (kind) {
    case 0:
      mapped = keys.encodeKey(at, length);
      break;
    case 1:
      mapped = keys.encodeLower(at, length);
      break;
    case 2:
      mapped = keys.encodeUpper(at, length);
      break;
    case 3:
      mapped = keys.decodeKey(at, length);
      break;
    case 4:
      mapped = keys.decodeStart(at, length);
      break;
    case 5:
      mapped = keys.decodeEnd(at, length);
      break;
    case 6:
    case 7:
    case 8:
      mapped = keys.encodeEncoded(at, length, kind - 6);
      break;
    case 9:
    case 10:
    case 11:
      mapped = keys.decodeEncoded(at, length, kind - 9);
      break;
    case 12:
    case 13:
      mapped = keys.encodePlace(at, length, kind - 11);
  }
  store<u32>(result, mapped, 8);
  return mapped == Mapped.REPLACED ? give(keys.mappedAt, keys.mappedLength) : give(at, length);
}

/** One mapping of the selected tenant's names in etcd: 0 encodeName, 1 encodeNameEnd, 2 decodeName. */
export function mapName(kind: u32, at: usize, length: usize): usize {
  const mapped: u32 =
    kind == 0
      ? names.encodeName(at, length)
      : kind == 1
        ? names.encodeNameEnd(at, length)
        : names.decodeName(at, length);
  store<u32>(result, mapped, 8);
  return mapped == Mapped.SAME || mapped == Mapped.OUTSIDE
    ? give(at, length)
    : give(names.namedAt, names.namedLength);
}

/** True when a range of etcd keys holds reserved ones. */
export function reaches(key: usize, keyLength: usize, end: usize, endLength: usize): bool {
  return names.reachesReserved(key, keyLength, end, endLength);
}

/** One mapping of a lease id: 0 to etcd's, 1 to the client's; -1 for an id that no client can hold. */
export function mapLease(kind: u32, id: u64): u64 {
  if (kind != 0) return names.decodeLease(id);
  return names.isClientLease(id) ? names.encodeLease(id) : u64.MAX_VALUE;
}

export function plainText(at: usize, length: usize): bool {
  return !mayQuoteKeys(at, length);
}

export function requestKind(
  m: usize,
  mLength: usize,
  p: usize,
  pLength: usize,
  c: usize,
  cLength: usize,
): u32 {
  return classify(m, mLength, p, pLength, c, cLength);
}

/** What happens to a request to PD's HTTP API; result: its target or why not, the status, then the decision or -1. */
export function httpTarget(m: usize, mLength: usize, p: usize, pLength: usize): usize {
  const plain = pathBytes(p, pLength);
  store<u32>(result, Status.OK, 8);
  store<u32>(result, u32.MAX_VALUE, 12);
  if (!endpoints.findEndpoint(m, mLength, p, plain)) return give(0, 0);
  store<u32>(result, endpoints.decisionOf(endpoints.endpoint), 12);
  if (!endpoints.isMapped(endpoints.endpoint))
    return giveAscii(textOf(endpoints.reasonOf(endpoints.endpoint)));
  const status = target.mapTarget(p, plain, pLength);
  store<u32>(result, status, 8);
  if (status == Status.OK) return give(target.targetAt, target.targetLength);
  return giveAscii(
    textOf(status == Status.NOT_FOR_TENANTS ? endpoints.reasonOf(endpoints.endpoint) : sentenceOf(status)),
  );
}

/** The body of the endpoint that `httpTarget` found last. */
export function httpBody(at: usize, length: usize): usize {
  store<u32>(result, json.rewriteBody(endpoints.bodyOf(endpoints.endpoint) - 1, at, length), 8);
  return give(json.jsonAt, json.jsonLength);
}

/** Its good answer. */
export function httpAnswer(at: usize, length: usize): usize {
  store<u32>(result, json.rewriteAnswer(endpoints.answerOf(endpoints.endpoint) - 1, at, length), 8);
  return give(json.jsonAt, json.jsonLength);
}

const START: Ascii = ascii('key');
const END: Ascii = ascii('end_key');

/** A query with the range `key`, `end_key`. */
export function query(at: usize, length: usize, hex: bool): usize {
  store<u32>(result, queries.rewriteQuery(at, length, START, END, hex ? KeyForm.HEX : KeyForm.ESCAPED), 8);
  return give(queries.queryAt, queries.queryLength);
}

let resolver: Resolver | null = null;
let text: ArrayBuffer = new ArrayBuffer(0);

function giveText(value: string): usize {
  text = String.UTF8.encode(value);
  return give(changetype<usize>(text), text.byteLength);
}

/** Loads a pluginConfig in the place of the last one; result: the error's text. */
export function config(at: usize, length: usize): usize {
  const old = resolver;
  if (old != null) old.free();
  resolver = null;
  __collect();
  const reader = new ConfigReader(String.UTF8.decodeUnsafe(at, length));
  resolver = reader.error.length == 0 ? new Resolver(reader.config) : null;
  return giveText(reader.error);
}

/** Selects the key space of the loaded configuration's tenant with this number. False: there is none. */
export function selectConfigured(number: u32): bool {
  const rules = resolver;
  if (rules == null) return false;
  const tenant = rules.config.tenantOf(number);
  if (tenant == null) return false;
  terms.space = tenant.terms.space;
  begin();
  return true;
}

/** The name of what the tables decide about, '' behind the last; result: and whether tenants may use it, and its command in a batch. */
export function policyRule(rule: u32): usize {
  if (rule >= operationCount()) return give(0, 0);
  writer.beginText();
  nameOperation(rule);
  store<u32>(result, isOpen(rule) ? 1 : 0, 8);
  store<u32>(result, commandFor(rule), 12);
  return give(writer.textAt, writer.textLength);
}

/** Whether the loaded configuration's policy refuses a rule to the tenant with this number, and the extent of its dry run (<< 1). */
export function policyOf(number: u32, rule: u32): u32 {
  const rules = resolver;
  if (rules == null) return 0;
  const tenant = rules.config.tenantOf(number);
  if (tenant == null) return 0;
  return (refusesOperation(tenant.terms.policyBits, rule) ? 1 : 0) | (tenant.terms.dryRun << 1);
}

/** Makes batches obey the loaded configuration's policy for the tenant with this number; none: no policy. */
export function usePolicy(number: u32): void {
  terms.policyBits = 0;
  terms.dryRun = DryRun.NONE;
  batch.beginDryRun();
  const rules = resolver;
  if (rules == null) return;
  const tenant = rules.config.tenantOf(number);
  if (tenant == null) return;
  terms.policyBits = tenant.terms.policyBits;
  terms.dryRun = tenant.terms.dryRun;
}

/** The command that was let through in a dry run, and how often (<< 16). */
export function dryRunCommands(): u32 {
  return batch.dryRunCommand | (batch.dryRunCount << 16);
}

/** The place of a method that is known. */
export function placeOf(at: usize, length: usize): i32 {
  return methods.findMethod(at, length) ? methods.methodPlace : -1;
}

/** The loaded configuration's limit on timestamps, in seconds. */
export function driftLimit(): u32 {
  const rules = resolver;
  return rules == null ? 0 : rules.config.limits.maxTsDriftSeconds;
}

/** Where the loaded configuration says that PD is asked; result: "cluster authority". */
export function pdSettings(): usize {
  const rules = resolver;
  if (rules == null) return giveText('');
  const config = rules.config;
  return giveText(String.UTF8.decode(config.pdCluster) + ' ' + String.UTF8.decode(config.pdAuthority));
}

/** What the loaded configuration's rules ask for: 0 of the peer, 1 of the node; result: the name of the i-th fact, or 0. */
export function factName(kind: u32, i: i32): usize {
  const rules = resolver;
  if (rules == null) return 0;
  const facts = kind == 0 ? rules.config.rules.peer : rules.config.rules.node;
  return i < facts.length ? give(changetype<usize>(facts[i].name), facts[i].name.byteLength) : 0;
}

/** What Envoy says of its node, by fact. */
export function setNode(i: i32, at: usize, length: usize): void {
  const rules = resolver;
  if (rules == null) return;
  const value = new ArrayBuffer(<i32>length);
  memory.copy(changetype<usize>(value), at, length);
  rules.config.rules.nodeValues[i] = value;
}

/** The caller that `identity` resolves: its principal, then its facts in their order, then its header. */
export function caller(at: usize, length: usize): void {
  beginCaller(at, length);
}

export function callerFact(at: usize, length: usize): void {
  addFact(at, length);
}

export function callerHeader(at: usize, length: usize, many: bool): void {
  setHeader(at, length, many);
}

/** Resolves the caller; result: access and the tenant's name or the refusal, the reason behind it. */
export function identity(): usize {
  const rules = resolver;
  if (rules == null) return 0;
  const found = rules.resolve();
  store<u32>(result, found.access, 8);
  store<u32>(result, found.reason, 12);
  const tenant = found.tenant;
  if (found.access == Access.SYSTEM) return give(0, 0);
  if (tenant != null) return give(changetype<usize>(tenant.nameBytes), tenant.nameBytes.byteLength);
  writeRefusal(found);
  return give(writer.textAt, writer.textLength);
}

/** Resolves the principal so many times; gives how often it was a tenant's. */
export function identify(at: usize, length: usize, times: u32): u32 {
  const rules = resolver;
  let tenants: u32 = 0;
  for (let i: u32 = 0; rules != null && i < times; i++) {
    beginCaller(at, length);
    if (rules.resolve().access == Access.TENANT) tenants++;
  }
  return tenants;
}

/** Memory that is never given back: a benchmark's messages. */
export function room(size: usize): usize {
  return heap.alloc(size);
}

/**
 * What one body event costs without Envoy, `times` over: copies the body in, rewrites it and copies what goes on to `out`. Gives the
 * length of that, or a negative status.
 */
export function bench(type: u32, at: usize, length: usize, out: usize, way: u32, times: u32): i32 {
  for (let i: u32 = 0; i < times; i++) {
    reset();
    const copy = alloc(length);
    memory.copy(copy, at, length);
    const status = frames.feed(held, type, way, copy, length);
    if (status != Status.OK) return -(<i32>status);
    memory.copy(out, frames.outputAt, frames.outputLength);
  }
  return <i32>frames.outputLength;
}

/** The copies of `bench` alone. */
export function benchCopy(at: usize, between: usize, out: usize, length: usize, times: u32): void {
  for (let i: u32 = 0; i < times; i++) {
    memory.copy(between, at, length);
    memory.copy(out, between, length);
  }
}
