/**
 * Asks PD how much it keeps of tenants that have a limit of that: once a second while something is added or a limit is reached, else every
 * ten seconds. etcd's gateway answers, JSON over HTTP on PD's own port (PD's `enable-grpc-gateway`, on by default).
 *
 *   /v3/kv/txn        counts the keys of three ranges: the tenant's own, its share of the folder of start timestamps, its groups. With a limit
 *                     of records also of four of PD's own: placement rules and their groups, region label rules, service safe points
 *   /v3/lease/leases  lists the leases of all tenants: a tenant's own are told by their numbers
 *
 * docs/decisions/0016 says how exact this is.
 */
import { Buffer } from '../host/abi';
import * as host from '../host/host';
import { tenantNumberOf } from '../keys/namespace';
import { FOLDER } from '../keys/read-since';
import { alloc } from '../memory/arena';
import { GROUPS_FOLDER } from '../rewrite/resource-groups';
import { Account } from '../terms/account';
import { Holding } from '../terms/holdings';
import { Terms } from '../terms/terms';
import * as json from '../texts/json-writer';
import { Ascii, append, ascii, startsWith } from '../wire/bytes';
import { MAX_DIGITS, readDecimal, writeDecimal } from '../wire/decimal';
import { writeHex } from '../wire/escape';
import { ConfigVersion, eachInForce } from './configs';
import { countHoldingsLookup } from './metrics';
import { PD_FOLDER_BYTES, writePdFolder } from './pd-time';
import { tellHolding } from './tenant-metrics';

/** Maximum of questions in flight in one VM, two for a tenant. Others wait for the next tick. */
const MAX_QUESTIONS: u32 = 64;
const TIMEOUT_MS: u32 = 2000;
/** After this time no answer comes: Envoy answers no root context that has ended. */
const FORGOTTEN_MS: u64 = 2 * <u64>TIMEOUT_MS;
/** The pause between two questions while nothing is doubtful. */
const IDLE_MS: u64 = 10_000;

/** Maximum of an answer's bytes: some 100,000 leases. With a longer one, a tenant has its limit anew. */
const MAX_ANSWER_BYTES: u32 = 4 << 20;

const TXN_PATH: Ascii = ascii('/v3/kv/txn');
const LEASES_PATH: Ascii = ascii('/v3/lease/leases');
const SUCCESS: Ascii = ascii('success');
const REQUEST_RANGE: Ascii = ascii('request_range');
const KEY: Ascii = ascii('key');
const RANGE_END: Ascii = ascii('range_end');
const COUNT_ONLY: Ascii = ascii('count_only');
const TRUE: Ascii = ascii('true');
/** In answers, which hold no text of a tenant. A count of 0 is left out. */
const HEADER: Ascii = ascii('"header":');
const RANGE: Ascii = ascii('"response_range":');
const COUNT: Ascii = ascii('"count":"');
const LEASE: Ascii = ascii('"ID":"-');
const RANGES: u32 = 3;
const ALL_RANGES: u32 = 7;
/** PD's keys of what it keeps by the tenant's name, below /pd/<cluster id> (pkg/storage/endpoint/key_path.go). Those of rules are in hex. */
const RULES_FOLDER: Ascii = ascii('/rules/');
const RULE_GROUPS_FOLDER: Ascii = ascii('/rule_group/');
const LABELS_FOLDER: Ascii = ascii('/region_label/');
const SERVICES_FOLDER: Ascii = ascii('/gc/safe_point/service/');
const OWN: Ascii = ascii('tidb-mesh:');
const COLON: u8 = 0x3a;
const QUOTE: u8 = 0x22;

/** token:u32 | account:u32 | sent at, ms:u64 | tenant's number:u32 | number of ranges, 0: it is about leases:u32, packed from the front */
const ENTRY_BYTES: usize = 24;
const inFlight: usize = memory.data(1536, 8);
let count: u32 = 0;

/** @inline */
function entryAt(i: u32): usize {
  return inFlight + <usize>i * ENTRY_BYTES;
}

let time: u64 = 0;

/** Called on the tick, once a second. */
export function askForHoldings(now: u64): void {
  time = now;
  forgetLost();
  eachInForce(askUnder);
}

/** Where the next tick begins in the list of tenants: where there were too many questions. */
let first: i32 = 0;

