/**
 * BatchCommands: keeps what the answers of a batch need to know about its requests. Ids mostly come behind the requests. So a note
 * holds the index of its request first, and gets the request's id at the end of the batch.
 *
 * A refused request goes on as `Empty` under its own id. Its answer is replaced by a refusal that the client takes as final.
 */
import { alloc } from '../memory/arena';
import { Refusal } from '../schema/bits';
import { entryOf, messageIn, recordOf, refusalOf } from '../schema/messages';
import { Call, Msg } from '../schema/table';
import { isSingle } from '../schema/statuses';
import * as move from '../terms/move';
import { MovePhase, isHeldIn } from '../terms/move';
import { Rates, isDelayable } from '../terms/rates';
import { callOfCommand, commandClosedBy } from '../terms/state';
import { DryRun } from '../terms/terms';
import { writeStatus } from '../texts/statuses';
import * as writer from '../texts/writer';
import { Status } from '../wire/status';
import * as varint from '../wire/varint';
import { readVarint, writeVarint } from '../wire/varint';
import * as batchIds from './batch-ids';
import * as current from './current';
import { Exchange, remember } from './exchange';
import { Level } from './level';
import { countRefusal } from './refusal-counts';

/** BatchCommandsRequest.requests and BatchCommandsResponse.responses. */
export const BATCH_MESSAGES: u32 = 1;

/** The `Empty` command, which asks for nothing: field 255 with no bytes. */
const EMPTY_COMMAND: u32 = 0x000ffa;
const EMPTY_COMMAND_BYTES: usize = 3;

/** kvrpcpb.KeyError.abort and errorpb.Error.message. */
const KEY_ERROR_ABORT: u32 = 3;
const REGION_ERROR_MESSAGE: u32 = 1;
/**
 * errorpb.Error.max_timestamp_not_synced and server_is_busy, both empty. TiDB's client repeats the request at the same store, for the
 * first after 2 to 500 ms and at most for as long as it waits for a region, for the second after 2 to 10 s and for ten minutes
 * (client-go's region_request.go: onRegionError, and config/retry/config.go).
 */
const COME_BACK_SOON: u16 = 0x0052;
const COME_BACK_LATER: u16 = 0x0032;

/** errorpb.Error.max_timestamp_not_synced: an empty message. A client waits a little and asks the same server again, without a word. */
const TRY_AGAIN: u16 = 0x0052;
const TRY_AGAIN_BYTES: usize = 2;
/**
 * errorpb.Error.store_not_match: an empty message. A client asks PD for the region and for the store's address, and closes its connections
 * to the old one (client-go's region_request.go: onRegionError).
 */
const OTHER_STORE: u16 = 0x0042;
/** kvrpcpb.GetResponse.region_error, and the command. */
const GET_COMMAND: u32 = 1;
const GET_REGION_ERROR: u32 = 1;
/** Fields of an answer that may hold the region's error. */
const MAX_ERROR_FIELD: u32 = 4;

const BYTES_WIRE: u32 = 2;
const NOTE_BYTES: usize = 16;
const FIRST_NOTES: u32 = 16;

/** Index in the batch of the request that is being walked; -1 outside a batch. */
export let batchIndex: i32 = -1;

/** Notes about this batch, in the arena: index:u32 | refusal:u32 | columns:u32 | length:u32 */
let notes: usize = 0;
export let noteCount: u32 = 0;
let noteCapacity: u32 = 0;

/** The last command that dryRun let through, and the number of such commands; 0 when there was none. */
export let dryRunCommand: u32 = 0;
export let dryRunCount: u32 = 0;

/** Starts counting the commands that dryRun lets through. */
export function beginDryRun(): void {
  dryRunCommand = 0;
  dryRunCount = 0;
}

/** True when some commands are refused, or counted by dryRun. @inline */
export function refusesCommands(): bool {
  const account = current.terms.account;
  return current.terms.policyBits != 0 || account.judges || account.rates.isShort || current.holdsAll;
}

/** Why this command is refused or held back by the tenant's state, by policy or by its move, or delayed by a rate; OK if it is not. */
export function refusalOfCommand(command: u32): Status {
  const account = current.terms.account;
  const status = commandClosedBy(account.state, command);
  if (status != Status.OK) return status;
  if (isRefusedCommand(command)) return Status.BY_POLICY;
  if (account.phase != MovePhase.NONE && isIn(move.refusedBits, command)) return Status.TENANT_MOVES;
  if (isHeldIn(current.holdsAll ? MovePhase.FINAL : account.phase, callOfCommand(command)))
    return Status.HELD;
  return account.rates.isShort && !mayPass(account.rates, command) ? Status.OVER_RATE : Status.OK;
}

