/**
 * What each VM tells the others once a second, in Envoy's shared data, and Envoy itself as metrics of the VM. The record of one VM:
 *
 *   told at, ms:u64 | length of the JSON:u32 | number of tenants:u32 | bytes of a tenant without its name:u32 | bytes of all:u32
 *   the JSON, a VM's object of /tidb-mesh/status
 *   then for each tenant: length of the name:u32 | state:u32 | values: u64 x VALUES | name
 *
 * Other versions of the filter may have left theirs: only the first eight bytes are the same in all.
 */
import { MetricType } from '../host/abi';
import * as host from '../host/host';
import { defineMetricAt } from '../host/host';
import { vmBudget } from '../memory/stream-buffer';
import { alloc } from '../memory/arena';
import { Account, Count } from '../terms/account';
import { Holding } from '../terms/holdings';
import * as json from '../texts/json-writer';
import { Text } from '../texts/table';
import * as writer from '../texts/writer';
import { Ascii, ascii, toEight } from '../wire/bytes';
import { eachAccount } from './accounts';
import * as configs from './configs';
import { writeConfigs } from './configs';
import { writeMoves } from './moves';
import { streamCount } from './stream';

/** Values of a tenant: its counts, then these. */
export const enum Value {
  REFUSED = Count.ALL,
  OPEN_STREAMS,
  HELD,
  REQUESTS_PER_SECOND,
  BYTES_PER_SECOND,
  WATCHES,
  /** From here on: what PD keeps, by Holding. Each VM has asked PD for the same. */
  HOLDINGS,
  ALL = HOLDINGS + Holding.ALL,
}

export const HEADER_BYTES: usize = 24;
export const TENANT_BYTES: usize = 8 + ((<usize>Value.ALL) << 3);
/** Several configurations tick in one VM. */
const PAUSE_MS: u64 = 900;
const NOT_REGISTERED: u32 = u32.MAX_VALUE;
/** Maximum of attempts to register: other VMs do so at the same time. */
const ATTEMPTS: u32 = 64;

/** Holds a random number that tells this Envoy from others, in 16 hex digits. */
const ENVOY: Ascii = ascii('tidb-mesh.envoy');
/** Holds how many VMs have registered: u32. */
const REGISTRY: Ascii = ascii('tidb-mesh.vms');
const RECORD: Ascii = ascii('tidb-mesh.vm.');
const ID: Ascii = ascii('id');
const MEMORY: Ascii = ascii('memoryBytes');
const HELD: Ascii = ascii('heldBytes');
const STREAMS: Ascii = ascii('streams');
const CONFIGS: Ascii = ascii('configs');
const MOVES: Ascii = ascii('moves');

let id: u32 = NOT_REGISTERED;
/** Gauges of the configuration, plus one; 0 before they are defined. */
let hashGauge: u32 = 0;
let loadedGauge: u32 = 0;
let toldAt: u64 = 0;
/** The same, or when it told in between. */
let leftAt: u64 = 0;
let tenantCount: u32 = 0;
let tenantBytes: usize = 0;
let writeAt: usize = 0;
/** Milliseconds since this VM told last; 0 for an answer within the same tick, which measures no new rates. */
let elapsed: u64 = 0;

/** The number of VMs that have registered; 0 when nobody has. */
export function registered(): u32 {
  return host.readShared(changetype<usize>(REGISTRY), REGISTRY.length) && host.resultLength == 4
    ? load<u32>(host.resultAt)
    : 0;
}

/**
 * Reads what tells this Envoy from others: 16 bytes at host.resultAt. The first that asks makes it. False when others were quicker each time.
 */
export function readEnvoy(): bool {
  const key = changetype<usize>(ENVOY);
  for (let i: u32 = 0; i < ATTEMPTS; i++) {
    if (host.readShared(key, ENVOY.length) && host.resultLength == 16) return true;
    const made = alloc(16);
    const random = host.randomLease();
    putHex(made, <u32>(random >> 32));
    putHex(made + 8, <u32>random);
    host.writeShared(key, ENVOY.length, made, 16, host.sharedCas);
  }
  return false;
}

/** Registers before the first stream: a VM that serves must be among those that say how far a move is. */
export function ensureRegistered(now: u64): void {
  if (id == NOT_REGISTERED) tellVms(now, true);
}

/** Takes the next id. False when others were quicker each time: the next tick tries again. */
function register(): bool {
  const value = alloc(4);
  for (let i: u32 = 0; i < ATTEMPTS; i++) {
    const count = registered();
    store<u32>(value, count + 1);
    if (!host.writeShared(changetype<usize>(REGISTRY), REGISTRY.length, value, 4, host.sharedCas)) continue;
    id = count;
    return true;
  }
  return false;
}

/** Reads the record of a VM. False when there is none. */
export function readRecord(vm: u32): bool {
  const key = keyOf(vm);
  return host.readShared(key, RECORD.length + 8) && host.resultLength >= 8;
}

