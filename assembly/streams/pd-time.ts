/**
 * Asks PD what time it is for it. PD keeps in etcd up to which time it may give out timestamps: at most three seconds ahead of the last one
 * (its `tso-save-interval`), also after a change of its leader or a push of its clock. etcd's gateway answers, JSON over HTTP on PD's own
 * port (PD's `enable-grpc-gateway`, on by default).
 *
 *   /pd/cluster_id             the cluster's id: u64, big endian
 *   /pd/<cluster id>/timestamp ns since 1970: u64, big endian (PD's keypath.ClusterIDPath and TimestampPath)
 *
 * One VM of an Envoy asks for all, and leaves the answer in Envoy's shared data, where a VM that is made anew finds it:
 *
 *   cluster:u64 | what PD said, ms:u64 | when it was asked for that:u64 | when it was asked last:u64 | has failed:u64
 */
import { Buffer } from '../host/abi';
import * as host from '../host/host';
import { alloc } from '../memory/arena';
import * as pdClock from '../terms/pd-clock';
import { setPdClock, wantPdClock } from '../terms/pd-clock';
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

const RECORD: Ascii = ascii('tidb-mesh.pd-time');
const RECORD_BYTES: u32 = 40;

/** PD's cluster; 0: not known. */
export let cluster: u64 = 0;
/** The question in flight, 0: there is none; when it was sent, and whether it is about the cluster. */
let token: u32 = 0;
let sentAt: u64 = 0;
let asksForCluster: bool = false;

/** The configuration under which PD is asked, and whether others name another PD. */
let asker: ConfigVersion | null = null;
let isAmbiguous: bool = false;

function findAsker(version: ConfigVersion): void {
  const name = version.resolver.config.pdCluster;
  if (name.byteLength == 0) return;
  const first = asker;
  if (first == null) {
    asker = version;
    return;
  }
  const known = first.resolver.config.pdCluster;
  if (
    known.byteLength != name.byteLength ||
    memory.compare(changetype<usize>(known), changetype<usize>(name), name.byteLength) != 0
  )
    isAmbiguous = true;
}

/** Takes over what another VM was told, and asks if nobody has for a while. Called on the tick, once a second. */
export function askForTime(now: u64): void {
  asker = null;
  isAmbiguous = false;
  eachInForce(findAsker);
  const version = asker;
  asker = null;
  if (version == null) return;
  if (isAmbiguous) {
    // One VM knows one PD's clock only.
    setPdClock(0, 0, true);
    return;
  }
  let askedAt: u64 = 0;
  if (host.readShared(changetype<usize>(RECORD), RECORD.length) && host.resultLength == RECORD_BYTES) {
    const at = host.resultAt;
    cluster = load<u64>(at);
    askedAt = load<u64>(at, 24);
    setPdClock(load<u64>(at, 8), load<u64>(at, 16), load<u64>(at, 32) != 0);
  }
  if (token != 0 && now - min(now, sentAt) < FORGOTTEN_MS) return;
  const isUnknown = pdClock.said == 0 && !pdClock.hasFailed;
  const pause = pdClock.isWanted || isUnknown ? SHORT_PAUSE_MS : PAUSE_MS;
  // A clock that was set back must not keep it from asking.
  if (askedAt <= now && now - askedAt < pause) return;
  if (leave(now, host.sharedCas)) ask(version, now);
}

/** Leaves what is known for the other VMs. False if one of them was quicker. */
function leave(askedAt: u64, cas: u32): bool {
  const record = alloc(RECORD_BYTES);
  store<u64>(record, cluster);
  store<u64>(record, pdClock.said, 8);
  store<u64>(record, pdClock.saidAt, 16);
  store<u64>(record, askedAt, 24);
  store<u64>(record, pdClock.hasFailed ? 1 : 0, 32);
  return host.writeShared(changetype<usize>(RECORD), RECORD.length, record, RECORD_BYTES, cas);
}

function ask(version: ConfigVersion, now: u64): void {
  json.beginJson();
  json.openObject();
  json.addMember(KEY);
  asksForCluster = cluster == 0;
  if (asksForCluster) json.addBase64(changetype<usize>(CLUSTER_KEY), CLUSTER_KEY.length);
  else addTimestampKey();
  json.closeObject();
  const config = version.resolver.config;
  host.actAs(version.root);
  token = host.httpPost(config.pdCluster, config.pdAuthority, PATH, json.jsonAt, json.jsonLength, TIMEOUT_MS);
  sentAt = now;
  wantPdClock(false);
  if (token == 0) fail();
}

function addTimestampKey(): void {
  const key = alloc(PD_FOLDER_BYTES + <usize>TIMESTAMP.length);
  const to = append(writePdFolder(key), changetype<usize>(TIMESTAMP), TIMESTAMP.length);
  json.addBase64(key, to - key);
}

/** Maximum of bytes that `writePdFolder` writes. */
export const PD_FOLDER_BYTES: usize = <usize>FOLDER.length + MAX_DIGITS;

/** Writes where PD keeps what is its own in etcd: /pd/<cluster id>. Call it only if the cluster is known. Returns the end. */
export function writePdFolder(to: usize): usize {
  const end = alloc(MAX_DIGITS) + MAX_DIGITS;
  const digits = writeDecimal(end, cluster);
  to = append(to, changetype<usize>(FOLDER), FOLDER.length);
  return append(to, digits, end - digits);
}

/** Takes an answer. False if the question was another's. `size` 0: there is none. */
export function takeTime(root: u32, given: u32, size: u32): bool {
  if (token == 0 || given != token) return false;
  token = 0;
  const isThere =
    size != 0 && size <= MAX_ANSWER_BYTES && host.readBuffer(Buffer.HTTP_CALL_RESPONSE_BODY, size);
  const value = isThere ? valueIn(host.resultAt, host.resultLength) : 0;
  if (value == 0) {
    fail();
    return true;
  }
  // By now another VM may have told the cluster, or that there is none.
  if (!asksForCluster) {
    setPdClock(value / 1_000_000, sentAt, false);
    leave(sentAt, 0);
    return true;
  }
  cluster = value;
  leave(sentAt, 0);
  const version = versionOf(root);
  if (version != null) ask(version, sentAt);
  return true;
}

/** Keeps what is known, and begins anew: the storage may be another one by now. */
function fail(): void {
  countFailedTimeLookup();
  cluster = 0;
  setPdClock(pdClock.said, pdClock.saidAt, pdClock.said == 0);
  leave(sentAt, 0);
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