function askUnder(version: ConfigVersion): void {
  const config = version.resolver.config;
  if (!config.hasHoldings) return;
  const tenants = config.tenants.length;
  const from = first;
  for (let i = 0; i < tenants; i++) {
    const place = (from + i) % tenants;
    const terms = unchecked(config.tenants[place]).terms;
    const holdings = terms.account.holdings;
    if (!holdings.isDue(time)) continue;
    if (count + 2 > MAX_QUESTIONS) {
      first = place;
      return;
    }
    holdings.asksAt = time + IDLE_MS;
    const ranges = terms.clock.cluster != 0 && holdings.records.limit != 0 ? ALL_RANGES : RANGES;
    if (holdings.keys.limit != 0 || holdings.groups.limit != 0 || ranges == ALL_RANGES) {
      writeTxn(terms, ranges);
      ask(version, terms, TXN_PATH, ranges);
    }
    if (holdings.leases.limit == 0) continue;
    json.beginJson();
    json.openObject();
    json.closeObject();
    ask(version, terms, LEASES_PATH, 0);
  }
}

/** Sends the question that was written last. */
function ask(version: ConfigVersion, terms: Terms, path: Ascii, ranges: u32): void {
  const config = version.resolver.config;
  host.actAs(version.root);
  const token = host.httpPost(
    config.pdCluster,
    config.pdAuthority,
    path,
    json.jsonAt,
    json.jsonLength,
    TIMEOUT_MS,
  );
  countHoldingsLookup(token != 0);
  if (token == 0) return;
  const holdings = terms.account.holdings;
  holdings.questions++;
  if (ranges == 0) holdings.leases.beginQuestion();
  else {
    holdings.keys.beginQuestion();
    holdings.groups.beginQuestion();
    if (ranges == ALL_RANGES) holdings.records.beginQuestion();
  }
  const at = entryAt(count);
  count++;
  store<u32>(at, token);
  store<usize>(at, changetype<usize>(terms.account), 4);
  store<u64>(at, time, 8);
  store<u32>(at, terms.number, 16);
  store<u32>(at, ranges, 20);
}

function writeTxn(terms: Terms, ranges: u32): void {
  json.beginJson();
  json.openObject();
  json.addMember(SUCCESS);
  json.openList();
  addRange(terms.prefixAt, terms.prefixLength);
  addFolder(FOLDER, terms.nameAt, terms.nameLength);
  const end = alloc(MAX_DIGITS) + MAX_DIGITS;
  const number = writeDecimal(end, terms.number);
  addFolder(GROUPS_FOLDER, number, end - number);
  if (ranges == ALL_RANGES) {
    addRecords(RULES_FOLDER, terms, true);
    addRecords(RULE_GROUPS_FOLDER, terms, false);
    addRecords(LABELS_FOLDER, terms, false);
    addRecords(SERVICES_FOLDER, terms, false);
  }
  json.closeList();
  json.closeObject();
}

/** Counts what begins with the folder, the owner and a colon. */
function addFolder(folder: Ascii, owner: usize, ownerLength: usize): void {
  addRange(joined(folder, owner, ownerLength), joinedLength);
}

/** Counts what PD keeps in a folder of its own under the tenant's name, see pd-http/rule-names.ts. */
function addRecords(folder: Ascii, terms: Terms, isHex: bool): void {
  const name = joined(OWN, terms.nameAt, terms.nameLength);
  const nameLength = joinedLength;
  const key = alloc(PD_FOLDER_BYTES + <usize>folder.length + 2 * nameLength);
  let to = append(writePdFolder(key, terms.clock.cluster), changetype<usize>(folder), folder.length);
  if (isHex) {
    writeHex(to, name, nameLength);
    for (const behind = to + 2 * nameLength; to < behind; to++) store<u8>(to, load<u8>(to) | 0x20);
  } else to = append(to, name, nameLength);
  addRange(key, to - key);
}

let joinedLength: usize = 0;

/** Writes the text, the name and a colon to new memory. `joinedLength` says how many bytes they are. */
function joined(text: Ascii, name: usize, nameLength: usize): usize {
  joinedLength = <usize>text.length + nameLength + 1;
  const at = alloc(joinedLength);
  store<u8>(append(append(at, changetype<usize>(text), text.length), name, nameLength), COLON);
  return at;
}