/** True when the record that was read has the form that this version writes. */
export function hasOwnForm(): bool {
  const record = host.resultAt;
  const length = host.resultLength;
  return length >= HEADER_BYTES && load<u32>(record, 16) == TENANT_BYTES && load<u32>(record, 20) == length;
}

/** The key of a VM's record: its id in eight hex digits. */
function keyOf(vm: u32): usize {
  const key = alloc(RECORD.length + 8);
  memory.copy(key, changetype<usize>(RECORD), RECORD.length);
  putHex(key + RECORD.length, vm);
  return key;
}

/** Writes a number in eight hex digits. */
function putHex(at: usize, value: u32): void {
  for (let i: u32 = 0; i < 8; i++) {
    const digit = (value >> (28 - i * 4)) & 15;
    store<u8>(at + <usize>i, <u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
  }
}

function measure(account: Account): void {
  tenantCount++;
  tenantBytes += TENANT_BYTES + toEight(account.nameLength);
}

function put(account: Account): void {
  account.measureRates(elapsed);
  store<u32>(writeAt, <u32>account.nameLength);
  store<u32>(writeAt, account.state, 4);
  memory.copy(writeAt + 8, account.counts, (<usize>Count.ALL) << 3);
  const values = writeAt + 8;
  store<u64>(values + ((<usize>Value.REFUSED) << 3), account.refused);
  store<u64>(values + ((<usize>Value.OPEN_STREAMS) << 3), account.openStreams);
  store<u64>(values + ((<usize>Value.HELD) << 3), account.budget.used);
  store<u64>(values + ((<usize>Value.REQUESTS_PER_SECOND) << 3), account.requestRate);
  store<u64>(values + ((<usize>Value.BYTES_PER_SECOND) << 3), account.byteRate);
  store<u64>(values + ((<usize>Value.WATCHES) << 3), account.watches);
  for (let i: i32 = 0; i < Holding.ALL; i++)
    store<u64>(values + ((<usize>(Value.HOLDINGS + i)) << 3), account.holdings.held(i).known);
  memory.copy(writeAt + TENANT_BYTES, account.nameAt, account.nameLength);
  writeAt += TENANT_BYTES + toEight(account.nameLength);
}

function writeVm(): void {
  json.beginJson();
  json.addMember(ID);
  json.addNumber(id);
  json.addMember(MEMORY);
  json.addNumber((<u64>memory.size()) << 16);
  json.addMember(HELD);
  json.addNumber(vmBudget.used);
  json.addMember(STREAMS);
  json.addNumber(streamCount());
  json.addMember(CONFIGS);
  writeConfigs();
  json.addMember(MOVES);
  writeMoves();
}

/** Defines a gauge of this VM. Returns its number plus one. */
function defineGauge(template: u32): u32 {
  writer.fillNumber(0, id);
  writer.writeTemplate(template);
  return defineMetricAt(MetricType.GAUGE, writer.textAt, writer.textLength) + 1;
}

/** Tells Envoy which configuration this VM runs. */
function recordConfig(): void {
  if (hashGauge == 0) {
    hashGauge = defineGauge(Text.METRIC_CONFIG_HASH);
    loadedGauge = defineGauge(Text.METRIC_CONFIG_LOADED);
  }
  configs.readInForce();
  host.record(hashGauge - 1, configs.hashInForce);
  host.record(loadedGauge - 1, configs.newestLoad / 1000);
}

/** Tells the other VMs. Called on the tick with the time in ms, and before an answer. */
export function tellVms(now: u64, always: bool = false): void {
  // A clock that was set back must not keep it from telling.
  if (!always && now >= toldAt && now < toldAt + PAUSE_MS) return;
  if (id == NOT_REGISTERED && !register()) return;
  elapsed = now - min(now, toldAt);
  toldAt = now;
  leaveRecord(now);
  recordConfig();
}

/**
 * Tells the other VMs between two ticks, unless it has told within `pause` ms: no rates are measured. A VM registers with its first
 * stream, or on its first tick. Envoy tries each new configuration in a VM that it then ends: that one has neither.
 */
export function tellVmsNow(now: u64, pause: u64 = 0): void {
  if (id == NOT_REGISTERED || now - leftAt < pause) return;
  elapsed = 0;
  leaveRecord(now);
}

function leaveRecord(now: u64): void {
  leftAt = now;
  writeVm();
  tenantCount = 0;
  tenantBytes = 0;
  eachAccount(measure);
  const jsonBytes = toEight(json.jsonLength);
  const size = HEADER_BYTES + jsonBytes + tenantBytes;
  const record = alloc(size);
  store<u64>(record, now);
  store<u32>(record, <u32>json.jsonLength, 8);
  store<u32>(record, tenantCount, 12);
  store<u32>(record, <u32>TENANT_BYTES, 16);
  store<u32>(record, <u32>size, 20);
  memory.copy(record + HEADER_BYTES, json.jsonAt, json.jsonLength);
  writeAt = record + HEADER_BYTES + jsonBytes;
  eachAccount(put);
  host.writeShared(keyOf(id), RECORD.length + 8, record, size, 0);
}