/** Counts the command as one that goes on, unless it is delayed. */
function mayPass(rates: Rates, command: u32): bool {
  if (!rates.mayRequest && isDelayable(callOfCommand(command)) && errorFieldOf(command) != 0) return false;
  rates.spendRequests(1);
  return true;
}

/** True when these bits have one for the command. They begin with one for each command. */
function isIn(bits: usize, command: u32): bool {
  if (bits == 0 || command > 255) return false;
  return ((load<u8>(bits + ((<usize>command) >> 3)) >> (<u8>(command & 7))) & 1) != 0;
}

/** True when policy refuses this command. */
function isRefusedCommand(command: u32): bool {
  if (!isIn(current.terms.policyBits, command)) return false;
  if (current.terms.dryRun == DryRun.NONE) return true;
  dryRunCommand = command;
  dryRunCount++;
  return false;
}

export function beginBatch(): void {
  batchIndex = -1;
  noteCount = 0;
  noteCapacity = 0;
}

/** Moves on by this number of messages. */
export function passInBatch(messages: u32): void {
  batchIndex += messages;
}

function note(refusal: u32, columns: usize, length: usize): void {
  if (noteCount == noteCapacity) {
    noteCapacity = noteCapacity == 0 ? FIRST_NOTES : noteCapacity * 2;
    const bigger = alloc(<usize>noteCapacity * NOTE_BYTES);
    memory.copy(bigger, notes, <usize>noteCount * NOTE_BYTES);
    notes = bigger;
  }
  const at = notes + <usize>noteCount * NOTE_BYTES;
  noteCount++;
  store<u32>(at, batchIndex);
  store<u32>(at, refusal, 4);
  store<usize>(at, columns, 8);
  store<usize>(at, length, 12);
}

/** Notes the column layout that the current request's plan asks for. */
export function noteColumns(columns: usize, length: usize): void {
  const copy = alloc(length);
  memory.copy(copy, columns, length);
  note(0, copy, length);
}

/** Notes that the current request, with this command, is refused. Drops its earlier notes. */
export function noteRefusal(command: u32, status: Status): void {
  while (noteCount > 0 && load<i32>(notes + <usize>(noteCount - 1) * NOTE_BYTES) == batchIndex) noteCount--;
  note((command << 8) | status, 0, 0);
  const account = current.terms.account;
  if (status == Status.HELD) {
    account.held++;
    return;
  }
  if (status == Status.OVER_RATE) {
    account.addDelay(account.rates.countDelay());
    return;
  }
  countRefusal(status);
  account.addRefusals(status, 1);
}

/** Notes that the current request, with this command, goes on, if it writes while the tenant moves. */
export function noteWrite(command: u32): void {
  const call = callOfCommand(command);
  if (call == Call.WRITE || call == Call.FINISH) note(command << 8, 0, 0);
}

/** True when the ids of the batch must be read. @inline */
export function needsIds(): bool {
  return noteCount > 0 || (current.exchange.isTracked && current.exchange.firstId == 0);
}

/** Joins the notes with the ids of their requests, and keeps them for the answers. */
export function rememberNotes(exchange: Exchange, level: Level): Status {
  let position: i32 = 0;
  batchIds.beginIds(level);
  if (exchange.isTracked && exchange.firstId == 0) {
    if (batchIds.nextId(level)) exchange.firstId = batchIds.givenId;
    batchIds.beginIds(level);
  }
  for (let i: u32 = 0; i < noteCount; i++) {
    const at = notes + <usize>i * NOTE_BYTES;
    const wanted = load<i32>(at);
    for (; position <= wanted; position++) if (!batchIds.nextId(level)) return Status.MALFORMED;
    if (!remember(exchange, batchIds.givenId, load<u32>(at, 4), load<usize>(at, 8), load<usize>(at, 12)))
      return Status.TOO_MANY_PENDING;
  }
  return Status.OK;
}

/** The command of a request or response in a batch: the number of its first field. 0 when there is none. */
export function commandOf(p: usize, end: usize): u32 {
  if (p < end && load<u8>(p) < 0x80) return (<u32>load<u8>(p)) >> 3;
  const tag = readVarint(p, end);
  return varint.readEnd == 0 ? 0 : <u32>(tag >> 3);
}