/** Counts what begins with these bytes. */
function addRange(key: usize, length: usize): void {
  const end = alloc(length);
  memory.copy(end, key, length);
  store<u8>(end + length - 1, load<u8>(end + length - 1) + 1);
  json.openObject();
  json.addMember(REQUEST_RANGE);
  json.openObject();
  json.addMember(KEY);
  json.addBase64(key, length);
  json.addMember(RANGE_END);
  json.addBase64(end, length);
  json.addMember(COUNT_ONLY);
  json.addValue(changetype<usize>(TRUE), TRUE.length);
  json.closeObject();
  json.closeObject();
}

/** Takes an answer, if it is not too long. False if the question was another's. `size` 0: there is none. */
export function takeHoldings(token: u32, size: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const at = entryAt(i);
    if (load<u32>(at) != token) continue;
    const account = changetype<Account>(load<usize>(at, 4));
    const number = load<u32>(at, 16);
    const ranges = load<u32>(at, 20);
    forget(i);
    const isThere =
      size != 0 && size <= MAX_ANSWER_BYTES && host.readBuffer(Buffer.HTTP_CALL_RESPONSE_BODY, size);
    // Leases of others must not use up this tenant's limit.
    if (ranges == 0 && size > MAX_ANSWER_BYTES) account.holdings.leases.takeAnswer(0);
    if (!isThere || !(ranges == 0 ? takeLeases(account, number) : takeCounts(account, ranges)))
      countHoldingsLookup(false);
    return true;
  }
  return false;
}

function forget(i: u32): void {
  const at = entryAt(i);
  changetype<Account>(load<usize>(at, 4)).holdings.questions--;
  count--;
  memory.copy(at, entryAt(count), ENTRY_BYTES);
}

function forgetLost(): void {
  let i: u32 = 0;
  while (i < count)
    if (load<u64>(entryAt(i), 8) + FORGOTTEN_MS < time) forget(i);
    else i++;
}

/** Takes the counts of the ranges, in their order. */
function takeCounts(account: Account, expected: u32): bool {
  const end = host.resultAt + host.resultLength;
  let ranges: u32 = 0;
  let keys: u64 = 0;
  let groups: u64 = 0;
  let records: u64 = 0;
  for (let at = host.resultAt; at < end; at++) {
    if (load<u8>(at) != QUOTE) continue;
    if (startsWith(at, end - at, RANGE)) ranges++;
    else if (ranges != 0 && startsWith(at, end - at, COUNT)) {
      const value = numberAt(at + <usize>COUNT.length, end);
      if (ranges < RANGES) keys += value;
      else if (ranges == RANGES) groups = value;
      else records += value;
    }
  }
  if (ranges != expected) return false;
  const holdings = account.holdings;
  holdings.keys.takeAnswer(most(keys));
  holdings.groups.takeAnswer(most(groups));
  tellHolding(account, Holding.KEYS);
  tellHolding(account, Holding.GROUPS);
  if (expected == ALL_RANGES) {
    holdings.records.takeAnswer(most(records));
    tellHolding(account, Holding.RECORDS);
  }
  return true;
}

/** Counts the tenant's leases among all. */
function takeLeases(account: Account, number: u32): bool {
  const end = host.resultAt + host.resultLength;
  let isAnswer = false;
  let leases: u64 = 0;
  for (let at = host.resultAt; at < end; at++) {
    if (load<u8>(at) != QUOTE) continue;
    if (startsWith(at, end - at, HEADER)) isAnswer = true;
    else if (
      startsWith(at, end - at, LEASE) &&
      tenantNumberOf(0 - numberAt(at + <usize>LEASE.length, end)) == number
    )
      leases++;
  }
  if (!isAnswer) return false;
  account.holdings.leases.takeAnswer(most(leases));
  tellHolding(account, Holding.LEASES);
  return true;
}

/** The number whose digits begin here; 0 if none does. */
function numberAt(at: usize, end: usize): u64 {
  let to = at;
  while (to < end && <u32>load<u8>(to) - 0x30 < 10) to++;
  const value = readDecimal(at, to - at);
  return value == u64.MAX_VALUE ? 0 : value;
}

/** A count that leaves room for additions. */
function most(value: u64): u32 {
  return <u32>min<u64>(value, i32.MAX_VALUE);
}
