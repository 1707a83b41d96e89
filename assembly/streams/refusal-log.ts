/**
 * What Envoy's log and its access log say of refusals. One line for each status and tenant in PAUSE_MS; the others are counted, and the
 * count is logged when the pause is over. So no caller can fill a log. A line holds no keys.
 */
import { LogLevel } from '../host/abi';
import { logBytes, writeProperty } from '../host/host';
import { NO_OPERATION, nameOperation } from '../policy/names';
import { countRefusal } from '../rewrite/refusal-counts';
import * as current from '../rewrite/current';
import { codeOf } from '../schema/statuses';
import { fillPlace, fillStatus } from '../texts/statuses';
import { Terms } from '../terms/terms';
import { Text } from '../texts/table';
import { textOf } from '../texts/text';
import * as writer from '../texts/writer';
import { Ascii, ascii } from '../wire/bytes';
import { Status } from '../wire/status';
import * as clock from './clock';
import { Stream } from './stream';

const PAUSE_MS: u64 = 10_000;
const PAUSE_SECONDS: u32 = 10;

/** Envoy keeps it as the filter state `wasm.tidb_mesh_refusal`. */
const PROPERTY: Ascii = ascii('tidb_mesh_refusal');

/** What was logged lately: logged at, ms:u64 | status, and RESET:u32 | tenant's number plus one, or 0 for nobody:u32 | not logged since:u32 | 0:u32 */
const ENTRY_BYTES: usize = 24;
const MAX_ENTRIES: u32 = 64;
/** The caller could not read it: that has a line of its own. */
const RESET: u32 = 1 << 8;
const entries: usize = memory.data(1536, 8);
let count: u32 = 0;
/** Refusals that found no free entry, and when the first one did. */
let others: u32 = 0;
let othersSince: u64 = 0;

function entryAt(i: u32): usize {
  return entries + <usize>i * ENTRY_BYTES;
}

/** True when a line may be logged; else the refusal is counted. */
function isDue(kind: u32, tenant: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const at = entryAt(i);
    if (load<u32>(at, 8) != kind || load<u32>(at, 12) != tenant) continue;
    store<u32>(at, load<u32>(at, 16) + 1, 16);
    return false;
  }
  if (count == MAX_ENTRIES) {
    if (others++ == 0) othersSince = clock.now;
    return false;
  }
  const at = entryAt(count++);
  store<u64>(at, clock.now);
  store<u32>(at, kind, 8);
  store<u32>(at, tenant, 12);
  store<u32>(at, 0, 16);
  return true;
}

/** Logs how many were not logged, and forgets those whose pause is over. Called on the tick. */
export function flushRefusals(): void {
  let i: u32 = 0;
  while (i < count) {
    const at = entryAt(i);
    if (clock.now < load<u64>(at) + PAUSE_MS) {
      i++;
      continue;
    }
    const unsaid = load<u32>(at, 16);
    if (unsaid == 0) {
      memory.copy(at, entryAt(--count), ENTRY_BYTES);
      continue;
    }
    sayMore(load<u32>(at, 8) & ~RESET, load<u32>(at, 12), unsaid);
    store<u64>(at, clock.now);
    store<u32>(at, 0, 16);
    i++;
  }
  if (others == 0 || clock.now < othersSince + PAUSE_MS) return;
  writer.fillNumber(0, others);
  writer.fillNumber(1, PAUSE_SECONDS);
  writer.writeTemplate(Text.LOG_MORE_OTHERS);
  logBytes(LogLevel.WARN, writer.textAt, writer.textLength);
  others = 0;
}

function sayMore(status: Status, tenant: u32, unsaid: u32): void {
  writer.fillText(0, codeOf(status));
  writer.fillNumber(1, unsaid);
  writer.fillNumber(2, PAUSE_SECONDS);
  if (tenant != 0) writer.fillNumber(3, tenant - 1);
  writer.writeTemplate(tenant == 0 ? Text.LOG_MORE_NOBODY : Text.LOG_MORE);
  logBytes(LogLevel.WARN, writer.textAt, writer.textLength);
}

/** The method or endpoint that was called. */
function fillCalled(place: usize, stream: Stream): void {
  writer.beginText();
  if (stream.operation == NO_OPERATION) writer.addText(Text.UNKNOWN);
  else nameOperation(stream.operation);
  writer.fillWritten(place);
}

/** Counts a refusal, for its tenant too, and makes its code a property of the stream. */
function mark(status: Status, terms: Terms | null): void {
  countRefusal(status);
  if (terms != null) terms.account.addRefusals(status, 1);
  const code = textOf(codeOf(status));
  writeProperty(PROPERTY, changetype<usize>(code), code.length);
}

/**
 * Counts and logs a refusal, and tells access logs. `answer`: an answer is refused, not a request. Called before the refusal's own text is
 * written.
 */
export function reportRefusal(stream: Stream, status: Status, answer: bool): void {
  const isReset = stream.answered;
  const terms = stream.terms;
  mark(status, terms);
  if (terms == null || !isDue(isReset ? status | RESET : status, terms.number + 1)) return;
  writer.fillText(2, answer ? Text.ANSWER : Text.REQUEST);
  fillCalled(3, stream);
  writer.fill(4, terms.nameAt, terms.nameLength);
  const hasPlace = current.failedField != 0;
  if (hasPlace) fillPlace(5, current.failedMessage, current.failedField);
  fillStatus(status);
  writer.writeTemplate(!isReset ? Text.LOG_REFUSED : hasPlace ? Text.LOG_RESET_AT : Text.LOG_RESET);
  logBytes(isReset ? LogLevel.WARN : LogLevel.INFO, writer.textAt, writer.textLength);
}

/** The same for a caller that is no tenant; its refusal has been written with texts/writer. */
export function reportRefusedCaller(status: Status, level: LogLevel): void {
  mark(status, null);
  if (isDue(status, 0)) logBytes(level, writer.textAt, writer.textLength);
}

/** The same for a stream that ends although nothing is wrong with what it carries. */
export function reportEnding(stream: Stream, status: Status): void {
  const terms = stream.terms;
  mark(status, terms);
  if (!isDue(status, terms != null ? terms.number + 1 : 0)) return;
  fillCalled(3, stream);
  if (terms != null) writer.fill(4, terms.nameAt, terms.nameLength);
  else writer.fillText(4, Text.SYSTEM);
  fillStatus(status);
  writer.writeTemplate(Text.LOG_ENDED);
  logBytes(LogLevel.INFO, writer.textAt, writer.textLength);
}
