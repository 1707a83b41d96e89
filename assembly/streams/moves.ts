/**
 * Moves of tenants to other key ranges: ends holds whose time is over, and tells what is outstanding of each such tenant. Whoever leads a
 * move goes on when all VMs have told that they have taken a phase, so they are quick about it.
 */
import { outstandingIn } from '../rewrite/exchange';
import { refusesOperation } from '../policy/policy-bits';
import { Call } from '../schema/table';
import { Tenant } from '../tenant/tenant';
import { Account } from '../terms/account';
import * as move from '../terms/move';
import { MovePhase, PHASES, STANDINGS, Standing } from '../terms/move';
import * as json from '../texts/json-writer';
import { Ascii, ascii } from '../wire/bytes';
import { eachAccount } from './accounts';
import { eachTenantInForce } from './configs';
import { endsInMove } from './permit';
import { Phase, Stream, eachStream } from './stream';

const TENANT: Ascii = ascii('tenant');
const SERIAL: Ascii = ascii('serial');
const PHASE: Ascii = ascii('phase');
const LATEST: Ascii = ascii('latestSerial');
const LIFTED: Ascii = ascii('lifted');
const WRITES: Ascii = ascii('writesOutstanding');
const FINISHES: Ascii = ascii('finishesOutstanding');
const BULK: Ascii = ascii('bulkOutstanding');
const ALL: Ascii = ascii('outstanding');
const HELD: Ascii = ascii('held');
const TRUE: Ascii = ascii('true');
const FALSE: Ascii = ascii('false');

/** True while a tenant is in a phase that somebody waits for. */
export let isHurried: bool = false;

let now: u64 = 0;

function lift(account: Account): void {
  if (account.phase == MovePhase.NONE) return;
  account.lift(now);
  if (account.phase > MovePhase.PREPARE) isHurried = true;
}

/** Ends holds whose time is over. `time` is ms since 1970. */
export function liftHolds(time: u64): void {
  now = time;
  isHurried = false;
  eachAccount(lift);
}

function clear(account: Account): void {
  account.outstanding = 0;
  account.writesOutstanding = 0;
  account.finishesOutstanding = 0;
  account.bulkOutstanding = 0;
}

/** Adds what a stream has in the store's hands. Of requests from before the move, nobody knows the kind: they count as each. */
function count(stream: Stream): void {
  const terms = stream.terms;
  if (terms != null && stream.phase != Phase.ENDED && endsInMove(stream, terms)) {
    // Not yet ended: whoever leads the move must wait for it.
    terms.account.writesOutstanding++;
    return;
  }
  if (terms == null || !stream.isOfStore || stream.isHeld || stream.phase != Phase.MAP) return;
  const account = terms.account;
  if (account.phase == MovePhase.NONE) return;
  if (stream.isBatch) {
    const x = stream.exchange;
    const open = outstandingIn(x);
    const unknown = x.isTracked ? x.earlier : open;
    account.outstanding += open;
    account.writesOutstanding += x.writes + unknown;
    account.finishesOutstanding += x.finishes + unknown;
    account.bulkOutstanding += unknown;
    return;
  }
  account.outstanding++;
  if (stream.call == Call.WRITE) account.writesOutstanding++;
  else if (stream.call == Call.FINISH) account.finishesOutstanding++;
  if (refusesOperation(move.refusedBits, stream.operation)) account.bulkOutstanding++;
}

function writeMove(tenant: Tenant): void {
  const terms = tenant.terms;
  const account = terms.account;
  const standing = account.standing;
  if (terms.movePhase == MovePhase.NONE && standing == Standing.CURRENT) return;
  // Whoever tells the end of a move must be above what was obeyed.
  const serial = standing == Standing.UNTOLD ? account.latestSerial : terms.moveSerial;
  json.openObject();
  json.addMember(TENANT);
  json.addText(terms.nameAt, terms.nameLength);
  json.addMember(SERIAL);
  json.addNumber(serial);
  json.addMember(PHASE);
  json.addAscii(
    standing == Standing.CURRENT
      ? PHASES[terms.movePhase - MovePhase.PREPARE]
      : STANDINGS[standing - Standing.OUTDATED],
  );
  if (standing == Standing.OUTDATED) {
    json.addMember(LATEST);
    json.addNumber(account.latestSerial);
  }
  json.addMember(LIFTED);
  const lifted = account.liftedSerial == serial ? TRUE : FALSE;
  json.addValue(changetype<usize>(lifted), lifted.length);
  addCount(WRITES, account.writesOutstanding);
  addCount(FINISHES, account.finishesOutstanding);
  addCount(BULK, account.bulkOutstanding);
  addCount(ALL, account.outstanding);
  json.addMember(HELD);
  json.addNumber(account.held);
  json.closeObject();
}

function addCount(name: Ascii, value: i32): void {
  json.addMember(name);
  json.addNumber(<u64>value);
}

/** Writes the moves of the configurations in force with texts/json-writer: a list of objects. */
export function writeMoves(): void {
  json.openList();
  eachAccount(clear);
  eachStream(count);
  eachTenantInForce(writeMove);
  json.closeList();
}
