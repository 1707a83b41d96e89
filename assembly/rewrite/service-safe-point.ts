/**
 * Maps service safe points: what a service wants kept from GC, and for how long. PD keeps one for each name, for the whole store.
 *
 *   gc_worker   the tenant's own GC. The request gets a name that nobody uses and a TTL of 0, so it only reads.
 *               The answer is the lower of what the tenant wanted and what PD holds.
 *   br-...      refused: a backup or restore begins. It would repeat a request that no tenant may make. Removing one is allowed.
 *   any other   kept as "tidb-mesh:" name ":" id, for at most limits.maxHoldBackSeconds, and no further back than that
 *
 * PD: server/grpc_service.go (a TTL of 0 or less removes the service's safe point), pkg/gc/safepoint.go.
 */
import * as names from '../keys/namespace';
import { alloc } from '../memory/arena';
import { Ascii, ascii, equals, startsWith } from '../wire/bytes';
import { Status } from '../wire/status';
import { writeVarint } from '../wire/varint';
import * as current from './current';
import { replace, replaceField } from './edits';
import { Exchange } from './exchange';
import { Span } from './span';

const GC_WORKER: Ascii = ascii('gc_worker');
/** Name of a service safe point that nobody sets. */
const NOBODY: Ascii = ascii('tidb_mesh_reader');
/** Prefix of the names of BR's services (TiDB: br/pkg/utils). */
const BACKUP: Ascii = ascii('br-');
const OWN: Ascii = ascii('tidb-mesh:');
const MAX_ID_BYTES: usize = 128;
/** Field of the service's id. */
const ID_FIELD: u32 = 2;

let idAt: usize = 0;
let id: usize = 0;
let idEnd: usize = 0;
let ttl: i64 = 0;
let ttlAt: usize = 0;
let ttlEnd: usize = 0;
let safePoint: u64 = 0;
let safePointAt: usize = 0;
let safePointEnd: usize = 0;

export function beginService(): void {
  idAt = 0;
  id = 0;
  idEnd = 0;
  ttl = 0;
  ttlAt = 0;
  safePoint = 0;
  safePointAt = 0;
}

export function sawServiceId(field: Span): void {
  idAt = field.at;
  id = field.bytes;
  idEnd = field.end;
}

export function sawServiceTtl(value: u64, field: Span): void {
  ttl = <i64>value;
  ttlAt = field.bytes;
  ttlEnd = field.end;
}

export function sawServiceSafePoint(value: u64, field: Span): void {
  safePoint = value;
  safePointAt = field.bytes;
  safePointEnd = field.end;
}

/** True when the id is a valid one: PD joins it to a path, and shows it in logs. */
function isServiceId(): bool {
  if (id == idEnd || idEnd - id > MAX_ID_BYTES) return false;
  for (let p = id; p < idEnd; p++) {
    const c = load<u8>(p);
    if (c <= 0x20 || c > 0x7e || c == 0x2f) return false;
  }
  return true;
}

function number(value: u64, at: usize, end: usize): void {
  const bytes = alloc(16);
  replace(at, end, bytes, writeVarint(bytes, value) - bytes);
}

/** Checks and maps the request that was walked. */
export function serviceSafePoint(exchange: Exchange): Status {
  const tag = (ID_FIELD << 3) | 2;
  if (equals(id, idEnd - id, GC_WORKER)) {
    exchange.remembered = safePoint;
    replaceField(tag, idAt, idEnd, changetype<usize>(NOBODY), NOBODY.length);
    if (ttlAt != 0) number(0, ttlAt, ttlEnd);
    if (safePointAt != 0) number(0, safePointAt, safePointEnd);
    return Status.OK;
  }
  if (!isServiceId()) return Status.SERVICE_ID;
  exchange.remembered = u64.MAX_VALUE;
  if (ttl > 0 && startsWith(id, idEnd - id, BACKUP)) return Status.FILE_BACKUP;
  if (ttl > 0 && safePoint < current.oldestTimestamp) return Status.HELD_BACK;
  if (ttl > 0 && !current.terms.account.holdings.records.add()) return Status.TOO_MANY_RECORDS;
  const length = <usize>OWN.length + names.ownerLength + (idEnd - id);
  const name = alloc(length);
  memory.copy(name, changetype<usize>(OWN), OWN.length);
  memory.copy(name + OWN.length, names.ownerAt, names.ownerLength);
  memory.copy(name + OWN.length + names.ownerLength, id, idEnd - id);
  replaceField(tag, idAt, idEnd, name, length);
  const longest = current.terms.maxHoldBackSeconds;
  if (ttl > longest) number(longest, ttlAt, ttlEnd);
  return Status.OK;
}
