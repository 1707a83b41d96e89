/** Answers `GET /tidb-mesh/status` for system principals: what all VMs of this Envoy have told, as JSON. docs/status.md explains it. */
import { Grpc } from '../host/abi';
import * as host from '../host/host';
import { VERSION } from '../host/version';
import { alloc } from '../memory/arena';
import { TextIndex } from '../tenant/text-index';
import { Call, ErrorClass } from '../schema/table';
import { Count, countOfErrors } from '../terms/account';
import { stateName } from '../terms/state';
import * as json from '../texts/json-writer';
import { textOf } from '../texts/text';
import { Ascii, ascii, equals, toEight } from '../wire/bytes';
import * as clock from './clock';
import { noteGarbage } from './configs';
import { errorText, kindText } from './tenant-metrics';
import {
  HEADER_BYTES,
  TENANT_BYTES,
  Value,
  hasOwnForm,
  readEnvoy,
  readRecord,
  registered,
  tellVms,
} from './vm-record';

const PATH: Ascii = ascii('/tidb-mesh/status');
/** Tells access logs that the filter itself answered. */
const ANSWERED: Ascii = ascii('tidb_mesh_answered');
/** A VM that has told nothing for so long is stale, and is left out after the longer time. */
const STALE_MS: u64 = 10_000;
const GONE_MS: u64 = 600_000;

const TRUE: Ascii = ascii('true');
const FALSE: Ascii = ascii('false');
/** From Count.CALLS on. */
const COUNT_NAMES: Ascii[] = [
  ascii('requestBytes'),
  ascii('responseBytes'),
  ascii('rewrites'),
  ascii('streams'),
];
/** From Value.REFUSED on. */
const VALUE_NAMES: Ascii[] = [
  ascii('refused'),
  ascii('openStreams'),
  ascii('heldBytes'),
  ascii('requestsPerSecond'),
  ascii('bytesPerSecond'),
  ascii('etcdWatches'),
  ascii('etcdKeys'),
  ascii('resourceGroups'),
  ascii('etcdLeases'),
  ascii('pdRecords'),
];
const DELAYED: Ascii = ascii('delayed');
const DELAYED_MS: Ascii = ascii('delayedMs');
const VERSION_NAME: Ascii = ascii('version');
const ENVOY: Ascii = ascii('envoy');
const TIME: Ascii = ascii('time');
const VMS: Ascii = ascii('vms');
const ID: Ascii = ascii('id');
const OTHER_VERSION: Ascii = ascii('otherVersion');
const CONFIGS: Ascii = ascii('configs');
const STALE: Ascii = ascii('stale');
const TOLD: Ascii = ascii('toldMsAgo');
const TENANTS: Ascii = ascii('tenants');
const STATE: Ascii = ascii('state');
const REQUESTS: Ascii = ascii('requests');
const ERRORS: Ascii = ascii('errors');
const VERSION_TEXT: Ascii = ascii(VERSION);

/** True for the path of the status, without its query. */
export function isStatusPath(p: usize, length: usize): bool {
  return equals(p, length, PATH);
}

/** The tenants of all VMs, by name: copies of their entries with the sums. */
let entries: usize[] = [];
let names: TextIndex = new TextIndex();

/** Adds a VM's tenants to those of the others. A stale VM's gauges and rates are over; its counts happened. */
function gather(at: usize, count: u32, isStale: bool): void {
  for (let i: u32 = 0; i < count; i++) {
    const length = <usize>load<u32>(at);
    const place = names.find(at + TENANT_BYTES, length);
    const first = place < 0;
    const entry = first ? alloc(TENANT_BYTES + length) : entries[place];
    if (first) {
      memory.copy(entry, at, TENANT_BYTES + length);
      const name = new ArrayBuffer(<i32>length);
      memory.copy(changetype<usize>(name), at + TENANT_BYTES, length);
      names.add(name, entries.length);
      entries.push(entry);
    } else if (!isStale) store<u32>(entry, load<u32>(at, 4), 4);
    for (let v: usize = 0; v < <usize>Value.ALL; v++) {
      const value = entry + 8 + (v << 3);
      const more = isStale && v >= <usize>Value.OPEN_STREAMS ? 0 : load<u64>(at + 8 + (v << 3));
      const known = first ? 0 : load<u64>(value);
      store<u64>(value, v >= <usize>Value.HOLDINGS ? max(known, more) : known + more);
    }
    at += TENANT_BYTES + toEight(length);
  }
}