/** Counts requests of the tenant with this command. @inline */
export function countCommands(command: u32, count: u32): void {
  const at = current.callCounts + ((<usize>callOfCommand(command)) << 3);
  store<u64>(at, load<u64>(at) + count);
}

/** The field with the region's error in the answer to this command; 0 when there is none. It holds the same message as Get's. */
function errorFieldOf(command: u32): u32 {
  const answer = answerOf(command);
  if (answer == 0) return 0;
  const error = messageIn(entryOf(answerOf(GET_COMMAND), GET_REGION_ERROR));
  for (let field: u32 = 1; field <= MAX_ERROR_FIELD; field++)
    if (messageIn(entryOf(answer, field)) == error) return field;
  return 0;
}

/** The record of the answer to a command; 0 when there is none. */
function answerOf(command: u32): usize {
  const entry = entryOf(recordOf(Msg.BATCH_RESPONSE), command);
  return entry == 0 ? 0 : recordOf(messageIn(entry));
}

/** True when a request can be refused alone with this status, while the others of its batch go on. */
export function isRefusable(status: Status, command: u32): bool {
  if (status == Status.HELD) return errorFieldOf(command) != 0;
  if (!isSingle(status)) return false;
  if (status == Status.OVER_RATE) return true;
  const entry = entryOf(recordOf(Msg.BATCH_RESPONSE), command);
  return entry != 0 && refusalOf(messageIn(entry)) >> 8 != Refusal.NONE;
}

export let builtAt: usize = 0;
export let builtLength: usize = 0;

/** Room in front of a message for its tag and length, and for those of the messages around it. */
const HEADERS: usize = 48;
/** Where the message begins so far: messages are built from the inside out. */
let front: usize = 0;
let back: usize = 0;

function wrap(field: u32): void {
  const header = alloc(16);
  const to = writeVarint(writeVarint(header, (field << 3) | BYTES_WIRE), back - front);
  front -= to - header;
  memory.copy(front, header, to - header);
}

/** Builds the field `requests` that replaces a refused request. */
export function buildEmptyRequest(): void {
  back = alloc(HEADERS + 8) + HEADERS + EMPTY_COMMAND_BYTES;
  front = back - EMPTY_COMMAND_BYTES;
  store<u32>(front, EMPTY_COMMAND);
  wrap(BATCH_MESSAGES);
  builtAt = front;
  builtLength = back - front;
}

/** Builds the command that replaces one that must not reach the store. The result is the command's field, inside its request. */
export function buildEmptyCommand(): void {
  builtAt = alloc(8);
  store<u32>(builtAt, EMPTY_COMMAND);
  builtLength = EMPTY_COMMAND_BYTES;
}

/** Builds the field `responses` that makes a client try again: in a moment, or at the storage layer that serves its tenant by now. */
function buildTryAgain(command: u32): void {
  back = alloc(HEADERS + TRY_AGAIN_BYTES) + HEADERS + TRY_AGAIN_BYTES;
  front = back - TRY_AGAIN_BYTES;
  store<u16>(front, current.terms.account.isAway ? OTHER_STORE : TRY_AGAIN);
  wrap(errorFieldOf(command));
  wrap(command);
  wrap(BATCH_MESSAGES);
  builtAt = front;
  builtLength = back - front;
}

/** Builds the field `responses` that tells a client why its request was refused. */
export function buildRefusal(refusal: u32): void {
  if ((refusal & 0xff) == Status.HELD) {
    buildTryAgain(refusal >> 8);
    return;
  }
  const command = refusal >> 8;
  const isDelay = (refusal & 0xff) == Status.OVER_RATE;
  const place = isDelay
    ? errorFieldOf(command) | (Refusal.REGION_ERROR << 8)
    : refusalOf(messageIn(entryOf(recordOf(Msg.BATCH_RESPONSE), command)));
  const kind = place >> 8;
  writeStatus(refusal & 0xff);
  front = alloc(HEADERS + writer.textLength + sizeof<u16>()) + HEADERS;
  back = front + writer.textLength;
  memory.copy(front, writer.textAt, writer.textLength);
  if (kind == Refusal.KEY_ERROR) wrap(KEY_ERROR_ABORT);
  else if (kind == Refusal.REGION_ERROR) wrap(REGION_ERROR_MESSAGE);
  if (isDelay) {
    store<u16>(back, current.terms.account.rates.isLong ? COME_BACK_LATER : COME_BACK_SOON);
    back += sizeof<u16>();
  }
  wrap(place & 0xff);
  wrap(command);
  wrap(BATCH_MESSAGES);
  builtAt = front;
  builtLength = back - front;
}
