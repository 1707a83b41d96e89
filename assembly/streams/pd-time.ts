/**
 * Asks PD what time it is for it. PD keeps in etcd up to which time it may give out timestamps: at most three seconds ahead of the last one
 * (its `tso-save-interval`), also after a change of its leader or a push of its clock. etcd's gateway answers, JSON over HTTP on PD's own
 * port (PD's `enable-grpc-gateway`, on by default).
 *
 *   /pd/cluster_id             the cluster's id: u64, big endian
 *   /pd/<cluster id>/timestamp ns since 1970: u64, big endian (PD's keypath.ClusterIDPath and TimestampPath)
 *
 * One VM of an Envoy asks for all, and leaves the answer in Envoy's shared data under the PD's name, where a VM that is made anew finds it:
 *
 *   cluster:u64 | what PD said, ms:u64 | when it was asked for that:u64 | when it was asked last:u64 | has failed:u64
 */
import { Buffer } from '../host/abi';
import * as host from '../host/host';
import { alloc } from '../memory/arena';
import * as clocks from '../terms/pd-clock';
import { PdClock, clockOf } from '../terms/pd-clock';
import * as json from '../texts/json-writer';
import * as base64 from '../wire/base64';
import { decodeBase64 } from '../wire/base64';
import { Ascii, append, ascii, startsWith } from '../wire/bytes';
import { MAX_DIGITS, writeDecimal } from '../wire/decimal';
import { ConfigVersion, eachInForce, versionOf } from './configs';
import { countFailedTimeLookup } from './metrics';

const TIMEOUT_MS: u32 = 2000;
/** After this time no answer comes: Envoy answers no root context that has ended. */
const FORGOTTEN_MS: u64 = 2 * <u64>TIMEOUT_MS;
/** The pauses between two questions, and while something depends on the answer. */
const PAUSE_MS: u64 = 5000;
const SHORT_PAUSE_MS: u64 = 900;
/** Maximum of an answer's bytes. One has some 300. */
const MAX_ANSWER_BYTES: u32 = 4096;

const PATH: Ascii = ascii('/v3/kv/range');
const KEY: Ascii = ascii('key');
const VALUE: Ascii = ascii('"value":"');
const QUOTE: u8 = 0x22;
const CLUSTER_KEY: Ascii = ascii('/pd/cluster_id');
const FOLDER: Ascii = ascii('/pd/');
const TIMESTAMP: Ascii = ascii('/timestamp');

const RECORD: Ascii = ascii('tidb-mesh.pd-time.');
const RECORD_BYTES: u32 = 40;

/** Notes the first configuration that names the PD. */
function findAsker(version: ConfigVersion): void {
  const name = version.resolver.config.pdCluster;
  if (name.byteLength == 0) return;
  const clock = clockOf(name);
  if (clock.asker == 0) clock.asker = version.root;
}

/** Takes over what another VM was told, and asks each PD that nobody has asked for a while. Called on the tick, once a second. */
export function askForTime(now: u64): void {
  eachInForce(findAsker);
  let clock = clocks.firstClock;
  while (clock != null) {
    askIfNamed(clock, now);
    clock = clock.next;
  }
}

/** Asks a PD if a configuration in force names it. */
function askIfNamed(clock: PdClock, now: u64): void {
  const root = clock.asker;
  clock.asker = 0;
  if (root == 0) return;
  const version = versionOf(root);
  if (version != null) askIfDue(clock, version, now);
}

function askIfDue(clock: PdClock, version: ConfigVersion, now: u64): void {
  const key = keyOf(clock);
  let askedAt: u64 = 0;
  if (host.readShared(key, keyLength(clock)) && host.resultLength == RECORD_BYTES) {
    const at = host.resultAt;
    clock.useCluster(load<u64>(at));
    askedAt = load<u64>(at, 24);
    clock.take(load<u64>(at, 8), load<u64>(at, 16), load<u64>(at, 32) != 0);
  }
  if (clock.token != 0 && now - min(now, clock.sentAt) < FORGOTTEN_MS) return;
  const isUnknown = clock.said == 0 && !clock.hasFailed;
  const pause = clock.isWanted || isUnknown ? SHORT_PAUSE_MS : PAUSE_MS;
  // A clock that was set back must not keep it from asking.
  if (askedAt <= now && now - askedAt < pause) return;
  if (leave(clock, now, host.sharedCas)) ask(clock, version, now);
}

function keyLength(clock: PdClock): usize {
  return <usize>RECORD.length + clock.nameLength;
}