function writeTenant(entry: usize): void {
  const values = entry + 8;
  json.addName(entry + TENANT_BYTES, <usize>load<u32>(entry));
  json.openObject();
  json.addMember(STATE);
  json.addAscii(stateName(load<u32>(entry, 4)));
  json.addMember(REQUESTS);
  json.openObject();
  for (let call: i32 = Call.READ; call <= <i32>Call.OTHER; call++) {
    json.addMember(textOf(kindText(call)));
    // A batch itself, and what the tables do not know, are others.
    let value = load<u64>(values + ((<usize>call) << 3));
    if (call == <i32>Call.OTHER) value += load<u64>(values) + load<u64>(values + ((<usize>Call.BATCH) << 3));
    json.addNumber(value);
  }
  json.closeObject();
  writeValues(COUNT_NAMES, values, Count.CALLS);
  json.addMember(ERRORS);
  json.openObject();
  for (let i: u32 = ErrorClass.REGION; i <= ErrorClass.OTHER; i++) {
    json.addMember(textOf(errorText(i)));
    json.addNumber(load<u64>(values + ((<usize>countOfErrors(i)) << 3)));
  }
  json.closeObject();
  let delayed: u64 = 0;
  for (let i: i32 = Count.DELAYED; i < Count.DELAYED_MS; i++)
    delayed += load<u64>(values + ((<usize>i) << 3));
  json.addMember(DELAYED);
  json.addNumber(delayed);
  json.addMember(DELAYED_MS);
  json.addNumber(load<u64>(values + ((<usize>Count.DELAYED_MS) << 3)));
  writeValues(VALUE_NAMES, values, Value.REFUSED);
  json.closeObject();
}

/** Writes values with these names, which begin at a place. */
function writeValues(named: Ascii[], values: usize, first: i32): void {
  for (let i = 0; i < named.length; i++) {
    json.addMember(named[i]);
    json.addNumber(load<u64>(values + ((<usize>(first + i)) << 3)));
  }
}

/** Sends the answer. Nothing of the request goes on. */
export function answerStatus(): void {
  const now = clock.now;
  tellVms(now, true);
  noteGarbage();
  entries = [];
  names = new TextIndex();
  json.beginJson();
  json.openObject();
  json.addMember(VERSION_NAME);
  json.addAscii(VERSION_TEXT);
  if (readEnvoy()) {
    json.addMember(ENVOY);
    json.addText(host.resultAt, host.resultLength);
  }
  json.addMember(TIME);
  json.addNumber(now);
  json.addMember(VMS);
  json.openList();
  const count = registered();
  for (let vm: u32 = 0; vm < count; vm++) {
    if (!readRecord(vm)) continue;
    const record = host.resultAt;
    const ago = now - min(now, load<u64>(record));
    const isStale = ago >= STALE_MS;
    const isReadable = hasOwnForm();
    const length = isReadable ? <usize>load<u32>(record, 8) : 0;
    if (isReadable) gather(record + HEADER_BYTES + toEight(length), load<u32>(record, 12), isStale);
    if (ago >= GONE_MS) continue;
    json.openObject();
    if (isReadable) json.addValue(record + HEADER_BYTES, length);
    else {
      json.addMember(ID);
      json.addNumber(vm);
      json.addMember(OTHER_VERSION);
      json.addValue(changetype<usize>(TRUE), TRUE.length);
      json.addMember(CONFIGS);
      json.openList();
      json.closeList();
    }
    json.addMember(TOLD);
    json.addNumber(ago);
    json.addMember(STALE);
    const stale = isStale ? TRUE : FALSE;
    json.addRaw(changetype<usize>(stale), stale.length);
    json.closeObject();
  }
  json.closeList();
  json.addMember(TENANTS);
  json.openObject();
  for (let i = 0; i < entries.length; i++) writeTenant(entries[i]);
  json.closeObject();
  json.closeObject();
  host.sendReply(200, Grpc.NONE, json.jsonAt, json.jsonLength, changetype<usize>(ANSWERED), ANSWERED.length);
}