function keyOf(clock: PdClock): usize {
  const key = alloc(keyLength(clock));
  append(append(key, changetype<usize>(RECORD), RECORD.length), clock.nameAt, clock.nameLength);
  return key;
}

/** Leaves what is known for the other VMs. False if one of them was quicker. */
function leave(clock: PdClock, askedAt: u64, cas: u32): bool {
  const record = alloc(RECORD_BYTES);
  store<u64>(record, clock.cluster);
  store<u64>(record, clock.said, 8);
  store<u64>(record, clock.saidAt, 16);
  store<u64>(record, askedAt, 24);
  store<u64>(record, clock.hasFailed ? 1 : 0, 32);
  return host.writeShared(keyOf(clock), keyLength(clock), record, RECORD_BYTES, cas);
}

function ask(clock: PdClock, version: ConfigVersion, now: u64): void {
  json.beginJson();
  json.openObject();
  json.addMember(KEY);
  clock.asksForCluster = clock.cluster == 0;
  if (clock.asksForCluster) json.addBase64(changetype<usize>(CLUSTER_KEY), CLUSTER_KEY.length);
  else addTimestampKey(clock.cluster);
  json.closeObject();
  const config = version.resolver.config;
  host.actAs(version.root);
  clock.token = host.httpPost(
    config.pdCluster,
    config.pdAuthority,
    PATH,
    json.jsonAt,
    json.jsonLength,
    TIMEOUT_MS,
  );
  clock.sentAt = now;
  clock.isWanted = false;
  if (clock.token == 0) fail(clock);
}

function addTimestampKey(cluster: u64): void {
  const key = alloc(PD_FOLDER_BYTES + <usize>TIMESTAMP.length);
  const to = append(writePdFolder(key, cluster), changetype<usize>(TIMESTAMP), TIMESTAMP.length);
  json.addBase64(key, to - key);
}

/** Maximum of bytes that `writePdFolder` writes. */
export const PD_FOLDER_BYTES: usize = <usize>FOLDER.length + MAX_DIGITS;

/** Writes where a PD keeps what is its own in etcd: /pd/<cluster id>. Returns the end. */
export function writePdFolder(to: usize, cluster: u64): usize {
  const end = alloc(MAX_DIGITS) + MAX_DIGITS;
  const digits = writeDecimal(end, cluster);
  to = append(to, changetype<usize>(FOLDER), FOLDER.length);
  return append(to, digits, end - digits);
}

/** The clock with this question in flight. */
function clockAsking(token: u32): PdClock | null {
  let clock = clocks.firstClock;
  while (clock != null) {
    if (clock.token == token) return clock;
    clock = clock.next;
  }
  return null;
}

/** Takes an answer. False if the question was another's. `size` 0: there is none. */
export function takeTime(root: u32, given: u32, size: u32): bool {
  if (given == 0) return false;
  const clock = clockAsking(given);
  if (clock == null) return false;
  clock.token = 0;
  const isThere =
    size != 0 && size <= MAX_ANSWER_BYTES && host.readBuffer(Buffer.HTTP_CALL_RESPONSE_BODY, size);
  const value = isThere ? valueIn(host.resultAt, host.resultLength) : 0;
  if (value == 0) {
    fail(clock);
    return true;
  }
  // By now another VM may have told the cluster, or that there is none.
  if (!clock.asksForCluster) {
    clock.take(value / 1_000_000, clock.sentAt, false);
    leave(clock, clock.sentAt, 0);
    return true;
  }
  clock.useCluster(value);
  leave(clock, clock.sentAt, 0);
  const version = versionOf(root);
  if (version != null) ask(clock, version, clock.sentAt);
  return true;
}

/** Keeps what is known, and begins anew: the storage may be another one by now. */
function fail(clock: PdClock): void {
  countFailedTimeLookup();
  clock.useCluster(0);
  clock.take(clock.said, clock.saidAt, clock.said == 0);
  leave(clock, clock.sentAt, 0);
}

/** The eight bytes of the value in an answer; 0 when there is none. */
function valueIn(at: usize, length: usize): u64 {
  const end = at + length;
  for (; at < end; at++) {
    if (load<u8>(at) != QUOTE || !startsWith(at, end - at, VALUE)) continue;
    const value = at + <usize>VALUE.length;
    let to = value;
    while (to < end && load<u8>(to) != QUOTE) to++;
    const bytes = decodeBase64(value, to - value);
    return bytes != 0 && base64.decodedLength == 8 ? bswap<u64>(load<u64>(bytes)) : 0;
  }
  return 0;
}
